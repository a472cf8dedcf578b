import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// Which shards of a batch a process computes.
struct ShardPlan {
  /// All shards.
  let count: Int
  /// Those of this process.
  let own: Range<Int>

  /// The shards of a process.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` unless the shards are a power of two that divides the batch, and the processes one
  ///   that divides the shards.
  init(_ options: TrainerOptions, _ communicator: any Communicator) throws {
    func isPowerOfTwo(_ number: Int) -> Bool { number > 0 && number & (number - 1) == 0 }
    guard isPowerOfTwo(options.shards), options.batchSize % options.shards == 0 else {
      throw ToeplitzError(
        .argument, "Trainer",
        expected: "a number of shards that is a power of two and divides the batch size \(options.batchSize)",
        got: "\(options.shards) shards")
    }
    guard isPowerOfTwo(communicator.count), communicator.count <= options.shards else {
      throw ToeplitzError(
        .argument, "Trainer",
        expected: "a number of processes that is a power of two, at most the \(options.shards) shards",
        got: "\(communicator.count) processes")
    }
    count = options.shards
    let each = count / communicator.count
    own = communicator.rank * each..<(communicator.rank + 1) * each
  }

  /// The samples of this process among those of a batch.
  func parts(of indices: [Int]) -> [BatchLoader.Request.Part] {
    let size = indices.count / count
    return own.map { .init(indices: Array(indices[$0 * size..<($0 + 1) * size]), shard: $0) }
  }
}

/// A step of training whose batch is cut into shards, some of which other processes compute.
///
/// Gradients, losses and buffers are means over all shards, summed in one tree whatever process computes a shard. So the number of
/// processes changes no bit. A shard's gradients are computed by one graph; those of the last shard of a process are on their way
/// to the others while the rest of the graph is computed.
final class ShardedStep<Model: Module> {
  private let plan: ShardPlan
  private let communicator: any Communicator
  private let values: ModelValues
  private let optimizer: Optimizer
  private let phases: [Phase]

  /// A phase in two graphs: what each shard computes, and the update with the sums of all.
  private struct Phase {
    var numberCount: Int
    var gradients: CompiledStep<Model>
    var update: CompiledStep<Model>
  }

  init(
    _ model: Model, _ optimizer: Optimizer, _ phases: [TrainingPhase<Model>], _ plan: ShardPlan,
    _ communicator: any Communicator
  ) {
    (self.plan, self.communicator, self.optimizer) = (plan, communicator, optimizer)
    let values = ModelValues([model])
    self.values = values
    let share = 1 / Double(plan.count)
    self.phases = phases.map { phase in
      Phase(
        numberCount: phase.metrics.count + 1,
        gradients: CompiledStep(model, optimizer) { model, _, batch in
          let (numbers, gradients) = try phase.gradients(of: model, batch)
          // A parameter that the number does not depend on has no elements, of a type that no gradient has.
          return try values.parameters.map { try gradients[$0.parameter] ?? Tensor.zeros([0], dtype: .bool) } + numbers
        },
        update: CompiledStep(model, optimizer) { model, optimizer, sums in
          let means = try sums.map { $0.dtype == .bool ? nil : try $0 * share }
          return [try phase.update(model, optimizer, with: Gradients(values.parameters, means))]
        })
    }
  }

  /// Computes the step, and gives what ``TrainingPhase/numbers(_:)`` says; if it throws, nothing has changed.
  ///
  /// - Parameter batches: those of this process's shards.
  func run(_ batches: [[Tensor]], seed: UInt64, step: Int) throws -> [Double] {
    let before = StepSnapshot(values, optimizer)
    do {
      return TrainingPhase<Model>.numbers(
        try phases.map { phase in
          let sums = try sums(phase, batches, seed: seed, step: step)
          let norm = try phase.update.run(sums.gradients)[0].item(Double.self)
          return (sums.numbers.map { $0 / Double(plan.count) }, norm)
        })
    } catch {
      before.restore()
      throw error
    }
  }

  /// The sums of a phase over all shards; buffers get their means.
  private func sums(
    _ phase: Phase, _ batches: [[Tensor]], seed: UInt64, step: Int
  ) throws -> (gradients: [Tensor], numbers: [Double]) {
    let before = values.buffers.map(\.parameter.value)
    let reduction = TreeReduction(communicator)
    var partial = PartialSums()
    var sent: [Int] = []
    var buffers: [Int] = []
    var results: [Tensor] = []
    func send(_ index: Int, _ tensor: Tensor) throws {
      guard tensor.dtype != .bool else { return }
      sent.append(index)
      try reduction.add(partial.completed(index, tensor))
    }
    for (index, batch) in batches.enumerated() {
      for ((_, buffer), value) in zip(values.buffers, before) { buffer.value = value }
      let isLast = index == batches.count - 1
      let key = StepRandom.key(seed: seed, step: step, shard: plan.own.lowerBound + index)
      results = try phase.gradients.run(batch, key: key, hear: isLast ? send : nil)
      buffers = before.indices.filter { !values.buffers[$0].parameter.value.isSameView(as: before[$0]) }
      results += try buffers.map { try summand(values.buffers[$0].parameter.value) }
      if !isLast { try partial.add(results) }
    }
    let known = Set(sent)
    for (index, tensor) in results.enumerated() where !known.contains(index) { try send(index, tensor) }
    for (index, sum) in zip(sent, try reduction.sums()) { results[index] = sum }
    let numbersFirst = values.parameters.count
    let buffersFirst = numbersFirst + phase.numberCount
    for (index, sum) in zip(buffers, results[buffersFirst...]) { try assignMean(sum, to: values.buffers[index]) }
    return (
      Array(results[..<numbersFirst]), try results[numbersFirst..<buffersFirst].map { try $0.item(Double.self) }
    )
  }

  /// A buffer's part of a sum: counters are summed as whole numbers.
  private func summand(_ buffer: Tensor) throws -> Tensor {
    buffer.dtype.isFloatingPoint ? buffer : try buffer.cast(to: .int64)
  }

  /// Gives a buffer the mean of a sum.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if a counter would be no whole number, because it differs from shard to shard.
  private func assignMean(_ sum: Tensor, to buffer: (name: String, parameter: Parameter)) throws {
    let own = buffer.parameter.value
    if own.dtype.isFloatingPoint {
      buffer.parameter.value = try sum * (1 / Double(plan.count))
      return
    }
    // It has the value of this process's last shard now, which is the mean if all have the same.
    let counted = try own.cast(to: .int64).scalars(Int64.self).map { $0 &* Int64(plan.count) }
    guard try counted == sum.scalars(Int64.self) else {
      throw ToeplitzError(
        .argument, "Trainer", expected: "buffers of whole numbers that are the same for each shard of a batch",
        got: "others in '\(buffer.name)'")
    }
  }
}

/// Sums of lists of tensors in the tree ((0 + 1) + (2 + 3)) + …, of which as few as possible are kept.
struct PartialSums {
  /// Sums of a power of two of lists each, the largest first.
  private var stack: [(lists: Int, sums: [Tensor])] = []

  /// Adds the next list.
  mutating func add(_ list: [Tensor]) throws {
    var (lists, sums) = (1, list)
    while let last = stack.last, last.lists == lists {
      sums = try zip(last.sums, sums).map(Self.sum)
      lists *= 2
      stack.removeLast()
    }
    stack.append((lists, sums))
  }

  /// An element of the sum of all lists, given that of the last list, whose number makes the count a power of two.
  func completed(_ index: Int, _ last: Tensor) throws -> Tensor {
    try stack.reversed().reduce(last) { try Self.sum($1.sums[index], $0) }
  }

  private static func sum(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    guard a.spec == b.spec else {
      throw ToeplitzError(
        .shape, "Trainer", expected: "the same shapes and parameters in each shard of a batch",
        got: "\(a.spec) and \(b.spec)")
    }
    return a.dtype == .bool ? a : try a + b
  }
}

/// A model and its optimiser as they were; costs nothing, for tensors are values.
struct StepSnapshot {
  private let values: [(Parameter, Tensor)]
  private let memories: [ObjectIdentifier: Optimizer.Memory]
  private let optimizer: Optimizer

  init(_ all: ModelValues, _ optimizer: Optimizer) {
    values = (all.parameters + all.buffers).map { ($0.parameter, $0.parameter.value) }
    (memories, self.optimizer) = (optimizer.memories, optimizer)
  }

  func restore() {
    for (parameter, value) in values { parameter.value = value }
    optimizer.memories = memories
  }
}
