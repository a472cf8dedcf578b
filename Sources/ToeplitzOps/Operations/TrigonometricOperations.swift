import ToeplitzTensor

extension Tensor {
  /// The tangent of each element, in radians.
  public func tangent() throws -> Tensor { try unary("tan") { $0.tangent() } }
  /// The angle in radians whose sine each element is.
  public func arcSine() throws -> Tensor { try unary("asin") { $0.arcSine() } }
  /// The angle in radians whose cosine each element is.
  public func arcCosine() throws -> Tensor { try unary("acos") { $0.arcCosine() } }
  /// The angle in radians whose tangent each element is.
  public func arcTangent() throws -> Tensor { try unary("atan") { $0.arcTangent() } }
  /// The hyperbolic sine of each element.
  public func hyperbolicSine() throws -> Tensor { try unary("sinh") { $0.hyperbolicSine() } }
  /// The hyperbolic cosine of each element.
  public func hyperbolicCosine() throws -> Tensor { try unary("cosh") { $0.hyperbolicCosine() } }
  /// The number whose hyperbolic sine each element is.
  public func inverseHyperbolicSine() throws -> Tensor { try unary("asinh") { $0.inverseHyperbolicSine() } }
  /// The number whose hyperbolic cosine each element is.
  public func inverseHyperbolicCosine() throws -> Tensor { try unary("acosh") { $0.inverseHyperbolicCosine() } }
  /// The number whose hyperbolic tangent each element is.
  public func inverseHyperbolicTangent() throws -> Tensor { try unary("atanh") { $0.inverseHyperbolicTangent() } }

  /// x where it is above `alpha`, 0 elsewhere.
  public func thresholdedReLU(alpha: Double = 1) throws -> Tensor {
    try unary("ThresholdedReLU") { $0 > alpha ? $0 : 0 }
  }
  /// x + `bias` below −`lambda`, x − `bias` above `lambda`, 0 between.
  public func shrunk(lambda: Double = 0.5, bias: Double = 0) throws -> Tensor {
    try unary("Shrink", integer: { Int64(converting: shrink(Double($0), lambda, bias)) }) { shrink($0, lambda, bias) }
  }
  /// min(max(`alpha` x + `beta`, 0), 1).
  public func hardsigmoid(alpha: Double, beta: Double) throws -> Tensor {
    try unary("HardSigmoid") { Swift.min(Swift.max(alpha * $0 + beta, 0), 1) }
  }
}

private func shrink(_ x: Double, _ lambda: Double, _ bias: Double) -> Double {
  x < -lambda ? x + bias : x > lambda ? x - bias : 0
}
