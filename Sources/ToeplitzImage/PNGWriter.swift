import ToeplitzCheckpoint
import ToeplitzTensor

/// Writes pictures as PNG (ISO/IEC 15948), compressed by repetition: for drawings, not for photographs.
public enum PNGWriter {
  /// Writes a picture of 8 bits a channel.
  ///
  /// - Parameters:
  ///   - pixels: row by row from the top, `channels` bytes a pixel.
  ///   - channels: 1 for grey, 3 for red, green and blue.
  /// - Throws: ``ToeplitzError`` of kind `argument` if sizes do not fit, `file` if it cannot be written.
  public static func write(_ pixels: [UInt8], width: Int, height: Int, channels: Int, to path: String) throws {
    let limit = 1 << 15
    guard channels == 1 || channels == 3, (1...limit).contains(width), (1...limit).contains(height),
      pixels.count == width * height * channels
    else {
      throw ToeplitzError(
        .argument, path, expected: "1 or 3 channels, sides of 1 to \(limit) and as many bytes",
        got: "\(channels), \(width) x \(height), \(pixels.count) bytes")
    }
    var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    func add(_ type: String, _ contents: [UInt8]) {
      file += bigEndian(UInt32(contents.count))
      let chunk = Array(type.utf8) + contents
      file += chunk + bigEndian(chunk.withUnsafeBytes { CRC32.checksum($0) })
    }
    add(
      "IHDR", bigEndian(UInt32(width)) + bigEndian(UInt32(height)) + [8, channels == 1 ? 0 : 2, 0, 0, 0])
    // Each row begins with its filter, none.
    let stride = width * channels
    let rows = (0..<height).flatMap { [0] + pixels[($0 * stride)..<(($0 + 1) * stride)] }
    add("IDAT", compressed(rows, distances: [channels, stride + 1]))
    add("IEND", [])
    try AtomicFile.write(to: path) { try $0.write(file) }
  }

  private static func bigEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  /// A zlib stream (RFC 1950) of one block with the fixed codes of RFC 1951, 3.2.6, in which bytes repeat those at one of the
  /// given distances.
  private static func compressed(_ bytes: [UInt8], distances: [Int]) -> [UInt8] {
    var bits = BitWriter()
    bits.put(1, 1)
    bits.put(1, 2)
    var at = 0
    while at < bytes.count {
      var (best, length) = (0, 0)
      for distance in distances where distance <= at && distance <= 32768 {
        var count = 0
        while count < 258, at + count < bytes.count, bytes[at + count] == bytes[at + count - distance] { count += 1 }
        if count > length { (best, length) = (distance, count) }
      }
      if length >= 3 {
        bits.put(length: length)
        bits.put(distance: best)
        at += length
      } else {
        bits.put(literal: Int(bytes[at]))
        at += 1
      }
    }
    bits.put(literal: 256)
    var (a, b) = (UInt32(1), UInt32(0))
    for byte in bytes {
      a = (a + UInt32(byte)) % 65521
      b = (b + a) % 65521
    }
    return [0x78, 0x01] + bits.finished() + bigEndian(b << 16 | a)
  }
}

/// Bits from the lowest on, as RFC 1951 orders them.
private struct BitWriter {
  private var bytes: [UInt8] = []
  private var pending: UInt32 = 0
  private var count = 0

  mutating func put(_ value: Int, _ size: Int) {
    pending |= UInt32(value) << UInt32(count)
    count += size
    while count >= 8 {
      bytes.append(UInt8(truncatingIfNeeded: pending))
      pending >>= 8
      count -= 8
    }
  }

  /// Codes stand with their highest bit first.
  private mutating func put(code: Int, _ size: Int) {
    put((0..<size).reduce(0) { $0 | (code >> $1 & 1) << (size - 1 - $1) }, size)
  }

  mutating func put(literal: Int) {
    switch literal {
    case ..<144: put(code: 0x30 + literal, 8)
    case ..<256: put(code: 0x190 + literal - 144, 9)
    case ..<280: put(code: literal - 256, 7)
    default: put(code: 0xC0 + literal - 280, 8)
    }
  }

  /// 3 to 258.
  mutating func put(length: Int) {
    guard length < 258 else { return put(literal: 285) }
    let rest = length - 3
    guard rest >= 8 else { return put(literal: 257 + rest) }
    // Groups of four codes have one more extra bit each.
    let extra = (Int.bitWidth - rest.leadingZeroBitCount - 1) - 2
    put(literal: 257 + 4 * extra + (rest >> extra))
    put(rest & ((1 << extra) - 1), extra)
  }

  /// 1 to 32768.
  mutating func put(distance: Int) {
    let rest = distance - 1
    guard rest >= 4 else { return put(code: rest, 5) }
    let extra = (Int.bitWidth - rest.leadingZeroBitCount - 1) - 1
    put(code: 2 * extra + (rest >> extra), 5)
    put(rest & ((1 << extra) - 1), extra)
  }

  mutating func finished() -> [UInt8] {
    if count > 0 { put(0, 8 - count) }
    return bytes
  }
}
