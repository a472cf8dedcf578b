import CToeplitzKernels
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
  private var steps: [tz_step] = []
  private(set) var registerCount: Int
  let inputCount: Int
  /// The register of the result.
  private(set) var result: Int
  private let inputTypes: [DType]
  private let table = KeptValue<Tensor>()
  private var type: DType

  /// Elements of a block: what lies between steps stays in the first-level cache.
  static let block = 1024
  /// Elements of a piece of work for a thread.
  private static let piece = 1 << 14
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
    func operand(_ at: Int) -> UInt8 { UInt8(at < operands.count ? operands[at] : operands[0]) }
    steps.append(
      tz_step(
        kind: UInt8(step.kind.rawValue), function: UInt8(step.function), to: UInt8(register),
        from: (operand(0), operand(1), operand(2)), a: step.a, b: step.b))
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
    let walk = RowWalk(inputs, shape)
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    // Results may be written where they belong.
    let writesResult = type == .float32
    let perUnit = max(1, walk.length >= Self.shortRow || walk.rows == 1 ? 1 : Self.block / max(1, walk.length))
    let segments = perUnit > 1 ? 1 : (walk.length + Self.block - 1) / Self.block
    let units = perUnit > 1 ? (walk.rows + perUnit - 1) / perUnit : walk.rows * segments
    let unitSize = perUnit > 1 ? perUnit * walk.length : min(walk.length, Self.block)
    // A block of one step goes from memory to memory and may be long.
    let together = max(1, Self.piece / max(1, unitSize * max(1, steps.count / 2)))
    let items = (units + together - 1) / together
    let (to, size) = (output.elements, type.byteSize)
    let bases = inputs.map { UnsafeMutableRawPointer($0.elements) }
    func body(_ item: Int) {
      withBlocks { registers, single, memory in
        for unit in item * together..<min(units, (item + 1) * together) {
          let (row, from) = perUnit > 1 ? (unit * perUnit, 0) : (unit / segments, unit % segments * Self.block)
          let rows = perUnit > 1 ? min(perUnit, walk.rows - row) : 1
          let count = perUnit > 1 ? rows * walk.length : min(Self.block, walk.length - from)
          let place = row * walk.length + from
          for index in 0..<inputCount {
            let block = memory + index * Self.block
            single[index] = 0
            let dtype = inputTypes[index]
            let (base, step) = (bases[index], dtype.byteSize)
            switch walk.kinds[index] {
            case .whole:
              registers[index] = Self.widened(table, base + place * step, dtype, block, count)
            case .single:
              registers[index] = Self.widened(table, base, dtype, block, 1)
              single[index] = 1
            case .rows where rows == 1:
              let offset = walk.offset(index, row)
              let inner = walk.innerStride(index)
              if inner == 0 {
                registers[index] = Self.widened(table, base + offset * step, dtype, block, 1)
                single[index] = 1
              } else if inner == 1 {
                registers[index] = Self.widened(table, base + (offset + from) * step, dtype, block, count)
              } else {
                Self.gather(table, base + (offset + from * inner) * step, inner, dtype, block, count)
                registers[index] = block
              }
            case .rows:
              let inner = walk.innerStride(index)
              for at in 0..<rows {
                let start = base + walk.offset(index, row + at) * step
                Self.spread(table, start, inner, dtype, block + at * walk.length, walk.length)
              }
              registers[index] = block
            }
          }
          if writesResult { registers[result] = (to + place * size).assumingMemoryBound(to: Float.self) }
          steps.withUnsafeBufferPointer {
            tz_steps_run(table, $0.baseAddress, steps.count, registers, single, count)
          }
          finish(table, registers[result], single[result] != 0, to + place * size, count)
        }
      }
    }
    if items == 1 {
      withFlushedSubnormals { body(0) }
    } else {
      ThreadPool.shared.run(items) { item, _ in body(item) }
    }
    withExtendedLifetime((inputs, output)) {}
    return output
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
  private static let shortRow = 512

  /// Calls `body` with the registers' addresses, whether each is one number, and memory for the inputs' blocks.
  private func withBlocks(
    _ body: (
      UnsafeMutablePointer<UnsafeMutablePointer<Float>?>, UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<Float>
    )
      -> Void
  ) {
    withUnsafeTemporaryAllocation(byteCount: registerCount * (Self.block * 4 + 8 + 8), alignment: 64) { memory in
      guard let start = memory.baseAddress else { return }
      let blocks = start.assumingMemoryBound(to: Float.self)
      let pointers = (start + registerCount * Self.block * 4)
        .assumingMemoryBound(to: UnsafeMutablePointer<Float>?.self)
      for register in 0..<registerCount { pointers[register] = blocks + register * Self.block }
      let single = (start + registerCount * (Self.block * 4 + 8)).assumingMemoryBound(to: UInt8.self)
      for register in 0..<registerCount { single[register] = 0 }
      body(pointers, single, blocks)
    }
  }

  /// Stores a block of results in the result's type.
  private func finish(
    _ table: UnsafePointer<tz_elementwise_table>?, _ block: UnsafeMutablePointer<Float>?, _ isSingle: Bool,
    _ to: UnsafeMutableRawPointer, _ count: Int
  ) {
    guard let block, let kernels = table?.pointee else { return }
    // One number for a whole block.
    if isSingle { block.update(repeating: block[0], count: count) }
    switch type {
    case .float32: break
    case .float16: kernels.f32_to_f16(block, to.assumingMemoryBound(to: UInt16.self), count)
    case .bfloat16: kernels.f32_to_bf16(block, to.assumingMemoryBound(to: UInt16.self), count)
    case .uint8: kernels.f32_to_u8(block, to.assumingMemoryBound(to: UInt8.self), count)
    case .int8: kernels.f32_to_i8(block, to.assumingMemoryBound(to: Int8.self), count)
    default: kernels.f32_to_truth(block, to.assumingMemoryBound(to: UInt8.self), count)
    }
  }

  /// Elements as float32: where they lie if they are, else converted into `block`.
  @inline(__always)
  private static func widened(
    _ table: UnsafePointer<tz_elementwise_table>?, _ from: UnsafeMutableRawPointer, _ dtype: DType,
    _ block: UnsafeMutablePointer<Float>, _ count: Int
  ) -> UnsafeMutablePointer<Float> {
    if dtype == .float32 { return from.assumingMemoryBound(to: Float.self) }
    convert(table, from, dtype, block, count)
    return block
  }

  private static func convert(
    _ table: UnsafePointer<tz_elementwise_table>?, _ from: UnsafeMutableRawPointer, _ dtype: DType,
    _ block: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    guard let kernels = table?.pointee else { return }
    switch dtype {
    case .float16: kernels.f16_to_f32(from.assumingMemoryBound(to: UInt16.self), block, count)
    case .bfloat16: kernels.bf16_to_f32(from.assumingMemoryBound(to: UInt16.self), block, count)
    case .bool, .uint8: kernels.u8_to_f32(from.assumingMemoryBound(to: UInt8.self), block, count)
    case .int8: kernels.i8_to_f32(from.assumingMemoryBound(to: Int8.self), block, count)
    case .int32: kernels.i32_to_f32(from.assumingMemoryBound(to: Int32.self), block, count)
    case .int64: kernels.i64_to_f32(from.assumingMemoryBound(to: Int64.self), block, count)
    default: block.update(from: from.assumingMemoryBound(to: Float.self), count: count)
    }
  }

  /// Elements some distance apart.
  private static func gather(
    _ table: UnsafePointer<tz_elementwise_table>?, _ from: UnsafeMutableRawPointer, _ stride: Int, _ dtype: DType,
    _ block: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    if dtype == .float32 {
      let from = from.assumingMemoryBound(to: Float.self)
      for i in 0..<count { block[i] = from[i * stride] }
    } else {
      for i in 0..<count { convert(table, from + i * stride * dtype.byteSize, dtype, block + i, 1) }
    }
  }

  /// A row whose elements are side by side, the same, or some distance apart.
  private static func spread(
    _ table: UnsafePointer<tz_elementwise_table>?, _ from: UnsafeMutableRawPointer, _ stride: Int, _ dtype: DType,
    _ block: UnsafeMutablePointer<Float>, _ count: Int
  ) {
    switch stride {
    case 1: convert(table, from, dtype, block, count)
    case 0:
      convert(table, from, dtype, block, 1)
      block.update(repeating: block[0], count: count)
    default: gather(table, from, stride, dtype, block, count)
    }
  }
}
