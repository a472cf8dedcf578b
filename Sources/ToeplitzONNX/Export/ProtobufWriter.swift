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

  /// A field as it was read.
  mutating func copy(_ field: ProtobufField) {
    let number = UInt64(field.number)
    switch field.contents {
    case .varint(let value):
      varint(number << 3)
      varint(value)
    case .fixed64(let bits):
      varint(number << 3 | 1)
      bytes.append(littleEndian: bits)
    case .fixed32(let bits):
      varint(number << 3 | 5)
      bytes.append(littleEndian: bits)
    case .bytes(let content): write(number, content)
    }
  }

  /// A tensor (`TensorProto`).
  ///
  /// - Throws: ``ToeplitzError`` if its elements are smaller than bytes.
  mutating func writeTensor(_ field: UInt64, _ tensor: Tensor, _ name: String) throws {
    guard tensor.dtype.elementsPerByte == 1 else {
      throw ToeplitzError(.unsupported, "export", expected: "elements of whole bytes", got: "\(tensor.dtype)")
    }
    try write(field) { writer in
      for size in tensor.shape { writer.write(1, size) }
      writer.write(2, tensor.dtype.onnxNumber)
      writer.write(8, name)
      try tensor.withBytes { writer.write(9, $0) }
    }
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
