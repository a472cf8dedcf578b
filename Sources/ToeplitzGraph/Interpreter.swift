import ToeplitzTensor

/// The steps of a graph in order, with what can be forgotten after each.
///
/// One value serves the outermost graph and the bodies of loops and branches.
public struct Program: Sendable {
  /// The graph.
  public let graph: Graph
  /// For each node the values that nobody needs after it.
  private let dead: [[ValueID]]
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
    self.dead = dead
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
    for (index, node) in graph.nodes.enumerated() {
      var inner = EvaluationContext(depth: context.depth + 1)
      for capture in node.operation.captures { inner.captured[capture] = look(capture) }
      let rearranged = node.operation.rearrangedOperands
      let operands = node.inputs.enumerated().map { index, input -> Tensor? in
        guard let input, rearranged.contains(index), values[input.index] == nil else {
          return input.flatMap(look)
        }
        return graph.values[input.index].stored
      }
      // Operands that die here are handed over, so that an operation that holds the only reference may write in place.
      let results = try evaluate(node, operands, inner)
      observe?(index, results)
      for (output, result) in zip(node.outputs, results) {
        if let output { values[output.index] = result }
      }
      for output in node.outputs.dropFirst(results.count) {
        guard output == nil else {
          throw ToeplitzError(
            .argument, node.operation.name, expected: "\(node.outputs.count) results", got: "\(results.count)",
            path: node.name)
        }
      }
      for value in dead[index] { values[value.index] = nil }
    }
    return try graph.outputs.map { port in
      guard let tensor = look(port.value) else {
        throw ToeplitzError(.argument, "Graph", expected: "a result for output '\(port.name)'", got: "none")
      }
      return tensor
    }
  }

  private func evaluate(_ node: Graph.Node, _ operands: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    guard context.depth <= 64 else {
      throw ToeplitzError(.argument, node.operation.name, expected: "at most 64 nested graphs", got: "more")
    }
    do {
      return try node.operation.evaluate(operands, context)
    } catch let error as ToeplitzError {
      throw node.name.isEmpty ? error : error.inside(node.name)
    }
  }
}
