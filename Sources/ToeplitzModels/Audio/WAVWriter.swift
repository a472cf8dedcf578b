import CToeplitzKernels
import ToeplitzTensor

/// Writes a RIFF/WAVE sound file block by block.
///
/// Samples go to a temporary file beside the target. ``finish()`` writes the sizes into the header and gives
/// the file its name; a writer that is cancelled or let go of before that leaves nothing behind, and a file
/// that had the name stays as it was. A writer belongs to one task at a time.
///
/// A pipe, a device and `/dev/stdout` get the samples as they come, behind a header with the sizes that
/// ``expectedFrameCount`` gives, or with those that mean "to the end" (`0xFFFFFFFF`). Samples may also go out without any header.
///
/// ```swift
/// let writer = try WAVWriter(path: "out.wav", sampleRate: 22_050)
/// for block in blocks { try writer.append(block) }
/// try writer.finish()
/// ```
public final class WAVWriter {
  /// How samples are stored.
  public enum Encoding: Sendable, Hashable, CaseIterable {
    /// 16-bit PCM: samples times 32768, rounded to the nearest integer and clipped to the range.
    case int16
    /// IEEE 754 single precision, stored as given.
    case float32
  }

  private let path: String
  private let sampleRate: Int
  private let channelCount: Int
  private let encoding: Encoding
  private let maximumFileSize: Int
  private let file: AtomicFile
  /// Frames appended so far.
  public private(set) var frameCount = 0
  /// How many frames there will be, for the header of what goes into a pipe; set before the first of them.
  public var expectedFrameCount: Int?
  /// Whether the header has been written, which waits for the first samples, or there is to be none.
  private var hasHeader: Bool
  private let isRaw: Bool

  private var bytesPerFrame: Int { channelCount * (encoding == .int16 ? 2 : 4) }
  private var headerSize: Int { isRaw ? 0 : encoding == .int16 ? 44 : 58 }

  /// Starts a file; an existing one is replaced when the writer finishes.
  ///
  /// - Parameter isRaw: whether samples are written alone, in little-endian order, without a header; of any number then.
  /// - Throws: ``ToeplitzError`` of kind `argument` for a sample rate (in hertz) outside
  ///   ``AudioFile/sampleRates`` or a channel count that a WAVE header cannot hold, of kind `file` if the
  ///   folder cannot be written.
  public convenience init(
    path: String, sampleRate: Int, channelCount: Int = 1, encoding: Encoding = .int16, isRaw: Bool = false
  ) throws {
    // The RIFF size is 32 bits wide and leaves out the first 8 bytes.
    try self.init(
      path: path, sampleRate: sampleRate, channelCount: channelCount, encoding: encoding,
      maximumFileSize: isRaw ? .max : 0xFFFF_FFFE + 8, isRaw: isRaw)
  }

  /// A writer that refuses to exceed `maximumFileSize` bytes.
  package init(
    path: String, sampleRate: Int, channelCount: Int, encoding: Encoding, maximumFileSize: Int, file: AtomicFile? = nil,
    isRaw: Bool = false
  ) throws {
    let rates = AudioFile.sampleRates
    guard rates.contains(sampleRate) else {
      throw ToeplitzError(
        .argument, path, expected: "a sample rate of \(rates.lowerBound) to \(rates.upperBound) Hz",
        got: "\(sampleRate)")
    }
    let size = encoding == .int16 ? 2 : 4
    let most = min(Int(UInt16.max) / size, Int(UInt32.max) / (size * sampleRate))
    guard channelCount > 0, channelCount <= most else {
      throw ToeplitzError(.argument, path, expected: "1 to \(most) channels", got: "\(channelCount)")
    }
    self.path = path
    self.sampleRate = sampleRate
    self.channelCount = channelCount
    self.encoding = encoding
    self.maximumFileSize = maximumFileSize
    (self.isRaw, hasHeader) = (isRaw, isRaw)
    self.file = try file ?? AtomicFile(path: path)
  }

  /// Appends frames; the samples of one frame follow one another, channel by channel.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a frame that is not whole, a sample that is not
  ///   finite or a writer that has finished, of kind `file` if the disk refuses or the file would exceed the
  ///   4 GiB of the format.
  public func append(_ interleaved: [Float]) throws {
    try requireOpen()
    let (frames, rest) = interleaved.count.quotientAndRemainder(dividingBy: channelCount)
    guard rest == 0 else {
      throw ToeplitzError(
        .argument, path, expected: "a multiple of \(channelCount) samples, one per channel",
        got: "\(interleaved.count)")
    }
    let bad = tz_finite_prefix(interleaved, interleaved.count)
    guard bad == interleaved.count else {
      throw ToeplitzError(
        .argument, path, expected: "finite samples",
        got: "\(interleaved[bad]) in frame \(frameCount + bad / channelCount)")
    }
    guard frames <= (maximumFileSize - headerSize) / bytesPerFrame - frameCount else {
      throw ToeplitzError(
        .file, path, expected: "at most \(maximumFileSize) bytes, the limit of WAVE files",
        got: "\(frames) frames more than the \(frameCount) before, \(bytesPerFrame) bytes each")
    }
    try beginIfNeeded()
    let blockSize = 1 << 14
    for start in stride(from: 0, to: interleaved.count, by: blockSize) {
      try file.write(encode(interleaved[start..<min(start + blockSize, interleaved.count)]))
    }
    frameCount += frames
    if file.isStream { try file.flush() }
  }

  private func beginIfNeeded() throws {
    guard !hasHeader else { return }
    try file.write(file.isStream ? header(expectedFrameCount) : header(0))
    hasHeader = true
  }

  /// Appends frames given as one array per channel, all of one length.
  ///
  /// - Throws: As ``append(_:)``; also of kind `argument` if the arrays do not fit the channels.
  public func append(planar channels: [[Float]]) throws {
    guard channels.count == channelCount, let frames = channels.first?.count,
      channels.allSatisfy({ $0.count == frames })
    else {
      throw ToeplitzError(
        .argument, path, expected: "\(channelCount) channels of one length",
        got: "lengths \(channels.map(\.count))")
    }
    var interleaved = [Float](repeating: 0, count: frames * channelCount)
    for (index, channel) in channels.enumerated() {
      for frame in 0..<frames { interleaved[frame * channelCount + index] = channel[frame] }
    }
    try append(interleaved)
  }

  /// Completes the file and gives it its name.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the disk refuses (the temporary file is removed then), of
  ///   kind `argument` if the writer has finished before.
  public func finish() throws { try finish(allowsFewer: false) }

  /// As ``finish()``; `allowsFewer` says whether a header in a pipe may have told more frames than came, which were broken off.
  package func finish(allowsFewer: Bool) throws {
    try requireOpen()
    do {
      if file.isStream, !hasHeader { expectedFrameCount = 0 }
      try beginIfNeeded()
      if !file.isStream {
        if !isRaw { try file.overwrite(header(frameCount), at: 0) }
      } else if let expectedFrameCount, expectedFrameCount != frameCount, !allowsFewer {
        throw ToeplitzError(
          .argument, path, expected: "\(expectedFrameCount) frames, as the header says", got: "\(frameCount)")
      }
      try file.commit()
    } catch {
      file.cancel()
      throw error
    }
  }

  /// Gives up: removes the temporary file.
  public func cancel() { file.cancel() }

  /// Writes a whole file of one channel.
  ///
  /// - Throws: As ``init(path:sampleRate:channelCount:encoding:isRaw:)``, ``append(_:)`` and ``finish()``.
  public static func write(
    _ samples: [Float], to path: String, sampleRate: Int, encoding: Encoding = .int16
  ) throws {
    let writer = try WAVWriter(path: path, sampleRate: sampleRate, encoding: encoding)
    writer.expectedFrameCount = samples.count
    try writer.append(samples)
    try writer.finish()
  }

  /// The bytes of a whole file of one channel, for those who keep it in memory.
  ///
  /// - Throws: As ``write(_:to:sampleRate:encoding:)``.
  public static func bytes(_ samples: [Float], sampleRate: Int, encoding: Encoding = .int16) throws -> [UInt8] {
    try bytes(planar: [samples], sampleRate: sampleRate, encoding: encoding)
  }

  /// The bytes of a whole file of the given channels, all of one length.
  ///
  /// - Throws: As ``write(_:to:sampleRate:encoding:)``, and if the lengths differ.
  public static func bytes(
    planar channels: [[Float]], sampleRate: Int, encoding: Encoding = .int16
  ) throws -> [UInt8] {
    try AtomicFile.bytes("WAVWriter") { file in
      let writer = try WAVWriter(
        path: "WAVWriter", sampleRate: sampleRate, channelCount: channels.count, encoding: encoding,
        maximumFileSize: 0xFFFF_FFFE + 8, file: file)
      try writer.append(planar: channels)
      try writer.finish()
    }
  }

  private func requireOpen() throws {
    guard file.isOpen else {
      throw ToeplitzError(
        .argument, path, expected: "a writer in use", got: "one that finished or was cancelled")
    }
  }

  private func encode(_ samples: ArraySlice<Float>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(samples.count * 4)
    switch encoding {
    case .int16:
      for sample in samples {
        let scaled = (sample * 32768).rounded()
        bytes.append(littleEndian: Int16(max(-32768, min(32767, scaled))))
      }
    case .float32:
      for sample in samples { bytes.append(littleEndian: sample.bitPattern) }
    }
    return bytes
  }

  /// The header for so many frames, or for an unknown number; formats other than PCM need a `fact` chunk.
  private func header(_ frameCount: Int?) -> [UInt8] {
    // What does not fit is unknown too.
    let total = frameCount.flatMap { count -> UInt32? in
      let (size, overflow) = count.multipliedReportingOverflow(by: bytesPerFrame)
      return overflow ? nil : UInt32(exactly: size.addingReportingOverflow(headerSize - 8).partialValue)
    }
    let dataSize = total.map { $0 - UInt32(headerSize - 8) }
    var bytes = [UInt8]("RIFF".utf8)
    bytes.append(littleEndian: total ?? .max)
    bytes += "WAVEfmt ".utf8
    bytes.append(littleEndian: UInt32(encoding == .int16 ? 16 : 18))
    bytes.append(littleEndian: UInt16(encoding == .int16 ? 1 : 3))
    bytes.append(littleEndian: UInt16(channelCount))
    bytes.append(littleEndian: UInt32(sampleRate))
    bytes.append(littleEndian: UInt32(sampleRate * bytesPerFrame))
    bytes.append(littleEndian: UInt16(bytesPerFrame))
    bytes.append(littleEndian: UInt16(encoding == .int16 ? 16 : 32))
    if encoding == .float32 {
      bytes.append(littleEndian: UInt16(0))
      bytes += "fact".utf8
      bytes.append(littleEndian: UInt32(4))
      bytes.append(littleEndian: frameCount.flatMap { UInt32(exactly: $0) } ?? .max)
    }
    bytes += "data".utf8
    bytes.append(littleEndian: dataSize ?? .max)
    return bytes
  }
}
