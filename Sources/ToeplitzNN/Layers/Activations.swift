import ToeplitzOps
import ToeplitzTensor

/// max(x, 0).
open class ReLU: ElementwiseLayer, UnaryLayer {
  /// max(x, 0).
  open func forward(_ x: Tensor) throws -> Tensor { try x.relu() }
}

/// min(max(x, 0), 6).
open class ReLU6: ElementwiseLayer, UnaryLayer {
  /// min(max(x, 0), 6).
  open func forward(_ x: Tensor) throws -> Tensor { try x.clip(from: 0, to: 6) }
}

/// x, or `negativeSlope` × x below zero.
open class LeakyReLU: ElementwiseLayer, UnaryLayer {
  /// The slope below zero.
  public let negativeSlope: Double

  /// A layer with the given slope below zero.
  public init(negativeSlope: Double = 0.01) { self.negativeSlope = negativeSlope }

  /// x, or `negativeSlope` × x below zero.
  open func forward(_ x: Tensor) throws -> Tensor { try x.leakyReLU(negativeSlope: negativeSlope) }
  /// The slope.
  open override var extraRepr: String { "negative_slope=\(negativeSlope)" }
}

/// x, or a trained slope × x below zero (He et al., 2015); input `[N, C, …]` where each channel has its own.
open class PReLU: ElementwiseLayer, UnaryLayer {
  /// The slopes below zero, one or one for each channel.
  public let weight: Parameter

  /// Creates a layer whose slopes all are `initial`.
  ///
  /// - Parameters:
  ///   - numParameters: 1, or the number of channels.
  ///   - initial: PyTorch's `init`.
  ///   - dtype: element type of the slopes, and so of input and output.
  ///   - device: where the slopes live.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(numParameters: Int = 1, initial: Double = 0.25, dtype: DType = .float32, device: Device = .cpu)
    throws
  {
    guard numParameters > 0 else {
      throw ToeplitzError(
        .argument, "PReLU", expected: "numParameters of at least 1", got: "\(numParameters)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "PReLU", expected: "a floating-point type", got: "\(dtype)")
    }
    weight = Parameter(try Tensor.full([numParameters], initial, dtype: dtype, device: device))
  }

  /// x, or slope × x below zero.
  open func forward(_ x: Tensor) throws -> Tensor { try x.prelu(slope: weight.value) }
  /// The number of slopes.
  open override var extraRepr: String { "num_parameters=\(weight.value.count)" }
}

/// x, or alpha (eˣ − 1) below zero (Clevert et al., 2015).
open class ELU: ElementwiseLayer, UnaryLayer {
  /// The factor below zero.
  public let alpha: Double

  /// A layer with the given factor below zero.
  public init(alpha: Double = 1) { self.alpha = alpha }

  /// x, or alpha (eˣ − 1) below zero.
  open func forward(_ x: Tensor) throws -> Tensor { try x.elu(alpha: alpha) }
  /// Alpha.
  open override var extraRepr: String { "alpha=\(alpha)" }
}

/// The self-normalising exponential unit.
///
/// Klambauer et al., 2017.
open class SELU: ElementwiseLayer, UnaryLayer {
  /// The scaled exponential linear unit.
  open func forward(_ x: Tensor) throws -> Tensor { try x.selu() }
}

/// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0) (Barron, 2017).
open class CELU: ElementwiseLayer, UnaryLayer {
  /// The scale below zero.
  public let alpha: Double

  /// Creates a layer.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `alpha` is 0.
  public init(alpha: Double = 1) throws {
    guard alpha != 0 else {
      throw ToeplitzError(.argument, "CELU", expected: "an alpha other than 0", got: "0")
    }
    self.alpha = alpha
  }

  /// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0).
  open func forward(_ x: Tensor) throws -> Tensor { try x.celu(alpha: alpha) }
  /// Alpha.
  open override var extraRepr: String { "alpha=\(alpha)" }
}

/// x Φ(x) (Hendrycks and Gimpel, 2016).
open class GELU: ElementwiseLayer, UnaryLayer {
  /// How Φ is computed.
  public enum Approximation: String, Sendable, Hashable, CaseIterable {
    /// Exactly, by the error function.
    case none
    /// By a hyperbolic tangent.
    case tanh
  }
  /// How Φ is computed.
  public let approximate: Approximation

  /// A layer that computes Φ in the given way.
  public init(approximate: Approximation = .none) { self.approximate = approximate }

  /// x Φ(x).
  open func forward(_ x: Tensor) throws -> Tensor { try x.gelu(approximateTanh: approximate == .tanh) }
  /// The approximation.
  open override var extraRepr: String { "approximate='\(approximate.rawValue)'" }
}

/// x sigmoid(x), also called swish.
open class SiLU: ElementwiseLayer, UnaryLayer {
  /// x sigmoid(x).
  open func forward(_ x: Tensor) throws -> Tensor { try x.silu() }
}

/// x tanh(softplus(x)) (Misra, 2019).
open class Mish: ElementwiseLayer, UnaryLayer {
  /// x tanh(softplus(x)).
  open func forward(_ x: Tensor) throws -> Tensor { try x.mish() }
}

/// 1 / (1 + e⁻ˣ).
open class Sigmoid: ElementwiseLayer, UnaryLayer {
  /// 1 / (1 + e⁻ˣ).
  open func forward(_ x: Tensor) throws -> Tensor { try x.sigmoid() }
}

/// log(sigmoid(x)).
open class LogSigmoid: ElementwiseLayer, UnaryLayer {
  /// log(sigmoid(x)).
  open func forward(_ x: Tensor) throws -> Tensor { try x.logSigmoid() }
}

/// The hyperbolic tangent.
open class Tanh: ElementwiseLayer, UnaryLayer {
  /// tanh(x).
  open func forward(_ x: Tensor) throws -> Tensor { try x.tanh() }
}

/// log(1 + e^(beta x)) / beta, or x where beta x exceeds the threshold.
open class Softplus: ElementwiseLayer, UnaryLayer {
  /// The sharpness.
  public let beta: Double
  /// Where the function goes over into x.
  public let threshold: Double

  /// Creates a layer.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `beta` is 0.
  public init(beta: Double = 1, threshold: Double = 20) throws {
    guard beta != 0 else {
      throw ToeplitzError(.argument, "Softplus", expected: "a beta other than 0", got: "0")
    }
    self.beta = beta
    self.threshold = threshold
  }

  /// log(1 + e^(beta x)) / beta.
  open func forward(_ x: Tensor) throws -> Tensor { try x.softplus(beta: beta, threshold: threshold) }
  /// Beta and threshold.
  open override var extraRepr: String { "beta=\(beta), threshold=\(threshold)" }
}

/// x / (1 + |x|).
open class Softsign: ElementwiseLayer, UnaryLayer {
  /// x / (1 + |x|).
  open func forward(_ x: Tensor) throws -> Tensor { try x.softsign() }
}

/// x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
open class Hardswish: ElementwiseLayer, UnaryLayer {
  /// x min(max(x + 3, 0), 6) / 6.
  open func forward(_ x: Tensor) throws -> Tensor { try x.hardswish() }
}

/// min(max(x + 3, 0), 6) / 6.
open class Hardsigmoid: ElementwiseLayer, UnaryLayer {
  /// min(max(x + 3, 0), 6) / 6.
  open func forward(_ x: Tensor) throws -> Tensor { try x.hardsigmoid() }
}

/// min(max(x, minVal), maxVal).
open class Hardtanh: ElementwiseLayer, UnaryLayer {
  /// The smallest output.
  public let minVal: Double
  /// The largest output.
  public let maxVal: Double

  /// Creates a layer.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `maxVal` is not above `minVal`.
  public init(minVal: Double = -1, maxVal: Double = 1) throws {
    guard maxVal > minVal else {
      throw ToeplitzError(.argument, "Hardtanh", expected: "maxVal above minVal \(minVal)", got: "\(maxVal)")
    }
    self.minVal = minVal
    self.maxVal = maxVal
  }

  /// min(max(x, minVal), maxVal).
  open func forward(_ x: Tensor) throws -> Tensor { try x.clip(from: minVal, to: maxVal) }
  /// The limits.
  open override var extraRepr: String { "min_val=\(minVal), max_val=\(maxVal)" }
}
