import ToeplitzTensor

/// A function of one number, applied to each element.
package protocol UnaryOperation: TensorOperation {
  /// Whether whole numbers are taken too.
  static var takesIntegers: Bool { get }
}

extension UnaryOperation {
  package static var takesIntegers: Bool { false }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let dtype = inputs[0].dtype
    try require(
      dtype.isFloatingPoint || (dtype.isInteger && Self.takesIntegers), .dtype,
      expected: Self.takesIntegers ? "numbers" : "floating-point elements", got: "\(dtype)")
    return inputs
  }

  package func time(_ call: TimeCall) -> TimeRule { .pointwise(call, except: [], because: "") }
}

// MARK: Arithmetic

/// Each element with the other sign.
package struct Negate: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var name: String { "negate" }
  package var gradient: GradientRule { .vjp { [try $0.dy.negated()] } }
}

/// Each element without its sign.
package struct Magnitude: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var name: String { "abs" }
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.x.sign()] } }
}

/// −1, 0 or 1 for each element.
package struct Sign: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var name: String { "sign" }
  package var gradient: GradientRule { .zero }
}

/// 1 divided by each element.
package struct Reciprocal: UnaryOperation {
  package var name: String { "reciprocal" }
  package var gradient: GradientRule { .vjp { [try ($0.dy * $0.y * $0.y).negated()] } }
}

/// The square root of each element.
package struct SquareRoot: UnaryOperation {
  package var name: String { "sqrt" }
  package var gradient: GradientRule { .vjp { [try $0.dy / $0.y * 0.5] } }
}

/// Each element rounded to a whole number.
package struct Round: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var rule: FloatingPointRoundingRule
  package var name: String {
    switch rule {
    case .down: "floor"
    case .up: "ceil"
    case .towardZero: "trunc"
    default: "round"
    }
  }
  package var gradient: GradientRule { .zero }
}

// MARK: Transcendental functions

/// e to the power of each element.
package struct Exponential: UnaryOperation {
  package var name: String { "exp" }
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.y] } }
}

extension Exponential: PairOperation {
  package func pairs(_ call: PairCall) -> PairRule { call.has(.masked) ? .content(.probabilities) : call.plain }
}

/// The natural logarithm of each element.
package struct Logarithm: UnaryOperation {
  package var name: String { "log" }
  package var gradient: GradientRule { .vjp { [try $0.dy / $0.x] } }
}

/// The sine of each element, in radians.
package struct Sine: UnaryOperation {
  package var name: String { "sin" }
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.x.cos()] } }
}

/// The cosine of each element, in radians.
package struct Cosine: UnaryOperation {
  package var name: String { "cos" }
  package var gradient: GradientRule { .vjp { [try ($0.dy * $0.x.sin()).negated()] } }
}

/// The tangent of each element, in radians.
package struct Tangent: UnaryOperation {
  package var name: String { "tan" }
  package var gradient: GradientRule { .vjp { [try $0.dy * ($0.y * $0.y + 1)] } }
}

/// The angle in radians whose sine each element is.
package struct ArcSine: UnaryOperation {
  package var name: String { "asin" }
  package var gradient: GradientRule { .vjp { [try $0.dy / (($0.x * $0.x).negated() + 1).sqrt()] } }
}

/// The angle in radians whose cosine each element is.
package struct ArcCosine: UnaryOperation {
  package var name: String { "acos" }
  package var gradient: GradientRule { .vjp { [try ($0.dy / (($0.x * $0.x).negated() + 1).sqrt()).negated()] } }
}

/// The angle in radians whose tangent each element is.
package struct ArcTangent: UnaryOperation {
  package var name: String { "atan" }
  package var gradient: GradientRule { .vjp { [try $0.dy / ($0.x * $0.x + 1)] } }
}

/// The hyperbolic sine of each element.
package struct HyperbolicSine: UnaryOperation {
  package var name: String { "sinh" }
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.x.cosh()] } }
}

/// The hyperbolic cosine of each element.
package struct HyperbolicCosine: UnaryOperation {
  package var name: String { "cosh" }
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.x.sinh()] } }
}

/// The number whose hyperbolic sine each element is.
package struct InverseHyperbolicSine: UnaryOperation {
  package var name: String { "asinh" }
  package var gradient: GradientRule { .vjp { [try $0.dy / ($0.x * $0.x + 1).sqrt()] } }
}

/// The number whose hyperbolic cosine each element is.
package struct InverseHyperbolicCosine: UnaryOperation {
  package var name: String { "acosh" }
  package var gradient: GradientRule { .vjp { [try $0.dy / ($0.x * $0.x - 1).sqrt()] } }
}

/// The number whose hyperbolic tangent each element is.
package struct InverseHyperbolicTangent: UnaryOperation {
  package var name: String { "atanh" }
  package var gradient: GradientRule { .vjp { [try $0.dy / (($0.x * $0.x).negated() + 1)] } }
}

/// The error function of each element.
package struct ErrorFunction: UnaryOperation {
  package var name: String { "erf" }
  package var gradient: GradientRule {
    .vjp { [try $0.dy * ($0.x * $0.x).negated().exp() * (2 / Double.pi.squareRoot())] }
  }
}

extension Tensor {
  // MARK: Arithmetic

  /// Each element with the other sign.
  public func negated() throws -> Tensor { try apply(Negate(), self) }
  /// Each element without its sign.
  public func abs() throws -> Tensor { try apply(Magnitude(), self) }
  /// −1, 0 or 1 for each element.
  public func sign() throws -> Tensor { try apply(Sign(), self) }
  /// 1 divided by each element.
  public func reciprocal() throws -> Tensor { try apply(Reciprocal(), self) }
  /// The square root of each element.
  public func sqrt() throws -> Tensor { try apply(SquareRoot(), self) }
  /// 1 divided by the square root of each element.
  public func rsqrt() throws -> Tensor { try sqrt().reciprocal() }
  /// Each element times itself.
  public func square() throws -> Tensor { try self * self }
  /// Each element rounded towards −∞.
  public func floor() throws -> Tensor { try apply(Round(rule: .down), self) }
  /// Each element rounded towards +∞.
  public func ceil() throws -> Tensor { try apply(Round(rule: .up), self) }
  /// Each element rounded towards zero.
  public func trunc() throws -> Tensor { try apply(Round(rule: .towardZero), self) }
  /// Each element rounded to the nearest whole number, halves to even.
  public func round() throws -> Tensor { try apply(Round(rule: .toNearestOrEven), self) }

  // MARK: Transcendental functions

  /// e to the power of each element.
  public func exp() throws -> Tensor { try apply(Exponential(), self) }
  /// The natural logarithm of each element.
  public func log() throws -> Tensor { try apply(Logarithm(), self) }
  /// The logarithm to base 2 of each element.
  public func log2() throws -> Tensor { try log() / 0.6931471805599453 }
  /// The logarithm to base 10 of each element.
  public func log10() throws -> Tensor { try log() / 2.302585092994046 }
  /// The sine of each element, in radians.
  public func sin() throws -> Tensor { try apply(Sine(), self) }
  /// The cosine of each element, in radians.
  public func cos() throws -> Tensor { try apply(Cosine(), self) }
  /// The tangent of each element, in radians.
  public func tan() throws -> Tensor { try apply(Tangent(), self) }
  /// The angle in radians whose sine each element is.
  public func asin() throws -> Tensor { try apply(ArcSine(), self) }
  /// The angle in radians whose cosine each element is.
  public func acos() throws -> Tensor { try apply(ArcCosine(), self) }
  /// The angle in radians whose tangent each element is.
  public func atan() throws -> Tensor { try apply(ArcTangent(), self) }
  /// The hyperbolic sine of each element.
  public func sinh() throws -> Tensor { try apply(HyperbolicSine(), self) }
  /// The hyperbolic cosine of each element.
  public func cosh() throws -> Tensor { try apply(HyperbolicCosine(), self) }
  /// The number whose hyperbolic sine each element is.
  public func asinh() throws -> Tensor { try apply(InverseHyperbolicSine(), self) }
  /// The number whose hyperbolic cosine each element is.
  public func acosh() throws -> Tensor { try apply(InverseHyperbolicCosine(), self) }
  /// The number whose hyperbolic tangent each element is.
  public func atanh() throws -> Tensor { try apply(InverseHyperbolicTangent(), self) }
  /// The error function of each element.
  public func erf() throws -> Tensor { try apply(ErrorFunction(), self) }
}
