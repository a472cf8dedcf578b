import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Functions of elements as steps on blocks of float32 numbers that stay in the first-level cache.
///
/// Truth is 1, and 0 is not; half precision is rounded after each step, so the bits are those of one operation after the
/// other.
struct ElementwiseProgram: Sendable {
  /// Where a step's operand comes from.
  enum Source: Hashable, Sendable {
    case input(Int)
    case step(Int)
  }

  /// The register of each input comes first, then those of results.
  private(set) var steps: [tz_step] = []
  private(set) var registerCount: Int
  let inputCount: Int
  /// The register of the result.
  private(set) var result: Int
  let inputTypes: [DType]
  private let table = KeptValue<Tensor>()
  private(set) var type: DType

  /// Elements of a block: what lies between steps stays in the first-level cache.
  static let block = 1024
  /// Elements of a piece of work for a thread.
  static let piece = 1 << 14
  private static let mostRegisters = 64

  /// A program of operations, each with its operands; nil where a step is none of those that blocks are computed with.
  init?(_ operations: [(operation: any TensorOperation, operands: [Source])], inputs: [DType]) {
    guard inputs.count < Self.mostRegisters / 2, !operations.isEmpty else { return nil }
    inputTypes = inputs
    inputCount = inputs.count
    (result, type) = (0, .float32)
    registerCount = inputs.count
    var last = [Int](repeating: operations.count, count: operations.count)
    for (index, step) in operations.enumerated() {
      for case .step(let operand) in step.operands { last[operand] = index }
    }
    // The register and type of each result; several may share a register, which is free once all are used.
    var values: [(register: Int, type: DType)] = []
    var free: [Int] = []
    var users = [Int](repeating: 0, count: Self.mostRegisters)
    for (index, step) in operations.enumerated() {
      let operands = step.operands.map { source in
        switch source {
        case .input(let at): (register: at, type: inputs[at])
        case .step(let at): values[at]
        }
      }
      guard let function = BlockFunction(step.operation, operands.map(\.type)) else { return nil }
      var value = (register: operands[0].register, type: function.type)
      if let step = function.step {
        // Whole numbers are converted on the way into a block: bytes alone are exact as float32.
        guard operands.allSatisfy({ $0.type.isFloatingPoint || [.bool, .uint8, .int8].contains($0.type) }) else {
          return nil
        }
        value.register = free.popLast() ?? registerCount
        registerCount = max(registerCount, value.register + 1)
        guard registerCount <= Self.mostRegisters else { return nil }
        add(step, operands.map(\.register), to: value.register)
        let rounding: tz_unary? = value.type == .float16 ? TZ_TO_F16 : value.type == .bfloat16 ? TZ_TO_BF16 : nil
        if let rounding {
          add(BlockFunction.unary(rounding, 0, 0), [value.register], to: value.register)
        }
      }
      values.append(value)
      if value.register >= inputCount { users[value.register] += 1 }
      for at in Set(step.operands.compactMap { if case .step(let at) = $0 { at } else { nil } }) where last[at] == index
      {
        let register = values[at].register
        guard register >= inputCount else { continue }
        users[register] -= 1
        if users[register] == 0 { free.append(register) }
      }
    }
    (result, type) = (values[values.count - 1].register, values[values.count - 1].type)
    if result < inputCount {
      // Nothing but conversions.
      result = registerCount
      add(BlockFunction.unary(TZ_LEAKY_RELU, 1, 0), [values[values.count - 1].register], to: result)
      registerCount += 1
    }
  }

  private mutating func add(_ step: BlockFunction.Step, _ operands: [Int], to register: Int) {
    steps.append(step.onRegisters(operands, to: register))
  }

  // MARK: Running

  /// The result of this shape for operands that broadcast to it.
  func run(_ inputs: [Tensor], shape: TensorShape, name: String) throws -> Tensor {
    try RowWalk.inMemoryOrder(inputs, shape) { try computed($0, shape: $1, name: name) }
  }

  /// The result for operands in the order of memory.
  private func computed(_ inputs: [Tensor], shape: TensorShape, name: String) throws -> Tensor {
    let output = try Tensor(uninitialized: shape, dtype: type, operation: name)
    guard output.count > 0 else { return output }
    if let result = try mapped(inputs, output, name: name) { return result }
    let call = Call(self, inputs, output)
    if call.items == 1 {
      withFlushedSubnormals { call.run(0) }
    } else {
      ThreadPool.shared.run(call.items) { item, _ in call.run(item) }
    }
    withExtendedLifetime((inputs, output)) {}
    return output
  }

  /// What computes the program for operands and a result that stay where they are in memory; nil where the result has gaps.
  func bound(_ inputs: [Tensor], to output: Tensor, name: String, _ memory: ProgramMemory) throws -> BoundComputation? {
    guard let order = RowWalk.memoryOrder([output], output.shape) ?? (output.isContiguous ? [] : nil), output.count > 0
    else { return nil }
    var (operands, result) = (inputs, output)
    if !order.isEmpty {
      operands = try RowWalk.turned(inputs, output.shape, order)
      result = try output.permuted(order)
    }
    let call = Call(self, operands, result)
    let threads = min(call.items, ThreadPool.shared.threadCount)
    try memory.reserveScratch(threads * blockBytes, operation: name)
    let compute: (Int, Int) -> Void = { item, thread in
      guard let scratch = memory.scratchBase else { return }
      call.run(item, scratch + thread * call.program.blockBytes)
    }
    return { [operands, result] in
      ThreadPool.shared.run(call.items, threads: threads, compute)
      withExtendedLifetime((operands, result)) {}
    }
  }

  /// A function of bytes that are bytes again by a table of it, which the program itself makes; nil for everything else.
  private func mapped(_ inputs: [Tensor], _ output: Tensor, name: String) throws -> Tensor? {
    let bytes = inputs.indices.filter { inputs[$0].count != 1 }
    guard bytes.count == 1, output.count >= 4 * 256, type.byteSize == 1, type != .bool, steps.count > 1 else {
      return nil
    }
    let x = inputs[bytes[0]]
    guard x.dtype == .uint8 || x.dtype == .int8, x.shape == output.shape, x.isContiguous else { return nil }
    var others = inputs
    others.remove(at: bytes[0])
    let values = try byteTable(of: bytes[0], others, name: name)
    let (table, from, to) = (
      values.elements.assumingMemoryBound(to: UInt8.self), x.elements.assumingMemoryBound(to: UInt8.self),
      output.elements.assumingMemoryBound(to: UInt8.self)
    )
    let code = InstructionSet.current.code
    ThreadPool.shared.runRows(output.count, width: 1) { range in
      tz_bytes_mapped(code, from + range.lowerBound, to + range.lowerBound, range.count, table)
    }
    withExtendedLifetime((x, values, output)) {}
    return output
  }

  /// The result for each of the 256 values of the byte operand at `operand`, where the others are single numbers.
  func byteTable(of operand: Int, _ others: [Tensor], name: String) throws -> Tensor {
    try table.value(of: others[...]) {
      let codes = (0...255).map { UInt8($0) }
      var operands = try others.map { try $0.reshaped([]) }
      operands.insert(
        try inputTypes[operand] == .uint8
          ? Tensor(codes, shape: [256], device: .cpu)
          : Tensor(codes.map { Int8(bitPattern: $0) }, shape: [256], device: .cpu), at: operand)
      return try run(operands, shape: [256], name: name)
    }
  }

  /// Rows shorter than this are computed several at a time.
  static let shortRow = 512
}
