import ToeplitzGraph
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A step of training as one graph: forward, backward and update fused, recorded once for each signature of its inputs.
///
/// ```swift
/// let step = CompiledStep(model, optimizer) { model, optimizer, inputs in
///   let (loss, gradients) = try valueAndGradient(of: model) { try mse($0(inputs[0]), inputs[1]) }
///   try optimizer.update(model, with: gradients)
///   return [loss]
/// }
/// let loss = try step(x, y)[0]
/// ```
///
/// The function runs while its first call with new shapes is recorded, so it must not read elements of what it computes; that
/// throws and names the place. Parameters, buffers and what the optimiser remembers are assigned when a step has been computed,
/// together; if one throws, nothing has changed. Learning rates and modes may change between steps; no module may take the place of
/// another.
public final class CompiledStep<Model: Module> {
  /// The model.
  public let model: Model
  /// The optimiser.
  public let optimizer: Optimizer
  private let body: (Model, Optimizer, [Tensor]) throws -> [Tensor]
  private let limit: Int
  /// Walking a model takes longer than looking up a program, so it is done once.
  let values: ModelValues
  /// The one used last stands last.
  private var programs: [(signature: Signature, program: StepProgram)] = []

  /// A step.
  ///
  /// - Parameters:
  ///   - limit: how many signatures are remembered; beyond that the one used longest ago is forgotten.
  ///   - body: what a step does with the model, the optimiser and the inputs, and what it returns.
  public init(
    _ model: Model, _ optimizer: Optimizer, limit: Int = 16,
    _ body: @escaping (_ model: Model, _ optimizer: Optimizer, _ inputs: [Tensor]) throws -> [Tensor]
  ) {
    (self.model, self.optimizer, self.limit, self.body) = (model, optimizer, max(1, limit), body)
    values = ModelValues([model])
  }

  /// Hears of each operation of a step, with the seconds that it took, and of the updates of parameters; for measurements.
  package var observe: ((Graph.Node?, Double) -> Void)?

  /// How many signatures are remembered.
  public var programCount: Int { programs.count }

  /// Computes one step, and returns what the function returned.
  ///
  /// - Throws: ``ToeplitzError`` that names the place where the function reads elements, and what it throws.
  public func callAsFunction(_ inputs: Tensor...) throws -> [Tensor] { try run(inputs) }

  /// Computes one step, in which dropout draws the numbers of `seed` and `step`.
  ///
  /// - Throws: As ``callAsFunction(_:)``.
  public func run(_ inputs: [Tensor], seed: UInt64 = 0, step: Int = 0) throws -> [Tensor] {
    try run(inputs, key: StepRandom.key(seed: seed, step: step))
  }

  /// Computes one step with the random numbers of a key.
  ///
  /// - Parameters:
  ///   - hear: gets most of what the function returns, with its number, as soon as it is computed.
  ///   - accepts: whether the step counts, given all of that; if not, nothing changes.
  func run(
    _ inputs: [Tensor], key: Int64, hear: ((Int, Tensor) throws -> Void)? = nil,
    accepts: (([Tensor]) throws -> Bool)? = nil
  ) throws -> [Tensor] {
    for (name, parameter) in values.parameters { try optimizer.remember(parameter, name) }
    let state = StepState(values, optimizer)
    let signature = Signature(inputs: inputs.map(\.spec), model: state.tensors.map(\.spec), layout: state.layout)
    let program: StepProgram
    if let at = programs.lastIndex(where: { $0.signature == signature }) {
      let known = programs.remove(at: at)
      programs.append(known)
      program = known.program
    } else {
      program = try StepProgram(state, inputs.map(\.spec)) { [model, optimizer, body] in try body(model, optimizer, $0)
      }
      if programs.count >= limit { programs.removeFirst() }
      programs.append((signature, program))
    }
    return try program.run(state, inputs, key: key, observe: observe, hear: hear, accepts: accepts)
  }

  private struct Signature: Equatable {
    var inputs: [TensorSpec]
    var model: [TensorSpec]
    var layout: StepState.Layout
  }
}

/// All that a step reads and assigns besides its inputs.
private struct StepState {
  /// What decides, besides shapes, about the operations of a step.
  struct Layout: Equatable {
    /// For each parameter the first one of its group that has been updated as often.
    var classes: [Int]
    var options: [String]
    var modes: [Bool]
  }

  let values: ModelValues
  let optimizer: Optimizer
  let layout: Layout
  /// The parameters' identities, in order.
  let ids: [ObjectIdentifier]

  init(_ values: ModelValues, _ optimizer: Optimizer) {
    (self.values, self.optimizer) = (values, optimizer)
    ids = values.parameters.map { ObjectIdentifier($0.parameter) }
    var first: [[Int]: Int] = [:]
    let classes = ids.enumerated().map { index, id -> Int in
      guard let memory = optimizer.memories[id] else { return index }
      let key = [memory.group, memory.step]
      if let known = first[key] { return known }
      first[key] = index
      return index
    }
    let options = optimizer.groups.map {
      var rule = $0.rule
      rule.lr = 0
      return "\(rule)"
    }
    layout = Layout(classes: classes, options: options, modes: values.modes)
  }

  /// Parameters, buffers, and what the optimiser remembers of each parameter.
  var tensors: [Tensor] {
    values.parameters.map(\.parameter.value) + values.buffers.map(\.parameter.value)
      + ids.flatMap { optimizer.memories[$0]?.tensors ?? [] }
  }

  /// For each of the ``tensors`` a number that those have in common which belong to one parameter.
  var owners: [Int] {
    let count = values.parameters.count + values.buffers.count
    return Array(0..<count)
      + ids.enumerated().flatMap { index, id in (optimizer.memories[id]?.tensors ?? []).map { _ in index } }
  }

  /// Lets go of the tensors, which then belong to who has taken them, until they are assigned again.
  func release() throws {
    let none = try Tensor.zeros([])
    assign(tensors.map { _ in none })
  }

  /// Puts tensors, in the order of ``tensors``, in place.
  func assign(_ tensors: [Tensor]) {
    var rest = tensors[...]
    for (_, parameter) in values.parameters { parameter.value = rest.removeFirst() }
    for (_, buffer) in values.buffers { buffer.value = rest.removeFirst() }
    for id in ids {
      for index in optimizer.memories[id]?.tensors.indices ?? 0..<0 {
        optimizer.memories[id]?.tensors[index] = rest.removeFirst()
      }
    }
  }

  var steps: [Int] {
    get { ids.map { optimizer.memories[$0]?.step ?? 0 } }
    nonmutating set { for (id, step) in zip(ids, newValue) { optimizer.memories[id]?.step = step } }
  }
}

/// The graph of a step for one signature.
private struct StepProgram {
  /// Factors of a rule that are given to each run: those of a parameter, some updates ahead.
  private struct Factors {
    var group: Int
    var parameter: Int
    var ahead: Int
    var count: Int
  }

  private let recording: Recording
  private let factors: [Factors]
  /// The state's tensors that the graph changes, in the order of the results after the function's own.
  private let assigned: [Int]
  /// What changes the others.
  private let updates: ParameterUpdates
  private let outputCount: Int
  /// How often each parameter is updated.
  private let updateCounts: [Int]
  /// What a step takes waits for the next one.
  private let memory: KeptMemory

  /// Records a step.
  init(_ state: StepState, _ inputs: [TensorSpec], _ body: ([Tensor]) throws -> [Tensor]) throws {
    let trace = Trace()
    let own = state.tensors
    let steps = state.steps
    let names =
      state.values.parameters.map(\.name) + state.values.buffers.map(\.name)
      + state.values.parameters.flatMap { named in
        (state.optimizer.memories[ObjectIdentifier(named.parameter)]?.tensors ?? []).map { _ in
          "what the optimiser remembers of \(named.name)"
        }
      }
    let traced = zip(own, names).map { trace.input($0.spec, name: $1) }
    let given = inputs.enumerated().map { trace.input($1, name: "input \($0)") }
    let random = StepRandom(key: trace.input(TensorSpec([], .int64), name: "random key"))
    var known: [[Int]: [Tensor]] = [:]
    var factors: [Factors] = []
    let optimizer = state.optimizer
    optimizer.tracedFactors = { group, step in
      if let tensors = known[[group, step]] { return tensors }
      let parameter =
        state.ids.firstIndex {
          optimizer.memories[$0]?.group == group && optimizer.memories[$0]?.step == step
        } ?? 0
      let count = optimizer.groups[group].rule.factors(step: step).count
      factors.append(Factors(group: group, parameter: parameter, ahead: step - steps[parameter], count: count))
      let tensors = (0..<count).map { _ in trace.input(TensorSpec([], .float64), name: "factor") }
      known[[group, step]] = tensors
      return tensors
    }
    defer {
      optimizer.tracedFactors = nil
      state.assign(own)
      state.steps = steps
      state.values.forgetProducts()
    }
    state.assign(traced)
    let assignments = Assignments()
    let outputs: [Tensor]
    do {
      outputs = try trace.during {
        try Assignments.$current.withValue(assignments) {
          try StepRandom.$current.withValue(random) { try body(given) }
        }
      }
    } catch {
      assignments.takeBack()
      throw error
    }
    let mine = Set((state.values.parameters + state.values.buffers).map { ObjectIdentifier($0.parameter) })
    guard assignments.assigned.allSatisfy({ mine.contains(ObjectIdentifier($0.parameter)) }) else {
      assignments.takeBack()
      throw ToeplitzError(
        .argument, "CompiledStep", expected: "a step that assigns buffers of its model only",
        got: "one that assigns a buffer of another; put both models into one")
    }
    let changed = state.tensors
    let assigned = changed.indices.filter { !changed[$0].isSameView(as: traced[$0]) }
    for index in assigned where changed[index].spec != traced[index].spec {
      throw ToeplitzError(
        .shape, "CompiledStep", expected: "a new value \(traced[index].spec) of '\(names[index])'",
        got: "\(changed[index].spec)")
    }
    updateCounts = zip(state.steps, steps).map { $0 - $1 }
    self.factors = factors
    outputCount = outputs.count
    let graph = try Graph(trace, outputs: outputs + assigned.map { changed[$0] })
    let results = graph.outputs.map(\.value)
    let kept = Array(results.prefix(outputCount))
    let values = zip(assigned, results.dropFirst(outputCount)).map { (state: $0, value: $1) }
    let updates = ParameterUpdates(
      graph, inputs: graph.inputs.prefix(traced.count).map(\.value), assigned: values, kept: Set(kept),
      together: state.owners)
    let others = values.filter { !updates.replaced.contains($0.state) }
    self.assigned = others.map(\.state)
    self.updates = updates
    recording = try Recording(graph.giving(kept + others.map(\.value) + updates.needed))
    memory = KeptMemory(byteCount: recording.program.leastByteCount)
  }

  /// Computes a step and assigns what it changes.
  func run(
    _ state: StepState, _ inputs: [Tensor], key: Int64, observe: ((Graph.Node?, Double) -> Void)?,
    hear: ((Int, Tensor) throws -> Void)?, accepts: (([Tensor]) throws -> Bool)?
  ) throws -> [Tensor] {
    let steps = state.steps
    let numbers = try factors.flatMap { item in
      try state.optimizer.groups[item.group].rule.factors(step: steps[item.parameter] + item.ahead)
        .map { try Tensor(scalar: $0) }
    }
    let results = try recording.run(
      state.tensors + inputs + [Tensor(scalar: key)] + numbers, observe: observe,
      hear: hear.map { hear in { index, tensor in if index < outputCount { try hear(index, tensor) } } })
    let outputs = Array(results.prefix(outputCount))
    guard try accepts?(outputs) ?? true else { return outputs }
    let needed = Array(results.dropFirst(outputCount + assigned.count))
    var tensors = state.tensors
    try state.release()
    defer { state.assign(tensors) }
    try updates.run(&tensors, needed, observe: observe)
    for (index, value) in zip(assigned, results.dropFirst(outputCount)) { tensors[index] = value }
    state.steps = zip(steps, updateCounts).map { $0 + $1 }
    return outputs
  }
}
