import ToeplitzGraph
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// Updates the parameters of models, and remembers what its rule needs of each.
///
/// ```swift
/// let optimizer = try Optimizer(AdamW(lr: 1e-3), groups: [
///   .init(AdamW(lr: 1e-3, weightDecay: 0)) { path in path.hasSuffix("bias") },
/// ])
/// let (loss, gradients) = try valueAndGradient(of: model) { model in try mse(model(x), y) }
/// try optimizer.update(model, with: gradients)
/// ```
public final class Optimizer {
  /// Parameters that have options of their own.
  public struct Group {
    /// The rule for these parameters.
    public var rule: any UpdateRule
    /// The learning rate that schedules start from.
    public let baseLearningRate: Double
    let contains: (String) -> Bool

    /// The parameters whose dotted names satisfy a condition.
    public init(_ rule: some UpdateRule, where contains: @escaping (_ path: String) -> Bool) {
      self.rule = rule
      baseLearningRate = rule.lr
      self.contains = contains
    }
  }

  /// What is remembered of a parameter.
  struct Memory {
    let parameter: Parameter
    var name: String
    var group: Int
    var step = 0
    var tensors: [Tensor]
  }

  /// The groups; a parameter belongs to the first that contains it, and the last contains all.
  public private(set) var groups: [Group]
  var memories: [ObjectIdentifier: Memory] = [:]
  private var compiled: (layout: UpdateLayout, executable: Executable)?
  /// Factors as values of the trace that is running; nil where numbers are known.
  var tracedFactors: ((_ group: Int, _ step: Int) -> [Tensor])?

  /// An optimiser with one rule, and others for groups of parameters.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names an option which is not legal.
  public init(_ rule: some UpdateRule, groups: [Group] = []) throws {
    self.groups = groups + [Group(rule) { _ in true }]
    for group in self.groups { try group.rule.checkOptions() }
  }

  /// The learning rate of the parameters that are in no other group.
  public var learningRate: Double {
    get { groups[groups.count - 1].rule.lr }
    set { groups[groups.count - 1].rule.lr = newValue }
  }

  /// Sets the learning rates of all groups as a schedule says.
  ///
  /// - Parameter step: how many updates there have been.
  public func setLearningRate(_ schedule: Schedule, step: Int) {
    for index in groups.indices {
      groups[index].rule.lr = schedule.learningRate(base: groups[index].baseLearningRate, step: step)
    }
  }

  /// Updates the parameters of a model that have a gradient.
  ///
  /// - Throws: ``ToeplitzError`` that names a parameter whose gradient is not like it.
  public func update(_ model: Module, with gradients: Gradients) throws {
    var updates: [(id: ObjectIdentifier, gradient: Tensor)] = []
    for (name, parameter) in ModelValues([model]).parameters {
      guard let gradient = gradients[parameter] else { continue }
      guard gradient.spec == parameter.value.spec else {
        throw ToeplitzError(
          .shape, "Optimizer.update", expected: "a gradient \(parameter.value.spec) of '\(name)'",
          got: "\(gradient.spec)")
      }
      let id = ObjectIdentifier(parameter)
      try remember(parameter, name)
      updates.append((id, gradient))
    }
    for (id, _) in updates { memories[id]?.step += 1 }
    let used = updates.compactMap { memories[$0.id] }
    let layout = UpdateLayout(used, groups)
    let inputs =
      try used.map(\.parameter.value) + updates.map(\.gradient) + used.flatMap(\.tensors) + factors(of: layout)
    let results: [Tensor]
    do {
      results =
        try Trace.recording(inputs) == nil ? executable(layout, inputs.count).run(inputs) : layout.update(inputs)
    } catch {
      for (id, _) in updates { memories[id]?.step -= 1 }
      throw error
    }
    var rest = results[...]
    for memory in used { memory.parameter.value = rest.removeFirst() }
    for (id, _) in updates {
      for index in memories[id]?.tensors.indices ?? 0..<0 { memories[id]?.tensors[index] = rest.removeFirst() }
    }
  }

  /// The group that a parameter of this name belongs to.
  func groupIndex(of name: String) -> Int { groups.firstIndex { $0.contains(name) } ?? groups.count - 1 }

  /// Sets the learning rates of some groups, which schedules start from no more.
  func setLearningRates(_ rates: [Double], of indices: [Int]) {
    for (rate, index) in zip(rates, indices) { groups[index].rule.lr = rate }
  }

  /// Makes the memory of a parameter that has none.
  func remember(_ parameter: Parameter, _ name: String) throws {
    let id = ObjectIdentifier(parameter)
    guard memories[id] == nil else { return }
    let group = groupIndex(of: name)
    let value = parameter.value
    let zeros = try groups[group].rule.stateNames.map { _ in try Tensor.zeros(value.shape, dtype: value.dtype) }
    memories[id] = Memory(parameter: parameter, name: name, group: group, tensors: zeros)
  }

  /// The factors of each class of parameters, in the element types in which they are needed.
  private func factors(of layout: UpdateLayout) throws -> [Tensor] {
    try layout.classes.flatMap { item in
      if let tracedFactors { return try tracedFactors(item.group, item.step).map { try $0.cast(to: item.dtype) } }
      return try groups[item.group].rule.factors(step: item.step).map { try Tensor.full([], $0, dtype: item.dtype) }
    }
  }

  private func executable(_ layout: UpdateLayout, _ count: Int) -> Executable {
    if let compiled, compiled.layout.isSame(as: layout) { return compiled.executable }
    let source = FunctionSource(
      inputs: (0..<count).map { PortDescription(name: "\($0)") },
      outputs: (0..<layout.outputCount).map { "\($0)" }
    ) { operands, _ in try layout.update(operands) }
    let executable = Executable(source, name: "Optimizer")
    compiled = (layout, executable)
    return executable
  }
}

/// Which tensors of an update are what.
struct UpdateLayout: Sendable {
  /// Parameters that have the same factors.
  struct Class: Sendable, Hashable {
    var group: Int
    var step: Int
    var dtype: DType
    var factorCount: Int
  }
  /// A parameter: the number of its class, and how many tensors are remembered of it.
  private struct Item: Sendable, Hashable {
    var group: Int
    var classIndex: Int
    var stateCount: Int
  }
  let classes: [Class]
  private let items: [Item]
  private let rules: [any UpdateRule]
  /// The options as text, without learning rates: these are factors.
  private let options: [String]

  init(_ memories: [Optimizer.Memory], _ groups: [Optimizer.Group]) {
    rules = groups.map(\.rule)
    options = groups.map {
      var rule = $0.rule
      rule.lr = 0
      return "\(rule)"
    }
    var classes: [Class] = []
    var items: [Item] = []
    for memory in memories {
      let rule = groups[memory.group].rule
      let one = Class(
        group: memory.group, step: memory.step, dtype: memory.parameter.value.dtype,
        factorCount: rule.factors(step: memory.step).count)
      let index = classes.firstIndex(of: one) ?? classes.count
      if index == classes.count { classes.append(one) }
      items.append(Item(group: memory.group, classIndex: index, stateCount: memory.tensors.count))
    }
    (self.classes, self.items) = (classes, items)
  }

  var outputCount: Int { items.reduce(0) { $0 + 1 + $1.stateCount } }

  /// Whether an update of one layout can be computed by the graph of the other: steps may differ.
  func isSame(as other: UpdateLayout) -> Bool {
    items == other.items && options == other.options && classes.map(\.dtype) == other.classes.map(\.dtype)
      && classes.map(\.factorCount) == other.classes.map(\.factorCount)
  }

  /// The new parameters, then what is remembered of each.
  ///
  /// - Parameter operands: parameters, gradients, what is remembered, factors of each class.
  func update(_ operands: [Tensor]) throws -> [Tensor] {
    let parameters = operands[0..<items.count]
    let gradients = operands[items.count..<(2 * items.count)]
    var rest = operands[(2 * items.count)...]
    let states = items.map { item in (0..<item.stateCount).map { _ in rest.removeFirst() } }
    let factors = classes.map { one in (0..<one.factorCount).map { _ in rest.removeFirst() } }
    var (values, remembered): ([Tensor], [Tensor]) = ([], [])
    for (index, item) in items.enumerated() {
      let next = try rules[item.group].updated(
        parameters[parameters.startIndex + index], gradient: gradients[gradients.startIndex + index],
        state: states[index], factors: factors[item.classIndex])
      values.append(next.parameter)
      remembered += next.state
    }
    return values + remembered
  }
}

extension Optimizer {
  /// What the optimiser remembers of a model's parameters: `<parameter>.<name>` as PyTorch calls it, and `<parameter>.step`.
  public func stateDictionary(of model: Module) throws -> [String: Tensor] {
    var state: [String: Tensor] = [:]
    for (name, parameter) in ModelValues([model]).parameters {
      guard let memory = memories[ObjectIdentifier(parameter)] else { continue }
      state["\(name).step"] = try Tensor(scalar: Int64(memory.step))
      for (key, tensor) in zip(groups[memory.group].rule.stateNames, memory.tensors) {
        state["\(name).\(key)"] = tensor
      }
    }
    return state
  }

  /// Takes over what ``stateDictionary(of:)`` gave; parameters that it lacks are as if never updated.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that names an entry which is missing, unknown or not like its parameter;
  ///   nothing has changed then.
  public func load(_ state: [String: Tensor], for model: Module) throws {
    var unused = Set(state.keys)
    var loaded: [ObjectIdentifier: Memory] = [:]
    func take(_ key: String, _ spec: TensorSpec) throws -> Tensor {
      guard let tensor = state[key], tensor.spec == spec else {
        throw ToeplitzError(
          .checkpoint, "Optimizer.load", expected: "'\(key)' \(spec)", got: state[key].map { "\($0.spec)" } ?? "nothing"
        )
      }
      unused.remove(key)
      return tensor
    }
    for (name, parameter) in ModelValues([model]).parameters where state["\(name).step"] != nil {
      let group = groupIndex(of: name)
      let step = try take("\(name).step", TensorSpec([], .int64)).item(Int64.self)
      guard step >= 0, step < 1 << 48 else {
        throw ToeplitzError(
          .checkpoint, "Optimizer.load", expected: "a count of steps in '\(name).step'", got: "\(step)")
      }
      let tensors = try groups[group].rule.stateNames.map { try take("\(name).\($0)", parameter.value.spec).copied() }
      loaded[ObjectIdentifier(parameter)] = Memory(
        parameter: parameter, name: name, group: group, step: Int(step), tensors: tensors)
    }
    if let unknown = unused.sorted().first {
      throw ToeplitzError(
        .checkpoint, "Optimizer.load", expected: "what is remembered of the model's parameters", got: "'\(unknown)'")
    }
    for (_, parameter) in ModelValues([model]).parameters { memories[ObjectIdentifier(parameter)] = nil }
    memories.merge(loaded) { $1 }
  }
}
