import CToeplitzKernels
import Synchronization
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// How the processor computes an operation.
package protocol CPUKernel: TensorOperation {
  /// Whether subnormal numbers count as zero while it runs: arithmetic on them is a hundred times slower on many
  /// processors. False for operations that only move or convert values.
  var flushesSubnormals: Bool { get }

  /// The operands that the kernel copies into an order of its own when it first sees them, wherever in memory they lie;
  /// others must be aligned for their element type.
  var packedOperands: [Int] { get }

  /// Whether a result may be written over an operand which nobody else holds.
  var mayOverwrite: Bool { get }

  /// Whether each result is a new tensor, never a view or an operand itself; so its memory is known beforehand.
  var makesNewResults: Bool { get }

  /// The kernel that writes a result over an operand which nobody else holds, if there is one; else itself.
  func overwriting(_ operands: inout [Tensor]) -> Self

  /// Computes the outputs, whose specifications ``TensorOperation/infer(_:)`` gave for these inputs.
  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor]

  /// Whether the kernel writes its only result straight into a view of some channels of a larger tensor, for operands of
  /// these specifications.
  func fillsViews(_ inputs: [TensorSpec]) -> Bool

  /// Computes the only output into such a view.
  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec], into view: Tensor) throws

  /// The axis along which the result is its operands, one after the other; nil where it is anything else.
  var joinedAxis: Int? { get }

  /// The operand like which the result should lie in memory, as both are walked together; nil where any order is as good.
  func modelOfLayout(_ operands: [Tensor]) -> Tensor?

  /// What computes a call whenever it is called, on what the operands hold then, without allocating memory; nil where there is none
  /// for tensors that lie so.
  ///
  /// Subnormal numbers count as zero then, as far as ``flushesSubnormals`` says so.
  func bound(_ call: BoundCall) throws -> BoundComputation?
}

/// Operands and results of an operation that stay where they are in memory.
package struct BoundCall {
  package var operands: [Tensor]
  /// Where the results go; they share memory with no operand.
  package var results: [Tensor]
  /// For each operand whether its elements stay the same too.
  package var areConstant: [Bool]
  /// Where operands are copied to, and scratch memory.
  package var memory: ProgramMemory
}

/// What computes a ``BoundCall``.
package typealias BoundComputation = () throws -> Void

extension CPUKernel {
  /// True.
  package var flushesSubnormals: Bool { true }

  /// None.
  package var packedOperands: [Int] { [] }

  /// False.
  package var mayOverwrite: Bool { false }

  /// False.
  package var makesNewResults: Bool { false }

  /// Itself.
  package func overwriting(_ operands: inout [Tensor]) -> Self { self }

  /// False.
  package func fillsViews(_ inputs: [TensorSpec]) -> Bool { false }

  /// None.
  package var joinedAxis: Int? { nil }

  /// None.
  package func modelOfLayout(_ operands: [Tensor]) -> Tensor? { nil }

  /// None.
  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    nil
  }

  /// Copies what the kernel gives.
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec], into view: Tensor) throws {
    view.fillOnceTogether(from: try evaluate(inputs, outputs)[0])
  }

  /// Computes the only output into a view of some channels of a larger tensor, with subnormal numbers as the operation wants them.
  func run(_ inputs: [Tensor], _ outputs: [TensorSpec], into view: Tensor) throws {
    guard flushesSubnormals else { return try evaluate(inputs, outputs, into: view) }
    try withFlushedSubnormals { try evaluate(inputs, outputs, into: view) }
  }

  /// Computes the outputs with subnormal numbers as the operation wants them.
  package func run(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    guard flushesSubnormals else { return try evaluate(inputs, outputs) }
    return try withFlushedSubnormals { try evaluate(inputs, outputs) }
  }
}

/// Calls `body` while subnormal numbers count as zero.
func withFlushedSubnormals<Result>(_ body: () throws -> Result) rethrows -> Result {
  let state = tz_flush_denormals()
  defer { tz_restore_denormals(state) }
  return try body()
}

extension CPUDevice: Backend {
  package static func run<Operation: TensorOperation>(
    _ operation: Operation, _ inputs: [Tensor], _ outputs: [TensorSpec]
  ) throws -> [Tensor] {
    guard let kernel = KernelTable.shared.kernel(of: Operation.self) else {
      throw ToeplitzError(
        .device, operation.name, expected: "an operation that the processor computes",
        got: "\(Operation.self), without a kernel")
    }
    func open<Kernel: CPUKernel>(_ type: Kernel.Type) throws -> [Tensor] {
      // Kernel is Operation, seen through its other protocol.
      try withUnsafePointer(to: operation) {
        try UnsafeRawPointer($0).assumingMemoryBound(to: Kernel.self).pointee.run(inputs, outputs)
      }
    }
    return try open(kernel)
  }
}

/// The kernels that were found by conformance.
///
/// The runtime is asked once for each type: its own table takes 40 to 130 ns a look-up and counts its readers in one word,
/// which threads fight for; this one takes 9 ns and no lock.
private struct KernelTable: ~Copyable, @unchecked Sendable {
  /// Far more than there are types of operations.
  private static let size = 1024

  static let shared = KernelTable()

  private let keys: UnsafeMutablePointer<Atomic<UInt>>
  private let kernels: UnsafeMutablePointer<(any CPUKernel.Type)?>
  private let count = Lock(0)

  private init() {
    keys = .allocate(capacity: Self.size)
    kernels = .allocate(capacity: Self.size)
    for index in 0..<Self.size { (keys + index).initialize(to: Atomic(0)) }
    kernels.initialize(repeating: nil, count: Self.size)
  }

  @inline(__always)
  private func place(_ key: UInt) -> Int { Int(truncatingIfNeeded: (key >> 4) &* 0x9E37_79B9) & (Self.size - 1) }

  @inline(__always)
  func kernel<Operation: TensorOperation>(of type: Operation.Type) -> (any CPUKernel.Type)? {
    let key = UInt(bitPattern: ObjectIdentifier(type))
    var at = place(key)
    while true {
      let found = keys[at].load(ordering: .acquiring)
      if found == key { return kernels[at] }
      if found == 0 { return add(type, key) }
      at = (at + 1) & (Self.size - 1)
    }
  }

  @inline(never)
  private func add<Operation: TensorOperation>(_ type: Operation.Type, _ key: UInt) -> (any CPUKernel.Type)? {
    count.withLock { count in
      let kernel = type as Any.Type as? any CPUKernel.Type
      // A full table is no reason to stop; whoever finds no place asks the runtime each time.
      guard count < Self.size / 2 else { return kernel }
      var at = place(key)
      while true {
        let found = keys[at].load(ordering: .relaxed)
        if found == key { return kernels[at] }
        if found == 0 { break }
        at = (at + 1) & (Self.size - 1)
      }
      count += 1
      kernels[at] = kernel
      keys[at].store(key, ordering: .releasing)
      return kernel
    }
  }
}
