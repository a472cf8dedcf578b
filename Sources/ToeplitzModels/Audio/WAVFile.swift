import ToeplitzTensor

/// A RIFF/WAVE sound file, opened for reading.
///
/// The file is mapped into memory and decoded only where it is read, so an hour of sound costs no more memory
/// than the window that is being read. It must not be shortened by others while it is open.
///
/// Read are PCM of 8 (unsigned), 16, 24 and 32 bits and floating point of 32 and 64 bits, plain or
/// `WAVE_FORMAT_EXTENSIBLE`, any number of channels, and RF64 for files over 4 GiB. A size of samples that a
/// streaming writer left open (`0xFFFFFFFF`, or 0 in a file that was never closed) means "to the end of the
/// file"; any other size that the file does not hold is an error. Samples are scaled to −1...1 by 2⁷, 2¹⁵,
/// 2²³ or 2³¹; floating-point samples are taken as they are.
///
/// ```swift
/// let file = try WAVFile(path: "speech.wav")
/// let firstSecond = try file.readMono(frames: 0..<min(file.sampleRate, file.frameCount))
/// ```
public struct WAVFile: Sendable {
  /// How a file stores one sample.
  public enum SampleFormat: Sendable, Hashable, CaseIterable {
    /// Unsigned 8-bit PCM, 128 is silence.
    case uint8
    /// Signed 16-bit PCM.
    case int16
    /// Signed 24-bit PCM in three bytes.
    case int24
    /// Signed 32-bit PCM.
    case int32
    /// IEEE 754 single precision.
    case float32
    /// IEEE 754 double precision.
    case float64

    /// Bytes of one sample of one channel.
    public var byteCount: Int {
      switch self {
      case .uint8: 1
      case .int16: 2
      case .int24: 3
      case .int32, .float32: 4
      case .float64: 8
      }
    }

    /// The format with this `wFormatTag` (1 is PCM, 3 floating point) and container size.
    init?(code: UInt16, bits: Int) {
      switch (code, bits) {
      case (1, 8): self = .uint8
      case (1, 16): self = .int16
      case (1, 24): self = .int24
      case (1, 32): self = .int32
      case (3, 32): self = .float32
      case (3, 64): self = .float64
      default: return nil
      }
    }
  }

  /// The sample rates that are accepted, in hertz; others are taken for damage.
  public static let sampleRates = 100...1_536_000

  /// Where the file is.
  public let path: String
  private let header: WAVHeader
  private let file: MappedFile

  /// Opens a file and checks its header; samples are not read yet.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it is not a
  ///   whole, uncompressed WAVE file; the operation of the error is `path`.
  public init(path: String) throws {
    self.path = path
    file = try MappedFile(path: path)
    header = try WAVHeader(bytes: file.bytes, path: path)
  }

  /// Frames per second.
  public var sampleRate: Int { header.sampleRate }
  /// Channels, at least 1.
  public var channelCount: Int { header.channelCount }
  /// Frames; a frame is one sample of every channel.
  public var frameCount: Int { header.frameCount }
  /// How samples are stored.
  public var sampleFormat: SampleFormat { header.sampleFormat }
  /// The length in seconds.
  public var duration: Double { Double(frameCount) / Double(sampleRate) }

  /// The samples of some frames (all by default), one array of `frames.count` samples per channel.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there are no such frames, `format` for a sample that
  ///   is not finite, `memory` if the result would not fit into this machine's memory.
  public func read(frames: Range<Int>? = nil) throws -> [[Float]] {
    let frames = try checked(frames, channels: channelCount)
    return try (0..<channelCount).map { try mean(of: $0..<$0 + 1, frames: frames) }
  }

  /// The mean of all channels for some frames (all by default), `frames.count` samples.
  ///
  /// - Throws: As ``read(frames:)``.
  public func readMono(frames: Range<Int>? = nil) throws -> [Float] {
    try mean(of: 0..<channelCount, frames: checked(frames, channels: 1))
  }

  private func checked(_ frames: Range<Int>?, channels: Int) throws -> Range<Int> {
    let frames = frames ?? 0..<frameCount
    guard frames.lowerBound >= 0, frames.upperBound <= frameCount else {
      throw ToeplitzError(.argument, path, expected: "frames in 0..<\(frameCount)", got: "\(frames)")
    }
    // The file may be sparse and claim far more samples than fit.
    try requireMemory(path, frames.count, channels, MemoryLayout<Float>.size)
    return frames
  }

  private func mean(of channels: Range<Int>, frames: Range<Int>) throws -> [Float] {
    guard !frames.isEmpty else { return [] }
    let samples = [Float](unsafeUninitializedCapacity: frames.count) { buffer, count in
      if let target = buffer.baseAddress { decode(channels, frames, into: target) }
      count = frames.count
    }
    if sampleFormat == .float32 || sampleFormat == .float64,
      let bad = samples.firstIndex(where: { !$0.isFinite })
    {
      throw ToeplitzError(
        .format, path, expected: "finite samples", got: "\(samples[bad]) in frame \(frames.lowerBound + bad)")
    }
    return samples
  }

  private func decode(
    _ channels: Range<Int>, _ frames: Range<Int>, into target: UnsafeMutablePointer<Float>
  ) {
    let size = sampleFormat.byteCount
    let step = header.bytesPerFrame
    let first = file.base + header.dataOffset + frames.lowerBound * step + channels.lowerBound * size
    let scale = sampleFormat.scale / Double(channels.count)
    // In double, where the sum of all channels of any PCM format is exact.
    func fill(_ value: (UnsafeRawPointer) -> Double) {
      for frame in 0..<frames.count {
        var sample = first + frame * step
        var sum = 0.0
        for _ in 0..<channels.count {
          sum += value(sample)
          sample += size
        }
        target[frame] = Float(sum * scale)
      }
    }
    switch sampleFormat {
    case .uint8: fill { Double(Int($0.load(as: UInt8.self)) - 128) }
    case .int16: fill { Double(Int16(littleEndian: $0.loadUnaligned(as: Int16.self))) }
    case .int24:
      fill {
        let low = UInt32(UInt16(littleEndian: $0.loadUnaligned(as: UInt16.self)))
        let high = UInt32($0.load(fromByteOffset: 2, as: UInt8.self))
        return Double(Int32(bitPattern: low << 8 | high << 24) >> 8)
      }
    case .int32: fill { Double(Int32(littleEndian: $0.loadUnaligned(as: Int32.self))) }
    case .float32:
      fill { Double(Float(bitPattern: UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)))) }
    case .float64:
      fill { Double(bitPattern: UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))) }
    }
    withExtendedLifetime(file) {}
  }
}

extension WAVFile.SampleFormat {
  /// What a stored number is multiplied with to lie in −1...1.
  fileprivate var scale: Double {
    switch self {
    case .uint8: 0x1p-7
    case .int16: 0x1p-15
    case .int24: 0x1p-23
    case .int32: 0x1p-31
    case .float32, .float64: 1
    }
  }
}

/// Refuses an array of the product of `sizes` bytes that the machine's memory cannot hold.
///
/// Allocation of Swift arrays stops the process when it fails, so sizes that input decides are checked first.
func requireMemory(_ operation: String, _ sizes: Int...) throws {
  var bytes = 1
  var tooLarge = false
  for size in sizes {
    let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
    tooLarge = tooLarge || overflow
    bytes = product
  }
  guard !tooLarge, bytes <= Platform.physicalMemory else {
    throw ToeplitzError(
      .memory, operation, expected: "at most \(Platform.physicalMemory) bytes of samples at a time",
      got: tooLarge ? "a request for more than \(Int.max)" : "a request for \(bytes)")
  }
}
