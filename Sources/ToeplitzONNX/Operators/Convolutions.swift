import ToeplitzGraph
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
