import ToeplitzCPU
import ToeplitzOps
import ToeplitzTensor

/// A depthwise convolution of images and the pointwise one after it, maybe after another pointwise one, which compilation has
/// found.
///
/// Operands are x, weight and bias of each convolution, and up to two residuals of the last one; biases and residuals may be
/// missing.
struct SeparableNode: GraphOperation {
  /// The convolutions, two or three, with what was joined to them.
  let stages: [ConvolutionNode]
  /// What was prepared for the last input; copies share it.
  private let kept = Lock<Form?>(nil)

  /// What belongs to certain operands, so that a call with the like, which may take a tenth of a millisecond, need not find
  /// it again.
  private final class Form: Sendable {
    let x: Shape
    let result: Shape
    let weights: [Tensor?]
    /// Nil where no kernels compute all at once.
    let prepared: SeparableConvolution.Prepared?

    init(_ x: Shape, _ result: Shape, _ weights: [Tensor?], _ prepared: SeparableConvolution.Prepared?) {
      self.x = x
      self.result = result
      self.weights = weights
      self.prepared = prepared
    }

    /// Whether it is for operands like these.
    func fits(_ inputs: [Tensor?], _ x: Tensor) -> Bool {
      guard x.dtype == .float32, x.shape == self.x, inputs.count > weights.count else { return false }
      for index in weights.indices {
        switch (weights[index], inputs[1 + index]) {
        case (nil, nil): continue
        case (let mine?, let other?): if !mine.isSameView(as: other) { return false }
        default: return false
        }
      }
      return inputs[(1 + weights.count)...].allSatisfy { $0.map { $0.shape == result && $0.dtype == .float32 } ?? true }
    }
  }

  /// The convolutions in order, two or three.
  init(_ stages: [ConvolutionNode]) { self.stages = stages }

  var name: String { stages.count == 2 ? "SeparableConv" : "InvertedResidual" }

  /// The weights.
  var rearrangedOperands: [Int] { stages.indices.map { 1 + 2 * $0 } }

  func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    func operand(_ index: Int) -> Tensor? { index < inputs.count ? inputs[index] : nil }
    let x = try operand(0).required(name, 0)
    let residuals = inputs.dropFirst(1 + 2 * stages.count).compactMap { $0 }
    let form = kept.withLock { $0 }.flatMap { $0.fits(inputs, x) ? $0 : nil }
    if let form, let prepared = form.prepared, !OperationTrace.isRunning {
      if let result = try prepared(x, residuals: residuals) { return [result] }
      kept.withLock { $0 = Form(form.x, form.result, form.weights, nil) }
    }
    if let (together, shape) = try together(inputs, x, residuals) {
      let weights = Array(inputs[1...(2 * stages.count)])
      let operands =
        [x]
        + stages.indices.flatMap { index in
          [weights[2 * index], weights[2 * index + 1], stages[index].weightFactors].compactMap { $0 }
        }
      let result = try applyAll(together, operands + residuals)[0]
      if form == nil {
        let prepared = try together.prepared(operands, result: shape)
        kept.withLock { $0 = Form(x.shape, shape, weights, prepared) }
      }
      return [result]
    }
    var passing: [Tensor?] = [x]
    for (index, stage) in stages.enumerated() {
      passing.append(try operand(1 + 2 * index).required(name, 1 + 2 * index))
      passing.append(operand(2 + 2 * index))
      passing = try stage.evaluate(passing + (index + 1 == stages.count ? residuals : []), context)
    }
    return passing
  }

  /// All convolutions as one operation and the shape of its result, if operands of these shapes allow that.
  private func together(
    _ inputs: [Tensor?], _ x: Tensor, _ residuals: [Tensor]
  ) throws -> (SeparableConvolution, Shape)? {
    guard x.rank == 4, inputs.count > 2 * stages.count else { return nil }
    var shape = x.shape
    var found: [ConvolutionStage] = []
    for (index, stage) in stages.enumerated() {
      let weight = try inputs[1 + 2 * index].required(name, 1 + 2 * index)
      guard var operation = try stage.operation(shape, weight.shape), operation.geometry.rank == 2 else { return nil }
      operation.residualCount = index + 1 == stages.count ? residuals.count : 0
      shape = try Shape(
        [shape[0], operation.geometry.outChannels] + operation.geometry.outputSize([shape[2], shape[3]]))
      found.append(ConvolutionStage(operation, hasBias: inputs[2 + 2 * index] != nil))
    }
    let result = TensorSpec(shape, x.dtype)
    guard residuals.allSatisfy({ $0.spec == result }), SeparableConvolution.supports(found.map(\.operation.geometry))
    else { return nil }
    return (SeparableConvolution(found), shape)
  }

  /// The multiply-adds of all convolutions for operands of these shapes.
  func multiplyAdds(_ x: Shape, _ weights: [Shape]) throws -> Int {
    var shape = x
    var sum = 0
    for (stage, weight) in zip(stages, weights) {
      let geometry = try stage.geometry(shape, weight).0
      let inner = Array(shape.dropFirst(2))
      sum += try geometry.multiplyAdds(inputSize: inner)
      shape = try Shape([x[0], geometry.outChannels] + geometry.outputSize(inner))
    }
    return sum * x[0]
  }
}

/// Finds pointwise convolutions after depthwise ones, and pointwise ones before these, among convolutions to which everything
/// else has been joined.
enum SeparableConvolutions {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var editor = GraphEditor(graph)
    for index in editor.nodes.indices {
      guard let node = editor.nodes[index], let last = convolution(node, graph), last.isPointwise,
        let at = editor.soleMaker(node.inputs[0]), let middle = editor.nodes[at],
        let depthwise = convolution(middle, graph), depthwise.isDepthwise, endsPlainly(middle)
      else { continue }
      var parts = [middle, node]
      var places = [at]
      if let first = editor.soleMaker(middle.inputs[0]), let before = editor.nodes[first],
        let expansion = convolution(before, graph), expansion.isPointwise, endsPlainly(before)
      {
        parts.insert(before, at: 0)
        places.append(first)
      }
      func input(_ node: Graph.Node, _ index: Int) -> ValueID? { index < node.inputs.count ? node.inputs[index] : nil }
      var all = node
      all.operation = SeparableNode(parts.compactMap { $0.operation as? ConvolutionNode })
      all.inputs =
        [input(parts[0], 0)] + parts.flatMap { [input($0, 1), input($0, 2)] } + node.inputs.dropFirst(3)
      all.fused = parts.dropLast().flatMap { $0.fused + [$0.operation.name] } + node.fused
      for place in places { editor.replace(place, by: nil) }
      editor.replace(index, by: all)
      let what = parts.count == 2 ? "depthwise and pointwise convolutions" : "inverted residuals"
      report.counts["\(what) computed as one", default: 0] += 1
    }
    graph.nodes = editor.remaining
  }

  /// What a convolution of images is that takes its input as it is and whose weights are known.
  private static func convolution(_ node: Graph.Node, _ graph: Graph) -> (isPointwise: Bool, isDepthwise: Bool)? {
    guard let operation = node.operation as? ConvolutionNode, !operation.isTransposed, operation.inputSlope == 1,
      let weight = graph.constantSpec(node.inputs[1])?.shape, weight.rank == 4
    else { return nil }
    let isPointwise = operation.groups == 1 && weight[2] == 1 && weight[3] == 1
    let isDepthwise = operation.groups > 1 && weight[0] == operation.groups && weight[1] == 1 && weight[2] > 1
    return (isPointwise, isDepthwise)
  }

  /// Whether nothing is added to the result of a convolution, nor is it scaled.
  private static func endsPlainly(_ node: Graph.Node) -> Bool {
    node.inputs.count <= 3 && (node.operation as? ConvolutionNode)?.outputScale == 1
  }
}
