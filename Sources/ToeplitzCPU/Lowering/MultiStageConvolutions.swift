import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Finds residual units, `x + second(leaky(first(leaky(x))))`, among convolutions into which everything else was fused.
enum ResidualUnits {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], let second = ConvolutionNode(node), isPlain(second, rewriter),
        let at = rewriter.soleMaker(second.x), let before = rewriter.nodes[at], let first = ConvolutionNode(before),
        isPlain(first, rewriter), first.residuals.isEmpty, second.residuals.contains(first.x)
      else { continue }
      let (one, two) = (first.operation.epilogue, second.operation.epilogue)
      // One rectifier may stand between them, on either side.
      guard one.outputScale == 1, one.activation == nil, one.outputSlope == 1 || two.inputSlope == 1 else { continue }
      var others = second.residuals
      if let own = others.firstIndex(of: first.x) { others.remove(at: own) }
      var unit = ResidualUnit(
        first.operation.geometry, second.operation.geometry, hasBias: (first.bias != nil, second.bias != nil),
        inputSlope: one.inputSlope, middleSlope: one.outputSlope == 1 ? two.inputSlope : one.outputSlope)
      unit.hasExtra = !others.isEmpty
      unit.stages.first.operation.weightStorage = first.operation.weightStorage
      unit.stages.second.operation.weightStorage = second.operation.weightStorage
      unit.stages.first.operation.hasWeightFactors = first.factors != nil
      unit.stages.second.operation.hasWeightFactors = second.factors != nil
      unit.stages.second.operation.epilogue.outputScale = two.outputScale
      unit.stages.second.operation.epilogue.outputSlope = two.outputSlope
      unit.stages.second.operation.epilogue.activation = two.activation
      let inputs = [first.x] + first.weights + second.weights + others
      guard (try? unit.infer(inputs.map { rewriter.graph.specs[$0] })) != nil else { continue }
      rewriter.replace(at, by: nil)
      rewriter.replace(
        index,
        by: Graph.Node(
          unit, inputs: inputs, outputs: node.outputs, path: node.path,
          fused: before.fused + [before.operation.name] + node.fused))
    }
    return rewriter.finished
  }

  /// Whether it is a one-dimensional convolution of constant weights.
  private static func isPlain(_ parts: ConvolutionNode, _ rewriter: GraphRewriter) -> Bool {
    parts.operation.geometry.rank == 1 && !parts.operation.geometry.isTransposed
      && parts.operation.layout == .channelsFirst && rewriter.constant(parts.weight) != nil
  }
}

/// Finds pointwise convolutions of images after depthwise ones, and pointwise ones before these, among convolutions into
/// which everything else was fused.
enum SeparableConvolutions {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], let last = stage(node, rewriter),
        let at = rewriter.soleMaker(last.x), let middle = rewriter.nodes[at], let depthwise = stage(middle, rewriter),
        endsPlainly(depthwise)
      else { continue }
      var parts = [depthwise, last]
      var places = [at]
      guard pays(parts, rewriter) else { continue }
      if let first = rewriter.soleMaker(depthwise.x), let before = rewriter.nodes[first],
        let expansion = stage(before, rewriter), endsPlainly(expansion),
        SeparableConvolution.supports(([expansion] + parts).map(\.operation.geometry)),
        pays([expansion] + parts, rewriter)
      {
        parts.insert(expansion, at: 0)
        places.insert(first, at: 0)
      }
      guard SeparableConvolution.supports(parts.map(\.operation.geometry)) else { continue }
      let all = SeparableConvolution(parts.map(\.stage))
      let inputs = [parts[0].x] + parts.flatMap(\.weights) + last.residuals
      guard (try? all.infer(inputs.map { rewriter.graph.specs[$0] })) != nil else { continue }
      let fused = places.flatMap { place in
        rewriter.nodes[place].map { $0.fused + [$0.operation.name] } ?? []
      }
      for place in places { rewriter.replace(place, by: nil) }
      rewriter.replace(
        index,
        by: Graph.Node(all, inputs: inputs, outputs: node.outputs, path: node.path, fused: fused + node.fused))
    }
    return rewriter.finished
  }

  /// What a convolution of a batch of images is that takes its input as it is and whose weights are known.
  private static func stage(_ node: Graph.Node, _ rewriter: GraphRewriter) -> ConvolutionNode? {
    guard let parts = ConvolutionNode(node), parts.operation.epilogue.inputSlope == 1,
      // What is packed once has to stay.
      parts.operation.layout == .channelsFirst, parts.weights.allSatisfy({ rewriter.constant($0) != nil }),
      rewriter.graph.specs[parts.x].shape.rank == 4
    else { return nil }
    return parts
  }

  /// Whether the memory that need not be written and read again outweighs the tiles, which are smaller than those of one
  /// convolution after the other and take about a quarter longer: measured on networks from 16 to 728 channels.
  private static func pays(_ parts: [ConvolutionNode], _ rewriter: GraphRewriter) -> Bool {
    var (bytes, multiplyAdds) = (0, 0)
    for (index, part) in parts.enumerated() {
      let specs = part.inputs.map { rewriter.graph.specs[$0] }
      multiplyAdds += (try? part.completed.multiplyAdds(specs)) ?? 0
      if index > 0 { bytes += 8 * specs[0].shape.reduce(1, *) }
    }
    // A byte takes as long as six floating-point operations.
    return multiplyAdds < 12 * bytes
  }

  /// Whether nothing is added to the result of a convolution, nor is it scaled.
  private static func endsPlainly(_ parts: ConvolutionNode) -> Bool {
    parts.residuals.isEmpty && parts.operation.epilogue.outputScale == 1
  }
}
