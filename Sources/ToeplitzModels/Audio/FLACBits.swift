/// Why a FLAC frame could not be decoded.
enum FLACFault: Error, Equatable {
  /// The file ends inside it.
  case ended
  /// It breaks a rule of the format.
  case damaged(String)
  /// It changes something that a file keeps from its first to its last frame.
  case unsupported(String)
}

/// Reads bits, the highest of each byte first; running off the end is an error, never a bad access.
struct FLACBits {
  private let base: UnsafePointer<UInt8>
  private let byteCount: Int
  private let end: Int
  /// The offset of the next bit.
  private(set) var position: Int

  /// Reads from a byte of a file that outlives the reader.
  init(_ bytes: UnsafeBufferPointer<UInt8>, from byte: Int) {
    // An empty file has no address, and no byte of it is ever read.
    base = bytes.baseAddress ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
    byteCount = bytes.count
    end = bytes.count * 8
    position = byte * 8
  }

  /// The offset of the byte that holds the next bit.
  var bytePosition: Int { position >> 3 }

  /// The next bits from the highest down, at least 57 of them; zeros behind the end of the file.
  @inline(__always)
  private func window() -> UInt64 {
    let byte = position >> 3
    if byteCount - byte >= 8 {
      let word = UnsafeRawPointer(base + byte).loadUnaligned(as: UInt64.self)
      return UInt64(bigEndian: word) &<< UInt64(position & 7)
    }
    var word: UInt64 = 0
    for index in byte..<byte + 8 { word = word << 8 | (index < byteCount ? UInt64(base[index]) : 0) }
    return word &<< UInt64(position & 7)
  }

  /// The next bits as a number; at most 57.
  @inline(__always)
  mutating func read(_ count: Int) throws(FLACFault) -> UInt64 {
    guard count <= end - position else { throw .ended }
    guard count > 0 else { return 0 }
    let value = window() &>> UInt64(64 - count)
    position += count
    return value
  }

  /// The next bits as a number in two's complement; at most 57.
  @inline(__always)
  mutating func signed(_ count: Int) throws(FLACFault) -> Int64 {
    guard count > 0 else { return 0 }
    let value = try read(count)
    return Int64(bitPattern: value &<< UInt64(64 - count)) &>> Int64(64 - count)
  }

  /// How many zeros stand before the next one, which is skipped.
  @inline(__always)
  mutating func unary() throws(FLACFault) -> UInt64 {
    var count: UInt64 = 0
    while true {
      let zeros = min(window().leadingZeroBitCount, 57)
      if zeros < 57 {
        guard zeros < end - position else { throw .ended }
        position += zeros + 1
        return count + UInt64(zeros)
      }
      guard end - position > 57 else { throw .ended }
      position += 57
      count += 57
    }
  }

  /// Skips the bits that are left of a byte, which must be zero.
  mutating func align() throws(FLACFault) {
    guard try read((8 - position & 7) & 7) == 0 else { throw .damaged("zeros up to the end of a byte") }
  }
}

/// The checksums of FLAC frames: cyclic redundancy checks that begin at zero, the highest bit first.
enum FLACChecksum {
  private static let table8: [UInt8] = (0..<256).map { byte in
    (0..<8).reduce(UInt8(byte)) { sum, _ in sum << 1 ^ (sum & 0x80 != 0 ? 0x07 : 0) }
  }
  private static let table16: [UInt16] = (0..<256).map { byte in
    (0..<8).reduce(UInt16(byte) << 8) { sum, _ in sum << 1 ^ (sum & 0x8000 != 0 ? 0x8005 : 0) }
  }

  /// With the polynomial x⁸ + x² + x + 1.
  static func crc8(_ bytes: UnsafeBufferPointer<UInt8>.SubSequence) -> UInt8 {
    table8.withUnsafeBufferPointer { table in bytes.reduce(0) { table[Int($0 ^ $1)] } }
  }

  /// With the polynomial x¹⁶ + x¹⁵ + x² + 1.
  static func crc16(_ bytes: UnsafeBufferPointer<UInt8>.SubSequence) -> UInt16 {
    table16.withUnsafeBufferPointer { table in bytes.reduce(0) { $0 << 8 ^ table[Int($0 >> 8 ^ UInt16($1))] } }
  }
}
