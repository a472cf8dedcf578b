import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Makes matrix products with a constant on the right linear maps of the last axis, whose weights are packed once.
enum ConstantProducts {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let (node, matrix) = rewriter.productWithConstant(index),
        let operation = try? linearMap(from: matrix.shape[0], to: matrix.shape[1]),
        let weight = folded.transposed(matrix)
      else { continue }
      let value = rewriter.graph.constant(weight)
      rewriter.replace(
        index,
        by: Graph.Node(
          operation, inputs: [node.inputs[0], value], outputs: node.outputs, path: node.path, fused: node.fused))
    }
    return rewriter.finished
  }
}

extension GraphRewriter {
  /// The node at an index and its right operand, if it multiplies rows by a constant matrix.
  fileprivate func productWithConstant(_ index: Int) -> (node: Graph.Node, matrix: Tensor)? {
    guard let node = nodes[index], multipliesByConstant(node), let matrix = constant(node.inputs[1]) else { return nil }
    return (node, matrix)
  }

  /// Whether a node multiplies rows by a constant matrix.
  func multipliesByConstant(_ node: Graph.Node) -> Bool {
    guard node.operation is MatrixMultiply, let matrix = constant(node.inputs[1]) else { return false }
    return matrix.rank == 2 && matrix.count > 0 && graph.specs[node.inputs[0]].shape.rank >= 2
  }
}

extension FoldedConstants {
  /// A matrix `[K, N]` as `[N, K]`: a view, which copies nothing.
  func transposed(_ matrix: Tensor) -> Tensor? { result(Permute(order: [1, 0]), matrix) }
}
