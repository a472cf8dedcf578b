import ToeplitzTensor

/// A computation on tensors, with its attributes as stored properties.
///
/// An operation is defined once, in one file: what shapes it accepts and gives (``infer(_:)``), its ``gradient`` and its
/// behaviour in ``time(_:)``. All that it reads are its operands; `Hashable` keeps tensors, closures and caches out of it.
/// Functions and methods that users call make an operation and hand it to `apply`.
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
}

/// What computes operations.
package protocol Backend: Sendable {
  /// The results of an operation, whose specifications are `outputs`.
  ///
  /// Generic, so that nothing is boxed on the way.
  static func run<Operation: TensorOperation>(
    _ operation: Operation, _ inputs: [Tensor], _ outputs: [TensorSpec]
  ) throws -> [Tensor]
}

/// The processor: declared here, so that operations can be applied, and made a ``Backend`` by the target that has the
/// kernels.
package enum CPUDevice {}

/// What computes operations on the processor; nil where the target that has the kernels is not linked.
package let cpuBackend: (any Backend.Type)? = CPUDevice.self as Any as? any Backend.Type

/// What computes operations on the device of some tensors.
///
/// - Throws: ``ToeplitzError`` of kind `device` if they are of two devices, both of which it names, or of one that nothing
///   here computes on, of kind `argument` for an environment variable with a wrong value.
private func backend(of tensors: [Tensor], _ operation: String) throws -> any Backend.Type {
  let device = tensors.first?.device ?? .cpu
  for tensor in tensors.dropFirst() where tensor.device != device {
    throw ToeplitzError(.device, operation, expected: "operands of one device", got: "\(device) and \(tensor.device)")
  }
  try device.requirePresent(operation)
  try EnvironmentVariable.check()
  guard let cpuBackend else {
    throw ToeplitzError(.device, operation, expected: "the target ToeplitzCPU to be linked", got: "no kernels")
  }
  return cpuBackend
}

/// Checks the inputs of an operation and computes it; on traced tensors it is recorded.
///
/// - Returns: All outputs.
/// - Throws: ``ToeplitzError`` if the inputs do not fit.
package func applyAll(_ operation: some TensorOperation, _ inputs: [Tensor]) throws -> [Tensor] {
  let outputs = try operation.infer(inputs.map(\.spec))
  if let trace = Trace.recording(inputs) { return try trace.record(operation, inputs, outputs) }
  return try backend(of: inputs, operation.name).run(operation, inputs, outputs)
}

/// Checks the inputs of an operation that has one output and computes it.
package func apply(_ operation: some TensorOperation, _ inputs: Tensor...) throws -> Tensor {
  try applyAll(operation, inputs)[0]
}

extension TensorOperation {
  /// Throws unless there are `count` inputs.
  package func require(_ inputs: [TensorSpec], count: Int) throws {
    guard inputs.count == count else {
      throw ToeplitzError(.argument, name, expected: "\(count) tensors", got: "\(inputs.count)")
    }
  }

  /// Throws unless `condition` holds.
  package func require(
    _ condition: Bool, _ kind: ToeplitzError.Kind = .shape, expected: @autoclosure () -> String,
    got: @autoclosure () -> String
  ) throws {
    if !condition { throw ToeplitzError(kind, name, expected: expected(), got: got()) }
  }
}

/// An operation whose work is counted in multiply-adds.
package protocol CountedOperation: TensorOperation {
  /// The multiply-adds for operands of the given shapes.
  ///
  /// - Throws: ``ToeplitzError`` if the operands do not fit.
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int
}
