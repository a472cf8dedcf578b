import ToeplitzTensor

/// What the chunks of a RIFF/WAVE file say, checked against the bytes that are there.
///
/// Sources: "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991),
/// "Multiple channel audio data and WAVE files" (Microsoft, 2001), EBU Tech 3306 (RF64).
struct WAVHeader: Sendable, Hashable {
  var sampleFormat: WAVFile.SampleFormat
  var channelCount: Int
  var sampleRate: Int
  /// Where the samples start, in bytes.
  var dataOffset: Int
  var frameCount: Int

  var bytesPerFrame: Int { channelCount * sampleFormat.byteCount }

  /// Reads the chunks up to the samples.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` for anything that is not a whole, uncompressed WAVE file.
  init(bytes: UnsafeRawBufferPointer, path: String) throws {
    var parser = WAVParser(bytes: bytes, path: path)
    self = try parser.parse()
  }

  fileprivate init(format: WAVFormatChunk, dataOffset: Int, frameCount: Int) {
    sampleFormat = format.sampleFormat
    channelCount = format.channelCount
    sampleRate = format.sampleRate
    self.dataOffset = dataOffset
    self.frameCount = frameCount
  }
}

/// The contents of a `fmt ` chunk.
private struct WAVFormatChunk {
  var sampleFormat: WAVFile.SampleFormat
  var channelCount: Int
  var sampleRate: Int
}

private struct WAVParser {
  let bytes: UnsafeRawBufferPointer
  let path: String
  /// The 64-bit sizes of an RF64 file; their 32-bit fields hold `unknownSize`.
  private var longSizes: (riff: UInt64, data: UInt64)?

  /// What a writer that cannot seek back puts into a size field.
  private static let unknownSize: UInt32 = 0xFFFF_FFFF
  /// What SoX puts there, rounded down to whole frames.
  private static let unknownSizeOfSoX: UInt32 = 0x7FFF_F000

  init(bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
  }

  mutating func parse() throws -> WAVHeader {
    guard bytes.count > 0 else { throw refuse("a RIFF/WAVE file", "an empty file") }
    let outer = tag(at: 0)
    guard outer == "RIFF" || outer == "RF64" || outer == "BW64" else {
      throw refuse(
        "a RIFF/WAVE file", outer == "RIFX" ? "a big-endian RIFX file" : "a file that starts '\(outer)'")
    }
    guard bytes.count >= 12 else { throw refuse("12 bytes of RIFF header", "\(bytes.count) bytes") }
    guard tag(at: 8) == "WAVE" else {
      throw refuse("a RIFF file of type 'WAVE'", "type '\(tag(at: 8))'")
    }
    var format: WAVFormatChunk?
    var position = 12
    while true {
      guard bytes.count - position >= 8 else {
        let missing = format == nil ? "'fmt ' chunk" : "'data' chunk"
        throw refuse("a \(missing)", "a file that ends without one")
      }
      let name = tag(at: position)
      let size = u32(position + 4)
      let body = position + 8
      if name == "data" {
        guard let format else { throw refuse("a 'fmt ' chunk before the samples", "a 'data' chunk") }
        return try header(format, dataOffset: body, declared: size)
      }
      guard Int(size) <= bytes.count - body else {
        throw refuse(
          "\(size) bytes in the chunk '\(name)', as its header says",
          "\(bytes.count - body), then the file ends")
      }
      if name == "fmt " {
        guard format == nil else { throw refuse("one 'fmt ' chunk", "a second one") }
        format = try parseFormat(at: body, size: Int(size))
      } else if name == "ds64", outer != "RIFF" {
        guard size >= 24 else { throw refuse("24 bytes in the chunk 'ds64'", "\(size)") }
        longSizes = (u64(body), u64(body + 8))
      }
      // Chunks start at even offsets; some writers leave out the padding after the last one.
      position = min(body + Int(size) + Int(size & 1), bytes.count)
    }
  }

  private func parseFormat(at body: Int, size: Int) throws -> WAVFormatChunk {
    guard size >= 16 else { throw refuse("at least 16 bytes in the chunk 'fmt '", "\(size)") }
    var code = u16(body)
    let channels = Int(u16(body + 2))
    let rate = Int(u32(body + 4))
    let blockAlign = Int(u16(body + 12))
    let bits = Int(u16(body + 14))
    if code == 0xFFFE {
      guard size >= 40 else { throw refuse("40 bytes in an extensible 'fmt ' chunk", "\(size)") }
      // KSDATAFORMAT_SUBTYPE: the plain format code followed by a constant.
      guard u16(body + 26) == 0, u32(body + 28) == 0x0010_0000, u32(body + 32) == 0xAA00_0080,
        u32(body + 36) == 0x719B_3800
      else { throw refuse("an extensible subformat of PCM or floating point", "an unknown identifier") }
      let valid = Int(u16(body + 18))
      guard valid <= bits else { throw refuse("at most \(bits) valid bits per sample", "\(valid)") }
      code = u16(body + 24)
    }
    guard channels > 0 else { throw refuse("at least 1 channel", "0") }
    guard WAVFile.sampleRates.contains(rate) else {
      let legal = WAVFile.sampleRates
      throw refuse("a sample rate of \(legal.lowerBound) to \(legal.upperBound) Hz", "\(rate)")
    }
    guard let sampleFormat = WAVFile.SampleFormat(code: code, bits: bits) else {
      throw refuse(
        "PCM of 8, 16, 24 or 32 bits or floating point of 32 or 64 bits",
        "format \(code)\(Self.formatNames[code].map { " (\($0))" } ?? "") of \(bits) bits")
    }
    guard blockAlign == channels * sampleFormat.byteCount else {
      throw refuse(
        "\(channels * sampleFormat.byteCount) bytes per frame of \(channels) channels at \(bits) bits",
        "a block alignment of \(blockAlign)")
    }
    return WAVFormatChunk(sampleFormat: sampleFormat, channelCount: channels, sampleRate: rate)
  }

  private func header(
    _ format: WAVFormatChunk, dataOffset: Int, declared: UInt32
  ) throws -> WAVHeader {
    let available = bytes.count - dataOffset
    let frameBytes = format.channelCount * format.sampleFormat.byteCount
    let size: UInt64
    if let longSizes, declared == Self.unknownSize {
      size = longSizes.data
    } else {
      size = UInt64(declared)
    }
    if isUnknown(size, declared: declared, dataOffset: dataOffset, frameBytes: frameBytes) {
      // A stream may have been cut anywhere, so a last frame that is not whole is dropped.
      return WAVHeader(format: format, dataOffset: dataOffset, frameCount: available / frameBytes)
    }
    guard size <= UInt64(available) else {
      throw refuse(
        "\(size) bytes of samples, as the 'data' chunk says", "\(available): the file is cut short")
    }
    guard Int(size) % frameBytes == 0 else {
      throw refuse("whole frames of \(frameBytes) bytes", "\(size) bytes of samples")
    }
    return WAVHeader(format: format, dataOffset: dataOffset, frameCount: Int(size) / frameBytes)
  }

  /// Whether the size of the samples was left open, so that they reach to the end of the file.
  private func isUnknown(_ size: UInt64, declared: UInt32, dataOffset: Int, frameBytes: Int) -> Bool {
    if longSizes == nil, declared == Self.unknownSize { return true }
    if size == 0 {
      // A writer that was never closed leaves RIFF too at zero, or at a length that ends right here. A RIFF
      // that goes on has further chunks, and then there really are no samples.
      let riff = longSizes?.riff ?? UInt64(u32(4))
      return riff == 0 || riff == UInt64(Self.unknownSize) || riff == UInt64(dataOffset - 8)
    }
    let rounded = Int(Self.unknownSizeOfSoX) / frameBytes * frameBytes
    return size == UInt64(rounded) && bytes.count - dataOffset < rounded
  }

  // MARK: Bytes; the caller has checked that they are there.

  private func u16(_ offset: Int) -> UInt16 {
    UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }
  private func u32(_ offset: Int) -> UInt32 {
    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
  private func u64(_ offset: Int) -> UInt64 {
    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// Up to four characters, with what cannot be printed replaced by `?`.
  private func tag(at offset: Int) -> String {
    String(
      decoding: bytes[offset..<min(offset + 4, bytes.count)].map { (32..<127).contains($0) ? $0 : 63 },
      as: UTF8.self)
  }

  private func refuse(_ expected: String, _ got: String) -> ToeplitzError {
    ToeplitzError(.format, path, expected: expected, got: got)
  }

  private static let formatNames: [UInt16: String] = [
    1: "PCM", 2: "Microsoft ADPCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM",
    49: "GSM 6.10", 80: "MPEG", 85: "MP3", 255: "AAC",
  ]
}
