import CToeplitzKernels
import ToeplitzTensor

/// A sound file, opened for reading: WAV, Wave64 or FLAC.
///
/// The format is known by the first bytes, whatever the name. The file is mapped into memory and decoded only where it is
/// read, so an hour of sound costs no more memory than the window that is being read. It must not be shortened by others
/// while it is open. A pipe or `/dev/stdin` is read to its end when it is opened.
///
/// - WAV (RIFF, big-endian RIFX, RF64 and BW64 for files over 4 GiB) and Sony's Wave64: PCM of 8 (unsigned), 16, 24 and 32
///   bits, floating point of 32 and 64 bits, mu-law and A-law (ITU-T G.711), plain or `WAVE_FORMAT_EXTENSIBLE`. Where the
///   header promises more samples than there are, they reach to the end of the file.
/// - FLAC (RFC 9639), all of it: 4 to 32 bits, up to 8 channels. All frames are decoded once when a file is opened, so its
///   checksums have been verified and its length is known even where the header leaves it open.
///
/// Integers of b bits are scaled to −1...1 by 2^(b−1); floating-point samples are taken as they are.
///
/// ```swift
/// let file = try AudioFile(path: "speech.flac")
/// let firstSecond = try file.readMono(frames: 0..<min(file.sampleRate, file.frameCount))
/// ```
public struct AudioFile: Sendable {
  /// How a file stores samples.
  public enum Encoding: String, Sendable, Hashable, CaseIterable {
    /// Integers.
    case pcm = "PCM"
    /// IEEE 754 numbers.
    case floatingPoint = "floating point"
    /// The logarithmic scale of American and Japanese telephones, 14 bits in 8.
    case muLaw = "mu-law"
    /// The logarithmic scale of other telephones, 13 bits in 8.
    case aLaw = "A-law"
    /// Integers, compressed without loss.
    case flac = "FLAC"
  }

  /// The sample rates that are accepted, in hertz; others are taken for damage.
  public static let sampleRates = 100...1_536_000

  /// Where the file is, or what it was called if it came from memory.
  public let path: String
  private let decoder: any AudioDecoder

  /// Opens a file and checks its header, of FLAC all of the file.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it is damaged or of another
  ///   format; the operation of the error is `path`.
  public init(path: String) throws { try self.init(MappedFile(path: path), path: path) }

  /// Opens a file whose bytes are in memory, such as `[UInt8]` or `Data` that came over a network.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - name: what ``path`` and errors call it.
  /// - Throws: As ``init(path:)``.
  public init<Bytes: Collection>(bytes: Bytes, name: String = "sound") throws where Bytes.Element == UInt8 {
    let file = bytes.withContiguousStorageIfAvailable { MappedFile(copying: UnsafeRawBufferPointer($0)) }
    try self.init(file ?? Array(bytes).withUnsafeBytes { MappedFile(copying: $0) }, path: name)
  }

  private init(_ file: MappedFile, path: String) throws {
    self.path = path
    switch AudioSignature(file.bytes) {
    case .flac(let offset): decoder = try FLACDecoder(file, from: offset, path: path)
    case .wav: decoder = try WAVDecoder(file, path: path)
    case .unreadable(let name):
      throw ToeplitzError(
        .unsupported, path, expected: "a WAV or FLAC file (\"ffmpeg -i FILE OUT.flac\" makes one)", got: name)
    case nil:
      throw ToeplitzError(
        .format, path, expected: "a WAV or FLAC file", got: AudioSignature.describe(file.bytes))
    }
  }

  /// Whether these are the first bytes of a sound file, though perhaps not of one that can be read.
  package static func isAudio(_ bytes: UnsafeRawBufferPointer) -> Bool { AudioSignature(bytes) != nil }

  /// Frames per second.
  public var sampleRate: Int { decoder.sampleRate }
  /// Channels, at least 1.
  public var channelCount: Int { decoder.channelCount }
  /// Frames; a frame is one sample of every channel.
  public var frameCount: Int { decoder.frameCount }
  /// How samples are stored.
  public var encoding: Encoding { decoder.encoding }
  /// Bits of a sample as it is stored (FLAC: as it was before compression).
  public var bitsPerSample: Int { decoder.bitsPerSample }
  /// What is wrong with the file though it can be read, such as "ends before …"; empty for most files.
  public var warnings: [String] { decoder.warnings }
  /// The length in seconds.
  public var duration: Double { Double(frameCount) / Double(sampleRate) }

  /// The samples of some frames (all by default), one array of `frames.count` samples per channel.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there are no such frames, `format` for a sample that
  ///   is not finite, `memory` if the result would not fit into this machine's memory.
  public func read(frames: Range<Int>? = nil) throws -> [[Float]] {
    try means(of: (0..<channelCount).map { $0..<$0 + 1 }, frames)
  }

  /// The mean of all channels for some frames (all by default), `frames.count` samples.
  ///
  /// - Throws: As ``read(frames:)``.
  public func readMono(frames: Range<Int>? = nil) throws -> [Float] {
    try means(of: [0..<channelCount], frames)[0]
  }

  /// The mean of each group of channels.
  private func means(of groups: [Range<Int>], _ range: Range<Int>?) throws -> [[Float]] {
    let frames = range ?? 0..<frameCount
    guard frames.lowerBound >= 0, frames.upperBound <= frameCount else {
      throw ToeplitzError(.argument, path, expected: "frames in 0..<\(frameCount)", got: "\(frames)")
    }
    // The file may be sparse and claim far more samples than fit.
    try requireMemory(path, frames.count, groups.count, MemoryLayout<Float>.size)
    guard !frames.isEmpty else { return groups.map { _ in [] } }
    var samples = groups.map { _ in [Float](repeating: 0, count: frames.count) }
    try decoder.decode(groups, frames, into: &samples)
    if encoding == .floatingPoint {
      for channel in samples {
        let bad = tz_finite_prefix(channel, channel.count)
        guard bad < channel.count else { continue }
        throw ToeplitzError(
          .format, path, expected: "finite samples", got: "\(channel[bad]) in frame \(frames.lowerBound + bad)")
      }
    }
    return samples
  }
}

/// What reads one file format.
protocol AudioDecoder: Sendable {
  var sampleRate: Int { get }
  var channelCount: Int { get }
  var frameCount: Int { get }
  var encoding: AudioFile.Encoding { get }
  var bitsPerSample: Int { get }
  var warnings: [String] { get }

  /// Puts the mean of each group of channels over `frames`, which exist, into an array of as many elements.
  func decode(_ groups: [Range<Int>], _ frames: Range<Int>, into samples: inout [[Float]]) throws
}

/// What the first bytes of a sound file tell.
enum AudioSignature: Equatable {
  /// A RIFF, RIFX, RF64, BW64 or Wave64 file.
  case wav
  /// A FLAC stream that begins at this offset, behind an ID3v2 tag.
  case flac(offset: Int)
  /// Another format, by its name.
  case unreadable(String)

  init?(_ bytes: UnsafeRawBufferPointer) {
    func has(_ text: String, at offset: Int = 0) -> Bool {
      bytes.count - offset >= text.utf8.count && bytes[offset...].starts(with: text.utf8)
    }
    for name in ["RIFF", "RIFX", "RF64", "BW64"] where has(name) {
      // RIFF also holds videos and pictures.
      if bytes.count >= 12, !has("WAVE", at: 8) { break }
      self = .wav
      return
    }
    if has("riff\u{2E}"), bytes.count > 5, bytes[5] == 0x91 {
      self = .wav
      return
    }
    // Tags may follow one another.
    var start = 0
    while has("ID3", at: start), bytes.count - start >= 10 {
      let size = bytes[start + 6..<start + 10].reduce(0) { $0 << 7 | Int($1 & 0x7F) }
      let footer = bytes[start + 5] & 0x10 != 0 ? 10 : 0
      guard size <= bytes.count - start - 10 - footer else { break }
      start += 10 + size + footer
    }
    if has("fLaC", at: start) {
      self = .flac(offset: start)
      return
    }
    let others = [
      ("OggS", 0, "an Ogg file"), ("FORM", 0, "an AIFF file"), (".snd", 0, "an AU file"), ("caff", 0, "a CAF file"),
      ("ftyp", 4, "an MP4 file"), ("ID3", 0, "an MP3 file"), ("wvpk", 0, "a WavPack file"), ("MAC ", 0, "an APE file"),
      ("#!AMR", 0, "an AMR file"),
    ]
    if let other = others.first(where: { has($0.0, at: $0.1) }) {
      self = .unreadable(other.2)
      return
    }
    // The start of an MPEG frame: 11 ones, a version, a layer and a bit rate that exist.
    guard bytes.count >= 4, bytes[0] == 0xFF, bytes[1] & 0xE0 == 0xE0, bytes[1] & 0x18 != 8, bytes[1] & 6 != 0,
      bytes[2] >> 4 != 15, bytes[2] >> 4 != 0, bytes[2] & 0x0C != 0x0C
    else { return nil }
    self = .unreadable("an MP3 file")
  }

  /// What a file is, for an error.
  static func describe(_ bytes: UnsafeRawBufferPointer) -> String {
    if bytes.isEmpty { return "an empty file" }
    if bytes.count >= 12, ["RIFF", "RIFX"].contains(tag(bytes, at: 0)) {
      return "a RIFF file of type '\(tag(bytes, at: 8))'"
    }
    return "a file that starts '\(tag(bytes, at: 0))'"
  }

  /// Up to four characters, with what cannot be printed replaced by `?`.
  static func tag(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> String {
    String(
      decoding: bytes[offset..<min(offset + 4, bytes.count)].map { (32..<127).contains($0) ? $0 : 63 }, as: UTF8.self)
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
