import CToeplitzKernels
import ToeplitzTensor

/// A function of one number, applied to each element.
///
/// float32 runs in a vectorised kernel where `kernel` names one; half precision goes through float32, float64 uses
/// `reference`. Integers are allowed where `integer` is given.
struct Unary: Operation {
  var name: String
  /// The kernel and its two parameters.
  var kernel: (function: tz_unary, a: Double, b: Double)?
  /// The function in double precision.
  var reference: @Sendable (Double) -> Double
  /// The function on whole numbers.
  var integer: (@Sendable (Int64) -> Int64)?

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let dtype = inputs[0].dtype
    try require(
      dtype.isFloatingPoint || (dtype.isInteger && integer != nil), .dtype,
      expected: integer == nil ? "floating-point elements" : "numbers", got: "\(dtype)")
    return inputs
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    switch x.dtype {
    case .float16, .bfloat16: return [try applyAll(self, [x.cast(to: .float32)])[0].cast(to: x.dtype)]
    case .float32 where kernel != nil: return [try runKernel(x)]
    case .float32: return [try map(x, Float.self)]
    case .float64: return [try map(x, Double.self)]
    case .int8: return [try mapInteger(x, Int8.self)]
    case .uint8: return [try mapInteger(x, UInt8.self)]
    case .int16: return [try mapInteger(x, Int16.self)]
    case .uint16: return [try mapInteger(x, UInt16.self)]
    case .uint32: return [try mapInteger(x, UInt32.self)]
    case .uint64: return [try mapInteger(x, UInt64.self)]
    case .int32: return [try mapInteger(x, Int32.self)]
    default: return [try mapInteger(x, Int64.self)]
    }
  }

  /// Elements of one piece of work for a thread.
  private static let piece = 1 << 15

  private func runKernel(_ x: Tensor) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: .float32, operation: name)
    guard let kernel else { return y }
    let (source, target, count) = (x.pointer(Float.self), y.pointer(Float.self), x.count)
    let (a, b) = (Float(kernel.a), Float(kernel.b))
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    ThreadPool.shared.run((count + Self.piece - 1) / Self.piece) { item, _ in
      let first = item * Self.piece
      tz_unary_run(
        table, kernel.function, source + first, target + first,
        min(Self.piece, count - first), a, b)
    }
    withExtendedLifetime((x, y)) {}
    return y
  }

  private func map<T: TensorScalar & BinaryFloatingPoint>(_ x: Tensor, _ type: T.Type) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    for index in 0..<x.count { target[index] = T(reference(Double(source[index]))) }
    withExtendedLifetime((x, y)) {}
    return y
  }

  private func mapInteger<T: TensorScalar & FixedWidthInteger>(_ x: Tensor, _ type: T.Type) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard let integer else { return y }
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    for index in 0..<x.count { target[index] = T(truncatingIfNeeded: integer(Int64(source[index]))) }
    withExtendedLifetime((x, y)) {}
    return y
  }
}

extension Tensor {
  func unary(
    _ name: String, _ kernel: (tz_unary, Double, Double)? = nil, integer: (@Sendable (Int64) -> Int64)? = nil,
    _ reference: @escaping @Sendable (Double) -> Double
  ) throws -> Tensor {
    try apply(
      Unary(
        name: name, kernel: kernel.map { (function: $0.0, a: $0.1, b: $0.2) }, reference: reference, integer: integer),
      self)
  }

  // MARK: Arithmetic

  /// Each element with the other sign.
  public func negated() throws -> Tensor {
    try dtype.isFloatingPoint
      ? apply(Piecewise(function: .negate, name: "negate"), self) : unary("negate", integer: { 0 &- $0 }) { -$0 }
  }
  /// Each element without its sign.
  public func absoluteValue() throws -> Tensor {
    try dtype.isFloatingPoint
      ? apply(Piecewise(function: .magnitude, name: "abs"), self)
      : unary("abs", integer: { $0 < 0 ? 0 &- $0 : $0 }) { abs($0) }
  }
  /// −1, 0 or 1 for each element.
  public func sign() throws -> Tensor {
    try unary("sign", integer: { $0.signum() }) { $0 > 0 ? 1 : $0 < 0 ? -1 : $0.isNaN ? $0 : 0 }
  }
  /// 1 divided by each element.
  public func reciprocal() throws -> Tensor { try unary("reciprocal") { 1 / $0 } }
  /// The square root of each element.
  public func squareRoot() throws -> Tensor { try unary("sqrt") { $0.squareRoot() } }
  /// Each element rounded towards −∞.
  public func roundedDown() throws -> Tensor { try unary("floor", integer: { $0 }) { $0.rounded(.down) } }
  /// Each element rounded towards +∞.
  public func roundedUp() throws -> Tensor { try unary("ceil", integer: { $0 }) { $0.rounded(.up) } }
  /// Each element rounded towards zero.
  public func roundedTowardZero() throws -> Tensor { try unary("trunc", integer: { $0 }) { $0.rounded(.towardZero) } }
  /// Each element rounded to the nearest whole number, halves to even.
  public func rounded() throws -> Tensor { try unary("round", integer: { $0 }) { $0.rounded(.toNearestOrEven) } }

  // MARK: Transcendental functions

  /// e to the power of each element.
  public func exponential() throws -> Tensor { try unary("exp", (TZ_EXP, 0, 0)) { $0.exponential() } }
  /// The natural logarithm of each element.
  public func logarithm() throws -> Tensor { try unary("log", (TZ_LOG, 0, 0)) { $0.logarithm() } }
  /// The sine of each element, in radians.
  public func sine() throws -> Tensor { try unary("sin", (TZ_SIN, 0, 0)) { $0.sine() } }
  /// The cosine of each element, in radians.
  public func cosine() throws -> Tensor { try unary("cos") { $0.cosine() } }
  /// The error function of each element.
  public func errorFunction() throws -> Tensor { try unary("erf") { $0.errorFunction() } }

  // MARK: Activations

  /// max(x, 0).
  public func relu() throws -> Tensor {
    try unary("ReLU", (TZ_LEAKY_RELU, 0, 0), integer: { $0 < 0 ? 0 : $0 }) { $0 < 0 ? 0 : $0 }
  }
  /// x, or `negativeSlope` × x below zero.
  public func leakyReLU(negativeSlope slope: Double = 0.01) throws -> Tensor {
    try unary("LeakyReLU", (TZ_LEAKY_RELU, slope, 0)) { $0 < 0 ? $0 * slope : $0 }
  }
  /// x, or alpha (eˣ − 1) below zero.
  public func elu(alpha: Double = 1) throws -> Tensor {
    try unary("ELU", (TZ_ELU, alpha, 1)) { $0 < 0 ? alpha * $0.exponentialMinusOne() : $0 }
  }
  /// max(x, 0) + min(alpha (e^(x / alpha) − 1), 0).
  public func celu(alpha: Double = 1) throws -> Tensor {
    try unary("CELU", (TZ_CELU, alpha, 0)) { $0 < 0 ? alpha * ($0 / alpha).exponentialMinusOne() : $0 }
  }
  /// The self-normalising unit (Klambauer and others, 2017).
  public func selu() throws -> Tensor {
    let (alpha, scale) = Self.selu
    return try unary("SELU", (TZ_ELU, alpha, scale)) { scale * ($0 < 0 ? alpha * $0.exponentialMinusOne() : $0) }
  }
  static let selu = (alpha: 1.6732632423543772, scale: 1.0507009873554805)
  /// x Φ(x), exactly or by the tanh approximation (Hendrycks and Gimpel, 2016).
  public func gelu(approximateTanh: Bool = false) throws -> Tensor {
    if approximateTanh {
      return try unary("GELU", (TZ_GELU_TANH, 0, 0)) {
        $0 == -.infinity
          ? -0.0
          : 0.5 * $0
            * (1 + ((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)).hyperbolicTangent())
      }
    }
    return try unary("GELU", (TZ_GELU, 0, 0)) {
      $0 == -.infinity ? -0.0 : 0.5 * $0 * (-$0 * 0.5.squareRoot()).complementaryErrorFunction()
    }
  }
  /// 1 / (1 + e⁻ˣ).
  public func sigmoid() throws -> Tensor { try unary("Sigmoid", (TZ_SIGMOID, 0, 0)) { 1 / (1 + (-$0).exponential()) } }
  /// log(sigmoid(x)).
  public func logSigmoid() throws -> Tensor {
    // log(sigmoid(x)) is −softplus(−x).
    try unary("LogSigmoid", (TZ_SOFTPLUS, -1, 20)) { Swift.min($0, 0) - (-abs($0)).exponential().logarithmOfOnePlus() }
  }
  /// x sigmoid(x), also called swish.
  public func silu() throws -> Tensor {
    try unary("SiLU", (TZ_SILU, 0, 0)) { $0 == -.infinity ? -0.0 : $0 / (1 + (-$0).exponential()) }
  }
  /// x tanh(softplus(x)) (Misra, 2019).
  public func mish() throws -> Tensor {
    try unary("Mish", (TZ_MISH, 0, 0)) {
      $0 == -.infinity ? -0.0 : $0 * ($0 > 30 ? $0 : $0.exponential().logarithmOfOnePlus()).hyperbolicTangent()
    }
  }
  /// The hyperbolic tangent.
  public func hyperbolicTangent() throws -> Tensor { try unary("Tanh", (TZ_TANH, 0, 0)) { $0.hyperbolicTangent() } }
  /// log(1 + e^(beta x)) / beta, or x where beta x exceeds `threshold`.
  public func softplus(beta: Double = 1, threshold: Double = 20) throws -> Tensor {
    try unary("Softplus", (TZ_SOFTPLUS, beta, threshold)) {
      $0 * beta > threshold ? $0 : ($0 * beta).exponential().logarithmOfOnePlus() / beta
    }
  }
  /// x + sin²(alpha x) / beta with one alpha and one beta for all elements (Ziyin et al., 2020).
  public func snake(alpha: Double, beta: Double) throws -> Tensor {
    try unary("Snake", (TZ_SNAKE, alpha, 1 / beta)) { x in
      let s = (alpha * x).sine()
      return x + s * s / beta
    }
  }
}
