import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Recurrence: CPUKernel {
  package var packedOperands: [Int] { [1] }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    // Lengths beyond the sequence mean nothing.
    let lengths = try operands(inputs).lengths?.cast(to: .int64).scalars(Int64.self)
    if let lengths {
      let steps = Int64(inputs[0].shape[0])
      if let wrong = lengths.first(where: { !(0...steps).contains($0) }) {
        throw ToeplitzError(.argument, name, expected: "lengths in 0...\(steps)", got: "\(wrong)")
      }
    }
    guard let run = try RecurrenceRun(self, inputs, outputs, lengths?.map { Int($0) }) else {
      return try unrolled(inputs)
    }
    ThreadPool.shared.run(run.parts) { part, _ in run(part) }
    return try run.results
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    try RecurrenceRun.bound([(self, call)])
  }
}

/// Several recurrent layers that do not depend on one another, computed at the same time: the directions of one layer.
///
/// Operands are those of all of them, one after the other, and so are the results.
struct ParallelRecurrences: TensorOperation, CPUKernel {
  var recurrences: [Recurrence]
  /// How many operands each has.
  var counts: [Int]

  var name: String { recurrences.first?.name ?? "RNN" }
  var packedOperands: [Int] {
    counts.indices.flatMap { index in
      recurrences[index].packedOperands.map { counts[..<index].reduce($0, +) }
    }
  }

  private func parts<T>(_ inputs: [T]) -> [[T]] {
    var first = 0
    return counts.map { count in
      defer { first += count }
      return Array(inputs[first..<(first + count)])
    }
  }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: counts.reduce(0, +))
    return try zip(recurrences, parts(inputs)).flatMap { try $0.infer($1) }
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    var first = 0
    var runs: [RecurrenceRun] = []
    for (recurrence, operands) in zip(recurrences, parts(inputs)) {
      let count = recurrence.hasCell ? 3 : 2
      guard !recurrence.hasLengths,
        let run = try RecurrenceRun(recurrence, operands, Array(outputs[first..<(first + count)]), nil)
      else {
        return try zip(recurrences, parts(inputs)).flatMap { try $0.evaluate($1, $0.infer($1.map(\.spec))) }
      }
      first += count
      runs.append(run)
    }
    let all = runs
    let parts = all.indices.flatMap { index in (0..<all[index].parts).map { (index, $0) } }
    ThreadPool.shared.run(parts.count) { item, _ in all[parts[item].0](parts[item].1) }
    return try all.flatMap { try $0.results }
  }

  func bound(_ call: BoundCall) throws -> BoundComputation? {
    var first = 0
    let calls = zip(recurrences, zip(parts(call.operands), parts(call.areConstant))).map { recurrence, given in
      let count = recurrence.hasCell ? 3 : 2
      defer { first += count }
      return (
        recurrence,
        BoundCall(
          operands: given.0, results: Array(call.results[first..<(first + count)]), areConstant: given.1,
          memory: call.memory)
      )
    }
    return try RecurrenceRun.bound(calls)
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// The recurrent weight and bias of a layer in the order of the kernels, held by the weight's storage.
private final class PackedRecurrence: PreparedValue {
  let weights: Storage

  var byteCount: Int { weights.byteCount }

  /// - Parameters:
  ///   - weight: float32 `[gates · units, units]`, wherever in memory its elements lie.
  ///   - places: which gate of the weight stands at each place.
  init(_ weight: Tensor, _ places: [Int], _ units: Int, _ width: Int) throws {
    let blocks = (units + width - 1) / width
    let gates = places.count
    weights = try Storage(byteCount: max(1, blocks * width * units * gates * 4), operation: "pack")
    let to = weights.base.assumingMemoryBound(to: Float.self)
    let (from, row, column) = (UnsafeRawPointer(weight.elements), weight.strides[0] * 4, weight.strides[1] * 4)
    for block in 0..<blocks {
      for (gate, place) in places.enumerated() {
        for inner in 0..<width {
          let unit = block * width + inner
          let start = to + (block * units * gates + gate) * width + inner
          for k in 0..<units {
            start[k * gates * width] =
              unit < units
              ? (from + (place * units + unit) * row + k * column).loadUnaligned(as: Float.self) : 0
          }
        }
      }
    }
    withExtendedLifetime(weight) {}
  }

  private struct Key: Hashable, Sendable {
    var view: TensorView
    var places: [Int]
  }

  static func packed(_ weight: Tensor, _ places: [Int], _ units: Int, _ width: Int) throws -> PackedRecurrence {
    try weight.storage.prepared(Key(view: TensorView(weight), places: places)) {
      try PackedRecurrence(weight.cast(to: .float32), places, units, width)
    }
  }
}

/// All steps of a recurrent layer in float32, several sequences at a time.
private struct RecurrenceRun: @unchecked Sendable {
  // Kernels write into results and states, each part rows of its own.
  private let cell: tz_cell
  private let units: Int
  private let batch: Int
  private let steps: Int
  private let width: Int
  private let places: [Int]
  private let stand: (Int32, Int32, Int32, Int32)
  private let isReversed: Bool
  private let rectifies: Bool
  private let lengths: [Int]?
  private let gates: Tensor
  private let packed: PackedRecurrence
  private let bias: Tensor
  private let y: Tensor
  /// `[N, H]` each.
  private let hidden: Tensor
  private let memory: Tensor?
  private let rows: Int
  private let type: DType
  private let table: UnsafePointer<tz_recurrence_table>?

  /// Nil where cells are not the usual ones.
  ///
  /// - Parameter results: where results and last states go; nil for memory of their own.
  init?(
    _ operation: Recurrence, _ inputs: [Tensor], _ outputs: [TensorSpec], _ lengths: [Int]?,
    into results: [Tensor]? = nil
  ) throws {
    let x = operation.operands(inputs)
    type = x.gates.dtype
    guard [.float32, .float16, .bfloat16].contains(type), operation.clip == nil, !operation.hasPeepholes,
      !operation.hasProjection, outputs[0].shape.reduce(1, *) > 0
    else { return nil }
    switch operation.cell {
    case .simple:
      guard operation.activations == [.tanh] || operation.activations == [.relu] else { return nil }
      (cell, width, places) = (TZ_CELL_SIMPLE, TZ_UNITS_SIMPLE, [0])
    case .gated(let resetsAfter):
      guard resetsAfter, operation.activations == [.sigmoid, .tanh] else { return nil }
      (cell, width, places) = (TZ_CELL_GATED, TZ_UNITS, [operation.order.gated.update, operation.order.gated.reset, 2])
    case .memory(let couplesGates):
      guard !couplesGates, operation.activations == [.sigmoid, .tanh, .tanh] else { return nil }
      let order = operation.order.memory
      (cell, width, places) = (TZ_CELL_MEMORY, TZ_UNITS, [order.input, order.output, order.forget, order.candidate])
    }
    // Not on the threads of the pool, which do not know what a task has chosen.
    table = tz_recurrence_kernels(InstructionSet.current.code)
    isReversed = operation.isReversed
    rectifies = operation.activations == [.relu]
    self.lengths = lengths
    (steps, batch, units) = (x.gates.shape[0], x.gates.shape[1], x.gates.shape[2] / places.count)
    gates = try x.gates.cast(to: .float32).dense()
    packed = try PackedRecurrence.packed(x.recurrent, places, units, width)
    let size = (units + width - 1) / width * width
    bias = try Tensor.zeros([size * places.count], dtype: .float32)
    if let given = try x.bias?.cast(to: .float32).dense() {
      let (from, to) = (given.pointer(Float.self), bias.pointer(Float.self))
      for (gate, place) in places.enumerated() {
        for unit in 0..<units {
          to[(unit / width * places.count + gate) * width + unit % width] = from[place * units + unit]
        }
      }
      withExtendedLifetime(given) {}
    }
    let numbers = places.map { Int32($0) } + [0, 0, 0]
    stand = (numbers[0], numbers[1], numbers[2], numbers[3])
    y = try results?[0] ?? Tensor(uninitialized: outputs[0].shape, dtype: .float32, operation: operation.name)
    let shape: TensorShape = [batch, units]
    func state(_ given: Tensor?) throws -> Tensor {
      try given?.cast(to: .float32).copied() ?? Tensor.zeros(shape, dtype: .float32)
    }
    hidden = try results?[1] ?? state(x.hidden)
    memory = operation.hasCell ? try results?[2] ?? state(x.cell) : nil
    // Sequences of different lengths go one by one.
    rows = lengths != nil ? 1 : max(1, min(3, batch / ThreadPool.shared.threadCount))
  }

  /// How many parts there are, which may be computed at the same time.
  var parts: Int { (batch + rows - 1) / rows }

  /// What computes several layers at the same time.
  ///
  /// - Returns: nil where cells are not the usual ones, weights are not constant, or tensors are not contiguous and float32.
  static func bound(_ calls: [(operation: Recurrence, call: BoundCall)]) throws -> BoundComputation? {
    guard let memory = calls.first?.call.memory else { return nil }
    let ordered = BoundOperands(memory, name: "RNN")
    var (runs, states) = ([RecurrenceRun](), [ElementCopy]())
    for (operation, call) in calls {
      let (given, areConstant) = (operation.operands(call.operands), operation.operands(call.areConstant))
      guard !operation.hasLengths, areConstant.recurrent, areConstant.bias ?? true, given.gates.dtype == .float32,
        call.results.allSatisfy({ $0.isContiguous && $0.dtype == .float32 })
      else { return nil }
      var operands = call.operands
      operands[0] = try ordered.dense(operands[0])
      guard let run = try RecurrenceRun(operation, operands, call.results.map(\.spec), nil, into: call.results)
      else { return nil }
      for (state, result) in zip([given.hidden, given.cell], call.results.dropFirst()) {
        let first = try state ?? Tensor.zeros(result.shape, dtype: .float32)
        guard first.dtype == .float32 else { return nil }
        states.append(ElementCopy(from: first, to: result))
      }
      runs.append(run)
    }
    let bytes = ((runs.map(\.scratchBytes).max() ?? 0) + 63) / 64 * 64
    let parts = runs.indices.flatMap { index in (0..<runs[index].parts).map { (index, $0) } }
    let threads = max(1, min(parts.count, ThreadPool.shared.threadCount))
    try memory.reserveScratch(threads * bytes, operation: "RNN")
    let compute: (Int, Int) -> Void = { [runs] item, thread in
      guard let scratch = memory.scratchBase else { return }
      runs[parts[item].0].compute(parts[item].1, scratch + thread * bytes)
    }
    return ordered.finished { [states] in
      for copy in states { copy.run() }
      ThreadPool.shared.run(parts.count, threads: threads, compute)
    }
  }

  /// Bytes that computing a part takes.
  private var scratchBytes: Int { 9 * ((units + width - 1) / width * width) * 4 }

  /// Computes some sequences.
  func callAsFunction(_ part: Int) {
    withUnsafeTemporaryAllocation(byteCount: scratchBytes, alignment: 64) { scratch in
      if let base = scratch.baseAddress { compute(part, base) }
    }
  }

  private func compute(_ part: Int, _ base: UnsafeMutableRawPointer) {
    let first = part * rows
    let count = min(rows, batch - first)
    let size = (units + width - 1) / width * width
    let gateCount = places.count
    let length = lengths?[first] ?? steps
    let start = isReversed ? length - 1 : 0
    let sign = isReversed ? -1 : 1
    let states = base.assumingMemoryBound(to: Float.self)
    states.update(repeating: 0, count: 9 * size)
    let (h, c) = (states, states + 6 * size)
    let own = hidden.pointer(Float.self) + first * units
    let cells = memory.map { $0.pointer(Float.self) + first * units }
    for row in 0..<count {
      (h + row * size).update(from: own + row * units, count: units)
      if let cells { (c + row * size).update(from: cells + row * units, count: units) }
    }
    if length > 0 {
      var t = tz_recurrence()
      t.gates = UnsafePointer(gates.pointer(Float.self) + (start * batch + first) * gateCount * units)
      (t.gates_step, t.gates_row) = (sign * batch * gateCount * units, gateCount * units)
      t.weights = UnsafePointer(packed.weights.base.assumingMemoryBound(to: Float.self))
      t.bias = UnsafePointer(bias.pointer(Float.self))
      (t.hidden, t.next, t.cell, t.state_row) = (h, states + 3 * size, c, size)
      t.y = y.pointer(Float.self) + (start * batch + first) * units
      (t.y_step, t.y_row, t.steps, t.units) = (sign * batch * units, units, length, units)
      t.places = stand
      t.rectifies = rectifies
      tz_recurrence_run(table, cell, Int32(count), &t)
    }
    // Sequences that are over give zeros.
    for step in length..<max(length, steps) {
      (y.pointer(Float.self) + (step * batch + first) * units).update(repeating: 0, count: count * units)
    }
    for row in 0..<count {
      (own + row * units).update(from: h + row * size, count: units)
      cells.map { ($0 + row * units).update(from: c + row * size, count: units) }
    }
  }

  /// The outputs, once all parts have been computed.
  var results: [Tensor] {
    get throws { try ([y, hidden] + [memory].compactMap { $0 }).map { try $0.cast(to: type) } }
  }
}
