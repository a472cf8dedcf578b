import ToeplitzCheckpoint

/// The contents of one field of a message.
struct ProtobufField {
  enum Contents {
    case varint(UInt64)
    case fixed64(UInt64)
    case fixed32(UInt32)
    case bytes(UnsafeRawBufferPointer)
  }

  var number: Int
  var contents: Contents
  var place: FilePlace

  private func wrong(_ wanted: String) -> any Error {
    place.malformed("field \(number) as \(wanted)", got: "another wire type")
  }

  func int64() throws -> Int64 {
    guard case .varint(let value) = contents else { throw wrong("a varint") }
    return Int64(bitPattern: value)
  }

  func int() throws -> Int { Int(try int64()) }

  func float() throws -> Float {
    guard case .fixed32(let bits) = contents else { throw wrong("32 bits") }
    return Float(bitPattern: bits)
  }

  func bytes() throws -> UnsafeRawBufferPointer {
    guard case .bytes(let bytes) = contents else { throw wrong("bytes") }
    return bytes
  }

  func string() throws -> String {
    guard let text = String(validating: try bytes(), as: UTF8.self) else {
      throw place.malformed("text in UTF-8 in field \(number)", got: "other bytes")
    }
    return text
  }

  /// The reader of an embedded message.
  func message() throws -> ProtobufReader { ProtobufReader(try bytes(), place) }

  /// Appends the numbers of a repeated field, packed or single.
  func append(to list: inout [Int64]) throws {
    switch contents {
    case .varint(let value): list.append(Int64(bitPattern: value))
    case .bytes(let bytes):
      var reader = ProtobufReader(bytes, place)
      while !reader.isAtEnd { list.append(Int64(bitPattern: try reader.varint())) }
    default: throw wrong("varints")
    }
  }

  /// Appends the numbers of a repeated field, packed or single.
  func append(to list: inout [Float]) throws {
    switch contents {
    case .fixed32(let bits): list.append(Float(bitPattern: bits))
    case .bytes(let bytes):
      guard bytes.count % 4 == 0 else { throw wrong("a whole number of 32-bit numbers") }
      for offset in stride(from: 0, to: bytes.count, by: 4) {
        list.append(
          Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))))
      }
    default: throw wrong("32-bit numbers")
    }
  }

  /// Appends the numbers of a repeated field, packed or single.
  func append(to list: inout [Double]) throws {
    switch contents {
    case .fixed64(let bits): list.append(Double(bitPattern: bits))
    case .bytes(let bytes):
      guard bytes.count % 8 == 0 else { throw wrong("a whole number of 64-bit numbers") }
      for offset in stride(from: 0, to: bytes.count, by: 8) {
        list.append(
          Double(bitPattern: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))))
      }
    default: throw wrong("64-bit numbers")
    }
  }
}

/// Reads the fields of a message in Protocol Buffers' wire format, without copying.
///
/// The format is that of <https://protobuf.dev/programming-guides/encoding>. Lengths are checked against the bytes that
/// are there; nothing is allocated for what a message only claims to hold.
struct ProtobufReader {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  var isAtEnd: Bool { position == bytes.count }

  /// Seven bits a byte, lowest first.
  mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 70, by: 7) {
      guard position < bytes.count else { throw place.malformed("the rest of a number", got: "the end of the data") }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw place.malformed("a number of at most 10 bytes", got: "a longer one")
  }

  private mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count <= bytes.count - position else {
      throw place.malformed("\(count) bytes of a field", got: "\(bytes.count - position) bytes to the end")
    }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  /// The next field, or nil at the end of the message.
  mutating func next() throws -> ProtobufField? {
    guard !isAtEnd else { return nil }
    let tag = try varint()
    guard let number = Int(exactly: tag >> 3), number > 0, number < 1 << 29 else {
      throw place.malformed("a field number from 1 to \(1 << 29 - 1)", got: "\(tag >> 3)")
    }
    let contents: ProtobufField.Contents
    switch tag & 7 {
    case 0: contents = .varint(try varint())
    case 1: contents = .fixed64(UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self)))
    case 2:
      let length = try varint()
      guard let count = Int(exactly: length) else {
        throw place.malformed("a field of at most \(Int.max) bytes", got: "\(length)")
      }
      contents = .bytes(try take(count))
    case 5: contents = .fixed32(UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self)))
    default: throw place.malformed("a wire type of 0, 1, 2 or 5", got: "\(tag & 7)")
    }
    return ProtobufField(number: number, contents: contents, place: place)
  }

  /// Calls `body` with each field.
  mutating func forEach(_ body: (ProtobufField) throws -> Void) throws {
    while let field = try next() { try body(field) }
  }
}
