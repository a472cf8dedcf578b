import Foundation
import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzTensor

extension Executable {
  /// Reads the ONNX model at `url`.
  ///
  /// - Throws: As ``init(contentsOf:optimizes:)-(String,_)``.
  public convenience init(contentsOf url: URL, optimizes: Bool = true) throws {
    try self.init(contentsOf: url.path, optimizes: optimizes)
  }

  /// Reads the ONNX model at `path`: IR version 3 or higher, opset 7 or higher.
  ///
  /// The file is mapped and weights refer to it where they are aligned, so it must not be overwritten in place while the
  /// executable is alive. External data is read from the model's folder only. Nothing in the file is executed.
  ///
  /// - Parameter optimizes: whether operations are fused.
  /// - Throws: ``ToeplitzError`` of kind `file` if a file cannot be read, of kind `format` if one breaks a rule, of kind
  ///   `unsupported` that lists all operators of the model that Toeplitz does not have.
  public convenience init(contentsOf path: String, optimizes: Bool = true) throws {
    let file = try MappedFile(path: path)
    let data = ONNXData(place: FilePlace(file: path), file: file, model: path)
    try self.init(onnx: file.bytes, data, optimizes: optimizes)
    // Of the pages that were read most hold weights, which nobody needs yet.
    withExtendedLifetime(file) { file.forget(file.bytes) }
  }

  /// Reads an ONNX model from memory; it may have no external data.
  ///
  /// - Throws: As ``init(contentsOf:optimizes:)-(String,_)``.
  public convenience init(onnx bytes: [UInt8], optimizes: Bool = true) throws {
    let data = ONNXData(place: FilePlace(file: "model"), file: nil, model: nil)
    let source = try bytes.withUnsafeBytes { try Self.source($0, data) }
    self.init(source.steps, name: source.name, optimizes: optimizes)
  }

  private convenience init(onnx bytes: UnsafeRawBufferPointer, _ data: ONNXData, optimizes: Bool) throws {
    let source = try Self.source(bytes, data)
    self.init(source.steps, name: source.name, optimizes: optimizes)
  }

  private static func source(
    _ bytes: UnsafeRawBufferPointer, _ data: ONNXData
  ) throws -> (steps: ONNXSource, name: String) {
    let model: ONNXModel
    do {
      model = try ONNXModel(bytes, data.place)
    } catch let error as ToeplitzError {
      guard let other = CheckpointFormat(bytes).asNoModel else { throw error }
      throw data.place.malformed("an ONNX model", got: other)
    }
    if let opset = model.opsets[""], opset < OperatorTable.oldestOpset {
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "opset \(OperatorTable.oldestOpset) or higher", got: "\(opset)")
    }
    return (try ModelImport(model, data).run(), model.graph.name)
  }
}

/// A tensor, a sequence of tensors or an optional value in a file of its own (`TensorProto`, `SequenceProto`,
/// `OptionalProto`), as ONNX's test data has them.
public enum ONNXTensorFile {
  /// Reads the tensor at `path`, with its name.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or is not such a tensor.
  public static func read(contentsOf path: String) throws -> (name: String, tensor: Tensor) {
    try reading(path) { reader, data in
      let stored = try ONNXTensor(reader, data.place)
      return (stored.name, try stored.tensor(data))
    }
  }

  /// Reads the value at `path`, which is one for `port`.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or holds another kind of value.
  public static func value(contentsOf path: String, for port: PortDescription) throws -> ModelValue {
    try reading(path) { reader, data in
      switch port.kind {
      case .tensor, .strings: try ONNXTensor(reader, data.place).value(data)
      case .sequence: try sequence(reader, data)
      case .optional: try optional(reader, data)
      }
    }
  }

  private static func reading<Result>(
    _ path: String, _ body: (ProtobufReader, ONNXData) throws -> Result
  ) throws -> Result {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) {
      let place = FilePlace(file: path)
      return try body(ProtobufReader(file.bytes, place), ONNXData(place: place, file: file, model: nil))
    }
  }

  private static func sequence(_ reader: ProtobufReader, _ data: ONNXData) throws -> ModelValue {
    var (reader, tensors): (ProtobufReader, [Tensor]) = (reader, [])
    try reader.forEach { field in
      guard field.number == 3 else { return }
      tensors.append(try ONNXTensor(field.message(), data.place).tensor(data))
    }
    return .sequence(tensors)
  }

  private static func optional(_ reader: ProtobufReader, _ data: ONNXData) throws -> ModelValue {
    var (reader, value) = (reader, ModelValue.none)
    try reader.forEach { field in
      switch field.number {
      case 3: value = try ONNXTensor(field.message(), data.place).value(data)
      case 5: value = try sequence(field.message(), data)
      default: break
      }
    }
    return value
  }
}
