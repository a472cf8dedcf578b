import ToeplitzCheckpoint
import ToeplitzTensor

/// A Huffman code of JPEG (T.81, annex C).
struct JPEGCode {
  /// Codes up to this length are found in one look-up.
  private static let quickLength = 9

  /// For each value of the next bits, the symbol times 16 plus the length of its code; 0 for longer codes.
  private var quick = [UInt16](repeating: 0, count: 1 << JPEGCode.quickLength)
  /// For each length the first code, the first symbol and how many there are.
  private var first = [Int](repeating: 0, count: 17)
  private var start = [Int](repeating: 0, count: 17)
  private let counts: [Int]
  private let symbols: [UInt8]

  /// The code with as many symbols of each length from 1 to 16; nil if there cannot be one.
  init?(_ counts: [Int], _ symbols: [UInt8]) {
    self.counts = [0] + counts
    self.symbols = symbols
    guard symbols.count <= 256 else { return nil }
    var (code, at) = (0, 0)
    for length in 1...16 {
      (first[length], start[length]) = (code, at)
      guard code + counts[length - 1] <= 1 << length else { return nil }
      for _ in 0..<counts[length - 1] {
        if length <= Self.quickLength {
          let spare = Self.quickLength - length
          for rest in 0..<(1 << spare) { quick[code << spare | rest] = UInt16(symbols[at]) << 4 | UInt16(length) }
        }
        code += 1
        at += 1
      }
      code <<= 1
    }
  }

  /// The symbol at the beginning of 16 bits and the length of its code, if there is one.
  func decode(_ bits: Int) -> (symbol: Int, length: Int)? {
    let entry = Int(quick[bits >> (16 - Self.quickLength)])
    if entry != 0 { return (entry >> 4, entry & 15) }
    for length in (Self.quickLength + 1)...16 {
      let index = (bits >> (16 - length)) - first[length]
      if index >= 0, index < counts[length] { return (Int(symbols[start[length] + index]), length) }
    }
    return nil
  }
}

/// Bits of entropy-coded data, highest first, without the bytes stuffed between them; they end at a marker.
struct JPEGBits {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  /// The offset of the next byte that is not in `buffer` yet.
  private(set) var position: Int
  /// The next bits, the last of them lowest.
  private var buffer: UInt64 = 0
  private var count = 0

  /// The bits from byte `position` on.
  init(_ bytes: UnsafeRawBufferPointer, from position: Int, _ place: FilePlace) {
    self.bytes = bytes
    self.position = position
    self.place = place
  }

  private mutating func refill() {
    while count <= 48, position < bytes.count {
      let byte = bytes[position]
      if byte == 0xFF {
        guard position + 1 < bytes.count, bytes[position + 1] == 0 else { return }
        position += 1
      }
      position += 1
      buffer = buffer << 8 | UInt64(byte)
      count += 8
    }
  }

  /// The next `length` bits, at most 16, with zeros behind the last.
  private mutating func peek(_ length: Int) -> Int {
    if count < length { refill() }
    let bits = count >= length ? buffer >> UInt64(count - length) : buffer << UInt64(length - count)
    return Int(truncatingIfNeeded: bits) & ((1 << length) - 1)
  }

  private mutating func drop(_ length: Int) throws {
    guard length <= count else {
      throw place.malformed("more pixels", got: position < bytes.count ? "a marker" : "the end of the file")
    }
    count -= length
  }

  /// The next symbol of a code.
  mutating func symbol(_ code: JPEGCode) throws -> Int {
    guard let (symbol, length) = code.decode(peek(16)) else {
      throw place.malformed("a symbol of the code", got: "other bits")
    }
    try drop(length)
    return symbol
  }

  /// The next `size` bits, at most 16.
  mutating func bits(_ size: Int) throws -> Int {
    let value = peek(size)
    try drop(size)
    return value
  }

  /// The next bit.
  mutating func bit() throws -> Bool { try bits(1) == 1 }

  /// A number of `size` bits, at most 16; those that begin with 0 are negative (T.81, F.2.2.1).
  mutating func number(_ size: Int) throws -> Int {
    guard size > 0 else { return 0 }
    let value = try bits(size)
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value
  }

  /// Skips to behind the restart marker of the given number from 0 to 7.
  mutating func restart(_ number: Int) throws {
    (buffer, count) = (0, 0)
    while position < bytes.count, bytes[position] == 0xFF, position + 1 < bytes.count, bytes[position + 1] == 0xFF {
      position += 1
    }
    guard position + 1 < bytes.count, bytes[position] == 0xFF, Int(bytes[position + 1]) == 0xD0 + number else {
      throw place.malformed("restart marker \(number)", got: "other bytes")
    }
    position += 2
  }
}
