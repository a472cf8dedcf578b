import CToeplitzKernels
import ToeplitzTensor

extension ElementwiseProgram {
  /// A call for operands and a result at certain places, cut into items of work.
  struct Call {
    let program: ElementwiseProgram
    let items: Int
    private let walk: RowWalk
    private let table: UnsafePointer<tz_elementwise_table>?
    private let writesResult: Bool
    /// Rows that are computed together, and pieces of a row.
    private let perUnit: Int
    private let segments: Int
    private let units: Int
    private let together: Int
    private let to: UnsafeMutableRawPointer
    private let size: Int
    private let bases: [UnsafeMutableRawPointer]

    init(_ program: ElementwiseProgram, _ inputs: [Tensor], _ output: Tensor) {
      self.program = program
      walk = RowWalk(inputs, output.shape)
      table = tz_elementwise_kernels(InstructionSet.current.code)
      // Results may be written where they belong.
      writesResult = program.type == .float32
      let (block, length) = (ElementwiseProgram.block, walk.length)
      perUnit = max(1, length >= ElementwiseProgram.shortRow || walk.rows == 1 ? 1 : block / max(1, length))
      segments = perUnit > 1 ? 1 : (length + block - 1) / block
      units = perUnit > 1 ? (walk.rows + perUnit - 1) / perUnit : walk.rows * segments
      let unitSize = perUnit > 1 ? perUnit * length : min(length, block)
      // A block of one step goes from memory to memory and may be long.
      together = max(1, ElementwiseProgram.piece / max(1, unitSize * max(1, program.steps.count / 2)))
      items = (units + together - 1) / together
      (to, size) = (output.elements, program.type.byteSize)
      bases = inputs.map { UnsafeMutableRawPointer($0.elements) }
    }

    /// Computes an item.
    func run(_ item: Int) {
      withUnsafeTemporaryAllocation(byteCount: program.blockBytes, alignment: 64) { memory in
        if let start = memory.baseAddress { run(item, start) }
      }
    }

    /// Computes an item in ``ElementwiseProgram/blockBytes`` of memory.
    func run(_ item: Int, _ memory: UnsafeMutableRawPointer) {
      let (registers, single, blocks) = program.blocks(in: memory)
      for unit in item * together..<min(units, (item + 1) * together) { run(unit, registers, single, blocks) }
    }

    private func run(
      _ unit: Int, _ registers: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>,
      _ single: UnsafeMutablePointer<UInt8>,
      _ memory: UnsafeMutablePointer<Float>
    ) {
      let (row, from) =
        perUnit > 1 ? (unit * perUnit, 0) : (unit / segments, unit % segments * ElementwiseProgram.block)
      let rows = perUnit > 1 ? min(perUnit, walk.rows - row) : 1
      let count = perUnit > 1 ? rows * walk.length : min(ElementwiseProgram.block, walk.length - from)
      let place = row * walk.length + from
      for index in 0..<program.inputCount {
        let block = memory + index * ElementwiseProgram.block
        single[index] = 0
        let dtype = program.inputTypes[index]
        let (base, step) = (bases[index], dtype.byteSize)
        switch walk.kinds[index] {
        case .whole:
          registers[index] = ElementwiseProgram.widened(table, base + place * step, dtype, block, count)
        case .single:
          registers[index] = ElementwiseProgram.widened(table, base, dtype, block, 1)
          single[index] = 1
        case .rows where rows == 1:
          let offset = walk.offset(index, row)
          let inner = walk.innerStride(index)
          if inner == 0 {
            registers[index] = ElementwiseProgram.widened(table, base + offset * step, dtype, block, 1)
            single[index] = 1
          } else if inner == 1 {
            registers[index] = ElementwiseProgram.widened(table, base + (offset + from) * step, dtype, block, count)
          } else {
            ElementwiseProgram.gather(table, base + (offset + from * inner) * step, inner, dtype, block, count)
            registers[index] = block
          }
        case .rows:
          let inner = walk.innerStride(index)
          for at in 0..<rows {
            let start = base + walk.offset(index, row + at) * step
            ElementwiseProgram.spread(table, start, inner, dtype, block + at * walk.length, walk.length)
          }
          registers[index] = block
        }
      }
      let result = program.result
      if writesResult { registers[result] = (to + place * size).assumingMemoryBound(to: Float.self) }
      program.steps.withUnsafeBufferPointer {
        tz_steps_run(table, $0.baseAddress, $0.count, registers, single, count)
      }
      program.finish(table, registers[result], single[result] != 0, to + place * size, count)
    }
  }
}

extension ElementwiseProgram {
  /// Bytes that blocks and what is kept of each register take.
  var blockBytes: Int { (registerCount * (Self.block * 4 + 8 + 1) + 63) / 64 * 64 }

  /// The registers' addresses, whether each is one number, and memory for the inputs' blocks.
  fileprivate func blocks(in memory: UnsafeMutableRawPointer) -> (
    registers: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>, single: UnsafeMutablePointer<UInt8>,
    blocks: UnsafeMutablePointer<Float>
  ) {
    let blocks = memory.assumingMemoryBound(to: Float.self)
    let pointers = (memory + registerCount * Self.block * 4)
      .assumingMemoryBound(to: UnsafeMutablePointer<Float>?.self)
    for register in 0..<registerCount { pointers[register] = blocks + register * Self.block }
    let single = (memory + registerCount * (Self.block * 4 + 8)).assumingMemoryBound(to: UInt8.self)
    for register in 0..<registerCount { single[register] = 0 }
    return (pointers, single, blocks)
  }

  /// Stores a block of results in the result's type.
  fileprivate func finish(
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
  fileprivate static func widened(
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
  fileprivate static func gather(
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
  fileprivate static func spread(
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
