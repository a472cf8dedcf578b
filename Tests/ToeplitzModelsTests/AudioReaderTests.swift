import Foundation
import Testing
import ToeplitzModels
import ToeplitzTensor
import ToeplitzTestSupport

/// Sound in order, of files and of pipes; spectrograms and vocoders of what comes in pieces.
@Suite struct AudioReaderTests {
  private func read(_ reader: AudioReader, atMost limit: Int = 1000) throws -> [Float] {
    var samples: [Float] = []
    while let more = try reader.readMono(atMost: limit) {
      #expect(!more.isEmpty && more.count <= limit)
      samples += more
    }
    #expect(reader.frameCount == samples.count)
    return samples
  }

  /// Reads `bytes` out of a pipe whose writer gives them in pieces of the given size.
  private func piped(
    _ bytes: [UInt8], pieces: Int = 4096, raw: AudioReader.RawFormat? = nil, atMost limit: Int = 1000
  ) throws -> (samples: [Float], reader: AudioReader) {
    let pipe = Pipe()
    let writing = pipe.fileHandleForWriting
    let thread = Thread {
      for first in stride(from: 0, to: bytes.count, by: pieces) {
        try? writing.write(contentsOf: Data(bytes[first..<min(first + pieces, bytes.count)]))
      }
      try? writing.close()
    }
    thread.start()
    // Whoever gives up early must not stop the writer with a signal.
    defer { withExtendedLifetime(pipe) {} }
    let reader = try AudioReader(path: "/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)", raw: raw)
    return (try read(reader, atMost: limit), reader)
  }

  @Test func pipesGiveTheSamplesOfFiles() throws {
    let folder = try TemporaryFolder()
    let signal = noise(5000, seed: 1)
    for encoding in WAVWriter.Encoding.allCases {
      let path = folder.path("\(encoding).wav")
      let writer = try WAVWriter(path: path, sampleRate: 16_000, channelCount: 2, encoding: encoding)
      try writer.append(signal)
      try writer.finish()
      let expected = try AudioFile(path: path).readMono()
      let file = try AudioReader(path: path)
      #expect(file.expectedFrameCount == 2500 && file.sampleRate == 16_000 && file.channelCount == 2)
      #expect(try read(file, atMost: 7) == expected)
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      for pieces in [1, 3, 1000, 1 << 16] {
        let (samples, reader) = try piped(bytes, pieces: pieces, atMost: 99)
        #expect(samples == expected && reader.warnings.isEmpty && reader.expectedFrameCount == nil)
        #expect(reader.sampleRate == 16_000 && reader.channelCount == 2)
      }
      // The samples alone.
      let size = encoding == .int16 ? 2 : 4
      let raw = AudioReader.RawFormat(encoding: encoding, sampleRate: 16_000, channelCount: 2)
      let alone = Array(bytes.suffix(5000 * size))
      #expect(try piped(alone, pieces: 5, raw: raw).samples == expected)
      let rawPath = try folder.write(alone, as: "alone")
      #expect(try read(AudioReader(path: rawPath, raw: raw)) == expected)
      // A frame that is not whole.
      let error = toeplitzError { _ = try piped(Array(alone.dropLast()), raw: raw) }
      #expect(
        error?.kind == .format && error?.got == "\(2 * size - 1) bytes at the end", "\(String(describing: error))")
    }
  }

  @Test func headersOfPipesMayLeaveTheirSizesOpenOrLie() throws {
    let body = (0..<400).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let format = chunk("fmt ", formatBody())
    let folder = try TemporaryFolder()
    let path = try folder.write(riff(format, chunk("data", body)))
    let step = try AudioReader(path: path).channelCount * 2
    withExtendedLifetime(folder) {}
    func data(_ size: UInt32) -> [UInt8] { [UInt8]("data".utf8) + bytes(size) + body }
    let whole = try piped(riff(format, chunk("data", body))).samples
    #expect(whole.count == 400 / step)
    for size in [UInt32.max, 0x8000_0000, 0x7FFF_F000, 0] {
      let (samples, reader) = try piped(riff(format, data(size), size: size == 0 ? 0 : .max))
      #expect(samples == whole && reader.warnings.isEmpty, "\(size)")
    }
    // What follows the samples is none.
    #expect(
      try piped(riff(format, chunk("LIST", [1, 2, 3, 4]), chunk("data", body), chunk("LIST", body))).samples == whole)
    let (short, early) = try piped(riff(format, data(1000)))
    #expect(
      short == whole && early.warnings == ["ends after 400 of the 1000 bytes of samples that its header promises"])
    let (_, odd) = try piped(riff(format, chunk("data", Array(body.dropLast()))))
    #expect(odd.warnings.count == 1 && odd.warnings[0].contains("is dropped"), "\(odd.warnings)")
    for (bad, words) in [
      (Array("just some words, no sound".utf8), "a format and a rate"), ([], "an empty file"),
      (Array("fLaC and so on".utf8), "FLAC"), (Array("OggS and so on".utf8), "Ogg"),
      (Array(riff(format, chunk("data", body)).prefix(30)), "fmt "),
      (Array("RIFF\u{1}\u{1}\u{1}\u{1}WAVE".utf8), "fmt "),
      (riff(chunk("data", body)), "before the samples"),
    ] as [([UInt8], String)] {
      let error = toeplitzError { _ = try piped(bad) }
      #expect(error.map { "\($0)".contains(words) } ?? false, "\(words): \(String(describing: error))")
    }
  }

  /// The frames of sound that comes in pieces are those of the whole.
  @Test func spectrogramsOfPieces() throws {
    var random = RandomSource(seed: 5)
    for configuration in [
      MelSpectrogram.Configuration(maximumFrequency: 8000),
      .init(fftSize: 64, melCount: 4, hopSize: 16, windowSize: 50),
      .init(fftSize: 60, melCount: 3, hopSize: 7, windowSize: 60),
      .init(fftSize: 32, melCount: 3, hopSize: 32, windowSize: 32),
    ] {
      let mel = try MelSpectrogram(configuration)
      for length in [1500, 1501, 4000, 9 * configuration.hopSize, configuration.fftSize] {
        let signal = noise(length, seed: UInt64(length))
        let whole = try mel(signal)
        for _ in 0..<3 {
          var stream = mel.makeStream()
          var (parts, position): ([Tensor], Int) = ([], 0)
          while position < length {
            let count = min(length - position, [0, 1, 2, 15, 256, 1024, 3000][Int.random(in: 0...6, using: &random)])
            parts.append(try stream.append(Array(signal[position..<position + count])))
            position += count
          }
          parts.append(try stream.finish())
          #expect(stream.frameCount == whole.shape[2] && stream.sampleCount == length)
          #expect(try Tensor.concatenate(parts, axis: 2).sameBits(as: whole), "\(configuration) \(length)")
          #expect(throws: ToeplitzError.self) { try stream.append([0]) }
        }
      }
      var short = mel.makeStream()
      _ = try short.append([0, 1])
      #expect(throws: ToeplitzError.self) { try short.finish() }
    }
    // A refused piece leaves the stream as it was.
    let mel = try MelSpectrogram(.init(fftSize: 64, melCount: 4, hopSize: 16, windowSize: 50))
    var stream = mel.makeStream()
    let signal = noise(300, seed: 3)
    var parts = [try stream.append(Array(signal[..<100]))]
    #expect(throws: ToeplitzError.self) { try stream.append([Float](repeating: .nan, count: 200)) }
    parts += [try stream.append(Array(signal[100...])), try stream.finish()]
    #expect(try Tensor.concatenate(parts, axis: 2).sameBits(as: mel(signal)))
  }

  @Test func vocodersOfPieces() throws {
    let folder = try TemporaryFolder()
    let vocoder = try Vocoder(
      configuration: Fixtures.bundled("config.json"), weights: Fixtures.bundled("generator.safetensors"))
    let signal = noise(8000, seed: 8).map { $0 * 0.3 }
    for rate in [22_050, 16_000] {
      try WAVWriter.write(signal, to: folder.path("in.wav"), sampleRate: rate, encoding: .float32)
      let writer = try WAVWriter(path: folder.path("out.wav"), sampleRate: vocoder.sampleRate, encoding: .float32)
      try vocoder.resynthesize(AudioFile(path: folder.path("in.wav")), to: writer)
      let whole = try AudioFile(path: folder.path("out.wav")).readMono()
      for (piece, frames) in [(100, 1), (3000, 8), (8000, 100)] {
        var stream = try vocoder.makeStream(from: rate, framesPerStep: frames)
        var samples: [Float] = []
        for first in stride(from: 0, to: signal.count, by: piece) {
          samples += try stream.append(Array(signal[first..<min(first + piece, signal.count)]))
        }
        samples += try stream.finish()
        #expect(samples.map(\.bitPattern) == whole.map(\.bitPattern), "\(rate) \(piece)")
        #expect(stream.sampleCount == whole.count)
      }
    }
    #expect(throws: ToeplitzError.self) { try vocoder.makeStream(from: 22_050, framesPerStep: 0) }
  }
}
