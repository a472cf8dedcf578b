import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Leaves out the taps of convolutions that read nothing but padding, such as those of a 3 × 3 kernel whose dilation is larger
/// than the image.
enum UnreachedTaps {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], var parts = ConvolutionNode(node),
        let (trimmed, kept) = trimmed(parts, rewriter.graph.specs[node.inputs[0]].shape),
        var weight = rewriter.constant(node.inputs[1]), weight.rank == trimmed.operation.geometry.rank + 2
      else { continue }
      // Views, which copy nothing.
      for (axis, range) in kept.enumerated() {
        guard let part = folded.result(Slice(axis: axis + 2, range: range, step: 1), weight) else { continue }
        weight = part
      }
      guard weight.shape == trimmed.operation.geometry.weightShape else { continue }
      parts = trimmed
      parts.weight = rewriter.graph.constant(weight)
      var changed = node
      (changed.operation, changed.inputs) = (parts.completed, parts.inputs)
      guard let specs = try? parts.completed.infer(changed.inputs.map({ rewriter.graph.specs[$0] })),
        specs[0] == rewriter.graph.specs[node.outputs[0]]
      else { continue }
      rewriter.replace(index, by: changed)
    }
    return rewriter.finished
  }

  /// The convolution without its first and last taps on each axis, as far as no output needs them, and the taps that are left.
  private static func trimmed(
    _ parts: ConvolutionNode, _ input: TensorShape
  ) -> (ConvolutionNode, [Range<Int>])? {
    let g = parts.operation.geometry
    guard !g.isTransposed, g.paddingMode == .zeros, parts.operation.layout == .channelsFirst, input.rank > g.rank else {
      return nil
    }
    let sizes = Array(input.suffix(g.rank))
    var kept: [Range<Int>] = []
    var pads: [(low: Int, high: Int)] = []
    for axis in 0..<g.rank {
      guard let length = try? g.outputLength(axis: axis, sizes[axis]), length > 0 else { return nil }
      let reached = (0..<g.kernelSize[axis]).filter { tap in
        let first = tap * g.dilation[axis] - g.paddingLow[axis]
        return first < sizes[axis] && first + (length - 1) * g.stride[axis] >= 0
      }
      guard let first = reached.first, let last = reached.last else { return nil }
      kept.append(first..<(last + 1))
      pads.append(
        (
          low: g.paddingLow[axis] - first * g.dilation[axis],
          high: g.paddingHigh[axis] - (g.kernelSize[axis] - 1 - last) * g.dilation[axis]
        ))
    }
    guard zip(kept, g.kernelSize).contains(where: { $0.count < $1 }), pads.allSatisfy({ $0.low >= 0 && $0.high >= 0 }),
      let geometry = try? ConvolutionGeometry(
        rank: g.rank, inChannels: g.inChannels, outChannels: g.outChannels, kernelSize: PerAxis(kept.map(\.count)),
        stride: PerAxis(g.stride), padding: .asymmetric(pads), dilation: PerAxis(g.dilation), groups: g.groups)
    else { return nil }
    var result = parts
    result.operation.geometry = geometry
    return (result, kept)
  }
}
