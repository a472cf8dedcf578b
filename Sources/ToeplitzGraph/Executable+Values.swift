import ToeplitzTensor

extension Executable {
  /// Computes all outputs, in the order of ``outputs``; inputs and outputs may be strings, sequences and optional values.
  public func run(values given: [String: ModelValue]) throws -> [ModelValue] {
    let variant = try variant(for: given.keys)
    let values = try variant.named(given)
    return try variant.run(values: values)
  }

  /// Computes all outputs for inputs in the order of ``inputs``.
  package func run(values: [ModelValue]) throws -> [ModelValue] {
    guard values.count == inputs.count else {
      throw ToeplitzError(.argument, "inputs", expected: "\(inputs.count) values", got: "\(values.count)")
    }
    var (sizes, tensors): ([String: (size: Int, port: String)], [Int: Tensor]) = ([:], [:])
    for (index, (port, value)) in zip(inputs, values).enumerated() {
      try port.check(value, &sizes)
      try ValueKey.store(value, index, in: &tensors)
    }
    let keys = inputs.indices.flatMap { ValueKey.keys($0, in: tensors) }
    return try compute(keys, keys.compactMap { tensors[$0] }, observe: nil)
  }

  /// This, or what takes some of its constants as inputs too.
  func variant(for names: some Sequence<String>) throws -> Executable {
    guard !defaults.isEmpty else { return self }
    let chosen = Set(names).intersection(defaults.map(\.name))
    guard !chosen.isEmpty else { return self }
    return try variants.withLock { variants in
      if let known = variants[chosen] { return known }
      let source = source.withLock { $0.source.overriding(chosen).map(Source.init) }
      guard let source else {
        throw ToeplitzError(.argument, "inputs", expected: "no constants", got: chosen.sorted().joined(separator: ", "))
      }
      if variants.count >= 8 { variants = [:] }
      let variant = Executable(source.source, name: name, optimizes: optimizes)
      variants[chosen] = variant
      return variant
    }
  }
}
