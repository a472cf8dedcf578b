import ToeplitzCPU
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The ends of a step's graph that change parameters and what is remembered of them, taken out of it.
///
/// They run when all else has been computed, each in one pass over memory, and write over tensors that nobody else holds. So a step
/// needs memory for its parameters once, and nothing has changed as long as something can fail.
struct ParameterUpdates {
  /// What is done with one parameter.
  private struct Update {
    let computation: ElementwiseUpdate
    /// For each operand the number of a tensor of the state, or of a result of the graph.
    var operands: [Operand]
    /// The tensors of the state that its results take the place of.
    let replaced: [Int]
  }
  private enum Operand {
    case state(Int)
    case result(Int)
  }

  private var updates: [Update] = []
  /// The results of the graph that the updates need, in order.
  private(set) var needed: [Int] = []
  /// The tensors of the state that they assign.
  var replaced: Set<Int> { Set(updates.flatMap(\.replaced)) }

  /// Takes updates out of a graph.
  ///
  /// - Parameters:
  ///   - inputs: the values of the state's tensors.
  ///   - assigned: pairs of a tensor of the state and the value that takes its place.
  ///   - kept: other values that the graph has to give.
  ///   - together: for each tensor of the state a number that those share which are changed together.
  init(
    _ graph: Graph, inputs: [Int], assigned: [(state: Int, value: Int)], kept: Set<Int>, together: [Int]
  ) {
    var makers: [Int: Int] = [:]
    var users: [Int: [Int]] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for output in node.outputs { makers[output] = index }
      for input in node.inputs { users[input, default: []].append(index) }
    }
    let states = Dictionary(inputs.enumerated().map { ($1, $0) }) { first, _ in first }
    let wanted = kept.union(assigned.map(\.value))
    for group in Dictionary(grouping: assigned, by: { together[$0.state] }).sorted(by: { $0.key < $1.key }) {
      let ends = group.value
      let spec = graph.specs[inputs[ends[0].state]]
      guard spec.dtype == .float32, ends.allSatisfy({ graph.specs[$0.value] == spec && makers[$0.value] != nil }),
        Set(ends.map(\.value)).count == ends.count, !ends.contains(where: { kept.contains($0.value) })
      else { continue }
      // Makers of operands, as long as nobody else wants what they make.
      var members = Set(ends.compactMap { makers[$0.value] })
      let values = Set(ends.map(\.value))
      guard members.count == ends.count, members.allSatisfy({ Self.isElementwise(graph, graph.nodes[$0], spec) }) else {
        continue
      }
      var open = members.sorted()
      while let next = open.popLast() {
        for input in graph.nodes[next].inputs {
          guard let maker = makers[input], !members.contains(maker), !wanted.contains(input),
            members.count < ElementwiseUpdate.mostSteps, graph.specs[input] == spec,
            users[input, default: []].allSatisfy(members.contains),
            Self.isElementwise(graph, graph.nodes[maker], spec)
          else { continue }
          members.insert(maker)
          open.append(maker)
          // What was passed over because of this one may belong to them now.
          open += members.filter { graph.nodes[$0].inputs.contains { users[$0, default: []].contains(maker) } }
        }
      }
      // What is assigned may be used by other nodes of these alone.
      guard values.allSatisfy({ users[$0, default: []].allSatisfy(members.contains) }) else { continue }
      add(graph, members.sorted(), ends, states, of: assigned)
    }
  }

  private static func isElementwise(_ graph: Graph, _ node: Graph.Node, _ spec: TensorSpec) -> Bool {
    node.outputs.count == 1 && graph.specs[node.outputs[0]] == spec
      && node.inputs.allSatisfy {
        let operand = graph.specs[$0]
        return operand.dtype == .float32 && (operand == spec || operand.shape.reduce(1, *) == 1)
      }
      && ElementwiseUpdate(
        [(node.operation, node.inputs.indices.map { .operand($0) })], operands: node.inputs.map { graph.specs[$0] },
        results: [.init(step: 0, replaces: node.inputs.firstIndex { graph.specs[$0] == spec } ?? 0)]) != nil
  }

  private mutating func add(
    _ graph: Graph, _ members: [Int], _ ends: [(state: Int, value: Int)], _ states: [Int: Int],
    of assigned: [(state: Int, value: Int)]
  ) {
    var values: [Int] = []
    var made: [Int: Int] = [:]
    var operations: [(operation: any TensorOperation, sources: [ElementwiseUpdate.Source])] = []
    func operand(_ value: Int) -> Int {
      if let known = values.firstIndex(of: value) { return known }
      values.append(value)
      return values.count - 1
    }
    for member in members {
      let node = graph.nodes[member]
      let sources = node.inputs.map { value -> ElementwiseUpdate.Source in
        made[value].map { .step($0) } ?? .operand(operand(value))
      }
      made[node.outputs[0]] = operations.count
      operations.append((node.operation, sources))
    }
    let inverse = Dictionary(states.map { ($1, $0) }) { first, _ in first }
    let results = ends.compactMap { end -> ElementwiseUpdate.Result? in
      guard let step = made[end.value], let value = inverse[end.state] else { return nil }
      return ElementwiseUpdate.Result(step: step, replaces: operand(value))
    }
    guard results.count == ends.count,
      let computation = ElementwiseUpdate(
        operations, operands: values.map { graph.specs[$0] }, results: results)
    else { return }
    // None may read what another one changes.
    let changed = Set(assigned.map(\.state)).subtracting(ends.map(\.state))
    guard values.allSatisfy({ states[$0].map { !changed.contains($0) } ?? true }) else { return }
    let operands = values.map { value -> Operand in
      if let state = states[value] { return .state(state) }
      if !needed.contains(value) { needed.append(value) }
      return .result(needed.firstIndex(of: value) ?? 0)
    }
    updates.append(Update(computation: computation, operands: operands, replaced: ends.map(\.state)))
  }

  /// Changes tensors of the state.
  ///
  /// - Parameters:
  ///   - state: which must be all that holds its tensors, for these to be written over.
  ///   - results: those that are ``needed``.
  ///   - observe: hears of the seconds that it takes.
  /// - Throws: ``ToeplitzError`` of kind `memory` where tensors that others hold cannot be replaced; nothing has changed then.
  func run(_ state: inout [Tensor], _ results: [Tensor], observe: ((Graph.Node?, Double) -> Void)?) throws {
    let start = ContinuousClock.now
    defer { observe?(nil, (.now - start) / .seconds(1)) }
    let none = try Tensor.zeros([])
    func take(_ update: Update) -> [Tensor] {
      update.operands.map { operand in
        switch operand {
        case .state(let index): exchange(&state[index], none)
        case .result(let index): results[index]
        }
      }
    }
    func put(_ operands: [Tensor], of update: Update) {
      for (operand, tensor) in zip(update.operands, operands) {
        if case .state(let index) = operand { state[index] = tensor }
      }
    }
    // What takes memory may fail, so it comes first, and is assigned last.
    var fresh: [(update: Update, made: [Tensor])] = []
    var inPlace: [Update] = []
    for update in updates {
      var operands = take(update)
      if update.computation.isInPlace(&operands) {
        inPlace.append(update)
        put(operands, of: update)
      } else {
        let held = operands
        defer { put(held, of: update) }
        fresh.append((update, try update.computation.run(&operands)))
      }
    }
    for update in inPlace {
      var operands = take(update)
      let made = try update.computation.run(&operands)
      put(operands, of: update)
      for (index, tensor) in zip(update.replaced, made) { state[index] = tensor }
    }
    for (update, made) in fresh {
      for (index, tensor) in zip(update.replaced, made) { state[index] = tensor }
    }
  }

  private func exchange(_ tensor: inout Tensor, _ other: Tensor) -> Tensor {
    defer { tensor = other }
    return tensor
  }
}
