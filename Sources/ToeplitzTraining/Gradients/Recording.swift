import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A recorded computation with its derivatives, as it is computed once.
struct Recording {
  /// What it computes for its inputs.
  let program: any Program
  private let graph: Graph

  /// What a trace has recorded for some of its values.
  init(_ trace: Trace, outputs: [Tensor]) throws {
    let ports = try outputs.map { Graph.Port(name: "", value: try trace.id(of: $0)) }
    var graph = Graph(trace.close(), outputs: ports)
    graph.removeDeadNodes()
    graph.mergeEqualNodes()
    graph.removeDeadNodes()
    self.graph = graph
    program = try lower(graph, FoldedConstants())
  }

  /// The outputs for inputs in their order.
  ///
  /// - Parameter observe: hears of each operation, with the seconds that it took.
  func run(_ inputs: [Tensor], observe: ((Graph.Node, Double) -> Void)? = nil) throws -> [Tensor] {
    let inputs = try inputs.map { try $0.aligned() }
    guard let observe else { return try program.run(inputs, observe: nil) }
    var last = ContinuousClock.now
    return try program.run(inputs) { step, _ in
      let now = ContinuousClock.now
      observe(program.graph.nodes[step], (now - last) / .seconds(1))
      last = .now
    }
  }

  /// The first operation that gives NaN or an infinity, with the layer that it belongs to; nil if none does.
  func firstNonFinite(_ inputs: [Tensor]) throws -> (operation: String, path: String)? {
    var found: (String, String)?
    let plain = try lower(graph, FoldedConstants(), optimizes: false)
    struct Found: Error {}
    do {
      _ = try plain.run(inputs.map { try $0.aligned() }) { step, results in
        guard try results.contains(where: { try $0.hasNonFinite() }) else { return }
        let node = plain.graph.nodes[step]
        found = (node.operation.name, node.path)
        throw Found()
      }
    } catch is Found {}
    return found
  }
}
