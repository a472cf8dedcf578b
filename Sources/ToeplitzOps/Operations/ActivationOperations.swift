import ToeplitzTensor

/// max(x, 0); a gradient of 0 at 0, as in PyTorch.
package struct ReLUOperation: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var name: String { "ReLU" }
  package init() {}
  /// The result tells as well where x is above zero, and is needed by what comes next anyway: x can be forgotten.
  package var gradient: GradientRule { .vjp { [try $0.dy.masked(by: $0.y.greater($0.y.number(0)))] } }
}

/// x, or `slope` × x below zero.
package struct LeakyReLUOperation: UnaryOperation {
  package var slope: Double
  package var name: String { "LeakyReLU" }
  package init(slope: Double) { self.slope = slope }
  package var gradient: GradientRule {
    .vjp { call in
      let told = slope >= 0 ? call.y : call.x
      return [try Tensor.where(told.greater(told.number(0)), call.dy, call.dy * slope)]
    }
  }
}

/// scale × x, or scale × alpha (eˣ − 1) below zero (Clevert et al., 2016; Klambauer et al., 2017).
package struct ELUOperation: UnaryOperation {
  package var alpha: Double
  package var scale: Double
  package var name: String { scale == 1 ? "ELU" : "SELU" }
  package init(alpha: Double, scale: Double) {
    (self.alpha, self.scale) = (alpha, scale)
  }
  package var gradient: GradientRule {
    .vjp {
      // The exponential only where it counts, so that it cannot be infinite.
      let below = try $0.x.clip(to: 0).exp() * (alpha * scale)
      return [try Tensor.where($0.x.greater($0.x.number(0)), $0.dy * scale, $0.dy * below)]
    }
  }
}

/// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0).
package struct CELUOperation: UnaryOperation {
  package var alpha: Double
  package var name: String { "CELU" }
  package init(alpha: Double) { self.alpha = alpha }
  package var gradient: GradientRule {
    .vjp {
      let below = try ($0.x.clip(to: 0) / alpha).exp()
      return [try Tensor.where($0.x.greater($0.x.number(0)), $0.dy, $0.dy * below)]
    }
  }
}

/// x Φ(x), exactly or by the tanh approximation (Hendrycks and Gimpel, 2016).
package struct GELUOperation: UnaryOperation {
  package var approximateTanh: Bool
  package var name: String { "GELU" }
  package init(approximateTanh: Bool) { self.approximateTanh = approximateTanh }
  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard approximateTanh else {
        let density = try (x * x * -0.5).exp() * (1 / (2 * Double.pi).squareRoot())
        let probability = try (x * 0.5.squareRoot()).erf() * 0.5 + 0.5
        return [try call.dy * (probability + x * density)]
      }
      let scale = (2 / Double.pi).squareRoot()
      let square = try x * x
      let tanh = try (x * (square * 0.044715 + 1) * scale).tanh()
      let slope = try (square * (3 * 0.044715) + 1) * scale
      return [try call.dy * ((tanh + 1) * 0.5 + x * ((tanh * tanh).negated() + 1) * slope * 0.5)]
    }
  }
}

/// 1 / (1 + e⁻ˣ).
package struct SigmoidOperation: UnaryOperation {
  package var name: String { "Sigmoid" }
  package init() {}
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.y * ($0.y.negated() + 1)] } }
}

/// log(sigmoid(x)).
package struct LogSigmoidOperation: UnaryOperation {
  package var name: String { "LogSigmoid" }
  package init() {}
  package var gradient: GradientRule { .vjp { [try $0.dy * $0.x.negated().sigmoid()] } }
}

/// x sigmoid(x), also called swish (Ramachandran et al., 2017).
package struct SiLUOperation: UnaryOperation {
  package var name: String { "SiLU" }
  package init() {}
  package var gradient: GradientRule {
    .vjp {
      let s = try $0.x.sigmoid()
      return [try $0.dy * s * ($0.x * (s.negated() + 1) + 1)]
    }
  }
}

/// x tanh(softplus(x)) (Misra, 2019).
package struct MishOperation: UnaryOperation {
  package var name: String { "Mish" }
  package init() {}
  package var gradient: GradientRule {
    .vjp {
      let t = try $0.x.softplus().tanh()
      return [try $0.dy * (t + $0.x * ((t * t).negated() + 1) * $0.x.sigmoid())]
    }
  }
}

/// The hyperbolic tangent.
package struct HyperbolicTangent: UnaryOperation {
  package var name: String { "Tanh" }
  package init() {}
  package var gradient: GradientRule { .vjp { [try $0.dy * (($0.y * $0.y).negated() + 1)] } }
}

/// log(1 + e^(beta x)) / beta, or x where beta x exceeds `threshold`.
package struct SoftplusOperation: UnaryOperation {
  package var beta: Double
  package var threshold: Double
  package var name: String { "Softplus" }
  package init(beta: Double, threshold: Double) {
    (self.beta, self.threshold) = (beta, threshold)
  }
  package var gradient: GradientRule {
    .vjp {
      let scaled = try $0.x * beta
      return [try Tensor.where(scaled.greater(scaled.number(threshold)), $0.dy, $0.dy * scaled.sigmoid())]
    }
  }
}

/// x + sin²(alpha x) / beta with one alpha and one beta for all elements (Ziyin et al., 2020).
package struct SnakeOperation: UnaryOperation {
  package var alpha: Double
  package var beta: Double
  package var name: String { "Snake" }
  package init(alpha: Double, beta: Double) {
    (self.alpha, self.beta) = (alpha, beta)
  }
  package var gradient: GradientRule { .vjp { [try $0.dy * (($0.x * (2 * alpha)).sin() * (alpha / beta) + 1)] } }
}

/// x where it is above `alpha`, 0 elsewhere.
package struct ThresholdedReLU: UnaryOperation {
  package var alpha: Double
  package var name: String { "ThresholdedReLU" }
  package init(alpha: Double) { self.alpha = alpha }
  package var gradient: GradientRule { .vjp { [try $0.dy.masked(by: $0.x.greater($0.x.number(alpha)))] } }
}

/// x + `bias` below −`lambda`, x − `bias` above `lambda`, 0 between.
package struct Shrink: UnaryOperation {
  package static var takesIntegers: Bool { true }
  package var lambda: Double
  package var bias: Double
  package var name: String { "Shrink" }
  package init(lambda: Double, bias: Double) {
    (self.lambda, self.bias) = (lambda, bias)
  }
  package var gradient: GradientRule {
    .vjp { [try $0.dy.masked(by: $0.x.abs().greater($0.x.number(lambda)))] }
  }
}

/// min(max(`alpha` x + `beta`, 0), 1).
package struct ScaledHardSigmoid: UnaryOperation {
  package var alpha: Double
  package var beta: Double
  package var name: String { "HardSigmoid" }
  package init(alpha: Double, beta: Double) {
    (self.alpha, self.beta) = (alpha, beta)
  }
  package var gradient: GradientRule {
    .vjp {
      let inside = try $0.y.greater($0.y.number(0)).logicalAnd($0.y.less($0.y.number(1)))
      return [try ($0.dy * alpha).masked(by: inside)]
    }
  }
}

/// Each element kept within `low...high`; NaN stays.
package struct Clamp: UnaryOperation {
  package var low: Double
  package var high: Double
  package var name: String { "clamp" }
  package init(low: Double, high: Double) {
    (self.low, self.high) = (low, high)
  }
  package var gradient: GradientRule {
    .vjp {
      let inside = try $0.x.greaterOrEqual($0.x.number(low)).logicalAnd($0.x.lessOrEqual($0.x.number(high)))
      return [try $0.dy.masked(by: inside)]
    }
  }
}

/// x / (1 + |x|).
package struct SoftsignOperation: UnaryOperation {
  package var name: String { "Softsign" }
  package init() {}
  package var gradient: GradientRule {
    .vjp {
      let size = try $0.x.abs() + 1
      return [try $0.dy / (size * size)]
    }
  }
}

/// x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
package struct HardSwish: UnaryOperation {
  package var name: String { "Hardswish" }
  package init() {}
  package var gradient: GradientRule {
    .vjp {
      let inside = try ($0.dy * ($0.x * 2 + 3) / 6).masked(by: $0.x.greater($0.x.number(-3)))
      return [try Tensor.where($0.x.less($0.x.number(3)), inside, $0.dy)]
    }
  }
}

/// min(max(x + 3, 0), 6) / 6.
package struct HardSigmoid: UnaryOperation {
  package var name: String { "Hardsigmoid" }
  package init() {}
  package var gradient: GradientRule {
    .vjp {
      let inside = try $0.x.greater($0.x.number(-3)).logicalAnd($0.x.less($0.x.number(3)))
      return [try ($0.dy / 6).masked(by: inside)]
    }
  }
}

extension Tensor {
  /// max(x, 0).
  public func relu() throws -> Tensor { try apply(ReLUOperation(), self) }
  /// x, or `negativeSlope` × x below zero.
  public func leakyReLU(negativeSlope slope: Double = 0.01) throws -> Tensor {
    try apply(LeakyReLUOperation(slope: slope), self)
  }
  /// x, or alpha (eˣ − 1) below zero.
  public func elu(alpha: Double = 1) throws -> Tensor { try apply(ELUOperation(alpha: alpha, scale: 1), self) }
  /// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0).
  public func celu(alpha: Double = 1) throws -> Tensor { try apply(CELUOperation(alpha: alpha), self) }
  /// The self-normalising unit (Klambauer and others, 2017).
  public func selu() throws -> Tensor { try apply(ELUOperation(alpha: Self.selu.alpha, scale: Self.selu.scale), self) }
  package static let selu = (alpha: 1.6732632423543772, scale: 1.0507009873554805)
  /// x Φ(x), exactly or by the tanh approximation (Hendrycks and Gimpel, 2016).
  public func gelu(approximateTanh: Bool = false) throws -> Tensor {
    try apply(GELUOperation(approximateTanh: approximateTanh), self)
  }
  /// 1 / (1 + e⁻ˣ).
  public func sigmoid() throws -> Tensor { try apply(SigmoidOperation(), self) }
  /// log(sigmoid(x)).
  public func logSigmoid() throws -> Tensor { try apply(LogSigmoidOperation(), self) }
  /// x sigmoid(x), also called swish.
  public func silu() throws -> Tensor { try apply(SiLUOperation(), self) }
  /// x tanh(softplus(x)) (Misra, 2019).
  public func mish() throws -> Tensor { try apply(MishOperation(), self) }
  /// The hyperbolic tangent.
  public func tanh() throws -> Tensor { try apply(HyperbolicTangent(), self) }
  /// log(1 + e^(beta x)) / beta, or x where beta x exceeds `threshold`.
  public func softplus(beta: Double = 1, threshold: Double = 20) throws -> Tensor {
    try apply(SoftplusOperation(beta: beta, threshold: threshold), self)
  }
  /// x + sin²(alpha x) / beta with one alpha and one beta for all elements (Ziyin et al., 2020).
  public func snake(alpha: Double, beta: Double) throws -> Tensor {
    try apply(SnakeOperation(alpha: alpha, beta: beta), self)
  }
  /// x where it is above `alpha`, 0 elsewhere.
  public func thresholdedReLU(alpha: Double = 1) throws -> Tensor { try apply(ThresholdedReLU(alpha: alpha), self) }
  /// x + `bias` below −`lambda`, x − `bias` above `lambda`, 0 between.
  public func shrink(lambda: Double = 0.5, bias: Double = 0) throws -> Tensor {
    try apply(Shrink(lambda: lambda, bias: bias), self)
  }
  /// min(max(`alpha` x + `beta`, 0), 1).
  public func hardsigmoid(alpha: Double, beta: Double) throws -> Tensor {
    try apply(ScaledHardSigmoid(alpha: alpha, beta: beta), self)
  }
  /// Each element kept within `low...high`; NaN stays.
  public func clip(from low: Double = -.infinity, to high: Double = .infinity) throws -> Tensor {
    try apply(Clamp(low: low, high: high), self)
  }
  /// x / (1 + |x|).
  public func softsign() throws -> Tensor { try apply(SoftsignOperation(), self) }
  /// x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
  public func hardswish() throws -> Tensor { try apply(HardSwish(), self) }
  /// min(max(x + 3, 0), 6) / 6.
  public func hardsigmoid() throws -> Tensor { try apply(HardSigmoid(), self) }

  /// The first half of `axis` times the sigmoid of the second (Dauphin et al., 2017).
  ///
  /// - Throws: ``ToeplitzError`` if the axis does not exist or its size is odd.
  public func glu(axis: Int = -1) throws -> Tensor {
    let axis = try shape.normalizedAxis(axis, operation: "GLU")
    let half = shape[axis] / 2
    guard shape[axis] % 2 == 0 else {
      throw ToeplitzError(
        .shape, "GLU", expected: "an even size on axis \(axis)", got: "\(shape[axis]) (shape \(shape))")
    }
    return try slice(axis: axis, 0..<half) * slice(axis: axis, half..<2 * half).sigmoid()
  }
}
