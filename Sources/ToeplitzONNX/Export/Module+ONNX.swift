import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

extension Module {
  /// Writes the module as an ONNX model (IR version 8, opset 18) to a file, which appears when it is complete.
  ///
  /// The module is called with `input` in evaluation mode, whatever mode it is in, and what it computes is recorded; the model has that input's sizes. Then the model
  /// is run on another input and compared with the module: a module whose computation does not pass through recorded
  /// operations, or depends on the values of its input, is refused.
  ///
  /// ```swift
  /// try model.eval().exportONNX(to: "model.onnx", input: x) { try model($0) }
  /// ```
  ///
  /// - Parameters:
  ///   - path: the file to create or replace.
  ///   - input: an input, `x` in the model.
  ///   - forward: calls the module.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names an operation which ONNX cannot say, of kind `file` if the
  ///   file cannot be written, or what `forward` throws.
  public func exportONNX(
    to path: String, input: Tensor, inputName: String = "x", outputName: String = "y",
    forward: (Tensor) throws -> Tensor
  ) throws {
    let bytes = try onnxModel(input: input, inputName: inputName, outputName: outputName, forward: forward)
    try AtomicFile.write(to: path) { try $0.write(bytes) }
  }

  /// The bytes of the ONNX model that ``Module/exportONNX(to:input:inputName:outputName:forward:)`` writes.
  public func onnxModel(
    input: Tensor, inputName: String = "x", outputName: String = "y", forward: (Tensor) throws -> Tensor
  ) throws -> [UInt8] {
    try evaluating { try recordedModel(input, inputName, outputName, forward) }
  }

  private func recordedModel(
    _ input: Tensor, _ inputName: String, _ outputName: String, _ forward: (Tensor) throws -> Tensor
  ) throws -> [UInt8] {
    var graph = try ModuleValues(self).recorded(input.spec, inputName, outputName, forward)
    graph.removeDeadNodes()
    graph.name = displayName
    let bytes = try graph.onnxModel()
    try compare(bytes, input, inputName, forward)
    return bytes
  }

  /// Refuses a model that does not compute what the module does.
  private func compare(
    _ bytes: [UInt8], _ input: Tensor, _ name: String, _ forward: (Tensor) throws -> Tensor
  ) throws {
    var other = input
    if input.dtype.isFloatingPoint {
      var random = RandomSource(seed: 1)
      other = try Tensor.randomUniform(input.shape, from: -1, to: 1, dtype: input.dtype, using: &random)
    }
    let expected = try forward(other)
    let got = try Executable(onnx: bytes).run([name: other])[0]
    guard got.spec == expected.spec else {
      throw ToeplitzError(.unsupported, "export", expected: "a model that gives \(expected.spec)", got: "\(got.spec)")
    }
    try requireSameValues(got, expected)
  }
}

extension UnaryLayer {
  /// Writes the module as an ONNX model; see ``Module/exportONNX(to:input:inputName:outputName:forward:)``.
  ///
  /// - Throws: ``ToeplitzError`` if an operation cannot be written or the file cannot.
  public func exportONNX(to path: String, input: Tensor) throws {
    try exportONNX(to: path, input: input) { try self($0) }
  }
}

/// Refuses a model that gives other numbers than what was recorded for it.
func requireSameValues(_ got: Tensor, _ expected: Tensor) throws {
  let a = try got.cast(to: .float64).scalars(Double.self)
  let b = try expected.cast(to: .float64).scalars(Double.self)
  let scale = b.lazy.filter(\.isFinite).map(abs).max() ?? 0
  let isHalf = expected.dtype == .float16 || expected.dtype == .bfloat16
  let tolerance = (isHalf ? 5e-2 : 1e-3) * scale + 1e-6
  for (x, y) in zip(a, b) where !(x == y || x.isNaN && y.isNaN || abs(x - y) <= tolerance) {
    throw ToeplitzError(
      .unsupported, "export", expected: "a computation that recorded operations describe", got: "\(x) instead of \(y)")
  }
}
