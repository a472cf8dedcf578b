import ToeplitzOps
import ToeplitzTensor

/// Code that can be recorded in traces: a module, an ONNX model, a graph made by hand.
///
/// Values between its steps have numbers. A source whose steps may need the elements of computed values, such as an ONNX
/// model with `NonZero`, is recorded in parts: ``record(from:_:in:)`` ends where it would need them, that step is
/// computed, and recording goes on behind it.
package protocol TraceSource {
  /// What callers give, as values 0, 1, …
  var inputs: [PortDescription] { get }
  /// What callers get.
  var outputs: [PortDescription] { get }
  /// The values that are outputs, in their order, for `count` inputs.
  func outputValues() -> [Int]

  /// Applies steps to traced values, beginning with step `position`.
  ///
  /// - Parameter values: the values that are known, to which results are added.
  /// - Returns: The step that cannot be recorded because it needs the elements of a traced value; nil if all steps were
  ///   recorded.
  func record(from position: Int, _ values: inout [Int: Tensor], in trace: Trace) throws -> UnrecordedStep?

  /// The last step that uses a value; `Int.max` for outputs.
  func lastUse(of value: Int) -> Int
}

/// A step of a source that is computed by itself, because its result's shape depends on the elements of its operands.
package struct UnrecordedStep: Sendable {
  /// Its number in the source.
  package var position: Int
  /// What it is called.
  package var name: String
  /// What it does.
  package var operation: String
  /// Its results that later steps use, by number, for the values that are known.
  package var compute: @Sendable ([Int: Tensor]) throws -> [Int: Tensor]

  /// Step `position` of a source.
  package init(
    position: Int, name: String, operation: String,
    compute: @escaping @Sendable ([Int: Tensor]) throws -> [Int: Tensor]
  ) {
    (self.position, self.name, self.operation, self.compute) = (position, name, operation, compute)
  }
}
