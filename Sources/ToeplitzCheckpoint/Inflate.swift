import ToeplitzTensor

/// Decompresses a DEFLATE stream (RFC 1951) into a block whose size is known.
///
/// The work is bounded by the lengths of both blocks, whatever the stream says.
package struct Inflate {
  private let input: UnsafeRawBufferPointer
  private let output: UnsafeMutableRawBufferPointer
  private let place: FilePlace
  /// The offset of the next input byte that is not in `bits` yet.
  private var next = 0
  private var written = 0
  /// Input bits, the next one lowest.
  private var bits: UInt64 = 0
  private var bitCount = 0

  /// Decompresses all of `input`, which has to fill `output` exactly.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` if the stream is malformed or has another length.
  package static func decompress(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, _ place: FilePlace
  ) throws {
    var inflate = Inflate(input: input, output: output, place: place)
    while try !inflate.block() {}
    guard inflate.written == output.count else {
      throw place.malformed("\(output.count) decompressed bytes", got: "\(inflate.written)")
    }
    let unused = input.count - inflate.next + inflate.bitCount / 8
    guard unused == 0 else {
      throw place.malformed("compressed data that ends with its last block", got: "\(unused) bytes more")
    }
  }

  private init(
    input: UnsafeRawBufferPointer, output: UnsafeMutableRawBufferPointer, place: FilePlace
  ) {
    self.input = input
    self.output = output
    self.place = place
  }

  // MARK: - Bits

  private mutating func refill() {
    while bitCount <= 56, next < input.count {
      bits |= UInt64(input[next]) << UInt64(bitCount)
      next += 1
      bitCount += 8
    }
  }

  private mutating func drop(_ count: Int) throws {
    guard count <= bitCount else { throw malformed("more compressed data", "its end") }
    bits >>= UInt64(count)
    bitCount -= count
  }

  /// The next `count` bits (at most 16) as a number.
  private mutating func take(_ count: Int) throws -> Int {
    if bitCount < count { refill() }
    let value = Int(truncatingIfNeeded: bits & (1 << UInt64(count) - 1))
    try drop(count)
    return value
  }

  private mutating func symbol(_ code: HuffmanCode) throws -> Int {
    if bitCount < HuffmanCode.maximumLength { refill() }
    guard let (symbol, length) = code.decode(bits) else {
      throw malformed("a bit pattern with a code", "another")
    }
    try drop(length)
    return symbol
  }

  private func malformed(_ expected: String, _ got: String) -> ToeplitzError {
    place.malformed("\(expected) near compressed byte \(next)", got: got)
  }

  // MARK: - Blocks

  /// Decompresses a block and returns whether it was the last.
  private mutating func block() throws -> Bool {
    let isLast = try take(1) == 1
    switch try take(2) {
    case 0: try storedBlock()
    case 1: try compressedBlock(HuffmanCode.fixedLiterals, HuffmanCode.fixedDistances)
    case 2:
      let (literals, distances) = try dynamicCodes()
      try compressedBlock(literals, distances)
    default: throw malformed("block type 0, 1 or 2", "3")
    }
    return isLast
  }

  /// A block of uncompressed bytes (RFC 1951, 3.2.4).
  private mutating func storedBlock() throws {
    try drop(bitCount & 7)
    let length = try take(16)
    let complement = try take(16)
    guard length == complement ^ 0xFFFF else {
      throw malformed("a stored length and its complement", "\(length) and \(complement)")
    }
    // Whole bytes that were read ahead are read again.
    next -= bitCount / 8
    bits = 0
    bitCount = 0
    guard length <= input.count - next else { throw malformed("\(length) stored bytes", "the end") }
    try requireSpace(length)
    let source = UnsafeRawBufferPointer(rebasing: input[next..<next + length])
    UnsafeMutableRawBufferPointer(rebasing: output[written..<written + length]).copyMemory(from: source)
    next += length
    written += length
  }

  /// A block of literals and matches (RFC 1951, 3.2.5).
  private mutating func compressedBlock(_ literals: HuffmanCode, _ distances: HuffmanCode) throws {
    while true {
      let symbol = try symbol(literals)
      if symbol < 256 {
        try requireSpace(1)
        output[written] = UInt8(truncatingIfNeeded: symbol)
        written += 1
      } else if symbol == 256 {
        return
      } else {
        guard symbol - 257 < Self.lengthBases.count else { throw malformed("a length code", "\(symbol)") }
        let length = Self.lengthBases[symbol - 257] + (try take(Self.lengthBits[symbol - 257]))
        let code = try self.symbol(distances)
        guard code < Self.distanceBases.count else { throw malformed("a distance code", "\(code)") }
        try copy(length, from: Self.distanceBases[code] + (try take(Self.distanceBits[code])))
      }
    }
  }

  /// Repeats `length` bytes that were written `distance` bytes ago; they may overlap the new ones.
  private mutating func copy(_ length: Int, from distance: Int) throws {
    guard distance <= written else {
      throw malformed("a distance of at most \(written), the bytes so far,", "\(distance)")
    }
    try requireSpace(length)
    for index in written..<written + length { output[index] = output[index - distance] }
    written += length
  }

  private func requireSpace(_ count: Int) throws {
    guard count <= output.count - written else {
      throw place.malformed("\(output.count) decompressed bytes", got: "more")
    }
  }

  /// The codes in front of a dynamic block (RFC 1951, 3.2.7).
  private mutating func dynamicCodes() throws -> (literals: HuffmanCode, distances: HuffmanCode) {
    let literalCount = try take(5) + 257
    let distanceCount = try take(5) + 1
    let lengthCount = try take(4) + 4
    guard literalCount <= 286, distanceCount <= 30 else {
      throw malformed("at most 286 literal and 30 distance codes", "\(literalCount) and \(distanceCount)")
    }
    var lengthLengths = [UInt8](repeating: 0, count: 19)
    for index in 0..<lengthCount { lengthLengths[Self.lengthOrder[index]] = UInt8(try take(3)) }
    guard let lengthCode = HuffmanCode(lengthLengths[...], mayBeIncomplete: false) else {
      throw malformed("a complete code for code lengths", "another")
    }
    var lengths: [UInt8] = []
    lengths.reserveCapacity(literalCount + distanceCount)
    while lengths.count < literalCount + distanceCount {
      let symbol = try symbol(lengthCode)
      let run: (value: UInt8, count: Int)
      switch symbol {
      case 16:
        guard let last = lengths.last else { throw malformed("a code length to repeat", "none") }
        run = (last, try take(2) + 3)
      case 17: run = (0, try take(3) + 3)
      case 18: run = (0, try take(7) + 11)
      default: run = (UInt8(truncatingIfNeeded: symbol), 1)
      }
      guard run.count <= literalCount + distanceCount - lengths.count else {
        throw malformed("\(literalCount + distanceCount) code lengths", "more")
      }
      lengths += repeatElement(run.value, count: run.count)
    }
    guard lengths[256] > 0, let literals = HuffmanCode(lengths[..<literalCount], mayBeIncomplete: true),
      let distances = HuffmanCode(lengths[literalCount...], mayBeIncomplete: true)
    else { throw malformed("complete codes with an end-of-block symbol", "others") }
    return (literals, distances)
  }

  // The tables of RFC 1951, 3.2.5 and 3.2.7.
  private static let lengthBases = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
  ]
  private static let lengthBits = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]
  private static let distanceBases = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577,
  ]
  private static let distanceBits = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
  ]
  private static let lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
}

/// A canonical Huffman code (RFC 1951, 3.2.2).
struct HuffmanCode {
  static let maximumLength = 15
  /// Codes up to this length are found in one look-up.
  ///
  /// A table for all 15 bits would cost more to fill than short blocks take to decode.
  private static let quickLength = 9

  /// For each value of the next bits, the symbol times 16 plus its length; 0 for longer codes.
  private var quick = [UInt16](repeating: 0, count: 1 << HuffmanCode.quickLength)
  /// How many codes have each length.
  private var counts = [Int](repeating: 0, count: HuffmanCode.maximumLength + 1)
  /// The symbols in the order of their codes.
  private var symbols: [UInt16] = []

  /// The code with the given lengths, at most 15 each; nil if there can be none.
  ///
  /// An incomplete code is accepted where it has at most one symbol, of one bit, as in zlib.
  init?(_ lengths: ArraySlice<UInt8>, mayBeIncomplete: Bool) {
    for length in lengths { counts[Int(length)] += 1 }
    let used = lengths.count - counts[0]
    counts[0] = 0
    var free = 1
    for length in 1...Self.maximumLength {
      free = free * 2 - counts[length]
      guard free >= 0 else { return nil }
    }
    guard free == 0 || mayBeIncomplete && used == counts[1] else { return nil }
    var starts = [Int](repeating: 0, count: Self.maximumLength + 2)
    var codes = starts
    for length in 1...Self.maximumLength {
      starts[length + 1] = starts[length] + counts[length]
      codes[length + 1] = (codes[length] + counts[length]) << 1
    }
    symbols = [UInt16](repeating: 0, count: used)
    for (symbol, length) in lengths.enumerated() where length > 0 {
      let length = Int(length)
      symbols[starts[length]] = UInt16(symbol)
      starts[length] += 1
      fillQuick(code: codes[length], length: length, symbol: symbol)
      codes[length] += 1
    }
  }

  private mutating func fillQuick(code: Int, length: Int, symbol: Int) {
    guard length <= Self.quickLength else { return }
    // Codes come highest bit first, other numbers lowest bit first.
    var reversed = 0
    for bit in 0..<length where code >> bit & 1 == 1 { reversed |= 1 << (length - 1 - bit) }
    for index in stride(from: reversed, to: quick.count, by: 1 << length) {
      quick[index] = UInt16(symbol << 4 | length)
    }
  }

  /// The symbol at the low end of `bits` and the length of its code.
  func decode(_ bits: UInt64) -> (symbol: Int, length: Int)? {
    let entry = Int(quick[Int(truncatingIfNeeded: bits) & (quick.count - 1)])
    if entry != 0 { return (entry >> 4, entry & 15) }
    var code = 0
    var first = 0
    var index = 0
    for length in 1...Self.maximumLength {
      code = code << 1 | Int(truncatingIfNeeded: bits >> UInt64(length - 1) & 1)
      first <<= 1
      let count = counts[length]
      if code - first < count { return (Int(symbols[index + code - first]), length) }
      index += count
      first += count
    }
    return nil
  }

  private init(fixed lengths: [UInt8]) {
    // These lengths, RFC 1951, 3.2.6, make complete codes.
    self = HuffmanCode(lengths[...], mayBeIncomplete: true) ?? HuffmanCode()
  }

  private init() {}

  static let fixedLiterals = HuffmanCode(
    fixed: (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 })
  static let fixedDistances = HuffmanCode(fixed: [UInt8](repeating: 5, count: 32))
}
