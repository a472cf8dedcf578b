import ToeplitzTensor

/// An activation with a trained number for each channel: inputs are x `[N, C, …]` and the numbers.
package struct ChannelActivation: TensorOperation {
  package enum Function: Sendable, Hashable {
    /// x, or slope × x below zero; one slope for all elements or one a channel.
    case leaky
    /// x + sin²(αx) / (α + 1e-9), α being the number or its exponential.
    case snake(isLogarithm: Bool)
  }

  package var function: Function
  package var name: String { if case .leaky = function { "PReLU" } else { "Snake" } }

  package func isShared(_ x: TensorShape, _ numbers: TensorShape) -> Bool {
    if case .leaky = function { numbers.reduce(1, *) == 1 } else { false }
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    let (x, numbers) = (inputs[0], inputs[1])
    try require(x.dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(x.dtype)")
    try require(
      numbers.dtype == x.dtype, .dtype, expected: "a parameter of the input's type \(x.dtype)",
      got: "\(numbers.dtype)")
    let count = numbers.shape.reduce(1, *)
    if !isShared(x.shape, numbers.shape) {
      try require(x.shape.rank >= 2, expected: "an input [N, \(count), …]", got: "shape \(x.shape)")
      try require(
        x.shape[1] == count, expected: "\(count) channels on axis 1", got: "\(x.shape[1]) (shape \(x.shape))")
    }
    return [x]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, numbers, dy) = (call.x, call.inputs[1], try call.dy)
      // The numbers along the channels.
      let spread =
        isShared(x.shape, numbers.shape) ? [] : TensorShape([numbers.count] + [Int](repeating: 1, count: x.rank - 2))
      let number = try numbers.reshaped(spread)
      func collected(_ cotangent: Tensor) throws -> Tensor { try cotangent.summed(to: spread).reshaped(numbers.shape) }
      switch function {
      case .leaky:
        let above = try x.greater(x.number(0))
        return [try Tensor.where(above, dy, dy * number), try collected(Tensor.where(above, dy * 0, dy * x))]
      case .snake(let isLogarithm):
        let alpha = try isLogarithm ? number.exp() : number
        let (double, divisor) = (try (alpha * x * 2).sin(), try alpha + 1e-9)
        let sine = try (alpha * x).sin()
        let slope = try (x * double - sine * sine / divisor) / divisor
        let dAlpha = try dy * slope
        return [try dy * (alpha * double / divisor + 1), try collected(isLogarithm ? dAlpha * alpha : dAlpha)]
      }
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [1], because: "each channel has a number of its own")
  }
}

extension Tensor {
  /// x, or `slope` × x below zero (He et al., 2015): one slope, or one for each channel of `[N, C, …]`.
  ///
  /// - Throws: ``ToeplitzError`` if the number of slopes or the element types do not fit.
  public func prelu(slope: Tensor) throws -> Tensor {
    try apply(ChannelActivation(function: .leaky), self, slope)
  }

  /// x + sin²(αx) / (α + 1e-9) with an α for each channel of `[N, C, …]` (Ziyin et al., 2020).
  ///
  /// - Parameters:
  ///   - alpha: C numbers, of any shape.
  ///   - isLogarithm: whether α is the exponential of what is given.
  /// - Throws: ``ToeplitzError`` if the number of channels or the element types do not fit.
  public func snake(alpha: Tensor, isLogarithm: Bool = false) throws -> Tensor {
    try apply(ChannelActivation(function: .snake(isLogarithm: isLogarithm)), self, alpha)
  }
}
