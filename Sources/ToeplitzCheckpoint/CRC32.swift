/// The checksum of ZIP archives and PNG: CRC-32 with the reversed polynomial 0xEDB88320 (APPNOTE.TXT, 4.4.7).
package struct CRC32 {
  /// `tables[k][b]` is the checksum of byte `b` followed by `k` zero bytes; eight bytes are looked up at once.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var value = UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
      tables[byte] = value
    }
    for index in 256..<8 * 256 {
      let shorter = tables[index - 256]
      tables[index] = shorter >> 8 ^ tables[Int(shorter & 0xFF)]
    }
    return tables
  }()

  private var state: UInt32 = 0xFFFF_FFFF

  package init() {}

  /// The checksum of all bytes so far.
  package var value: UInt32 { ~state }

  /// Adds bytes.
  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    Self.tables.withUnsafeBufferPointer { tables in
      var position = 0
      var state = state
      while bytes.count - position >= 8 {
        let next = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        let word = UInt64(littleEndian: next) ^ UInt64(state)
        state = 0
        for lane in 0..<8 {
          let byte = Int(truncatingIfNeeded: word >> (8 * UInt64(lane)) & 0xFF)
          state ^= tables[(7 - lane) * 256 + byte]
        }
        position += 8
      }
      while position < bytes.count {
        state = state >> 8 ^ tables[Int(UInt8(truncatingIfNeeded: state) ^ bytes[position])]
        position += 1
      }
      self.state = state
    }
  }

  /// The checksum of `bytes`.
  package static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    var checksum = CRC32()
    checksum.update(bytes)
    return checksum.value
  }
}
