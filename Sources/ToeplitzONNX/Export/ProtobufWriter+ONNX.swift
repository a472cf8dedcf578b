import ToeplitzCheckpoint
import ToeplitzTensor

extension ProtobufWriter {
  /// A field as it was read.
  mutating func copy(_ field: ProtobufField) {
    let number = UInt64(field.number)
    switch field.contents {
    case .varint(let value):
      varint(number << 3)
      varint(value)
    case .fixed64(let bits): write(fixed64: bits, number)
    case .fixed32(let bits): write(fixed32: bits, number)
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
}
