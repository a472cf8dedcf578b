import ToeplitzTensor

/// Numbers in 0..<1 that depend on a key, the number of the draw and their position, and on nothing else.
///
/// The same key gives the same numbers whenever and in whatever order they are computed, so what is computed again for a gradient
/// draws the same (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, 2011). Each number is SplitMix64's mixing of
/// the counter, applied twice.
package struct CounterUniform: TensorOperation {
  package var shape: TensorShape
  /// Which draw with the key it is.
  package var draw: Int

  package init(shape: TensorShape, draw: Int) { (self.shape, self.draw) = (shape, draw) }

  package var name: String { "counterUniform" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(
      inputs[0] == TensorSpec([], .int64), .dtype, expected: "a key \(TensorSpec([], .int64))", got: "\(inputs[0])")
    _ = try shape.elementCount(name)
    return [TensorSpec(shape, .float64)]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "its numbers are counted over all positions") }

  /// Number `index` of a draw.
  package static func number(key: UInt64, draw: UInt64, index: UInt64) -> Double {
    func mix(_ value: UInt64) -> UInt64 {
      var z = value
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    let stream = mix(key &+ (draw &+ 1) &* 0x9E37_79B9_7F4A_7C15)
    return Double(mix(stream &+ (index &+ 1) &* 0xD1B5_4A32_D192_ED03) >> 11) * 0x1p-53
  }
}

/// The random numbers of one step of training: a key, and how many draws there have been.
///
/// Layers that draw numbers, such as dropout, take them from here while it is set, so a step is a function of its key alone.
public final class StepRandom: @unchecked Sendable {
  @TaskLocal package static var current: StepRandom?
  private let key: Tensor
  private var draws = 0

  /// Random numbers of a key, an int64 tensor of one element, which may be traced.
  package init(key: Tensor) { self.key = key }

  /// The next draw: float64 numbers in 0..<1.
  package func uniform(_ shape: TensorShape) throws -> Tensor {
    defer { draws += 1 }
    return try apply(CounterUniform(shape: shape, draw: draws), key)
  }

  /// The key of a step of a run with a seed, or of a part of its batch.
  package static func key(seed: UInt64, step: Int, shard: Int = 0) -> Int64 {
    // No run has 2^44 steps.
    let number = UInt64(bitPattern: Int64(step)) &+ UInt64(shard) << 44
    var source = RandomSource(seed: seed ^ (number &* 0x9E37_79B9_7F4A_7C15))
    return Int64(bitPattern: source.next())
  }
}

/// Runs `body`, in which dropout draws the numbers of this seed, step and part of the batch: the same whenever it is run.
public func withStepRandom<Result>(
  seed: UInt64, step: Int, shard: Int = 0, _ body: () throws -> Result
) throws -> Result {
  let key = try Tensor(scalar: StepRandom.key(seed: seed, step: step, shard: shard))
  return try StepRandom.$current.withValue(StepRandom(key: key), operation: body)
}
