import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

extension Optimizer {
  /// What PyTorch's optimiser of the same rules has as `state_dict()`.
  ///
  /// A PyTorch optimiser that was made of the same groups of parameters takes it over with `load_state_dict` and goes on.
  ///
  /// ```swift
  /// try PyTorch.write(optimizer.pytorchState(of: model), to: "optimizer.pt")
  /// ```
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` if PyTorch lacks a rule.
  public func pytorchState(of model: Module) throws -> PyTorchValue {
    var states: [(key: PyTorchValue.Key, value: PyTorchValue)] = []
    var described: [PyTorchValue] = []
    var number = 0
    for (rule, parameters) in try pytorchGroups(of: model) {
      let first = number
      for (_, parameter) in parameters {
        if let memory = memories[ObjectIdentifier(parameter)], let state = try state(memory, rule) {
          states.append((.int(number), state))
        }
        number += 1
      }
      let numbers = PyTorchValue.list((first..<number).map { .int($0) })
      let entries = rule.pytorchOptions.map { (key: PyTorchValue.Key.text($0.name), value: $0.value) }
      described.append(.dictionary(entries + [(.text("params"), numbers)]))
    }
    return .dictionary([(.text("state"), .dictionary(states)), (.text("param_groups"), .list(described))])
  }

  /// Takes over the `state_dict` of PyTorch's optimiser of the same rules, with its learning rates.
  ///
  /// ```swift
  /// try optimizer.load(pytorch: Checkpoint(contentsOf: "do_00010000").inside("optim_d"), for: model)
  /// ```
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that names an option which differs, or an entry that is missing or not like
  ///   its parameter; nothing has changed then.
  public func load(pytorch checkpoint: Checkpoint, for model: Module) throws {
    func refuse(_ name: String, _ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.checkpoint, "Optimizer.load", expected: expected, got: got, path: checkpoint.fullName(name))
    }
    func text(_ name: String) -> String? { checkpoint.metadata[checkpoint.fullName(name)] }
    let groups = try pytorchGroups(of: model)
    var rates: [Double] = []
    var loaded: [ObjectIdentifier: Memory] = [:]
    var number = 0
    for (index, (rule, parameters)) in groups.enumerated() {
      let place = "param_groups.\(index)"
      let stored = (0...).lazy.prefix { text("\(place).params.\($0)") != nil }.count
      guard stored == parameters.count else {
        throw refuse("\(place).params", "\(parameters.count) parameters", "\(stored)")
      }
      guard let rate = text("\(place).lr").flatMap(Double.init) ?? scalar(checkpoint["\(place).lr"]) else {
        throw refuse("\(place).lr", "a learning rate", "none")
      }
      rates.append(rate)
      for (name, value) in rule.pytorchOptions where name != "lr" {
        for (name, wanted) in numbers(value, "\(place).\(name)") {
          // What a file of an older PyTorch lacks has its standard value.
          guard let got = text(name), let number = Self.number(got), number != wanted else { continue }
          throw refuse(name, "\(wanted), as this optimiser has it", got)
        }
      }
      for (name, parameter) in parameters {
        if let memory = try memory(checkpoint.inside("state.\(number)"), name, parameter, rule, refuse) {
          loaded[ObjectIdentifier(parameter)] = memory
        }
        number += 1
      }
    }
    for (_, parameter) in groups.flatMap(\.parameters) { memories[ObjectIdentifier(parameter)] = nil }
    memories.merge(loaded) { $1 }
    setLearningRates(rates, of: groups.compactMap(\.parameters.first).map { groupIndex(of: $0.name) })
  }

  /// The groups that have parameters, as PyTorch would have them.
  private func pytorchGroups(
    of model: Module
  ) throws -> [(rule: any PyTorchRule, parameters: [(name: String, parameter: Parameter)])] {
    let all = model.parametersInPyTorchOrder().filter { $0.parameter.value.dtype.isFloatingPoint }
    return try groups.indices.compactMap { index in
      let parameters = all.filter { groupIndex(of: $0.name) == index }
      guard !parameters.isEmpty else { return nil }
      guard let rule = groups[index].rule as? any PyTorchRule else {
        throw ToeplitzError(
          .unsupported, "Optimizer", expected: "rules that PyTorch has", got: "\(type(of: groups[index].rule))")
      }
      return (rule, parameters)
    }
  }

  private func state(_ memory: Memory, _ rule: any PyTorchRule) throws -> PyTorchValue? {
    guard !rule.stateNames.isEmpty || rule.keepsSteps else { return nil }
    let step: [(key: PyTorchValue.Key, value: PyTorchValue)] =
      rule.keepsSteps ? [(.text("step"), .tensor(try Tensor(scalar: Float(memory.step))))] : []
    return .dictionary(step + zip(rule.stateNames, memory.tensors).map { (.text($0), .tensor($1)) })
  }

  /// What a file has of a parameter; nil if it has nothing.
  private func memory(
    _ stored: Checkpoint, _ name: String, _ parameter: Parameter, _ rule: any PyTorchRule,
    _ refuse: (String, String, String) -> ToeplitzError
  ) throws -> Memory? {
    guard !stored.names.isEmpty || stored.metadata[stored.fullName("step")] != nil else { return nil }
    let spec = parameter.value.spec
    let tensors = try rule.stateNames.map { key in
      guard let tensor = stored[key], tensor.shape == spec.shape, tensor.dtype.isFloatingPoint else {
        throw refuse("\(stored.path).\(key)", "\(spec) for '\(name)'", stored[key].map { "\($0.spec)" } ?? "nothing")
      }
      return try tensor.cast(to: spec.dtype).copied()
    }
    let count = stored.metadata[stored.fullName("step")].flatMap(Double.init) ?? scalar(stored["step"])
    // Rules that count no steps only need to know the first.
    let step = rule.keepsSteps ? count.flatMap { Int(exactly: $0) } : 1
    guard let step, (0..<(1 << 48)).contains(step) else {
      throw refuse("\(stored.path).step", "a count of steps", count.map { "\($0)" } ?? "nothing")
    }
    return Memory(parameter: parameter, name: name, group: groupIndex(of: name), step: step, tensors: tensors)
  }

  private func scalar(_ tensor: Tensor?) -> Double? {
    guard let tensor, tensor.count == 1 else { return nil }
    return try? tensor.cast(to: .float64).scalars(Double.self).first
  }

  /// The numbers of an option and where a file has them.
  private func numbers(_ value: PyTorchValue, _ name: String) -> [(name: String, value: Double)] {
    switch value {
    case .bool(let flag): [(name, flag ? 1 : 0)]
    case .int(let number): [(name, Double(number))]
    case .double(let number): [(name, number)]
    case .tuple(let items): items.enumerated().flatMap { numbers($1, "\(name).\($0)") }
    default: []
    }
  }

  private static func number(_ text: String) -> Double? {
    text == "True" ? 1 : text == "False" ? 0 : Double(text)
  }
}
