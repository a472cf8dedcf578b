import ToeplitzTensor

/// Writes fields in Protocol Buffers' wire format.
struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  /// A whole number.
  mutating func write(_ field: UInt64, _ value: Int) {
    varint(field << 3)
    varint(UInt64(bitPattern: Int64(value)))
  }

  /// A single-precision number.
  mutating func write(_ field: UInt64, _ value: Float) {
    varint(field << 3 | 5)
    bytes.append(littleEndian: value.bitPattern)
  }

  /// Text.
  mutating func write(_ field: UInt64, _ text: String) {
    varint(field << 3 | 2)
    varint(UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }

  /// Bytes.
  mutating func write(_ field: UInt64, _ content: UnsafeRawBufferPointer) {
    varint(field << 3 | 2)
    varint(UInt64(content.count))
    bytes += content
  }

  /// Fields that another writer has made.
  mutating func append(_ fields: ProtobufWriter) { bytes += fields.bytes }

  /// A message, whose fields `body` writes.
  mutating func write(_ field: UInt64, _ body: (inout ProtobufWriter) throws -> Void) rethrows {
    var inner = ProtobufWriter()
    try body(&inner)
    varint(field << 3 | 2)
    varint(UInt64(inner.bytes.count))
    bytes += inner.bytes
  }
}
