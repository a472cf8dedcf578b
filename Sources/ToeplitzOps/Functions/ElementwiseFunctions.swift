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

/// The logarithm to base 2 of each element.
public func log2(_ x: Tensor) throws -> Tensor { try x.log2() }

/// The logarithm to base 10 of each element.
public func log10(_ x: Tensor) throws -> Tensor { try x.log10() }

/// The square root of each element.
public func sqrt(_ x: Tensor) throws -> Tensor { try x.sqrt() }

/// 1 / √x.
public func rsqrt(_ x: Tensor) throws -> Tensor { try x.rsqrt() }

/// Each element times itself.
public func square(_ x: Tensor) throws -> Tensor { try x.square() }

/// 1 divided by each element.
public func reciprocal(_ x: Tensor) throws -> Tensor { try x.reciprocal() }

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

/// The inverse hyperbolic sine of each element.
public func asinh(_ x: Tensor) throws -> Tensor { try x.asinh() }

/// The inverse hyperbolic cosine of each element.
public func acosh(_ x: Tensor) throws -> Tensor { try x.acosh() }

/// The inverse hyperbolic tangent of each element.
public func atanh(_ x: Tensor) throws -> Tensor { try x.atanh() }

/// The error function of each element.
public func erf(_ x: Tensor) throws -> Tensor { try x.erf() }

/// The largest whole number that is not above each element.
public func floor(_ x: Tensor) throws -> Tensor { try x.floor() }

/// The smallest whole number that is not below each element.
public func ceil(_ x: Tensor) throws -> Tensor { try x.ceil() }

/// The nearest whole number; halves go to the even one.
public func round(_ x: Tensor) throws -> Tensor { try x.round() }

/// Each element without its fraction.
public func trunc(_ x: Tensor) throws -> Tensor { try x.trunc() }

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

/// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0).
public func celu(_ x: Tensor, alpha: Double = 1) throws -> Tensor { try x.celu(alpha: alpha) }

/// x, or `slope` × x below zero: one slope, or one for each channel of `[N, C, …]`.
public func prelu(_ x: Tensor, slope: Tensor) throws -> Tensor { try x.prelu(slope: slope) }

/// x + sin²(alpha x) / beta with one alpha and one beta for all elements (Ziyin et al., 2020).
public func snake(_ x: Tensor, alpha: Double, beta: Double) throws -> Tensor { try x.snake(alpha: alpha, beta: beta) }

/// x where it is above `alpha`, 0 elsewhere.
public func thresholdedReLU(_ x: Tensor, alpha: Double = 1) throws -> Tensor { try x.thresholdedReLU(alpha: alpha) }

/// x + `bias` below −`lambda`, x − `bias` above `lambda`, 0 between.
public func shrink(_ x: Tensor, lambda: Double = 0.5, bias: Double = 0) throws -> Tensor {
  try x.shrink(lambda: lambda, bias: bias)
}

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

/// The remainder of each pair of elements, with the divisor's sign, or with the dividend's where it `truncates`.
public func remainder(_ a: Tensor, _ b: Tensor, truncates: Bool = false) throws -> Tensor {
  try a.remainder(b, truncates: truncates)
}

// MARK: - Truth values

/// Whether each element is not a number.
public func isNaN(_ x: Tensor) throws -> Tensor { try x.isNaN() }

/// Whether each element is infinite.
public func isInfinite(_ x: Tensor) throws -> Tensor { try x.isInfinite() }

/// Whether each element is neither infinite nor NaN.
public func isFinite(_ x: Tensor) throws -> Tensor { try x.isFinite() }

/// Whether both elements of each pair of truth values are true.
public func logicalAnd(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.logicalAnd(b) }

/// Whether one or both elements of each pair of truth values are true.
public func logicalOr(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.logicalOr(b) }

/// Whether just one element of each pair of truth values is true.
public func logicalXor(_ a: Tensor, _ b: Tensor) throws -> Tensor { try a.logicalXor(b) }

/// Whether each element is zero or false.
public func logicalNot(_ x: Tensor) throws -> Tensor { try x.logicalNot() }
