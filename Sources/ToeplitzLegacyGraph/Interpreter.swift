import ToeplitzTensor

/// The steps of a graph in order, with what can be forgotten after each.
///
/// One value serves the outermost graph and the bodies of loops and branches.
public struct Program: Sendable {
  /// The graph.
  public let graph: Graph
  private let steps: [Step]
  /// Values that the surrounding graph supplies, with the surrounding graph's numbers.
  public let captures: [(outer: ValueID, inner: ValueID)]

  /// A program of a graph whose values `captures` come from the graph around it.
  public init(_ graph: Graph, captures: [(outer: ValueID, inner: ValueID)] = []) {
    self.graph = graph
    self.captures = captures
    var last: [ValueID: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for value in node.inputs.compactMap({ $0 }) + node.outputs.compactMap({ $0 }) + node.operation.captures {
        last[value] = index
      }
    }
    var dead = [[ValueID]](repeating: [], count: graph.nodes.count)
    let kept = Set(graph.outputs.map(\.value))
    for (value, index) in last where !kept.contains(value) && graph.constantSpec(value) == nil {
      dead[index].append(value)
    }
    steps = zip(graph.nodes, dead).map { Step(graph, $0, dead: $1) }
  }

  /// A node with what is known of its operands.
  ///
  /// An object, because a copy of its references would take as long as a small convolution.
  private final class Step: Sendable {
    /// An operand: a value, or the constant that it is otherwise.
    struct Operand {
      var index: Int
      var stored: Tensor?
      /// Whether the operation takes the constant wherever it lies.
      var isRearranged: Bool
    }

    let name: String
    let operation: any GraphOperation
    let operands: [Operand?]
    let results: [ValueID?]
    let captures: [ValueID]
    /// The operands that nobody needs afterwards, and the results that nobody needs at all.
    let lastUsed: [ValueID]
    let unused: [ValueID]

    init(_ graph: Graph, _ node: Graph.Node, dead: [ValueID]) {
      name = node.name
      operation = node.operation
      let rearranged = node.operation.rearrangedOperands
      operands = node.inputs.enumerated().map { index, input in
        input.map {
          Operand(index: $0.index, stored: graph.values[$0.index].stored, isRearranged: rearranged.contains(index))
        }
      }
      results = node.outputs
      captures = node.operation.captures
      unused = dead.filter { node.outputs.contains($0) }
      lastUsed = dead.filter { !node.outputs.contains($0) }
    }

    /// The operands among the values that there are.
    func operands(_ values: [Tensor?]) -> [Tensor?] {
      operands.map { operand in
        guard let operand else { return nil }
        if let value = values[operand.index] { return value }
        return operand.isRearranged ? operand.stored : try? operand.stored?.aligned()
      }
    }
  }

  /// Computes the outputs.
  ///
  /// - Parameters:
  ///   - inputs: the graph's inputs in order.
  ///   - context: what the surrounding graph supplies.
  ///   - observe: called after each node with its outputs.
  public func run(
    _ inputs: [Tensor], _ context: EvaluationContext = EvaluationContext(),
    observe: ((Int, [Tensor?]) -> Void)? = nil
  ) throws -> [Tensor] {
    var values = [Tensor?](repeating: nil, count: graph.values.count)
    for (port, tensor) in zip(graph.inputs, inputs) { values[port.value.index] = tensor }
    for (outer, inner) in captures { values[inner.index] = context.captured[outer] }
    func look(_ id: ValueID) -> Tensor? { values[id.index] ?? graph.values[id.index].constant }
    for (index, step) in steps.enumerated() {
      var inner = EvaluationContext(depth: context.depth + 1)
      for capture in step.captures { inner.captured[capture] = look(capture) }
      let operands = step.operands(values)
      for value in step.lastUsed { values[value.index] = nil }
      let results = try evaluate(step, operands, inner)
      observe?(index, results)
      for (output, result) in zip(step.results, results) {
        if let output { values[output.index] = result }
      }
      for output in step.results.dropFirst(results.count) {
        guard output == nil else {
          throw ToeplitzError(
            .argument, step.operation.name, expected: "\(step.results.count) results", got: "\(results.count)",
            path: step.name)
        }
      }
      for value in step.unused { values[value.index] = nil }
    }
    return try graph.outputs.map { port in
      guard let tensor = look(port.value) else {
        throw ToeplitzError(.argument, "Graph", expected: "a result for output '\(port.name)'", got: "none")
      }
      return tensor
    }
  }

  private func evaluate(
    _ step: Step, _ operands: consuming [Tensor?], _ context: EvaluationContext
  ) throws -> [Tensor?] {
    guard context.depth <= 64 else {
      throw ToeplitzError(.argument, step.operation.name, expected: "at most 64 nested graphs", got: "more")
    }
    do {
      return try step.operation.evaluate(operands, context)
    } catch let error as ToeplitzError {
      throw step.name.isEmpty ? error : error.inside(step.name)
    }
  }
}
