/// Writes fields in Protocol Buffers' wire format.
package struct ProtobufWriter {
  /// What has been written.
  package private(set) var bytes: [UInt8] = []

  package init() {}

  /// A whole number of the format's own, seven bits a byte.
  package mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  /// A whole number.
  package mutating func write(_ field: UInt64, _ value: Int) {
    varint(field << 3)
    varint(UInt64(bitPattern: Int64(value)))
  }

  /// A single-precision number.
  package mutating func write(_ field: UInt64, _ value: Float) {
    write(fixed32: value.bitPattern, field)
  }

  /// A double-precision number.
  package mutating func write(_ field: UInt64, _ value: Double) { write(fixed64: value.bitPattern, field) }

  /// Eight bytes.
  package mutating func write(fixed64 bits: UInt64, _ field: UInt64) {
    varint(field << 3 | 1)
    bytes.append(littleEndian: bits)
  }

  /// Four bytes.
  package mutating func write(fixed32 bits: UInt32, _ field: UInt64) {
    varint(field << 3 | 5)
    bytes.append(littleEndian: bits)
  }

  /// Text.
  package mutating func write(_ field: UInt64, _ text: String) {
    varint(field << 3 | 2)
    varint(UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }

  /// Bytes.
  package mutating func write(_ field: UInt64, _ content: UnsafeRawBufferPointer) {
    varint(field << 3 | 2)
    varint(UInt64(content.count))
    bytes += content
  }

  /// Fields that another writer has made.
  package mutating func append(_ fields: ProtobufWriter) { bytes += fields.bytes }

  /// A message, whose fields `body` writes.
  package mutating func write(_ field: UInt64, _ body: (inout ProtobufWriter) throws -> Void) rethrows {
    var inner = ProtobufWriter()
    try body(&inner)
    varint(field << 3 | 2)
    varint(UInt64(inner.bytes.count))
    bytes += inner.bytes
  }
}
