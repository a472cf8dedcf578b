import ToeplitzGraph
import ToeplitzOps

/// Joins sums, products and means of dequantised codes with the quantisation of their results.
enum QuantizedFunctions {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is Quantize, isByWhole(node, rewriter) else { continue }
      join(index, node, &rewriter)
    }
    return rewriter.finished
  }

  /// Whether a conversion is by one scale and one zero point, which are constant, between bytes and float32.
  private static func isByWhole(_ node: Graph.Node, _ rewriter: GraphRewriter) -> Bool {
    let specs = rewriter.graph.specs
    let (codes, numbers) =
      node.operation is Quantize ? (node.outputs[0], node.inputs[0]) : (node.inputs[0], node.outputs[0])
    return node.inputs[1...].allSatisfy { rewriter.constant($0)?.count == 1 }
      && [.uint8, .int8].contains(specs[codes].dtype) && specs[numbers].dtype == .float32
      && specs[node.inputs[1]].dtype == .float32
  }

  private static func join(_ index: Int, _ quantizer: Graph.Node, _ rewriter: inout GraphRewriter) {
    let (value, epilogue, fused) = QuantizedNetworks.bounded(quantizer.inputs[0], rewriter)
    guard let at = rewriter.soleMaker(value), let node = rewriter.nodes[at] else { return }
    let sources = node.inputs.compactMap { QuantizedNetworks.codes($0, rewriter) }.filter { isByWhole($0, rewriter) }
    guard sources.count == node.inputs.count else { return }
    let operation: any TensorOperation
    switch node.operation {
    case let binary as Binary where binary.function == .add:
      operation = QuantizedArithmetic(.sum, epilogue: epilogue)
    case let binary as Binary where binary.function == .multiply:
      operation = QuantizedArithmetic(.product, epilogue: epilogue)
    case let reduction as Reduction where fused.isEmpty:
      guard let mean = QuantizedMean(reduction, of: rewriter.graph.specs[sources[0].inputs[0]].shape) else { return }
      operation = mean
    default: return
    }
    let operands = sources.map { $0.inputs[0] } + sources.flatMap { $0.inputs[1...] } + quantizer.inputs[1...]
    guard let spec = try? operation.infer(operands.map { rewriter.graph.specs[$0] }),
      spec[0] == rewriter.graph.specs[quantizer.outputs[0]]
    else { return }
    let names = ([at] + fused).compactMap { rewriter.nodes[$0]?.operation.name } + ["quantize"]
    for place in [at] + fused { rewriter.replace(place, by: nil) }
    rewriter.replace(
      index, by: Graph.Node(operation, inputs: operands, outputs: quantizer.outputs, path: node.path, fused: names))
  }
}
