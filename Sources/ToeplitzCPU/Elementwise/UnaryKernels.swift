import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How a function of one number is computed: float32 by a vectorised kernel where there is one, half precision by way of
/// float32, everything else by `reference`.
protocol UnaryKernel: UnaryOperation, CPUKernel, BlockOperation {
  /// The float32 kernel and its two parameters.
  var vectorized: (function: tz_unary, a: Double, b: Double)? { get }
  /// The function in double precision.
  func reference(_ x: Double) -> Double
  /// The function on whole numbers.
  func integer(_ x: Int64) -> Int64
}

extension UnaryKernel {
  package var makesNewResults: Bool { true }

  var vectorized: (function: tz_unary, a: Double, b: Double)? { nil }
  func integer(_ x: Int64) -> Int64 { x }

  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[0].isBlockFloat, let (function, a, b) = vectorized else { return nil }
    return BlockFunction(step: BlockFunction.unary(function, a, b), type: types[0])
  }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    switch x.dtype {
    case .float16, .bfloat16:
      if let result = try inBlocks(inputs, outputs[0]) { return [result] }
      return [try applyAll(self, [x.cast(to: .float32)])[0].cast(to: x.dtype)]
    case .float32:
      if let kernel = vectorized { return [try UnaryLoops.run(kernel, x, name: name)] }
      return [try UnaryLoops.map(x, name) { (value: Float) in Float(reference(Double(value))) }]
    case .float64: return [try UnaryLoops.map(x, name) { (value: Double) in reference(value) }]
    default: return [try mapInteger(x)]
    }
  }

  fileprivate func mapInteger(_ x: Tensor) throws -> Tensor {
    func map<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) throws -> Tensor {
      try UnaryLoops.map(x, name) { (value: T) in T(truncatingIfNeeded: integer(Int64(value))) }
    }
    return try withInteger(x.dtype) { try map($0) }
  }
}

/// Loops over the elements of a contiguous tensor.
enum UnaryLoops {
  /// Elements of one piece of work for a thread.
  private static let piece = 1 << 15

  static func run(_ kernel: (function: tz_unary, a: Double, b: Double), _ x: Tensor, name: String) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: .float32, operation: name)
    let (source, target, count) = (x.pointer(Float.self), y.pointer(Float.self), x.count)
    let (a, b) = (Float(kernel.a), Float(kernel.b))
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    ThreadPool.shared.run((count + Self.piece - 1) / Self.piece) { item, _ in
      let first = item * Self.piece
      tz_unary_run(table, kernel.function, source + first, target + first, min(Self.piece, count - first), a, b)
    }
    withExtendedLifetime((x, y)) {}
    return y
  }

  @inline(__always)
  static func map<T: TensorScalar>(_ x: Tensor, _ name: String, _ f: (T) -> T) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    let (source, target, count) = (x.pointer(T.self), y.pointer(T.self), x.count)
    withoutActuallyEscaping(f) { f in
      ThreadPool.shared.run((count + Self.scalarPiece - 1) / Self.scalarPiece) { item, _ in
        for index in item * Self.scalarPiece..<min(count, (item + 1) * Self.scalarPiece) {
          target[index] = f(source[index])
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }

  /// Elements of one piece of work where each takes some nanoseconds.
  private static let scalarPiece = 1 << 12
}

// MARK: Arithmetic

extension Negate: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_NEGATE, 0, 0) }
  func reference(_ x: Double) -> Double { -x }
  func integer(_ x: Int64) -> Int64 { 0 &- x }
}
extension Magnitude: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_ABS, 0, 0) }
  func reference(_ x: Double) -> Double { x.magnitude }
  func integer(_ x: Int64) -> Int64 { x < 0 ? 0 &- x : x }
}
extension Sign: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SIGN, 0, 0) }
  func reference(_ x: Double) -> Double { x > 0 ? 1 : x < 0 ? -1 : x.isNaN ? x : 0 }
  func integer(_ x: Int64) -> Int64 { x.signum() }
}
extension Reciprocal: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_RECIPROCAL, 0, 0) }
  func reference(_ x: Double) -> Double { 1 / x }
}
extension SquareRoot: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SQRT, 0, 0) }
  func reference(_ x: Double) -> Double { x.squareRoot() }
}
extension Round: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? {
    switch rule {
    case .down: (TZ_FLOOR, 0, 0)
    case .up: (TZ_CEIL, 0, 0)
    case .towardZero: (TZ_TRUNC, 0, 0)
    case .toNearestOrEven: (TZ_ROUND, 0, 0)
    default: nil
    }
  }
  func reference(_ x: Double) -> Double { x.rounded(rule) }
}

// MARK: Transcendental functions

extension Exponential: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_EXP, 0, 0) }
  func reference(_ x: Double) -> Double { x.exponential() }
}
extension Logarithm: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_LOG, 0, 0) }
  func reference(_ x: Double) -> Double { x.logarithm() }
}
extension Sine: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SIN, 0, 0) }
  func reference(_ x: Double) -> Double { x.sine() }
}
extension Cosine: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_COS, 0, 0) }
  func reference(_ x: Double) -> Double { x.cosine() }
}
extension Tangent: UnaryKernel { func reference(_ x: Double) -> Double { x.tangent() } }
extension ArcSine: UnaryKernel { func reference(_ x: Double) -> Double { x.arcSine() } }
extension ArcCosine: UnaryKernel { func reference(_ x: Double) -> Double { x.arcCosine() } }
extension ArcTangent: UnaryKernel { func reference(_ x: Double) -> Double { x.arcTangent() } }
extension HyperbolicSine: UnaryKernel { func reference(_ x: Double) -> Double { x.hyperbolicSine() } }
extension HyperbolicCosine: UnaryKernel { func reference(_ x: Double) -> Double { x.hyperbolicCosine() } }
extension InverseHyperbolicSine: UnaryKernel {
  func reference(_ x: Double) -> Double { x.inverseHyperbolicSine() }
}
extension InverseHyperbolicCosine: UnaryKernel {
  func reference(_ x: Double) -> Double { x.inverseHyperbolicCosine() }
}
extension InverseHyperbolicTangent: UnaryKernel {
  func reference(_ x: Double) -> Double { x.inverseHyperbolicTangent() }
}
extension ErrorFunction: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_ERF, 0, 0) }
  func reference(_ x: Double) -> Double { x.errorFunction() }
}

// MARK: Activations

extension ReLUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_LEAKY_RELU, 0, 0) }
  func reference(_ x: Double) -> Double { x < 0 ? 0 : x }
  func integer(_ x: Int64) -> Int64 { x < 0 ? 0 : x }
}
extension LeakyReLUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_LEAKY_RELU, slope, 0) }
  func reference(_ x: Double) -> Double { x < 0 ? x * slope : x }
}
extension ELUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_ELU, alpha, scale) }
  func reference(_ x: Double) -> Double { scale * (x < 0 ? alpha * x.exponentialMinusOne() : x) }
}
extension CELUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_CELU, alpha, 0) }
  func reference(_ x: Double) -> Double { x < 0 ? alpha * (x / alpha).exponentialMinusOne() : x }
}
extension GELUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (approximateTanh ? TZ_GELU_TANH : TZ_GELU, 0, 0) }
  func reference(_ x: Double) -> Double {
    if x == -.infinity { return -0.0 }
    guard approximateTanh else { return 0.5 * x * (-x * 0.5.squareRoot()).complementaryErrorFunction() }
    return 0.5 * x * (1 + ((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)).hyperbolicTangent())
  }
}
extension SigmoidOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SIGMOID, 0, 0) }
  func reference(_ x: Double) -> Double { 1 / (1 + (-x).exponential()) }
}
extension LogSigmoidOperation: UnaryKernel {
  // log(sigmoid(x)) is −softplus(−x).
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SOFTPLUS, -1, 20) }
  func reference(_ x: Double) -> Double { min(x, 0) - (-abs(x)).exponential().logarithmOfOnePlus() }
}
extension SiLUOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SILU, 0, 0) }
  func reference(_ x: Double) -> Double { x == -.infinity ? -0.0 : x / (1 + (-x).exponential()) }
}
extension MishOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_MISH, 0, 0) }
  func reference(_ x: Double) -> Double {
    x == -.infinity ? -0.0 : x * (x > 30 ? x : x.exponential().logarithmOfOnePlus()).hyperbolicTangent()
  }
}
extension HyperbolicTangent: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_TANH, 0, 0) }
  func reference(_ x: Double) -> Double { x.hyperbolicTangent() }
}
extension SoftplusOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SOFTPLUS, beta, threshold) }
  func reference(_ x: Double) -> Double {
    x * beta > threshold ? x : (x * beta).exponential().logarithmOfOnePlus() / beta
  }
}
extension SnakeOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SNAKE, alpha, 1 / beta) }
  func reference(_ x: Double) -> Double {
    let s = (alpha * x).sine()
    return x + s * s / beta
  }
}
extension ThresholdedReLU: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_THRESHOLD, alpha, 0) }
  func reference(_ x: Double) -> Double { x > alpha ? x : 0 }
}
extension Shrink: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SHRINK, lambda, bias) }
  func reference(_ x: Double) -> Double { x < -lambda ? x + bias : x > lambda ? x - bias : 0 }
  func integer(_ x: Int64) -> Int64 { Int64(converting: reference(Double(x))) }
}
extension ScaledHardSigmoid: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_LINEAR_CLAMP, alpha, beta) }
  func reference(_ x: Double) -> Double { min(max(alpha * x + beta, 0), 1) }
}
extension Clamp: UnaryKernel {
  // NaN is neither below nor above and stays.
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_CLAMP, low, high) }
  func reference(_ x: Double) -> Double { x < low ? low : x > high ? high : x }
}
extension SoftsignOperation: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_SOFTSIGN, 0, 0) }
  func reference(_ x: Double) -> Double { x / (1 + x.magnitude) }
}
extension HardSwish: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_HARDSWISH, 0, 0) }
  func reference(_ x: Double) -> Double { x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6 }
}
extension HardSigmoid: UnaryKernel {
  var vectorized: (function: tz_unary, a: Double, b: Double)? { (TZ_HARDSIGMOID, 0, 0) }
  func reference(_ x: Double) -> Double { x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6 }
}
