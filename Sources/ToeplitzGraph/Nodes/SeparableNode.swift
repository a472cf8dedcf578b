import ToeplitzOps
import ToeplitzTensor

/// A depthwise convolution of images and the pointwise one after it, which compilation has found.
///
/// Operands are x, weight and bias of the first, weight and bias of the second, and up to two residuals; biases and
/// residuals may be missing.
struct SeparableNode: GraphOperation {
  /// The convolutions, with what was joined to them.
  var first: ConvolutionNode
  var second: ConvolutionNode

  var name: String { "SeparableConv" }

  /// The weights.
  var rearrangedOperands: [Int] { [1, 3] }

  func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    func operand(_ index: Int) -> Tensor? { index < inputs.count ? inputs[index] : nil }
    let x = try operand(0).required(name, 0)
    let weights = (try operand(1).required(name, 1), try operand(3).required(name, 3))
    let biases = (operand(2), operand(4))
    let residuals = inputs.dropFirst(5).compactMap { $0 }
    if let one = try first.operation(x.shape, weights.0.shape, residuals: []), one.geometry.rank == 2, x.rank == 4 {
      let size = try one.geometry.outputSize([x.shape[2], x.shape[3]])
      let middle = Shape([x.shape[0], one.geometry.outChannels] + size)
      if let two = try second.operation(middle, weights.1.shape, residuals: residuals),
        SeparableConvolution.supports(one.geometry, two.geometry)
      {
        let result = TensorSpec(Shape([x.shape[0], two.geometry.outChannels] + size), x.dtype)
        if residuals.allSatisfy({ $0.spec == result }) {
          let both = SeparableConvolution(one, two, hasBias: (biases.0 != nil, biases.1 != nil))
          defer {
            first.forgetPages(weights.0)
            second.forgetPages(weights.1)
          }
          return [try applyAll(both, [x, weights.0, biases.0, weights.1, biases.1].compactMap { $0 })[0]]
        }
      }
    }
    let middle = try first.evaluate([x, weights.0, biases.0], context)
    return try second.evaluate(middle + [weights.1, biases.1] + residuals, context)
  }

  /// The multiply-adds of both convolutions for operands of these shapes.
  func multiplyAdds(_ x: Shape, _ weight: Shape, _ secondWeight: Shape) throws -> Int {
    let one = try first.geometry(x, weight).0
    let inner = Array(x.dropFirst(2))
    let size = try one.outputSize(inner)
    let two = try second.geometry(Shape([x[0], one.outChannels] + size), secondWeight).0
    return try (one.multiplyAdds(inputSize: inner) + two.multiplyAdds(inputSize: size)) * x[0]
  }
}

/// Finds pointwise convolutions after depthwise ones among convolutions to which everything else has been joined.
enum SeparableConvolutions {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var editor = GraphEditor(graph)
    for index in editor.nodes.indices {
      guard let node = editor.nodes[index], let second = node.operation as? ConvolutionNode, !second.isTransposed,
        second.groups == 1, second.inputSlope == 1, let at = editor.soleMaker(node.inputs[0]),
        let before = editor.nodes[at], let first = before.operation as? ConvolutionNode, !first.isTransposed,
        first.groups > 1, first.inputSlope == 1, first.outputScale == 1, before.inputs.count <= 3,
        let weight = graph.constantSpec(before.inputs[1])?.shape, weight.rank == 4, weight[0] == first.groups,
        weight[1] == 1, weight[2] > 1, let pointwise = graph.constantSpec(node.inputs[1])?.shape, pointwise.rank == 4,
        pointwise[2] == 1, pointwise[3] == 1
      else { continue }
      func input(_ node: Graph.Node, _ index: Int) -> ValueID? { index < node.inputs.count ? node.inputs[index] : nil }
      var both = node
      both.operation = SeparableNode(first: first, second: second)
      both.inputs =
        [input(before, 0), input(before, 1), input(before, 2), input(node, 1), input(node, 2)]
        + node.inputs.dropFirst(3)
      both.fused = before.fused + [first.name] + node.fused
      editor.replace(at, by: nil)
      editor.replace(index, by: both)
      report.counts["depthwise and pointwise convolutions computed as one", default: 0] += 1
    }
    graph.nodes = editor.remaining
  }
}
