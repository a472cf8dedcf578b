/// A seeded generator of random numbers: the same seed gives the same numbers on every machine.
///
/// xoshiro256** of Blackman and Vigna ("Scrambled linear pseudorandom number generators", 2021), seeded by
/// SplitMix64. It is not the Mersenne twister of PyTorch: equal seeds do not give PyTorch's numbers.
public struct RandomSource: RandomNumberGenerator, Sendable {
  private var state: (UInt64, UInt64, UInt64, UInt64)

  /// A generator that starts from `seed`.
  public init(seed: UInt64) {
    var mixer = seed
    func next() -> UInt64 {
      mixer &+= 0x9E37_79B9_7F4A_7C15
      var z = mixer
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    state = (next(), next(), next(), next())
  }

  /// A generator with a seed from the system.
  public init() {
    var system = SystemRandomNumberGenerator()
    self.init(seed: system.next())
  }

  /// The next 64 random bits.
  public mutating func next() -> UInt64 {
    func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
    let result = rotate(state.1 &* 5, 7) &* 9
    let t = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= t
    state.3 = rotate(state.3, 45)
    return result
  }

  /// A number in `0..<1`, all 53 bits random.
  public mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A number of the standard normal distribution (Box and Muller, 1958).
  public mutating func nextNormal() -> Double {
    let radius = (-2 * (1 - nextUnit()).logarithm()).squareRoot()
    return radius * (2 * .pi * nextUnit()).cosine()
  }
}

/// A shared, seeded source of random numbers for the initial values of layers.
///
/// Layers made one after another with the same generator draw different numbers, and the whole model is the same
/// for the same seed.
public final class Generator: Sendable {
  private let source: Lock<RandomSource>
  private let drawsZeros: Bool

  /// A generator that starts from `seed`.
  public init(seed: UInt64) {
    source = Lock(RandomSource(seed: seed))
    drawsZeros = false
  }

  /// A generator with a seed from the system.
  public init() {
    source = Lock(RandomSource())
    drawsZeros = false
  }

  private init(zeros: Void) {
    source = Lock(RandomSource(seed: 0))
    drawsZeros = true
  }

  /// A source of zeros, for models whose values are loaded next: drawing millions of numbers takes time.
  public static let zeros = Generator(zeros: ())

  /// Numbers drawn evenly from `low..<high`.
  public func uniform(_ shape: TensorShape, from low: Double = 0, to high: Double = 1, dtype: DType = .float32) throws
    -> Tensor
  {
    if drawsZeros { return try Tensor.zeros(shape, dtype: dtype) }
    return try source.withLock { try Tensor.randomUniform(shape, from: low, to: high, dtype: dtype, using: &$0) }
  }

  /// Numbers drawn from a normal distribution.
  public func normal(
    _ shape: TensorShape, mean: Double = 0, standardDeviation: Double = 1, dtype: DType = .float32
  ) throws -> Tensor {
    if drawsZeros { return try Tensor.zeros(shape, dtype: dtype) }
    return try source.withLock {
      try Tensor.randomNormal(shape, mean: mean, standardDeviation: standardDeviation, dtype: dtype, using: &$0)
    }
  }
}
