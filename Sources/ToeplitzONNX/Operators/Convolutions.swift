import ToeplitzLegacyGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorNode {
  /// `pads` and `auto_pad`.
  func padding() throws -> ConvolutionNode.Extension {
    switch try string("auto_pad", "NOTSET") {
    case "NOTSET", "":
      guard let pads = try ints("pads") else { return .none }
      let half = pads.count / 2
      return .explicit(low: Array(pads.prefix(half)), high: Array(pads.suffix(pads.count - half)))
    case "VALID": return .none
    case "SAME_UPPER": return .same(restAtEnd: true)
    case "SAME_LOWER": return .same(restAtEnd: false)
    case let other: throw refuse("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", got: other)
    }
  }

  /// The options that all convolutions share.
  func convolution() throws -> ConvolutionNode {
    var convolution = ConvolutionNode(name: operation)
    convolution.strides = try ints("strides")
    convolution.dilations = try ints("dilations")
    convolution.groups = try int("group", 1)
    convolution.kernelShape = try ints("kernel_shape")
    convolution.padding = try padding()
    return convolution
  }
}

extension OperatorTable {
  static let convolutions: [String: OperatorMaker] = [
    "Conv": { try $0.convolution() },
    "ConvTranspose": { node in
      var convolution = try node.convolution()
      convolution.isTransposed = true
      convolution.outputPadding = try node.ints("output_padding")
      convolution.outputShape = try node.ints("output_shape")
      return convolution
    },
    "ConvInteger": { node in
      let convolution = try node.convolution()
      return node.function { x in
        let input = try x(0).centered(x.optional(2), axis: nil)
        let weight = try x(1).centered(x.optional(3), axis: 0)
        return try convolution.evaluate([input, weight], EvaluationContext())
      }
    },
    "QLinearConv": { node in
      let convolution = try node.convolution()
      return node.function { x in
        let input = try x(0).centered(x(2), axis: nil)
        let weight = try x(3).centered(x(5), axis: 0)
        let bias = x.optional(8)
        let sums = try convolution.evaluate([input, weight, bias], EvaluationContext())[0].required("QLinearConv", 0)
        let weightScale = try x(4)
        let axes = Array(repeating: 1, count: sums.rank - 2)
        let scale =
          try weightScale.count == 1
          ? weightScale.reshaped([]) : weightScale.reshaped(Shape([1, weightScale.count] + axes))
        let factor = try x(1).reshaped([]) * scale / x(6).reshaped([])
        return [try sums.requantized(factor: factor, zeroPoint: x(7))]
      }
    },
  ]
}

extension Tensor {
  /// Whole numbers less their zero point, as int32; the zero point is one number or one for each slice of `axis`.
  func centered(_ zeroPoint: Tensor?, axis: Int?) throws -> Tensor {
    let wide = try cast(to: .int32)
    guard let zeroPoint else { return wide }
    let zero = try zeroPoint.cast(to: .int32)
    guard zero.count > 1, let axis, axis < rank else { return try wide - zero.reshaped([]) }
    var shape = [Int](repeating: 1, count: rank)
    shape[axis] = zero.count
    return try wide - zero.reshaped(Shape(shape))
  }

  /// `round(x · factor) + zeroPoint`, kept within the zero point's type.
  func requantized(factor: Tensor, zeroPoint: Tensor) throws -> Tensor {
    let scaled = try cast(to: .float64) * factor.cast(to: .float64)
    return try (scaled.rounded() + zeroPoint.cast(to: .float64)).cast(to: zeroPoint.dtype)
  }
}

// MARK: Export

extension ConvolutionOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let g = geometry
    let rank = g.rank
    var nodes: [ExportNode] = []
    var x = ExportNode.Operand.input(0)
    func add(_ node: ExportNode) {
      nodes.append(node)
      x = .node(nodes.count - 1)
    }
    let isBatched = inputs[0].shape.rank == rank + 2
    if !isBatched { add(ExportNode("Unsqueeze", [x, try numbers([0])])) }
    if layout == .channelsLast {
      add(ExportNode("Transpose", [x], ["perm": .ints([0, rank + 1] + Array(1...rank))]))
    }
    if epilogue.inputSlope != 1 { add(ExportNode("LeakyRelu", [x], ["alpha": .float(epilogue.inputSlope)])) }
    var (low, high) = (g.paddingLow, g.paddingHigh)
    if !g.isTransposed, g.paddingMode != .zeros || (low + high).contains(where: { $0 < 0 }) {
      let modes: [PaddingMode: String] = [.zeros: "constant", .reflect: "reflect", .replicate: "edge"]
      guard let mode = modes[g.paddingMode] else { throw unexportable("circular padding") }
      add(ExportNode("Pad", [x, try numbers([0, 0] + low + [0, 0] + high)], ["mode": .string(mode)]))
      (low, high) = (low.map { _ in 0 }, high.map { _ in 0 })
    }
    guard !g.isTransposed || (g.paddingMode == .zeros && !(low + high).contains { $0 < 0 }) else {
      throw unexportable("circular or negative padding of a transposed convolution")
    }
    var attributes: [String: ExportNode.Attribute] = [
      "kernel_shape": .ints(g.kernelSize), "strides": .ints(g.stride), "dilations": .ints(g.dilation),
      "group": .int(g.groups), "pads": .ints(low + high),
    ]
    if g.isTransposed { attributes["output_padding"] = .ints(g.outputPadding) }
    let residuals = (inputs.count - residualCount)..<inputs.count
    guard !hasWeightFactors else { throw unexportable("factors of weights") }
    let weights = (1..<residuals.lowerBound).map { ExportNode.Operand.input($0) }
    add(ExportNode(g.isTransposed ? "ConvTranspose" : "Conv", [x] + weights, attributes))
    if layout == .channelsLast {
      add(ExportNode("Transpose", [x], ["perm": .ints([0] + Array(2...(rank + 1)) + [1])]))
    }
    if !isBatched { add(ExportNode("Squeeze", [x, try numbers([0])])) }
    nodes += try epilogue.exported(from: nodes.count - 1, adding: residuals, dtype: inputs[0].dtype)
    return nodes
  }
}

extension Epilogue {
  /// The nodes for what happens to the sums, which node `last` gives.
  ///
  /// - Parameter residuals: the operands that are added first.
  func exported(from last: Int, adding residuals: Range<Int>, dtype: DType) throws -> [ExportNode] {
    var nodes: [ExportNode] = []
    func add(_ name: String, _ more: [ExportNode.Operand], _ attributes: [String: ExportNode.Attribute] = [:]) {
      nodes.append(ExportNode(name, [.node(last + nodes.count)] + more, attributes))
    }
    for residual in residuals { add("Add", [.input(residual)]) }
    if outputScale != 1 { add("Mul", [.constant(try Tensor.full([], outputScale, dtype: dtype))]) }
    if outputSlope != 1 { add("LeakyRelu", [], ["alpha": .float(outputSlope)]) }
    if let activation {
      let first = last + nodes.count
      nodes += try activation.exported(dtype).map { $0.moved(by: first + 1) { _ in .node(first) } }
    }
    return nodes
  }
}

extension Activation {
  /// The nodes of the operations that compute it on a whole tensor.
  func exported(_ dtype: DType) throws -> [ExportNode] {
    let steps = try OperationTrace.record { try self(Tensor.zeros([1], dtype: dtype)) }.steps
    guard steps.count == 1, let operation = steps[0].operation as? any ExportableOperation else {
      throw ToeplitzError(
        .unsupported, "export", expected: "an activation that can be written as ONNX", got: "\(self)")
    }
    return try operation.exported(steps[0].inputs.map(\.spec), steps[0].outputs.map(\.spec))
  }
}

extension ResidualUnit: ExportableOperation {
  /// Two convolutions and an addition.
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let operands = operands(inputs)
    let one = [inputs[0]] + operands.first
    let middle = try firstStage.operation.infer(one)
    let nodes = try firstStage.operation.exported(one, middle)
    let two = middle + operands.second + [inputs[0]] + [operands.extra].compactMap { $0 }
    return try nodes
      + secondStage.operation.exported(two, outputs).map {
        // The second one's operand 0 is what the first gave, and its first residual is x.
        $0.moved(by: nodes.count) {
          switch $0 {
          case 0: .node(nodes.count - 1)
          case secondStage.weightCount + 1: .input(0)
          default: .input(firstStage.weightCount + ($0 <= secondStage.weightCount ? $0 : $0 - 1))
          }
        }
      }
  }
}

extension SeparableConvolution: ExportableOperation {
  /// A node for each convolution.
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    var nodes: [ExportNode] = []
    var next = 0
    _ = try fold(inputs) { operation, operands in
      let result = try operation.infer(operands)
      let before = nodes.count
      let first = next
      nodes += try operation.exported(operands, result).map {
        // The first input of all but the first is what the convolution before gave.
        $0.moved(by: before) { $0 == 0 && before > 0 ? .node(before - 1) : .input(first + $0) }
      }
      next += operands.count - 1
      return result
    }
    return nodes
  }
}

extension ConvolutionWeightGradient: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    throw unexportable("the gradient of a weight")
  }
}
