import ToeplitzCheckpoint
import ToeplitzTensor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A Huffman code of JPEG (T.81, annex C).
struct JPEGCode {
  /// For each length the first code, the first symbol and how many there are.
  private var first = [Int](repeating: 0, count: 17)
  private var start = [Int](repeating: 0, count: 17)
  private let counts: [Int]
  private let symbols: [UInt8]

  /// The code with as many symbols of each length from 1 to 16; nil if there cannot be one.
  init?(_ counts: [Int], _ symbols: [UInt8]) {
    self.counts = [0] + counts
    self.symbols = symbols
    var (code, at) = (0, 0)
    for length in 1...16 {
      (first[length], start[length]) = (code, at)
      code += counts[length - 1]
      at += counts[length - 1]
      guard code <= 1 << length else { return nil }
      code <<= 1
    }
  }

  /// The symbol of a code of the given length, if it is one.
  func symbol(_ code: Int, length: Int) -> UInt8? {
    let index = code - first[length]
    return index >= 0 && index < counts[length] ? symbols[start[length] + index] : nil
  }
}

/// Bits of entropy-coded data, highest first, with its stuffed bytes and markers.
struct JPEGBits {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var position = 0
  private var current: UInt8 = 0
  private var left = 0

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  private mutating func bit() throws -> Int {
    if left == 0 {
      guard position < bytes.count else { throw place.malformed("more pixels", got: "the end of the file") }
      current = bytes[position]
      position += 1
      if current == 0xFF {
        guard position < bytes.count, bytes[position] == 0 else {
          throw place.malformed("more pixels", got: "a marker")
        }
        position += 1
      }
      left = 8
    }
    left -= 1
    return Int(current >> UInt8(left)) & 1
  }

  /// The next symbol of a code.
  mutating func symbol(_ code: JPEGCode) throws -> UInt8 {
    var value = 0
    for length in 1...16 {
      value = value << 1 | (try bit())
      if let symbol = code.symbol(value, length: length) { return symbol }
    }
    throw place.malformed("a symbol of the code", got: "other bits")
  }

  /// A number of `size` bits; those that begin with 0 are negative (T.81, F.2.2.1).
  mutating func number(_ size: Int) throws -> Int {
    guard size > 0 else { return 0 }
    var value = 0
    for _ in 0..<size { value = value << 1 | (try bit()) }
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value
  }

  /// Skips to behind the next restart marker.
  mutating func restart() throws {
    left = 0
    guard position + 1 < bytes.count, bytes[position] == 0xFF, bytes[position + 1] & 0xF8 == 0xD0 else {
      throw place.malformed("a restart marker", got: "other bytes")
    }
    position += 2
  }
}

/// The inverse cosine transform of blocks of 8 × 8 numbers.
enum JPEGTransform {
  /// Where the coefficients stand in the block, in the order of the file.
  static let order = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55, 62, 63,
  ]

  /// `basis[8 n + k]`: what coefficient k adds to sample n.
  private static let basis: [Float] = (0..<64).map { index in
    let (n, k) = (index / 8, index % 8)
    let scale = k == 0 ? 0.125.squareRoot() : 0.5
    return Float(scale * cos(Double((2 * n + 1) * k) * Double.pi / 16))
  }

  /// Transforms a block in place: rows, then columns.
  static func inverse(_ block: inout [Float]) {
    var rows = [Float](repeating: 0, count: 64)
    for row in 0..<8 {
      for n in 0..<8 {
        var sum: Float = 0
        for k in 0..<8 { sum += basis[8 * n + k] * block[8 * row + k] }
        rows[8 * row + n] = sum
      }
    }
    for column in 0..<8 {
      for n in 0..<8 {
        var sum: Float = 0
        for k in 0..<8 { sum += basis[8 * n + k] * rows[8 * k + column] }
        block[8 * n + column] = sum
      }
    }
  }
}
