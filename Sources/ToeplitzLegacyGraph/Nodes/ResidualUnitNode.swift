import ToeplitzOps
import ToeplitzTensor

/// A residual unit that compilation has found: `x + second(leaky(first(leaky(x))))`.
///
/// Operands are x, weight and bias of the first convolution, weight and bias of the second, and another tensor to add; a
/// bias and the last one may be missing.
struct ResidualUnitNode: GraphOperation {
  /// The convolutions, with what was joined to them.
  var first: ConvolutionNode
  var second: ConvolutionNode

  var name: String { "ResidualUnit" }
  var rearrangedOperands: [Int] { [1, 3] }

  func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let x = try (inputs.first ?? nil).required(name, 0)
    let operands = inputs.dropFirst()
    func operand(_ index: Int) -> Tensor? { operands.dropFirst(index).first ?? nil }
    let biases = (operand(1), operand(3))
    let weights = (try operand(0).required(name, 1), try operand(2).required(name, 3))
    if let unit = try unit(x, weights, biases, adding: operand(4)) {
      let tensors = [
        x, weights.0, biases.0, first.weightFactors, weights.1, biases.1, second.weightFactors, operand(4),
      ]
      return [try applyAll(unit, tensors.compactMap { $0 })[0]]
    }
    let middle = try first.evaluate([x, weights.0, biases.0], context)
    return try second.evaluate(middle + [weights.1, biases.1, x, operand(4)], context)
  }

  /// The multiply-adds of both convolutions for operands of these shapes.
  func multiplyAdds(_ x: Shape, _ weight: Shape, _ secondWeight: Shape) throws -> Int {
    let one = try first.geometry(x, weight).0
    let size = try one.outputSize([x[2]])
    let two = try second.geometry([x[0], one.outChannels, size[0]], secondWeight).0
    return try (one.multiplyAdds(inputSize: [x[2]]) + two.multiplyAdds(inputSize: size)) * x[0]
  }

  /// The operation, if these operands fit it.
  private func unit(
    _ x: Tensor, _ weights: (Tensor, Tensor), _ biases: (Tensor?, Tensor?), adding extra: Tensor?
  ) throws -> ResidualUnit? {
    guard weights.0.rank == 3, weights.1.rank == 3 else { return nil }
    let formOne = try first.form(x.shape, weights.0.shape)
    let one = formOne.geometry
    let middle = try Shape([x.shape[0], one.outChannels] + one.outputSize([x.shape[2]]))
    let formTwo = try second.form(middle, weights.1.shape)
    let two = formTwo.geometry
    let output = try Shape([x.shape[0], two.outChannels] + two.outputSize([middle[2]]))
    guard formOne.extra.isEmpty, formTwo.extra.isEmpty, output == x.shape, extra.map({ $0.spec == x.spec }) ?? true
    else {
      return nil
    }
    var unit = ResidualUnit(
      one, two, hasBias: (biases.0 != nil, biases.1 != nil), inputSlope: first.inputSlope,
      middleSlope: first.outputSlope == 1 ? second.inputSlope : first.outputSlope)
    unit.hasExtra = extra != nil
    unit.stages.first.operation.hasWeightFactors = first.weightFactors != nil
    unit.stages.second.operation.hasWeightFactors = second.weightFactors != nil
    unit.stages.second.operation.epilogue.outputScale = second.outputScale
    unit.stages.second.operation.epilogue.outputSlope = second.outputSlope
    unit.stages.second.operation.epilogue.activation = second.activation
    return unit
  }
}

/// Finds residual units among convolutions to which everything else has been joined.
enum ResidualUnits {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var editor = GraphEditor(graph)
    for index in editor.nodes.indices {
      guard let node = editor.nodes[index], let second = node.operation as? ConvolutionNode, !second.isTransposed,
        node.inputs.count > 3, let at = editor.soleMaker(node.inputs[0]), let before = editor.nodes[at],
        let first = before.operation as? ConvolutionNode, !first.isTransposed, before.inputs.count <= 3,
        // One rectifier may stand between them, on either side.
        first.outputScale == 1, first.activation == nil, first.outputSlope == 1 || second.inputSlope == 1,
        let x = before.inputs.first ?? nil, node.inputs.dropFirst(3).contains(x),
        [before.inputs[1], node.inputs[1]].allSatisfy({ graph.constantSpec($0)?.shape.rank == 3 })
      else { continue }
      var others = Array(node.inputs.dropFirst(3))
      if let own = others.firstIndex(of: x) { others.remove(at: own) }
      var unit = node
      unit.operation = ResidualUnitNode(first: first, second: second)
      unit.inputs =
        [x, before.inputs[1], before.inputs.count > 2 ? before.inputs[2] : nil, node.inputs[1], node.inputs[2]] + others
      unit.fused = before.fused + [first.name] + node.fused
      editor.replace(at, by: nil)
      editor.replace(index, by: unit)
      report.counts["residual units computed as one", default: 0] += 1
    }
    graph.nodes = editor.remaining
  }
}
