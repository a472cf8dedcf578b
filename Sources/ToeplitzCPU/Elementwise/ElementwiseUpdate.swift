import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// Functions of elements with several results, computed block by block in one pass over memory and written over operands that
/// nobody else holds: how an optimiser changes a parameter and what it remembers of it.
package struct ElementwiseUpdate: Sendable {
  /// Where an operand comes from.
  package enum Source: Hashable, Sendable {
    case operand(Int)
    case step(Int)
  }

  /// A result: the step that makes it, and the operand that it takes the place of.
  package struct Result: Sendable {
    package var step: Int
    package var replaces: Int

    package init(step: Int, replaces: Int) { (self.step, self.replaces) = (step, replaces) }
  }

  private let shape: TensorShape
  private let results: [Result]
  private var steps: [tz_step] = []
  /// The register of each result, and whether its operand is read no more once it is written.
  private var places: [(register: Int, overwrites: Bool)] = []
  private let isNumber: [Bool]
  private var registerCount: Int

  /// Elements of a block, few enough that what lies between steps stays in the first-level cache beside the operands.
  private static let block = 512
  /// Elements of a piece of work for a thread.
  private static let piece = 1 << 14
  private static let mostRegisters = 48
  /// More operations are never one function.
  package static let mostSteps = 32

  /// Nil where blocks cannot be computed with the operations.
  ///
  /// - Parameters:
  ///   - operations: with their operands, each after those it needs.
  ///   - operands: float32 numbers, each a tensor like the results or a single number.
  package init?(
    _ operations: [(operation: any TensorOperation, sources: [Source])], operands: [TensorSpec], results: [Result]
  ) {
    guard let first = results.first, operations.count <= Self.mostSteps, operands.count < Self.mostRegisters / 2 else {
      return nil
    }
    shape = operands[first.replaces].shape
    let shape = shape
    isNumber = operands.map { $0.shape.reduce(1, *) == 1 && $0.shape != shape }
    guard zip(operands, isNumber).allSatisfy({ $0.dtype == .float32 && ($1 || $0.shape == shape) }) else { return nil }
    self.results = results
    registerCount = operands.count
    let kept = Set(results.map(\.step))
    // The step that uses each operand, or each step's result, last.
    var lastUse: [Source: Int] = [:]
    for (index, item) in operations.enumerated() { for source in item.sources { lastUse[source] = index } }
    var registers: [Int] = []
    var free: [Int] = []
    for (index, item) in operations.enumerated() {
      guard let function = BlockFunction(item.operation, item.sources.map { _ in .float32 }), let step = function.step,
        function.type == .float32
      else { return nil }
      let from = item.sources.map { source in
        switch source {
        case .operand(let operand): operand
        case .step(let step): registers[step]
        }
      }
      // Results lie in memory, from their first step on.
      let register = (kept.contains(index) ? nil : free.popLast()) ?? registerCount
      registerCount = max(registerCount, register + 1)
      registers.append(register)
      steps.append(step.onRegisters(from, to: register))
      for case .step(let used) in Set(item.sources) where lastUse[.step(used)] == index && !kept.contains(used) {
        free.append(registers[used])
      }
    }
    guard registerCount <= Self.mostRegisters else { return nil }
    places = results.map {
      (registers[$0.step], (lastUse[.operand($0.replaces)] ?? -1) <= $0.step && !isNumber[$0.replaces])
    }
  }

  /// Whether an operand of the program is one of tensors that nobody else holds, so that ``run(_:)`` needs no memory.
  package func isInPlace(_ operands: inout [Tensor]) -> Bool {
    zip(results, places).allSatisfy {
      $1.overwrites && operands[$0.replaces].isContiguous && operands[$0.replaces].ownsStorage()
    }
  }

  /// The results for operands of the specifications that it was made for.
  package func run(_ operands: inout [Tensor]) throws -> [Tensor] {
    var outputs: [Tensor] = []
    for (result, place) in zip(results, places) {
      if place.overwrites, operands[result.replaces].isContiguous, operands[result.replaces].ownsStorage() {
        outputs.append(operands[result.replaces])
      } else {
        outputs.append(try Tensor(uninitialized: shape, dtype: .float32, operation: "update"))
      }
    }
    let given = try operands.map { try $0.contiguous() }
    let count = outputs[0].count
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    let bases = given.map { $0.pointer(Float.self) }
    let targets = zip(places, outputs).map { (register: $0.register, base: $1.pointer(Float.self)) }
    ThreadPool.shared.run((count + Self.piece - 1) / Self.piece) { [self] item, _ in
      withUnsafeTemporaryAllocation(byteCount: registerCount * (Self.block * 4 + 16), alignment: 64) { memory in
        guard let start = memory.baseAddress else { return }
        let blocks = start.assumingMemoryBound(to: Float.self)
        let registers = (start + registerCount * Self.block * 4)
          .assumingMemoryBound(to: UnsafeMutablePointer<Float>?.self)
        let single = (start + registerCount * (Self.block * 4 + 8)).assumingMemoryBound(to: UInt8.self)
        for register in 0..<registerCount {
          registers[register] = blocks + register * Self.block
          single[register] = 0
        }
        let end = min(count, (item + 1) * Self.piece)
        for place in stride(from: item * Self.piece, to: end, by: Self.block) {
          for index in bases.indices {
            registers[index] = isNumber[index] ? bases[index] : bases[index] + place
            single[index] = isNumber[index] ? 1 : 0
          }
          for target in targets { registers[target.register] = target.base + place }
          let length = min(Self.block, end - place)
          steps.withUnsafeBufferPointer {
            tz_steps_run(table, $0.baseAddress, steps.count, registers, single, length)
          }
          // One number for all.
          for target in targets where single[target.register] != 0 {
            (target.base + place).update(repeating: target.base[place], count: length)
          }
        }
      }
    }
    withExtendedLifetime((given, outputs)) {}
    return outputs
  }
}
