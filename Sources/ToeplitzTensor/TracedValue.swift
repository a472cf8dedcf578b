/// Who records operations, as far as tensors have to know.
package protocol TraceReader: AnyObject, Sendable {
  /// What made a value: an operation and the layer that it is part of, or an input.
  func origin(of id: Int) -> String

  /// The value with its bytes.
  ///
  /// - Throws: ``ToeplitzError`` if the trace does not know the values of its inputs.
  func read(_ id: Int) throws -> Tensor
}

/// A value that is not computed yet.
package final class TracedValue: Sendable {
  /// What recorded the operation that makes it.
  package let trace: any TraceReader
  /// Its number there.
  package let id: Int

  /// Value `id` of a trace.
  package init(_ trace: any TraceReader, _ id: Int) { (self.trace, self.id) = (trace, id) }

  /// What makes it.
  package var origin: String { trace.origin(of: id) }
}
