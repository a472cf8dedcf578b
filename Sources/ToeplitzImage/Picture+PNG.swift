import ToeplitzCheckpoint
import ToeplitzTensor

extension Picture {
  /// The bytes of a PNG file of the picture, 8 bits a sample (ISO/IEC 15948).
  public func pngBytes() -> [UInt8] {
    var file = PNGReader.signature
    func append(_ type: String, _ content: [UInt8]) {
      let named = Array(type.utf8) + content
      var checksum = CRC32()
      named.withUnsafeBytes { checksum.update($0) }
      file += bigEndian(content.count) + named + bigEndian(Int(checksum.value))
    }
    append("IHDR", bigEndian(width) + bigEndian(height) + [8, 2, 0, 0, 0])
    append("IDAT", compressed(filteredRows()))
    append("IEND", [])
    return file
  }

  private func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

  /// Each row as differences from the pixel on the left (filter 1), which compress better than the samples.
  private func filteredRows() -> [UInt8] {
    let pitch = 3 * width
    return bytes.withUnsafeBufferPointer { samples in
      [UInt8](unsafeUninitializedCapacity: height * (pitch + 1)) { rows, count in
        for row in 0..<height {
          let (from, to) = (row * pitch, row * (pitch + 1))
          rows[to] = 1
          for place in 0..<Swift.min(3, pitch) { rows[to + 1 + place] = samples[from + place] }
          var place = 3
          while place < pitch {
            rows[to &+ 1 &+ place] = samples[from &+ place] &- samples[from &+ place &- 3]
            place &+= 1
          }
        }
        count = height * (pitch + 1)
      }
    }
  }

  /// A zlib stream (RFC 1950) of the bytes.
  private func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var deflater = Deflater()
    let checksum = bytes.withUnsafeBufferPointer { bytes in
      deflater.compress(bytes)
      var (low, high) = (UInt32(1), UInt32(0))
      // So many bytes at a time that the sums fit.
      for start in stride(from: 0, to: bytes.count, by: 5552) {
        var place = start
        let end = Swift.min(start + 5552, bytes.count)
        while place < end {
          low &+= UInt32(truncatingIfNeeded: bytes[place])
          high &+= low
          place &+= 1
        }
        (low, high) = (low % 65521, high % 65521)
      }
      return high << 16 | low
    }
    return [0x78, 0x01] + deflater.output + bigEndian(Int(checksum))
  }
}

/// Compression in one block of fixed codes (RFC 1951), repetitions found by the last place of the same three bytes.
private struct Deflater {
  private(set) var output: [UInt8] = []
  private var bits: UInt64 = 0
  private var bitCount = 0

  /// The lengths and distances at which a code begins, and the extra bits behind it (RFC 1951, 3.2.5).
  private static let lengths = ranges(from: 3, codes: 28) { $0 < 4 ? 0 : $0 / 4 - 1 } + [(start: 258, extra: 0)]
  private static let distances = ranges(from: 1, codes: 30) { $0 < 2 ? 0 : $0 / 2 - 1 }

  private static func ranges(from first: Int, codes: Int, _ extra: (Int) -> Int) -> [(start: Int, extra: Int)] {
    var start = first
    return (0..<codes).map { code in
      defer { start += 1 << extra(code) }
      return (start, extra(code))
    }
  }

  mutating func compress(_ bytes: UnsafeBufferPointer<UInt8>) {
    output.reserveCapacity(bytes.count / 2)
    put(1, 1)
    put(1, 2)
    withUnsafeTemporaryAllocation(of: Int.self, capacity: 1 << 15) { recent in
      recent.initialize(repeating: -1)
      var place = 0
      while place < bytes.count {
        let (length, distance) = repetition(bytes, at: place, recent)
        if length >= 3 {
          putLength(length)
          putDistance(distance)
          place &+= length
        } else {
          putSymbol(Int(bytes[place]))
          place &+= 1
        }
      }
    }
    putSymbol(256)
    if bitCount > 0 { put(0, 8 - bitCount) }
  }

  /// How many bytes from `place` on stood before, and how far back; `recent` has the last place of the same three bytes.
  private func repetition(
    _ bytes: UnsafeBufferPointer<UInt8>, at place: Int, _ recent: UnsafeMutableBufferPointer<Int>
  ) -> (length: Int, distance: Int) {
    guard place &+ 3 <= bytes.count else { return (0, 0) }
    let word = UInt32(bytes[place]) << 16 | UInt32(bytes[place &+ 1]) << 8 | UInt32(bytes[place &+ 2])
    let slot = Int((word &* 2_654_435_761) >> 17)
    let before = recent[slot]
    recent[slot] = place
    guard before >= 0, place &- before <= 32768 else { return (0, 0) }
    let most = Swift.min(258, bytes.count &- place)
    var length = 0
    while length < most, bytes[before &+ length] == bytes[place &+ length] { length &+= 1 }
    return (length, place &- before)
  }

  private mutating func putLength(_ length: Int) {
    let code = Self.lengths.lastIndex { $0.start <= length } ?? 0
    putSymbol(257 + code)
    put(UInt64(length - Self.lengths[code].start), Self.lengths[code].extra)
  }

  private mutating func putDistance(_ distance: Int) {
    let code = Self.distances.lastIndex { $0.start <= distance } ?? 0
    putReversed(code, 5)
    put(UInt64(distance - Self.distances[code].start), Self.distances[code].extra)
  }

  /// A code of the fixed tables (RFC 1951, 3.2.6).
  private mutating func putSymbol(_ symbol: Int) {
    switch symbol {
    case ..<144: putReversed(0x30 + symbol, 8)
    case ..<256: putReversed(0x190 + symbol - 144, 9)
    case ..<280: putReversed(symbol - 256, 7)
    default: putReversed(0xC0 + symbol - 280, 8)
    }
  }

  /// Codes are written from their highest bit on, all else from the lowest.
  private mutating func putReversed(_ code: Int, _ count: Int) {
    var reversed: UInt64 = 0
    for bit in 0..<count { reversed |= UInt64(code >> bit & 1) << (count - 1 - bit) }
    put(reversed, count)
  }

  private mutating func put(_ value: UInt64, _ count: Int) {
    bits |= value << bitCount
    bitCount += count
    while bitCount >= 8 {
      output.append(UInt8(truncatingIfNeeded: bits))
      bits >>= 8
      bitCount -= 8
    }
  }
}
