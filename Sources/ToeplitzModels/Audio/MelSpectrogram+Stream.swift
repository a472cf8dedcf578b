import ToeplitzTensor

extension MelSpectrogram {
  /// A spectrogram of sound that comes in pieces: the frames have the bits that they have in that of the whole.
  ///
  /// A frame comes out once all its samples are there; those that read what is reflected at the end come with ``finish()``.
  public struct Stream: Sendable {
    private let mel: MelSpectrogram
    /// The samples that frames to come read, and where they start.
    private var window: [Float] = []
    private var windowStart = 0
    private var isFinished = false
    /// Samples taken so far.
    public private(set) var sampleCount = 0
    /// Frames given so far.
    public private(set) var frameCount = 0

    init(_ mel: MelSpectrogram) { self.mel = mel }

    /// Takes the next samples and gives the frames that they complete, `[1, melCount, count]`, maybe none.
    ///
    /// - Throws: ``ToeplitzError`` of kind `argument` after ``finish()`` or for a sample that is not finite; the stream is as it was
    ///   then.
    public mutating func append(_ samples: [Float]) throws -> Tensor {
      try requireUnfinished()
      var next = self
      next.window += samples
      next.sampleCount += samples.count
      let (hop, size) = (mel.configuration.hopSize, mel.configuration.fftSize)
      // The reflection at the start reads one sample more than it is long.
      let reach = next.sampleCount + mel.padding - size
      let end = next.sampleCount > mel.padding && reach >= 0 ? max(next.frameCount, reach / hop + 1) : next.frameCount
      let frames = try next.take(upTo: end)
      // The next frame, or what the reflection at the end reads.
      let first = min(next.frameCount * hop - mel.padding, next.sampleCount - 1 - mel.padding)
      let dropped = min(max(0, first - next.windowStart), next.window.count)
      next.window.removeFirst(dropped)
      next.windowStart += dropped
      self = next
      return frames
    }

    /// Ends the sound and gives the remaining frames, `[1, melCount, count]`.
    ///
    /// - Throws: ``ToeplitzError`` of kind `shape` if the sound is too short for a frame, `argument` if it is called twice.
    public mutating func finish() throws -> Tensor {
      try requireUnfinished()
      let frames = try take(upTo: mel.frameCount(sampleCount: sampleCount))
      isFinished = true
      return frames
    }

    /// The frames up to `end`.
    private mutating func take(upTo end: Int) throws -> Tensor {
      guard end > frameCount else { return try Tensor.zeros([1, mel.configuration.melCount, 0]) }
      let (window, start) = (window, windowStart)
      let frames = try mel.frames(frameCount..<end, sampleCount: sampleCount) { range in
        Array(window[(range.lowerBound - start)..<(range.upperBound - start)])
      }
      frameCount = end
      return frames
    }

    private func requireUnfinished() throws {
      guard !isFinished else {
        throw ToeplitzError(.argument, "MelSpectrogram", expected: "a stream in use", got: "one that finished")
      }
    }
  }

  /// A spectrogram of sound that comes in pieces.
  public func makeStream() -> Stream { Stream(self) }
}
