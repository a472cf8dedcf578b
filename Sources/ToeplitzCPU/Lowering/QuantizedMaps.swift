import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Lets convolutions of codes apply functions of their results (activations between codes, for example), which are tables of
/// 256 bytes, to what they have just written.
enum QuantizedMaps {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    guard graph.nodes.contains(where: { $0.operation is QuantizedConvolution }) else { return graph }
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], let chain = node.operation as? ElementwiseChain else { continue }
      join(index, node, chain, &rewriter)
    }
    return rewriter.finished
  }

  private static func join(
    _ index: Int, _ node: Graph.Node, _ chain: ElementwiseChain, _ rewriter: inout GraphRewriter
  ) {
    let specs = rewriter.graph.specs
    let bytes: [DType] = [.uint8, .int8]
    let wide = node.inputs.indices.filter { rewriter.constant(node.inputs[$0])?.count != 1 }
    guard wide.count == 1, let operand = wide.first, bytes.contains(chain.types[operand]),
      specs[node.inputs[operand]].shape == specs[node.outputs[0]].shape, bytes.contains(specs[node.outputs[0]].dtype),
      let at = rewriter.soleMaker(node.inputs[operand]), let maker = rewriter.nodes[at],
      var convolution = maker.operation as? QuantizedConvolution, !convolution.givesSums, convolution.map == nil
    else { return }
    convolution.map = QuantizedConvolution.ByteMap(chain: chain, operand: operand)
    var others = node.inputs
    others.remove(at: operand)
    rewriter.replace(at, by: nil)
    rewriter.replace(
      index,
      by: Graph.Node(
        convolution, inputs: maker.inputs + others, outputs: node.outputs, path: maker.path,
        fused: maker.history + node.history))
  }
}
