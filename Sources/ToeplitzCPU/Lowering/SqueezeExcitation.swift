import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The channels of an image multiplied by what two pointwise convolutions make of their means (Hu, Shen, Sun 2018,
/// "Squeeze-and-Excitation Networks").
///
/// Inputs are x `[N, C, H, W]`, then the weight of each convolution and, where it has one, its bias. The bits are those of one
/// operation after the other.
struct SqueezeExcitation: TensorOperation {
  /// The convolutions in order, with their activations.
  let stages: [ConvolutionStage]
  /// Whether the result may take the memory of x.
  var overwrites = false
  /// What the last call prepared of weights and biases.
  let prepared = KeptValue<[PreparedLinearMap]>()

  init(_ stages: [ConvolutionStage]) { self.stages = stages }

  /// Whether it can hold a convolution.
  static func supports(_ parts: ConvolutionNode) -> Bool {
    let operation = parts.operation
    return SeparableConvolution.isPointwise(operation.geometry) && operation.layout == .channelsFirst
      && operation.weightStorage == .full && operation.epilogue.inputSlope == 1 && operation.geometry.inChannels > 0
      && parts.factors == nil && parts.residuals.isEmpty
  }

  var name: String { "SqueezeExcitation" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: stages.reduce(1) { $0 + $1.weightCount })
    let shape = inputs[0].shape
    try require(shape.rank == 4, expected: "an image [N, C, H, W]", got: "shape \(shape)")
    try require(inputs[0].dtype == .float32, .dtype, expected: "float32", got: "\(inputs[0].dtype)")
    var passing = TensorSpec([shape[0], shape[1], 1, 1], inputs[0].dtype)
    try forEachStage(inputs) { stage, operands in passing = try stage.operation.infer([passing] + operands)[0] }
    try require(passing.shape[1] == shape[1], expected: "a factor for each of \(shape[1]) channels", got: "\(passing)")
    return [inputs[0]]
  }

  /// Calls `body` with each convolution and its weights.
  func forEachStage<T>(_ inputs: [T], _ body: (ConvolutionStage, ArraySlice<T>) throws -> Void) rethrows {
    var next = 1
    for stage in stages {
      try body(stage, inputs[next..<(next + stage.weightCount)])
      next += stage.weightCount
    }
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension SqueezeExcitation: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    stages.reduce(0) { $0 + inputs[0].shape[0] * $1.operation.geometry.inChannels * $1.operation.geometry.outChannels }
  }
}

/// Finds images whose channels are multiplied by what two pointwise convolutions make of their means.
enum SqueezeExcitations {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.arithmetic == .multiply else { continue }
      if !join(index, node, x: node.inputs[0], factors: node.inputs[1], &rewriter) {
        _ = join(index, node, x: node.inputs[1], factors: node.inputs[0], &rewriter)
      }
    }
    return rewriter.finished
  }

  private static func join(
    _ index: Int, _ node: Graph.Node, x: Int, factors: Int, _ rewriter: inout GraphRewriter
  ) -> Bool {
    var (value, nodes): (Int, [Int]) = (factors, [])
    var parts: [ConvolutionNode] = []
    for _ in 0..<2 {
      guard let at = rewriter.soleMaker(value), let found = ConvolutionNode(rewriter.nodes[at]),
        SqueezeExcitation.supports(found)
      else { return false }
      parts.insert(found, at: 0)
      nodes.insert(at, at: 0)
      value = found.x
    }
    guard let at = rewriter.soleMaker(value), let mean = rewriter.nodes[at],
      let reduction = mean.operation as? Reduction,
      reduction.function == .mean, reduction.keepsAxes, mean.inputs[0] == x,
      (try? reduction.reduced(rewriter.graph.specs[x].shape)) == [2, 3]
    else { return false }
    let operation = SqueezeExcitation(parts.map(\.stage))
    let operands = [x] + parts.flatMap(\.weights)
    guard let result = try? operation.infer(operands.map { rewriter.graph.specs[$0] }),
      result[0] == rewriter.graph.specs[node.outputs[0]]
    else { return false }
    nodes.insert(at, at: 0)
    let history = nodes.flatMap { rewriter.nodes[$0]?.history ?? [] } + node.history
    for place in nodes { rewriter.replace(place, by: nil) }
    rewriter.replace(
      index, by: Graph.Node(operation, inputs: operands, outputs: node.outputs, path: mean.path, fused: history))
    return true
  }
}
