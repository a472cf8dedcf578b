import ToeplitzCPU
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A recorded computation with its derivatives, as it is computed once.
struct Recording {
  /// What it computes for its inputs.
  let program: any Program
  private let graph: Graph
  /// Which outputs a step of the program makes: by its number, pairs of result and output.
  private let made: [Int: [(result: Int, output: Int)]]

  /// What a trace has recorded for some of its values.
  init(_ trace: Trace, outputs: [Tensor]) throws { try self.init(Graph(trace, outputs: outputs)) }

  /// A graph without equal nodes.
  init(_ graph: Graph) throws {
    self.graph = graph
    program = try lower(graph, FoldedConstants())
    let wanted = Dictionary(grouping: program.graph.outputs.indices) { [program] in program.graph.outputs[$0].value }
    made = program.graph.nodes.enumerated().reduce(into: [:]) { found, step in
      for (result, value) in step.element.outputs.enumerated() {
        for output in wanted[value] ?? [] { found[step.offset, default: []].append((result, output)) }
      }
    }
  }

  /// The outputs for inputs in their order.
  ///
  /// - Parameters:
  ///   - observe: hears of each operation, with the seconds that it took.
  ///   - hear: gets each output, with its number, as soon as it is computed; not those that are inputs or constants.
  func run(
    _ inputs: [Tensor], observe: ((Graph.Node?, Double) -> Void)? = nil, hear: ((Int, Tensor) throws -> Void)? = nil
  ) throws -> [Tensor] {
    let inputs = try inputs.map { try $0.aligned() }
    return try WeightUse.$isTransient.withValue(true) {
      guard observe != nil || hear != nil else { return try program.run(inputs, observe: nil) }
      var last = ContinuousClock.now
      return try program.run(inputs) { step, results in
        let now = ContinuousClock.now
        observe?(program.graph.nodes[step], (now - last) / .seconds(1))
        for (result, output) in hear == nil ? [] : made[step] ?? [] { try hear?(output, results[result]) }
        last = .now
      }
    }
  }

  /// The first operation that gives NaN or an infinity, with the layer that it belongs to; nil if none does.
  func firstNonFinite(_ inputs: [Tensor]) throws -> (operation: String, path: String)? {
    var found: (String, String)?
    let plain = try lower(graph, FoldedConstants(), .nodeByNode)
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

extension Graph {
  /// What a trace has recorded for some of its values, equal nodes once.
  init(_ trace: Trace, outputs: [Tensor]) throws {
    let ports = try outputs.map { Graph.Port(name: "", value: try trace.id(of: $0)) }
    self.init(trace.close(), outputs: ports)
    removeDeadNodes()
    mergeEqualNodes()
    removeDeadNodes()
  }

  /// The same operations for other results.
  func giving(_ values: [Int]) -> Graph {
    var graph = self
    graph.outputs = values.map { Graph.Port(name: "", value: $0) }
    graph.removeDeadNodes()
    return graph
  }
}
