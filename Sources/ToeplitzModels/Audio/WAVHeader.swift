import ToeplitzTensor

/// The contents of a `fmt ` chunk.
struct WAVFormat: Sendable, Hashable {
  var sampleFormat: WAVSampleFormat
  var channelCount: Int
  var sampleRate: Int

  var bytesPerFrame: Int { channelCount * sampleFormat.byteCount }
}

/// What the chunks of a WAV file say, checked against the bytes that are there.
///
/// Sources: "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991),
/// "Multiple channel audio data and WAVE files" (Microsoft, 2001), EBU Tech 3306 (RF64), "Sony Wave64 file format" (2003).
struct WAVHeader: Sendable {
  var format: WAVFormat
  var isBigEndian: Bool
  /// Where the samples start, in bytes.
  var dataOffset: Int
  var frameCount: Int
  /// Bytes of samples that the header promises; nil if it leaves that open.
  var promisedSize: UInt64?
  /// What the header says wrongly of the samples.
  var warnings: [String]

  /// Reads the chunks up to the samples.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` for anything that is not an uncompressed WAV file.
  init(bytes: UnsafeRawBufferPointer, path: String) throws {
    var parser = WAVParser(bytes: bytes, path: path)
    self = try parser.parse()
  }

  fileprivate init(
    _ format: WAVFormat, isBigEndian: Bool, dataOffset: Int, frameCount: Int, promisedSize: UInt64?
  ) {
    (self.format, self.isBigEndian, self.dataOffset) = (format, isBigEndian, dataOffset)
    (self.frameCount, self.promisedSize, warnings) = (frameCount, promisedSize, [])
  }

  /// How many bytes of a file must be there to know more of its header than `bytes` tell; nil if they reach to the samples.
  ///
  /// - Throws: As ``init(bytes:path:)``.
  static func bytesNeeded(after bytes: UnsafeRawBufferPointer, path: String) throws -> Int? {
    try WAVParser(bytes: bytes, path: path).bytesNeeded()
  }

  /// The warning about samples that end after `available` of `promised` bytes.
  static func endsEarly(after available: Int, of promised: UInt64) -> String {
    "ends after \(available) of the \(promised) bytes of samples that its header promises"
  }

  /// The warning about a last frame of `rest` bytes.
  static func dropsFrame(_ rest: Int, of size: Int) -> String {
    "the last frame has \(rest) of \(size) bytes and is dropped"
  }
}

/// The two ways in which chunks follow one another.
private enum ChunkLayout {
  /// Names of 4 bytes and sizes of 4, which count what follows them; chunks start at even offsets.
  case riff
  /// Names of 16 bytes and sizes of 8, which count the chunk with both; chunks start at multiples of 8.
  case wave64

  /// Bytes of name and size.
  var headerSize: Int { self == .riff ? 8 : 24 }
  var alignment: Int { self == .riff ? 2 : 8 }
}

private struct WAVParser {
  let bytes: UnsafeRawBufferPointer
  let path: String
  private var isBigEndian = false
  private var layout = ChunkLayout.riff
  /// The 64-bit sizes of an RF64 file; their 32-bit fields hold `unknownSize`.
  private var longSizes: (riff: UInt64, data: UInt64)?

  /// What a writer that cannot seek back puts into a size field.
  private static let unknownSize: UInt64 = 0xFFFF_FFFF
  /// Others put there what they think the largest size that readers take: 2 GiB, or a little less, which SoX rounds down to
  /// whole frames, and others make smaller by the header.
  private static let leastPlaceholder: UInt64 = 0x7FFE_0000

  /// The end of the 16-byte names of Wave64, behind the four characters; that of the first chunk is another.
  private static let wave64Riff: [UInt8] = [0x2E, 0x91, 0xCF, 0x11, 0xA5, 0xD6, 0x28, 0xDB, 4, 0xC1, 0, 0]
  private static let wave64Name: [UInt8] = [0xF3, 0xAC, 0xD3, 0x11, 0x8C, 0xD1, 0, 0xC0, 0x4F, 0x8E, 0xDB, 0x8A]

  init(bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
  }

  /// As ``WAVHeader/bytesNeeded(after:path:)``.
  func bytesNeeded() throws -> Int? {
    var parser = self
    guard bytes.count >= 4 else { return 4 }
    if tag(at: 0) == "riff" { parser.layout = .wave64 }
    parser.isBigEndian = tag(at: 0) == "RIFX"
    var position = parser.layout == .riff ? 12 : 40
    while true {
      let body = position + parser.layout.headerSize
      guard bytes.count >= body else { return body }
      let (name, size) = try parser.chunk(at: position)
      if name == "data" { return nil }
      // Room for pictures of covers; nobody should have to wait for more.
      guard size <= 1 << 24 else { throw refuse("chunks before the samples of at most \(1 << 24) bytes", "\(size)") }
      let alignment = parser.layout.alignment
      position = (body + Int(size) + alignment - 1) / alignment * alignment
      guard bytes.count >= position else { return position + parser.layout.headerSize }
    }
  }

  mutating func parse() throws -> WAVHeader {
    let outer = tag(at: 0)
    isBigEndian = outer == "RIFX"
    if outer == "riff" { layout = .wave64 }
    let start = layout == .riff ? 12 : 40
    guard bytes.count >= start else { throw refuse("\(start) bytes of header", "\(bytes.count) bytes") }
    if layout == .wave64 {
      guard bytes[4..<16].elementsEqual(Self.wave64Riff), tag(at: 24) == "wave", isWave64Name(at: 24) else {
        throw refuse("a Wave64 file", "other identifiers")
      }
    }
    var format: WAVFormat?
    var position = start
    while true {
      guard bytes.count - position >= layout.headerSize else {
        let missing = format == nil ? "'fmt ' chunk" : "'data' chunk"
        throw refuse("a \(missing)", "a file that ends without one")
      }
      let (name, size) = try chunk(at: position)
      let body = position + layout.headerSize
      if name == "data" {
        guard let format else { throw refuse("a 'fmt ' chunk before the samples", "a 'data' chunk") }
        return header(format, dataOffset: body, declared: size)
      }
      guard size <= UInt64(bytes.count - body) else {
        throw refuse(
          "\(size) bytes in the chunk '\(name)', as its header says",
          "\(bytes.count - body), then the file ends")
      }
      if name == "fmt " {
        guard format == nil else { throw refuse("one 'fmt ' chunk", "a second one") }
        format = try parseFormat(at: body, size: Int(size))
      } else if name == "ds64", outer != "RIFF", layout == .riff {
        guard size >= 24 else { throw refuse("24 bytes in the chunk 'ds64'", "\(size)") }
        longSizes = (u64(body), u64(body + 8))
      }
      // Some writers leave out the padding after the last chunk.
      let end = body + Int(size)
      position = min((end + layout.alignment - 1) / layout.alignment * layout.alignment, bytes.count)
    }
  }

  /// Name and size of the contents of a chunk, whose header is there.
  private func chunk(at position: Int) throws -> (name: String, size: UInt64) {
    guard layout == .wave64 else { return (tag(at: position), UInt64(u32(position + 4))) }
    let size = u64(position + 16)
    guard size >= 24 else { throw refuse("chunks of at least 24 bytes", "one of \(size)") }
    // Chunks of other owners may have the same four characters.
    return (isWave64Name(at: position) ? tag(at: position) : "", size - 24)
  }

  private func isWave64Name(at position: Int) -> Bool {
    bytes[position + 4..<position + 16].elementsEqual(Self.wave64Name)
  }

  private func parseFormat(at body: Int, size: Int) throws -> WAVFormat {
    guard size >= 16 else { throw refuse("at least 16 bytes in the chunk 'fmt '", "\(size)") }
    var code = u16(body)
    let channels = Int(u16(body + 2))
    let rate = Int(u32(body + 4))
    let blockAlign = Int(u16(body + 12))
    let bits = Int(u16(body + 14))
    if code == 0xFFFE {
      guard size >= 40 else { throw refuse("40 bytes in an extensible 'fmt ' chunk", "\(size)") }
      // KSDATAFORMAT_SUBTYPE: the plain format code followed by a constant.
      guard u16(body + 26) == 0, u16(body + 28) == 0, u16(body + 30) == 0x10,
        bytes[body + 32..<body + 40].elementsEqual([0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71])
      else { throw refuse("an extensible subformat of PCM or floating point", "an unknown identifier") }
      let valid = Int(u16(body + 18))
      guard valid <= bits else { throw refuse("at most \(bits) valid bits per sample", "\(valid)") }
      code = u16(body + 24)
    }
    guard channels > 0 else { throw refuse("at least 1 channel", "0") }
    guard AudioFile.sampleRates.contains(rate) else {
      let legal = AudioFile.sampleRates
      throw refuse("a sample rate of \(legal.lowerBound) to \(legal.upperBound) Hz", "\(rate)")
    }
    guard let sampleFormat = WAVSampleFormat(code: code, bits: bits) else {
      throw refuse(
        "PCM of 8, 16, 24 or 32 bits, floating point of 32 or 64 bits, mu-law or A-law of 8 bits",
        "format \(code)\(Self.formatNames[code].map { " (\($0))" } ?? "") of \(bits) bits")
    }
    guard blockAlign == channels * sampleFormat.byteCount else {
      throw refuse(
        "\(channels * sampleFormat.byteCount) bytes per frame of \(channels) channels at \(bits) bits",
        "a block alignment of \(blockAlign)")
    }
    return WAVFormat(sampleFormat: sampleFormat, channelCount: channels, sampleRate: rate)
  }

  /// The samples: as many as the size says, or to the end of the file if they are fewer; a last frame that is not whole is
  /// dropped.
  private func header(_ format: WAVFormat, dataOffset: Int, declared: UInt64) -> WAVHeader {
    let available = bytes.count - dataOffset
    let size = longSizes.map { declared == Self.unknownSize ? $0.data : declared } ?? declared
    let isOpen = isUnknown(size, declared: declared, dataOffset: dataOffset)
    let used = isOpen ? available : Int(min(size, UInt64(available)))
    var result = WAVHeader(
      format, isBigEndian: isBigEndian, dataOffset: dataOffset, frameCount: used / format.bytesPerFrame,
      promisedSize: isOpen ? nil : size)
    let rest = used % format.bytesPerFrame
    if !isOpen, size > UInt64(available) {
      result.warnings.append(WAVHeader.endsEarly(after: available, of: size))
    } else if !isOpen, rest != 0 {
      result.warnings.append(WAVHeader.dropsFrame(rest, of: format.bytesPerFrame))
    }
    return result
  }

  /// Whether the size of the samples was left open, so that they reach to the end of the file.
  private func isUnknown(_ size: UInt64, declared: UInt64, dataOffset: Int) -> Bool {
    if size == 0 {
      // A writer that was never closed leaves RIFF too at zero, or at a length that ends right here. A RIFF
      // that goes on has further chunks, and then there really are no samples.
      let riff = layout == .wave64 ? u64(16) : longSizes?.riff ?? UInt64(u32(4))
      let here = UInt64(layout == .wave64 ? dataOffset : dataOffset - 8)
      return riff == 0 || riff == Self.unknownSize || riff == here || layout == .wave64 && riff == 24
    }
    if layout == .riff, longSizes == nil, declared == Self.unknownSize { return true }
    guard size > UInt64(bytes.count - dataOffset) else { return false }
    // Within 64 KiB of what 31 or 32 bits can say; of 64 bits, what no disk holds.
    return (Self.leastPlaceholder...0x8000_0000).contains(size) || (0xFFFE_0000...0xFFFF_FFFF).contains(size)
      || size > UInt64(Int.max) / 2
  }

  // MARK: Bytes; the caller has checked that they are there.

  private func number<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ type: T.Type) -> T {
    let stored = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
    return isBigEndian ? T(bigEndian: stored) : T(littleEndian: stored)
  }
  private func u16(_ offset: Int) -> UInt16 { number(offset, UInt16.self) }
  private func u32(_ offset: Int) -> UInt32 { number(offset, UInt32.self) }
  private func u64(_ offset: Int) -> UInt64 { number(offset, UInt64.self) }
  private func tag(at offset: Int) -> String { AudioSignature.tag(bytes, at: offset) }

  private func refuse(_ expected: String, _ got: String) -> ToeplitzError {
    ToeplitzError(.format, path, expected: expected, got: got)
  }

  private static let formatNames: [UInt16: String] = [
    1: "PCM", 2: "Microsoft ADPCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM",
    49: "GSM 6.10", 80: "MPEG", 85: "MP3", 255: "AAC", 0xF1AC: "FLAC",
  ]
}
