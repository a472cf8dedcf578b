import ToeplitzTensor

// The functions of tensors that PyTorch and NumPy have as functions, under the field's names. Each does what the method of
// `Tensor` that it calls does.

/// x, or zero below zero.
public func relu(_ x: Tensor) throws -> Tensor { try x.relu() }

/// 1 / (1 + e⁻ˣ).
public func sigmoid(_ x: Tensor) throws -> Tensor { try x.sigmoid() }

/// x times its sigmoid.
public func silu(_ x: Tensor) throws -> Tensor { try x.silu() }

/// x tanh(log(1 + eˣ)).
public func mish(_ x: Tensor) throws -> Tensor { try x.mish() }

/// The hyperbolic tangent of each element.
public func tanh(_ x: Tensor) throws -> Tensor { try x.tanh() }

/// eˣ.
public func exp(_ x: Tensor) throws -> Tensor { try x.exp() }

/// The natural logarithm of each element.
public func log(_ x: Tensor) throws -> Tensor { try x.log() }

/// The square root of each element.
public func sqrt(_ x: Tensor) throws -> Tensor { try x.sqrt() }

/// 1 / √x.
public func rsqrt(_ x: Tensor) throws -> Tensor { try x.sqrt().reciprocal() }

/// The magnitude of each element.
public func abs(_ x: Tensor) throws -> Tensor { try x.abs() }

/// The sine of each element.
public func sin(_ x: Tensor) throws -> Tensor { try x.sin() }

/// The cosine of each element.
public func cos(_ x: Tensor) throws -> Tensor { try x.cos() }

/// The tangent of each element.
public func tan(_ x: Tensor) throws -> Tensor { try x.tan() }

/// The inverse sine of each element.
public func asin(_ x: Tensor) throws -> Tensor { try x.asin() }

/// The inverse cosine of each element.
public func acos(_ x: Tensor) throws -> Tensor { try x.acos() }

/// The inverse tangent of each element.
public func atan(_ x: Tensor) throws -> Tensor { try x.atan() }

/// The hyperbolic sine of each element.
public func sinh(_ x: Tensor) throws -> Tensor { try x.sinh() }

/// The hyperbolic cosine of each element.
public func cosh(_ x: Tensor) throws -> Tensor { try x.cosh() }

/// The error function of each element.
public func erf(_ x: Tensor) throws -> Tensor { try x.erf() }

/// The largest whole number that is not above each element.
public func floor(_ x: Tensor) throws -> Tensor { try x.floor() }

/// The smallest whole number that is not below each element.
public func ceil(_ x: Tensor) throws -> Tensor { try x.ceil() }

/// The nearest whole number; halves go to the even one.
public func round(_ x: Tensor) throws -> Tensor { try x.round() }

/// −1, 0 or 1.
public func sign(_ x: Tensor) throws -> Tensor { try x.sign() }

/// x / (1 + |x|).
public func softsign(_ x: Tensor) throws -> Tensor { try x.softsign() }

/// x min(max(x + 3, 0), 6) / 6.
public func hardswish(_ x: Tensor) throws -> Tensor { try x.hardswish() }

/// min(max(x + 3, 0), 6) / 6.
public func hardsigmoid(_ x: Tensor) throws -> Tensor { try x.hardsigmoid() }

/// The self-normalising exponential unit (Klambauer et al., 2017).
public func selu(_ x: Tensor) throws -> Tensor { try x.selu() }

/// The logarithm of the sigmoid of each element.
public func logSigmoid(_ x: Tensor) throws -> Tensor { try x.logSigmoid() }

/// x, or `negativeSlope` × x below zero.
public func leakyReLU(_ x: Tensor, negativeSlope: Double = 0.01) throws -> Tensor {
  try x.leakyReLU(negativeSlope: negativeSlope)
}

/// x, or alpha (eˣ − 1) below zero.
public func elu(_ x: Tensor, alpha: Double = 1) throws -> Tensor { try x.elu(alpha: alpha) }

/// x Φ(x), Φ being the standard normal distribution.
public func gelu(_ x: Tensor, approximateTanh: Bool = false) throws -> Tensor {
  try x.gelu(approximateTanh: approximateTanh)
}

/// log(1 + e^(beta x)) / beta.
public func softplus(_ x: Tensor, beta: Double = 1, threshold: Double = 20) throws -> Tensor {
  try x.softplus(beta: beta, threshold: threshold)
}

/// The first half of an axis times the sigmoid of the second.
public func glu(_ x: Tensor, axis: Int = -1) throws -> Tensor { try x.glu(axis: axis) }

/// The exponentials along an axis, divided by their sum.
public func softmax(_ x: Tensor, axis: Int) throws -> Tensor { try x.softmax(axis: axis) }

/// The logarithm of the softmax along an axis.
public func logSoftmax(_ x: Tensor, axis: Int) throws -> Tensor { try x.logSoftmax(axis: axis) }

/// Each element cut to `low...high`.
public func clip(_ x: Tensor, _ low: Double = -.infinity, _ high: Double = .infinity) throws -> Tensor {
  try x.clip(from: low, to: high)
}

/// Each element raised to the power of its partner.
public func pow(_ x: Tensor, _ exponent: Tensor) throws -> Tensor { try x.pow(exponent) }

/// Each element raised to a power.
public func pow<Scalar: TensorScalar>(_ x: Tensor, _ exponent: Scalar) throws -> Tensor { try x.pow(exponent) }

/// The matrix product, with NumPy's rules for vectors and batches.
public func matmul(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.matmul(b) }

/// The larger of each pair of elements; NaN wins.
public func maximum(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.maximum(b) }

/// The larger of each element and a number; NaN wins.
public func maximum<Scalar: TensorScalar>(_ a: Tensor, _ b: Scalar) throws -> Tensor { try a.maximum(b) }

/// The smaller of each pair of elements; NaN wins.
public func minimum(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.minimum(b) }

/// The smaller of each element and a number; NaN wins.
public func minimum<Scalar: TensorScalar>(_ a: Tensor, _ b: Scalar) throws -> Tensor { try a.minimum(b) }

/// The tensors one after another along an axis (`torch.cat`).
public func concatenate(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
  try Tensor.concatenate(tensors, axis: axis)
}

/// The tensors along a new axis (`torch.stack`).
public func stack(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor { try Tensor.stack(tensors, axis: axis) }

extension Tensor {
  /// For each element that of `a` where `condition` is true, a number elsewhere.
  public static func `where`<Scalar: TensorScalar>(_ condition: Tensor, _ a: Tensor, _ b: Scalar) throws -> Tensor {
    try Tensor.where(condition, a, a.scalar(like: b, "where"))
  }
  /// A number for each element where `condition` is true, that of `b` elsewhere.
  public static func `where`<Scalar: TensorScalar>(_ condition: Tensor, _ a: Scalar, _ b: Tensor) throws -> Tensor {
    try Tensor.where(condition, b.scalar(like: a, "where"), b)
  }
}
