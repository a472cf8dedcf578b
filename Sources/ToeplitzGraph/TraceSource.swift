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
  /// Constants that callers may give others for.
  var defaults: [PortDescription] { get }
  /// The same with the named ones of these as further inputs, if there are any.
  func overriding(_ names: Set<String>) -> (any TraceSource)?
  /// What callers get.
  var outputs: [PortDescription] { get }
  /// The values that are outputs, in their order.
  func outputValues() -> [Int]

  /// Applies steps to traced values, beginning with step `position`.
  ///
  /// - Parameter values: the values that are known, to which results are added.
  /// - Returns: The step that cannot be recorded because it needs the elements of a traced value; nil if all steps were
  ///   recorded.
  func record(from position: Int, _ values: inout [Int: Tensor], in trace: Trace) throws -> UnrecordedStep?

  /// The last step that uses a value; `Int.max` for outputs.
  func lastUse(of value: Int) -> Int

  /// What its steps do and what they are called, as far as that is known before they are recorded.
  var operations: [(operation: String, name: String)] { get }

  /// What may be wrong though it can be computed.
  var warnings: [String] { get }

  /// What a model's file says of it.
  var metadata: [String: String] { get }
}

extension TraceSource {
  /// Unknown.
  package var operations: [(operation: String, name: String)] { [] }
  /// None.
  package var warnings: [String] { [] }
  /// None.
  package var metadata: [String: String] { [:] }
  /// None.
  package var defaults: [PortDescription] { [] }
  /// None.
  package func overriding(_ names: Set<String>) -> (any TraceSource)? { nil }
}

/// A step of a source that is computed by itself, because its result's shape depends on the elements of its operands.
package struct UnrecordedStep: Sendable {
  /// Its number in the source.
  package var position: Int
  /// What it is called.
  package var name: String
  /// What it does.
  package var operation: String
  /// The values that it takes.
  package var inputs: [Int]
  /// Its results that later steps use, by number, for the values that are known.
  package var compute: @Sendable ([Int: Tensor]) throws -> [Int: Tensor]

  /// Step `position` of a source.
  package init(
    position: Int, name: String, operation: String, inputs: [Int],
    compute: @escaping @Sendable ([Int: Tensor]) throws -> [Int: Tensor]
  ) {
    (self.position, self.name, self.operation, self.inputs) = (position, name, operation, inputs)
    self.compute = compute
  }
}

/// A function of tensors that is recorded as a whole.
package final class FunctionSource: TraceSource {
  package let inputs: [PortDescription]
  package let outputs: [PortDescription]
  private let body: ([Tensor], Trace) throws -> [Tensor]

  /// A function that gives `outputs` for inputs in the order of `inputs`.
  package init(
    inputs: [PortDescription], outputs: [String], _ body: @escaping ([Tensor], Trace) throws -> [Tensor]
  ) {
    self.inputs = inputs
    self.outputs = outputs.map { PortDescription(name: $0) }
    self.body = body
  }

  package func outputValues() -> [Int] { outputs.indices.map { inputs.count + $0 } }

  package func record(from position: Int, _ values: inout [Int: Tensor], in trace: Trace) throws -> UnrecordedStep? {
    let results = try body(inputs.indices.compactMap { values[$0] }, trace)
    guard results.count == outputs.count else {
      throw ToeplitzError(.argument, "Executable", expected: "\(outputs.count) outputs", got: "\(results.count)")
    }
    for (index, result) in results.enumerated() { values[inputs.count + index] = result }
    return nil
  }

  package func lastUse(of value: Int) -> Int { value < inputs.count ? -1 : .max }
}
