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
        // A view, which copies nothing.
        let weight = folded.result(Permute(order: [1, 0]), matrix)
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

/// Finds products of bytes, widened to int32 and less a zero point, with constant matrices of small numbers.
enum IntegerProducts {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let (node, matrix) = rewriter.productWithConstant(index),
        rewriter.graph.specs[node.outputs[0]].dtype == .int32, let left = bytes(node.inputs[0], &rewriter),
        let weight = int8(matrix, folded),
        let geometry = try? ConvolutionGeometry(
          rank: 1, inChannels: matrix.shape[0], outChannels: matrix.shape[1], kernelSize: 1)
      else { continue }
      let operation = IntegerProduct(geometry: geometry)
      let inputs = [left.x, left.zero, rewriter.graph.constant(weight)]
      guard let spec = try? operation.infer(inputs.map { rewriter.graph.specs[$0] }),
        spec[0] == rewriter.graph.specs[node.outputs[0]]
      else { continue }
      rewriter.replace(
        index,
        by: Graph.Node(
          operation, inputs: inputs, outputs: node.outputs, path: node.path, fused: ["subtract"] + node.history))
    }
    return rewriter.finished
  }

  /// The bytes and the zero point that an int32 value is made of.
  private static func bytes(_ value: Int, _ rewriter: inout GraphRewriter) -> (x: Int, zero: Int)? {
    func widened(_ value: Int) -> Int? {
      guard let at = rewriter.maker(value), let node = rewriter.nodes[at], node.inputs.count == 1,
        [.uint8, .int8].contains(rewriter.graph.specs[node.inputs[0]].dtype), node.operation.name == "cast"
      else { return nil }
      return node.inputs[0]
    }
    if let x = widened(value), let zero = try? Tensor(scalar: Int32(0)) { return (x, rewriter.graph.constant(zero)) }
    guard let at = rewriter.maker(value), let node = rewriter.nodes[at], node.arithmetic == .subtract,
      let x = widened(node.inputs[0]), rewriter.graph.specs[node.inputs[1]].shape.reduce(1, *) == 1
    else { return nil }
    return (x, node.inputs[1])
  }

  /// A matrix `[K, N]` as int8 `[N, K]`, if its numbers are so small.
  private static func int8(_ matrix: Tensor, _ folded: FoldedConstants) -> Tensor? {
    guard let numbers = try? matrix.scalars(Int32.self), numbers.allSatisfy({ (-128...127).contains($0) }) else {
      return nil
    }
    // Kept with the matrix, so that it is packed once for all signatures.
    return folded.result(Cast(dtype: .int8), matrix).flatMap { folded.result(Permute(order: [1, 0]), $0) }
  }
}

extension GraphRewriter {
  /// The node at an index and its right operand, if it multiplies rows by a constant matrix.
  fileprivate func productWithConstant(_ index: Int) -> (node: Graph.Node, matrix: Tensor)? {
    guard let node = nodes[index], node.operation is MatrixMultiply, let matrix = constant(node.inputs[1]),
      matrix.rank == 2, matrix.count > 0, graph.specs[node.inputs[0]].shape.rank >= 2
    else { return nil }
    return (node, matrix)
  }
}
