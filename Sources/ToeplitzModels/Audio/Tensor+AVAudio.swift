#if canImport(AVFAudio)
  import AVFAudio
  import ToeplitzTensor

  // Buffers of Apple's audio engine.

  extension Tensor {
    /// The frames of a buffer of floating-point or 16-bit samples, float32 `[channels, frames]`.
    ///
    /// - Throws: ``ToeplitzError`` of kind `unsupported` for samples of another kind.
    public init(_ buffer: AVAudioPCMBuffer) throws {
      let (channels, frames) = (Int(buffer.format.channelCount), Int(buffer.frameLength))
      let isInterleaved = buffer.format.isInterleaved
      let planes = isInterleaved ? 1 : channels
      let length = isInterleaved ? channels * frames : frames
      func joined<Sample>(_ data: UnsafePointer<UnsafeMutablePointer<Sample>>) -> [Sample] {
        (0..<planes).flatMap { UnsafeBufferPointer(start: data[$0], count: length) }
      }
      let samples: [Float]
      if let data = buffer.floatChannelData {
        samples = joined(data)
      } else if let data = buffer.int16ChannelData {
        samples = joined(data).map { Float($0) / 32768 }
      } else {
        throw ToeplitzError(
          .unsupported, "AVAudioPCMBuffer", expected: "floating-point or 16-bit samples", got: "\(buffer.format)")
      }
      if isInterleaved {
        try self.init(pcm: samples, channelCount: channels)
      } else {
        try self.init(samples, shape: [channels, frames], device: .cpu)
      }
    }

    /// The samples of `[channels, frames]`, `[1, channels, frames]` or `[frames]` as a buffer of float32 samples.
    ///
    /// - Parameter sampleRate: frames per second.
    /// - Throws: ``ToeplitzError`` if the shape or the rate is none of a buffer.
    public func audioBuffer(sampleRate: Double) throws -> AVAudioPCMBuffer {
      let interleaved = try pcm()
      let channels = rank == 1 ? 1 : shape[rank - 2]
      let frames = shape[rank - 1]
      guard let channelCount = AVAudioChannelCount(exactly: channels), channelCount > 0,
        let frameCount = AVAudioFrameCount(exactly: frames),
        let format = AVAudioFormat(standardFormatWithSampleRate: sampleRate, channels: channelCount),
        let buffer = AVAudioPCMBuffer(pcmFormat: format, frameCapacity: frameCount),
        let data = buffer.floatChannelData
      else {
        throw ToeplitzError(
          .argument, "audioBuffer", expected: "channels, frames and a rate that AVFAudio takes",
          got: "\(channels) channels of \(frames) frames, \(sampleRate) Hz")
      }
      buffer.frameLength = frameCount
      for channel in 0..<channels {
        for frame in 0..<frames { data[channel][frame] = interleaved[frame * channels + channel] }
      }
      return buffer
    }
  }
#endif
