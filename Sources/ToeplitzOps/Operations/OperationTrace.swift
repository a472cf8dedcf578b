import Synchronization
import ToeplitzTensor

/// Records the operations that a piece of code applies, in order, on its own task.
package final class OperationTrace: Sendable {
  /// One operation with its operands and results.
  package struct Step: Sendable {
    package var operation: any TensorOperation
    package var inputs: [Tensor]
    package var outputs: [Tensor]
  }

  /// The trace that operations of this task are recorded in.
  @TaskLocal private static var current: OperationTrace?
  /// How many traces there are; looking up a task's own is slow.
  private static let running = Atomic<Int>(0)

  private let recorded = Lock<[Step]>([])

  private init() {}

  /// What `body` applies, without what its operations apply inside themselves.
  package static func record<R>(_ body: () throws -> R) throws -> (result: R, steps: [Step]) {
    let trace = OperationTrace()
    running.add(1, ordering: .relaxed)
    defer { running.subtract(1, ordering: .relaxed) }
    let result = try $current.withValue(trace, operation: body)
    return (result, trace.recorded.withLock { $0 })
  }

  /// Whether anything may be recorded at the moment.
  package static var isRunning: Bool { running.load(ordering: .relaxed) > 0 }

  /// The results of `body`, recorded if this task is being traced.
  @inline(__always)
  static func note(_ operation: some TensorOperation, _ inputs: [Tensor], _ body: () throws -> [Tensor]) throws
    -> [Tensor]
  {
    guard isRunning, let trace = current else { return try body() }
    let outputs = try $current.withValue(nil, operation: body)
    trace.recorded.withLock { $0.append(Step(operation: operation, inputs: inputs, outputs: outputs)) }
    return outputs
  }
}
