import ToeplitzTensor

/// Sound that is read in order, once: a file, or what comes out of a pipe, whose length need not be known.
///
/// Files may be whatever ``AudioFile`` reads. Pipes give WAV, whose header may leave its sizes open, or samples without a header.
///
/// ```swift
/// let reader = try AudioReader(path: "/dev/stdin", raw: .init(encoding: .float32, sampleRate: 16_000))
/// while let samples = try reader.readMono(atMost: 1024) { print(samples.count) }
/// ```
public final class AudioReader {
  /// Samples without a header: little-endian, the channels of a frame one after the other.
  public struct RawFormat: Sendable, Hashable {
    /// How samples are stored.
    public var encoding: WAVWriter.Encoding
    /// Frames a second.
    public var sampleRate: Int
    /// Channels.
    public var channelCount: Int

    /// Samples of the given encoding, rate in hertz and number of channels.
    public init(encoding: WAVWriter.Encoding, sampleRate: Int, channelCount: Int = 1) {
      (self.encoding, self.sampleRate, self.channelCount) = (encoding, sampleRate, channelCount)
    }
  }

  private enum Source {
    case file(AudioFile)
    case stream(AudioByteStream)
  }
  private let source: Source
  /// Frames read so far.
  public private(set) var frameCount = 0

  /// Opens a file or pipe.
  ///
  /// - Parameter raw: what the samples are if there is no header.
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be read, of kind `format` if it is damaged or none of these formats, of
  ///   kind `argument` for a rate or a number of channels that no sound has.
  public convenience init(path: String, raw: RawFormat? = nil) throws {
    try self.init(path: path, raw: raw, stop: -1)
  }

  /// As ``init(path:raw:)``; the sound ends once the descriptor `stop` can be read from.
  package init(path: String, raw: RawFormat?, stop: Int32) throws {
    source =
      raw != nil || Streams.isStream(path)
      ? .stream(try AudioByteStream(path: path, raw: raw, stop: stop)) : .file(try AudioFile(path: path))
  }

  /// Frames per second.
  public var sampleRate: Int {
    switch source {
    case .file(let file): file.sampleRate
    case .stream(let stream): stream.format.sampleRate
    }
  }

  /// Channels, at least 1.
  public var channelCount: Int {
    switch source {
    case .file(let file): file.channelCount
    case .stream(let stream): stream.format.channelCount
    }
  }

  /// Frames in all, where that is known for certain.
  public var expectedFrameCount: Int? {
    if case .file(let file) = source { file.frameCount } else { nil }
  }

  /// What is wrong with the sound that has been read so far, such as "ends before …".
  public var warnings: [String] {
    switch source {
    case .file(let file): file.warnings
    case .stream(let stream): stream.warnings
    }
  }

  /// The mean of all channels over the next frames: those that are there, at least one, and at most `limit`; nil at the end.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` for a sample that is not finite, or if samples without a header end within a frame;
  ///   of kind `file` if reading fails.
  public func readMono(atMost limit: Int) throws -> [Float]? {
    let samples: [Float]
    switch source {
    case .file(let file):
      samples = try file.readMono(frames: frameCount..<min(file.frameCount, frameCount + max(limit, 0)))
    case .stream(let stream):
      samples = try stream.readMono(atMost: limit, from: frameCount)
    }
    frameCount += samples.count
    return samples.isEmpty ? nil : samples
  }
}

/// Samples of a pipe, as they come.
private final class AudioByteStream {
  let format: WAVFormat
  private(set) var warnings: [String] = []
  private let path: String
  private let isBigEndian: Bool
  private let isRaw: Bool
  private let bytes: StreamReader
  /// Bytes of samples that the header promises, and that came.
  private let promised: UInt64?
  private var received = 0
  /// The beginning of a frame.
  private var rest: [UInt8] = []

  init(path: String, raw: AudioReader.RawFormat?, stop: Int32) throws {
    self.path = path
    bytes = try StreamReader(path: path, stop: stop)
    isRaw = raw != nil
    if let raw {
      let rates = AudioFile.sampleRates
      guard rates.contains(raw.sampleRate), (1...1024).contains(raw.channelCount) else {
        throw ToeplitzError(
          .argument, path, expected: "a rate of \(rates.lowerBound) to \(rates.upperBound) Hz and 1 to 1024 channels",
          got: "\(raw.sampleRate) Hz and \(raw.channelCount)")
      }
      format = WAVFormat(
        sampleFormat: raw.encoding == .int16 ? .int16 : .float32, channelCount: raw.channelCount,
        sampleRate: raw.sampleRate)
      (promised, isBigEndian) = (nil, false)
      return
    }
    let header = try Self.header(bytes, path)
    (format, promised, isBigEndian) = (header.format, header.promisedSize, header.isBigEndian)
  }

  private static func header(_ bytes: StreamReader, _ path: String) throws -> WAVHeader {
    var head: [UInt8] = []
    try bytes.fill(&head, to: 12)
    try head.withUnsafeBytes { head in
      switch AudioSignature(head) {
      case .wav: break
      case .flac:
        throw ToeplitzError(
          .unsupported, path, expected: "WAV or samples without a header from a pipe that is streamed", got: "FLAC")
      case .unreadable(let name):
        throw ToeplitzError(.unsupported, path, expected: "a WAV file", got: name)
      case nil:
        throw ToeplitzError(
          .format, path, expected: "a WAV file, or a format and a rate for samples without a header",
          got: AudioSignature.describe(head))
      }
    }
    while let count = try head.withUnsafeBytes({ try WAVHeader.bytesNeeded(after: $0, path: path) }) {
      let before = head.count
      try bytes.fill(&head, to: count)
      // What is missing the parser tells.
      if head.count < count || head.count == before { break }
    }
    return try head.withUnsafeBytes { try WAVHeader(bytes: $0, path: path) }
  }

  func readMono(atMost limit: Int, from first: Int) throws -> [Float] {
    let size = format.bytesPerFrame
    let left = promised.map { Int(min($0 - UInt64(received), UInt64(1 << 30))) } ?? 1 << 30
    let room = min(max(limit, 0), 1 << 20, (left + rest.count + size - 1) / size) * size
    var data = rest
    data += repeatElement(0, count: max(0, room - data.count))
    var count = rest.count
    // Until a frame is whole.
    while count < size, count < room {
      let wanted = min(room - count, left - (count - rest.count))
      guard wanted > 0 else { break }
      let got = try data.withUnsafeMutableBytes {
        try bytes.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[count..<count + wanted]))
      }
      if got == 0 {
        received += count - rest.count
        try end(count)
        rest = []
        return []
      }
      count += got
    }
    received += count - rest.count
    let frames = count / size
    rest = Array(data[(frames * size)..<count])
    if frames == 0, !rest.isEmpty, limit > 0 { try end(rest.count) }
    var samples = [Float](repeating: 0, count: frames)
    samples.withUnsafeMutableBufferPointer { target in
      data.withUnsafeBytes { bytes in
        guard let source = bytes.baseAddress, let target = target.baseAddress else { return }
        format.decode(0..<format.channelCount, frames, at: source, isBigEndian: isBigEndian, into: target)
      }
    }
    if let bad = samples.firstIndex(where: { !$0.isFinite }) {
      throw ToeplitzError(
        .format, path, expected: "finite samples", got: "\(samples[bad]) in frame \(first + bad)")
    }
    return samples
  }

  /// No more comes after `count` bytes of a frame.
  private func end(_ count: Int) throws {
    guard warnings.isEmpty else { return }
    if isRaw {
      guard count > 0 else { return }
      throw ToeplitzError(
        .format, path, expected: "whole frames of \(format.bytesPerFrame) bytes", got: "\(count) bytes at the end")
    }
    if let promised, UInt64(received) < promised {
      warnings.append(WAVHeader.endsEarly(after: received, of: promised))
    } else if count > 0, promised != nil {
      warnings.append(WAVHeader.dropsFrame(count, of: format.bytesPerFrame))
    }
  }
}
