import ToeplitzNN
import ToeplitzTensor

extension Vocoder {
  /// Resynthesis of sound that comes in pieces: the samples are those that ``resynthesize(_:to:progress:)`` writes, bit for bit.
  ///
  /// The resampler, the spectrogram and the generator each give what is final.
  public struct Stream: Sendable {
    private var resampler: Resampler.Stream
    private var mel: MelSpectrogram.Stream
    private var network: TensorStream
    /// Frames that are too few yet.
    private var waiting: Tensor
    private let framesPerStep: Int
    /// Samples given so far.
    public private(set) var sampleCount = 0

    init(_ vocoder: Vocoder, from inputRate: Int, framesPerStep: Int) throws {
      guard framesPerStep >= 1 else {
        throw ToeplitzError(.argument, "Vocoder", expected: "framesPerStep of at least 1", got: "\(framesPerStep)")
      }
      resampler = try Resampler(from: inputRate, to: vocoder.sampleRate).makeStream()
      mel = vocoder.mel.makeStream()
      network = try vocoder.generator.streamPlan().makeStream()
      try network.prepare(maximumChunk: framesPerStep)
      waiting = try Tensor.zeros([1, vocoder.mel.configuration.melCount, 0])
      self.framesPerStep = framesPerStep
    }

    /// How the generator streams.
    public var plan: StreamPlan { network.plan }

    /// Takes the next samples and gives those of the result that are final now; maybe none.
    ///
    /// - Throws: ``ToeplitzError`` after ``finish()`` or for a sample that is not finite.
    public mutating func append(_ samples: [Float]) throws -> [Float] {
      try vocode(mel.append(resampler.append(samples)), isLast: false)
    }

    /// Ends the sound and gives the remaining samples.
    ///
    /// - Throws: ``ToeplitzError`` if the sound is too short for a frame, or has ended before.
    public mutating func finish() throws -> [Float] {
      let last = try mel.append(resampler.finish())
      return try vocode(Tensor.concatenate([last, mel.finish()], axis: 2), isLast: true)
    }

    private mutating func vocode(_ frames: Tensor, isLast: Bool) throws -> [Float] {
      let all = try waiting.shape[2] == 0 ? frames : Tensor.concatenate([waiting, frames], axis: 2)
      var samples: [Float] = []
      var first = 0
      // Steps of one size, which are compiled once.
      while all.shape[2] - first >= framesPerStep {
        samples += try network.push(all.slice(axis: 2, first..<(first + framesPerStep))).scalars(Float.self)
        first += framesPerStep
      }
      waiting = try all.slice(axis: 2, first..<all.shape[2]).copied()
      if isLast {
        samples += try network.push(waiting).scalars(Float.self)
        samples += try network.finish().scalars(Float.self)
      }
      sampleCount += samples.count
      return samples
    }
  }

  /// A stream for sound of the given rate in hertz.
  ///
  /// - Parameter framesPerStep: spectrogram frames that the generator gets at a time; fewer delay less, more cost less. The result does
  ///   not depend on it.
  /// - Throws: ``ToeplitzError`` if the rates differ too much or the generator cannot be streamed.
  public func makeStream(from inputRate: Int, framesPerStep: Int = 8) throws -> Stream {
    try Stream(self, from: inputRate, framesPerStep: framesPerStep)
  }
}
