import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

/// Puts a DEFLATE stream together bit by bit.
struct BitWriter {
  private(set) var bytes: [UInt8] = []
  private var used = 8

  mutating func bit(_ bit: Int) {
    if used == 8 {
      bytes.append(0)
      used = 0
    }
    bytes[bytes.count - 1] |= UInt8(bit) << UInt8(used)
    used += 1
  }

  /// A number, lowest bit first.
  mutating func number(_ value: Int, _ count: Int) {
    for index in 0..<count { bit(value >> index & 1) }
  }

  /// A Huffman code written as text, first bit first.
  mutating func code(_ text: String) {
    for character in text where character != " " { bit(character == "1" ? 1 : 0) }
  }

  /// The start of a last block with dynamic codes: the counts, and the lengths of the code length code.
  mutating func dynamic(literals: Int, distances: Int, lengths: [Int: Int]) {
    number(1, 1)
    number(2, 2)
    number(literals - 257, 5)
    number(distances - 1, 5)
    number(14, 4)
    for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
      number(lengths[symbol] ?? 0, 3)
    }
  }
}

@Suite struct InflateTests {
  private func inflate(_ stream: [UInt8], size: Int) throws -> [UInt8] {
    var output = [UInt8](repeating: 0xEE, count: size)
    try stream.withUnsafeBytes { stream in
      try output.withUnsafeMutableBytes { try Inflate.decompress(stream, into: $0, FilePlace(file: "test")) }
    }
    return output
  }

  private func refuse(
    _ stream: [UInt8], size: Int = 100, _ text: String, location: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: ToeplitzError.self, sourceLocation: location) {
      try inflate(stream, size: size)
    }
    #expect(error?.kind == .format, sourceLocation: location)
    let line = error?.description ?? ""
    #expect(line.contains(text), "\(line)", sourceLocation: location)
  }

  private func refuse(
    size: Int = 100, _ text: String, location: SourceLocation = #_sourceLocation,
    _ build: (inout BitWriter) -> Void
  ) {
    var writer = BitWriter()
    build(&writer)
    // Zeros behind the stream, so that it is not its end that is refused.
    refuse(writer.bytes + [0, 0, 0, 0], size: size, text, location: location)
  }

  @Test func goodStreams() throws {
    #expect(try inflate([3, 0], size: 0) == [])
    #expect(try inflate([1, 0, 0, 0xFF, 0xFF], size: 0) == [])
    #expect(try inflate([1, 2, 0, 0xFD, 0xFF, 7, 8], size: 2) == [7, 8])
    // Two stored blocks and one with fixed codes: the literal "a", a match of 258 bytes at distance 1.
    var writer = BitWriter()
    writer.code("1 10")
    writer.code("10010001 11000101 00000 0000000")
    let stream = [0, 1, 0, 0xFE, 0xFF, 9, 0, 0, 0, 0xFF, 0xFF] + writer.bytes
    #expect(try inflate(stream, size: 260) == [9] + [UInt8](repeating: UInt8(ascii: "a"), count: 259))
  }

  /// The literal "A" has one bit, the end and the length 3 two bits each, the only distance one bit.
  private func oneDistance(_ distance: String) -> [UInt8] {
    var writer = BitWriter()
    writer.dynamic(literals: 258, distances: 1, lengths: [0: 2, 1: 2, 2: 2, 18: 2])
    for zeros in [65, 138, 52] {
      if zeros == 138 { writer.code("01") }
      writer.code("11")
      writer.number(zeros - 11, 7)
    }
    writer.code("10 10 01")
    writer.code("0 11 \(distance) 10")
    return writer.bytes
  }

  @Test func aSingleDistanceCodeMayBeIncomplete() throws {
    #expect(try inflate(oneDistance("0"), size: 4) == Array("AAAA".utf8))
    refuse(oneDistance("1") + [0, 0], "a bit pattern with a code")
  }

  @Test func storedBlocks() {
    refuse([], size: 0, "more compressed data")
    refuse([7, 0], "block type")
    refuse([3, 0], "100 decompressed bytes")
    refuse([3, 0, 0], size: 0, "1 bytes more")
    refuse([3, 0] + [UInt8](repeating: 0, count: 50), size: 0, "50 bytes more")
    refuse([1, 5, 0, 0xFA, 0xFF, 1, 2], "5 stored bytes")
    refuse([1, 5, 0, 0xFB, 0xFF, 1, 2, 3, 4, 5], "complement")
    refuse([1, 5, 0, 0xFA, 0xFF, 1, 2, 3, 4, 5], size: 3, "3 decompressed bytes")
    refuse([1, 5, 0], "more compressed data")
    refuse([0x4B], "more compressed data")
  }

  @Test func matches() {
    refuse("a distance of at most 0") { $0.code("1 10 0000001 00000") }
    refuse("a distance of at most 1") { $0.code("1 10 10010001 0000001 00001") }
    refuse("a length code") { $0.code("1 10 10010001 11000110") }
    refuse("a distance code") { $0.code("1 10 10010001 0000001 11110") }
    refuse(size: 3, "3 decompressed bytes") { $0.code("1 10 10010001 0000001 00000") }
    refuse(size: 1, "1 decompressed bytes") { $0.code("1 10 10010001 10010001") }
  }

  @Test func dynamicCodes() {
    refuse("at most 286") { $0.dynamic(literals: 287, distances: 1, lengths: [:]) }
    refuse("30 distance codes") { $0.dynamic(literals: 257, distances: 31, lengths: [:]) }
    refuse("a complete code") { $0.dynamic(literals: 257, distances: 1, lengths: [:]) }
    refuse("a complete code") { $0.dynamic(literals: 257, distances: 1, lengths: [0: 1]) }
    refuse("a complete code") { $0.dynamic(literals: 257, distances: 1, lengths: [0: 1, 1: 1, 2: 1]) }
    refuse("a code length to repeat") {
      $0.dynamic(literals: 257, distances: 1, lengths: [0: 1, 16: 1])
      $0.code("1 00")
    }
    refuse("258 code lengths") {
      $0.dynamic(literals: 257, distances: 1, lengths: [0: 1, 18: 1])
      $0.code("1 1111111 1 1111111")
    }
    refuse("end-of-block symbol") {
      $0.dynamic(literals: 257, distances: 1, lengths: [0: 1, 18: 1])
      $0.code("1 1111111 1")
      $0.number(120 - 11, 7)
    }
    refuse("end-of-block symbol") {
      $0.dynamic(literals: 257, distances: 1, lengths: [0: 1, 1: 1])
      for _ in 0..<258 { $0.code("1") }
    }
  }

  @Test func longStreamsOfEmptyBlocksEnd() {
    let stream = Array(repeatElement([0, 0, 0, 0xFF, 0xFF] as [UInt8], count: 100_000).joined())
    refuse(stream, size: 0, "more compressed data")
  }

  @Test func checksumsOfKnownTexts() {
    func checksum(_ text: String) -> UInt32 { Array(text.utf8).withUnsafeBytes { CRC32.checksum($0) } }
    #expect(checksum("") == 0)
    #expect(checksum("123456789") == 0xCBF4_3926)
    #expect(checksum("The quick brown fox jumps over the lazy dog") == 0x414F_A339)
    // In pieces of any length the checksum is the same.
    let bytes = (0..<100).map { UInt8($0 * 37 % 256) }
    for cut in 0...100 {
      var pieces = CRC32()
      for piece in [bytes[..<cut], bytes[cut...]] { piece.withUnsafeBytes { pieces.update($0) } }
      #expect(pieces.value == bytes.withUnsafeBytes { CRC32.checksum($0) })
    }
  }
}
