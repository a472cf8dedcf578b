import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The steps of a program for operands and results that stay where they are in memory.
///
/// Views are views once and for all. What else a step gives lies in memory of the program, which is used again after the last use, or
/// where a concatenation behind an input wants it. Steps whose kernels have no form for that (``CPUKernel/bound(_:)``) are
/// computed as in any program and copied there.
final class BoundCPUProgram: BoundProgram {
  private struct Step {
    let compute: BoundComputation
    let flushesSubnormals: Bool
    let path: String
  }

  private let steps: [Step]
  let outputs: [Tensor]
  let allocating: [String]
  /// Bytes of results that each run copies, as their kernels have no form for memory that they are given.
  let copiedByteCount: Int
  private let numerics = Numerics.current
  private let instructions = InstructionSet.current
  private let threads = ThreadPool.shared.threadCount

  /// - Parameters:
  ///   - values: the tensors that are there before the first step, some of which are constants.
  ///   - rooms: by value.
  init(
    _ steps: [CPUProgram.Step], _ values: [Tensor?], areConstant: [Bool], outputs: [Int], rooms: [Int: JoinRoom],
    _ memory: ProgramMemory
  ) throws {
    var binding = Binding(values, areConstant: areConstant, rooms, memory)
    binding.place(steps)
    for step in steps { try binding.add(step) }
    self.steps = binding.steps
    allocating = binding.allocating
    copiedByteCount = binding.copiedByteCount
    self.outputs = try outputs.map { try CPUProgram.required(binding.values[$0]) }
  }

  /// Steps that kernels compute in place.
  var stepsInPlace: Int { steps.count - allocating.count }

  var isCurrent: Bool {
    numerics == Numerics.current && instructions == InstructionSet.current
      && threads == ThreadPool.shared.threadCount
  }

  func run() throws {
    let state = tz_flush_denormals()
    defer { tz_restore_denormals(state) }
    for step in steps {
      do {
        if step.flushesSubnormals {
          try step.compute()
        } else {
          tz_restore_denormals(state)
          defer { _ = tz_flush_denormals() }
          try step.compute()
        }
      } catch let error as ToeplitzError {
        throw step.path.isEmpty || !error.path.isEmpty ? error : error.inside(step.path)
      }
    }
  }

  /// What is known while steps are bound one after the other.
  private struct Binding {
    private(set) var values: [Tensor?]
    private let areConstant: [Bool]
    private(set) var steps: [Step] = []
    private(set) var allocating: [String] = []
    private(set) var copiedByteCount = 0
    private var rooms: [Int: JoinRoom]
    private let memory: ProgramMemory
    /// Where values are wanted by the concatenation that has room for them.
    private var places: [Int: Tensor] = [:]
    /// Blocks of the program's memory, with how many values lie there.
    private var blocks: [ObjectIdentifier: (storage: Storage, values: Int)] = [:]

    init(_ values: [Tensor?], areConstant: [Bool], _ rooms: [Int: JoinRoom], _ memory: ProgramMemory) {
      (self.values, self.areConstant, self.rooms, self.memory) = (values, areConstant, rooms, memory)
    }

    private func call(_ step: CPUProgram.Step, _ operands: [Tensor], _ results: [Tensor]) -> BoundCall {
      BoundCall(
        operands: operands, results: results, areConstant: step.inputs.map { areConstant[$0] }, memory: memory)
    }

    /// The room that a step joins its operands in.
    private func room(_ step: CPUProgram.Step) -> JoinRoom? {
      guard let axis = step.kernel.joinedAxis, let room = rooms[step.inputs[0]], room.whole.spec == step.specs[0],
        (try? room.whole.shape.normalizedAxis(axis, operation: step.kernel.name)) == room.axis
      else { return nil }
      return room
    }

    /// The parts of a room that the operands of a concatenation take.
    private func parts(_ room: JoinRoom, _ sizes: [Int]) -> [Tensor] {
      let whole = room.whole
      var start = 0
      return sizes.map { size in
        defer { start += size }
        return whole.part(whole.shape.replacing(room.axis, by: size), axis: room.axis, from: start)
      }
    }

    /// Finds out which results are computed where they are joined.
    mutating func place(_ all: [CPUProgram.Step]) {
      // A room is for one concatenation.
      var joins: [Int: Int] = [:]
      for step in all where room(step) != nil { joins[step.inputs[0], default: 0] += 1 }
      rooms = rooms.filter { joins[$0.key] == 1 }
      var shapes = values.map { $0?.shape }
      for step in all {
        for (output, spec) in zip(step.outputs, step.specs) { shapes[output] = spec.shape }
        guard let room = room(step) else { continue }
        let parts = parts(room, step.inputs.map { shapes[$0]?[room.axis] ?? 0 })
        for (value, part) in zip(step.inputs, parts) where values[value] == nil && places[value] == nil {
          places[value] = part
        }
      }
    }

    mutating func add(_ step: CPUProgram.Step) throws {
      let operands = try step.inputs.map { try CPUProgram.required(values[$0]) }
      defer { for value in step.lastUsed + step.unused { release(value) } }
      if let room = room(step) {
        let copies = zip(operands, parts(room, operands.map { $0.shape[room.axis] })).compactMap { operand, part in
          operand.isSameView(as: part) ? nil : ElementCopy(from: operand, to: part)
        }
        for copy in copies { copy.run() }
        keep([room.whole], of: step)
        if !copies.isEmpty { append(step) { for copy in copies { copy.run() } } }
        return
      }
      let results = try step.kernel.run(operands, step.specs)
      // Where a view lies does not depend on what is there.
      if results.allSatisfy({ result in operands.contains { $0.storage === result.storage } }) {
        return keep(results, of: step)
      }
      let model = step.kernel.modelOfLayout(operands)
      let targets = try zip(step.outputs, results).map { try places[$0] ?? target(like: model ?? $1, step) }
      for (target, result) in zip(targets, results) { target.fillOnce(from: result) }
      keep(targets, of: step)
      if let compute = try step.kernel.bound(call(step, operands, targets)) { return append(step, compute) }
      if targets.contains(where: { !$0.isContiguous }), let compute = try copied(step, operands, targets) {
        return append(step, compute)
      }
      allocating.append(step.path.isEmpty ? step.kernel.name : "\(step.kernel.name) '\(step.path)'")
      let stays = step.inputs.map { areConstant[$0] }
      // What kernels keep of operands is right for these alone.
      func current() -> [Tensor] { zip(operands, stays).map { $1 ? $0 : $0.renewed() } }
      if targets.count == 1, step.kernel.fillsViews(operands.map(\.spec)) {
        return append(step) { _ = try step.run(current(), into: targets[0]) }
      }
      copiedByteCount += targets.reduce(0) { $0 + $1.count * $1.dtype.byteSize }
      let (kernel, specs) = (step.kernel, step.specs)
      append(step) {
        for (target, result) in try zip(targets, kernel.run(current(), specs)) { target.fillOnce(from: result) }
      }
    }

    /// What computes contiguous results and copies them to where they are wanted.
    private func copied(
      _ step: CPUProgram.Step, _ operands: [Tensor], _ targets: [Tensor]
    ) throws -> BoundComputation? {
      let blocks = try step.specs.map {
        try memory.take($0.shape.reduce(1, *) * $0.dtype.byteSize, operation: step.kernel.name)
      }
      // Nobody needs them after the copy.
      defer { for block in blocks { memory.give(block) } }
      let dense = zip(blocks, step.specs).map {
        Tensor(storage: $0, shape: $1.shape, strides: $1.shape.contiguousStrides, offset: 0, dtype: $1.dtype)
      }
      guard let compute = try step.kernel.bound(call(step, operands, dense)) else { return nil }
      let copies = zip(dense, targets).map { ElementCopy(from: $0, to: $1) }
      return {
        try compute()
        for copy in copies { copy.run() }
      }
    }

    private mutating func append(_ step: CPUProgram.Step, _ compute: @escaping BoundComputation) {
      steps.append(Step(compute: compute, flushesSubnormals: step.kernel.flushesSubnormals, path: step.path))
    }

    /// Memory for a result that lies as the given one does.
    private mutating func target(like result: Tensor, _ step: CPUProgram.Step) throws -> Tensor {
      // Neither overlapping nor backwards.
      let isPlain = !result.isContiguous && result.strides.allSatisfy { $0 > 0 } && result.count > 0
      let strides = isPlain ? result.strides : result.shape.contiguousStrides
      let count = isPlain ? result.shape.span(strides) : result.count
      let block = try memory.take(count * result.dtype.byteSize, operation: step.kernel.name)
      blocks[ObjectIdentifier(block)] = (block, 0)
      return Tensor(storage: block, shape: result.shape, strides: strides, offset: 0, dtype: result.dtype)
    }

    private mutating func keep(_ results: [Tensor], of step: CPUProgram.Step) {
      for (output, result) in zip(step.outputs, results) {
        values[output] = result
        blocks[ObjectIdentifier(result.storage)]?.values += 1
      }
    }

    private mutating func release(_ value: Int) {
      guard let storage = values[value]?.storage else { return }
      values[value] = nil
      let key = ObjectIdentifier(storage)
      guard let block = blocks[key] else { return }
      blocks[key]?.values -= 1
      guard block.values == 1 else { return }
      blocks[key] = nil
      memory.give(storage)
    }
  }
}
