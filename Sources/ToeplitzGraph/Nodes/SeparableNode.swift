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
  /// What belongs to the shape of an input.
  private struct Form {
    var x: Shape
    var result: Shape
    var operation: SeparableConvolution
  }
  /// That of the last input; copies share it.
  private let kept = Lock<Form?>(nil)

  /// The convolutions in order, two or three.
  init(_ stages: [ConvolutionNode]) { self.stages = stages }

  var name: String { stages.count == 2 ? "SeparableConv" : "InvertedResidual" }

  /// The weights.
  var rearrangedOperands: [Int] { stages.indices.map { 1 + 2 * $0 } }

  func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    func operand(_ index: Int) -> Tensor? { index < inputs.count ? inputs[index] : nil }
    let x = try operand(0).required(name, 0)
    let residuals = inputs.dropFirst(1 + 2 * stages.count).compactMap { $0 }
    if let together = try together(inputs, x, residuals) {
      defer { for (index, stage) in stages.enumerated() { operand(1 + 2 * index).map(stage.forgetPages) } }
      return [try applyAll(together, [x] + inputs[1...(2 * stages.count)].compactMap { $0 })[0]]
    }
    var passing: [Tensor?] = [x]
    for (index, stage) in stages.enumerated() {
      passing.append(try operand(1 + 2 * index).required(name, 1 + 2 * index))
      passing.append(operand(2 + 2 * index))
      passing = try stage.evaluate(passing + (index + 1 == stages.count ? residuals : []), context)
    }
    return passing
  }

  /// All convolutions as one operation, if operands of these shapes allow that.
  private func together(_ inputs: [Tensor?], _ x: Tensor, _ residuals: [Tensor]) throws -> SeparableConvolution? {
    guard x.rank == 4, inputs.count > 2 * stages.count else { return nil }
    // The weights are constants, so that only the input's shape may be another than the last time.
    var form = kept.withLock { $0 }
    if form?.x != x.shape {
      form = try self.form(inputs, x.shape)
      kept.withLock { [form] in $0 = form }
    }
    guard let form, residuals.allSatisfy({ $0.shape == form.result && $0.dtype == x.dtype }) else { return nil }
    var operation = form.operation
    if !residuals.isEmpty { operation.stages[stages.count - 1].operation.fusion.residuals = residuals }
    return operation
  }

  private func form(_ inputs: [Tensor?], _ x: Shape) throws -> Form? {
    var shape = x
    var found: [SeparableConvolution.Stage] = []
    for (index, stage) in stages.enumerated() {
      let weight = try inputs[1 + 2 * index].required(name, 1 + 2 * index)
      guard let operation = try stage.operation(shape, weight.shape, residuals: []), operation.geometry.rank == 2
      else { return nil }
      shape = try Shape(
        [shape[0], operation.geometry.outChannels] + operation.geometry.outputSize([shape[2], shape[3]]))
      found.append(SeparableConvolution.Stage(operation, hasBias: inputs[2 + 2 * index] != nil))
    }
    guard SeparableConvolution.supports(found.map(\.operation.geometry)) else { return nil }
    return Form(x: x, result: shape, operation: SeparableConvolution(found))
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
