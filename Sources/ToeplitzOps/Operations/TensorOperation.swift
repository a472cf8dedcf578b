import CToeplitzKernels
import ToeplitzTensor

/// A computation on tensors, with its attributes as stored properties.
///
/// An operation is defined once, in one file: what shapes it accepts and gives (``infer(_:)``), its ``gradient`` and its
/// behaviour in ``time(_:)``. All that it reads are its operands; `Hashable` keeps tensors, closures and caches out of it.
/// Functions and methods that users call make an operation and hand it to ``apply(_:_:)``.
public protocol TensorOperation: Sendable, Hashable {
  /// The name in errors and listings.
  var name: String { get }

  /// The shapes and element types of the outputs.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit.
  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec]

  /// How cotangents of the results become cotangents of the operands.
  var gradient: GradientRule { get }

  /// How results depend on operands along time.
  func time(_ call: TimeCall) -> TimeRule

  /// Whether subnormal numbers count as zero while it runs: arithmetic on them is a hundred times slower on many
  /// processors. False for operations that only move or convert values.
  var flushesSubnormals: Bool { get }

  /// Computes the outputs, whose specifications ``infer(_:)`` gave for these inputs.
  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor]
}

/// Checks the inputs of an operation and computes it.
///
/// - Returns: All outputs.
/// - Throws: ``ToeplitzError`` if the inputs do not fit.
public func applyAll(_ operation: some TensorOperation, _ inputs: [Tensor]) throws -> [Tensor] {
  let outputs = try operation.infer(inputs.map(\.spec))
  return try OperationTrace.note(operation, inputs) {
    guard operation.flushesSubnormals else { return try operation.evaluate(inputs, outputs) }
    let state = tz_flush_denormals()
    defer { tz_restore_denormals(state) }
    return try operation.evaluate(inputs, outputs)
  }
}

/// Checks the inputs of an operation that has one output and computes it.
public func apply(_ operation: some TensorOperation, _ inputs: Tensor...) throws -> Tensor {
  try applyAll(operation, inputs)[0]
}

extension TensorOperation {
  /// True.
  public var flushesSubnormals: Bool { true }

  /// Throws unless there are `count` inputs.
  func require(_ inputs: [TensorSpec], count: Int) throws {
    guard inputs.count == count else {
      throw ToeplitzError(.argument, name, expected: "\(count) tensors", got: "\(inputs.count)")
    }
  }

  /// Throws unless `condition` holds.
  func require(
    _ condition: Bool, _ kind: ToeplitzError.Kind = .shape, expected: @autoclosure () -> String,
    got: @autoclosure () -> String
  ) throws {
    if !condition { throw ToeplitzError(kind, name, expected: expected(), got: got()) }
  }
}
