import ToeplitzTensor

extension Executable {
  /// Computes all outputs, in the order of ``outputs``; inputs and outputs may be strings, sequences and optional values.
  ///
  /// - Parameter observe: called after each step, if it is given.
  public func run(
    values given: [String: ModelValue], observe: ((Step) throws -> Void)? = nil
  ) throws -> [ModelValue] {
    let variant = try variant(for: given.keys)
    let (keys, tensors) = try variant.keyed(variant.named(given))
    return try variant.compute(keys, tensors, observe: observe)
  }

  /// Computes all outputs for inputs in the order of ``inputs``.
  package func run(values: [ModelValue]) throws -> [ModelValue] {
    let (keys, tensors) = try keyed(values)
    return try compute(keys, tensors, observe: nil)
  }

  /// The tensors that inputs in the order of ``inputs`` are made of, with their keys.
  ///
  /// - Throws: ``ToeplitzError`` that names the input that does not fit.
  func keyed(_ values: [ModelValue]) throws -> (keys: [Int], tensors: [Tensor]) {
    guard values.count == inputs.count else {
      throw ToeplitzError(.argument, "inputs", expected: "\(inputs.count) values", got: "\(values.count)")
    }
    var (sizes, tensors): ([String: (size: Int, port: String)], [Int: Tensor]) = ([:], [:])
    for (index, (port, value)) in zip(inputs, values).enumerated() {
      try port.check(value, &sizes)
      try ValueKey.store(value, index, in: &tensors)
    }
    let keys = inputs.indices.flatMap { ValueKey.keys($0, in: tensors) }
    return (keys, keys.compactMap { tensors[$0] })
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
