import ToeplitzOps
import ToeplitzTensor

// Samples as audio systems hand them over: 16-bit or floating-point numbers, the channels of a frame one after another.

extension Tensor {
  /// Frames of 16-bit samples as a float32 tensor `[channelCount, frames]`, scaled to −1..<1.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the last frame is not whole.
  public init<Samples: Collection>(pcm16 samples: Samples, channelCount: Int = 1) throws
  where Samples.Element == Int16 {
    try self.init(pcm: samples.map { Float($0) / 32768 }, channelCount: channelCount)
  }

  /// Frames of floating-point samples as a float32 tensor `[channelCount, frames]`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the last frame is not whole.
  public init<Samples: Collection>(pcm samples: Samples, channelCount: Int = 1) throws
  where Samples.Element == Float {
    guard channelCount > 0, samples.count % channelCount == 0 else {
      throw ToeplitzError(
        .argument, "Tensor(pcm:)", expected: "a multiple of \(channelCount) samples, one per channel",
        got: "\(samples.count)")
    }
    let frames = try Tensor(Array(samples), shape: [samples.count / channelCount, channelCount], device: .cpu)
    self = try frames.transposed(0, 1).contiguous()
  }

  /// The samples of `[channels, frames]`, `[1, channels, frames]` or `[frames]`, the channels of a frame one after another.
  ///
  /// - Throws: ``ToeplitzError`` if the shape is another or the elements are no floating-point numbers.
  public func pcm() throws -> [Float] {
    guard dtype.isFloatingPoint, (1...3).contains(rank), rank < 3 || shape[0] == 1 else {
      throw ToeplitzError(
        .shape, "pcm", expected: "floating-point samples [channels, frames] or [frames]", got: "\(spec)")
    }
    let channels = rank == 1 ? try unsqueezed(0) : rank == 3 ? try squeezed(0) : self
    return try channels.transposed(0, 1).cast(to: .float32).scalars(of: Float.self)
  }

  /// ``pcm()`` as 16-bit samples: times 32768, rounded, and clipped to the range; NaN becomes 0.
  ///
  /// - Throws: As ``pcm()``.
  public func pcm16() throws -> [Int16] {
    try pcm().map { sample -> Int16 in
      let scaled: Float = (sample * 32768).rounded()
      return sample.isNaN ? 0 : Int16(Swift.max(-32768, Swift.min(32767, scaled)))
    }
  }
}
