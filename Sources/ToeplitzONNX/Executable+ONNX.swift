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
    let model = try ONNXModel(bytes, data.place)
    if let opset = model.opsets[""], opset < OperatorTable.oldestOpset {
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "opset \(OperatorTable.oldestOpset) or higher", got: "\(opset)")
    }
    return (try ModelImport(model, data).run(), model.graph.name)
  }
}

/// A tensor in a file of its own (`TensorProto`), as ONNX's test data has them.
public enum ONNXTensorFile {
  /// Reads the tensor at `path`, with its name.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or is not such a tensor.
  public static func read(contentsOf path: String) throws -> (name: String, tensor: Tensor) {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) {
      let place = FilePlace(file: path)
      let stored = try ONNXTensor(ProtobufReader(file.bytes, place), place)
      return (stored.name, try stored.tensor(ONNXData(place: place, file: file, model: nil)))
    }
  }
}
