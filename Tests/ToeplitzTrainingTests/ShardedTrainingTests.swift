import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Steps whose batch is cut into shards, on one or several processes.
@Suite struct ShardedTrainingTests {
  private final class Network: Module, UnaryLayer {
    let first: Linear
    let norm: BatchNorm1d
    let act = ReLU()
    let drop: Dropout
    let last: Linear
    let unused: Linear
    init(seed: UInt64 = 5) throws {
      let generator = Generator(seed: seed)
      norm = try BatchNorm1d(numFeatures: 7)
      drop = try Dropout(p: 0.2)
      first = try Linear(inFeatures: 4, outFeatures: 7, generator: generator)
      last = try Linear(inFeatures: 7, outFeatures: 3, generator: generator)
      unused = try Linear(inFeatures: 2, outFeatures: 2, generator: generator)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try last(drop(act(norm(first(x))))) }
  }

  private static func data(_ count: Int = 50) throws -> TensorDataset {
    var random = RandomSource(seed: 8)
    return try Clouds.dataset(Tensor.randomNormal([count, 4], using: &random))
  }

  private static func trainer(
    _ communicator: some Communicator = SingleProcess(), shards: Int = 8, batchSize: Int = 16, seed: UInt64 = 3,
    folder: String? = nil, policy: NonFiniteStepPolicy = .throw, weights: UInt64 = 5,
    _ loss: @escaping (Network, [Tensor]) throws -> Tensor = { try crossEntropy($0($1[0]), $1[1]) }
  ) throws -> Trainer<Network> {
    let data = try data()
    var options = TrainerOptions(
      epochs: 4, batchSize: batchSize, seed: seed, schedule: .cosine(steps: 12), maxGradientNorm: 1, averageDecay: 0.9,
      onNonFinite: policy, checkpointEvery: 2)
    options.shards = shards
    return try Trainer(
      Network(seed: weights), Optimizer(AdamW(lr: 0.03)), data: data, folder: folder, options: options,
      communicator: communicator,
      validate: { try Clouds.accuracy($0, data) }, loss: loss)
  }

  /// Everything that a run ends with.
  private static func state(_ trainer: Trainer<Network>) throws -> [String: Tensor] {
    try trainer.model.stateDictionary().merging(trainer.optimizer.stateDictionary(of: trainer.model)) { $1 }
      .merging(trainer.withAverages { trainer.model.stateDictionary() }.map { ("average.\($0)", $1) }) { $1 }
  }

  private func expectSame(_ a: [String: Tensor], _ b: [String: Tensor], _ what: String) throws {
    #expect(a.keys == b.keys || Set(a.keys) == Set(b.keys))
    for (name, value) in a { #expect(try value.sameBits(as: #require(b[name])), "\(what): \(name)") }
  }

  @Test func everyDivisionGivesTheSameBits() throws {
    let alone = try Self.trainer()
    var losses: [Double] = []
    try alone.run { losses.append($0.loss) }
    #expect(losses.count == 12 && losses[11] < losses[0])
    let wanted = try Self.state(alone)
    #expect(try wanted["norm.num_batches_tracked"].map { try $0.item(Int64.self) } == 12)
    #expect(try wanted["unused.weight.step"]?.item(Int64.self) == 0)
    let expected = losses
    for count in [2, 4, 8] {
      let found = try ThreadCommunicator.run(count) { communicator in
        let trainer = try Self.trainer(communicator)
        var (losses, accuracies): ([Double], Int) = ([], 0)
        #expect(
          try trainer.run {
            losses.append($0.loss); accuracies += $0.validation == nil ? 0 : 1
          } == .finished)
        #expect(losses == (communicator.rank == 0 ? expected : []) && (communicator.rank > 0 || accuracies == 4))
        return try Self.state(trainer)
      }.map { try $0.get() }
      for (rank, state) in found.enumerated() { try expectSame(state, wanted, "rank \(rank) of \(count)") }
    }
    // Statistics are those of a shard, so another number of shards is another run.
    let whole = try Self.trainer(shards: 1)
    try whole.run()
    #expect(try !Self.state(whole)["first.weight"]!.sameBits(as: #require(wanted["first.weight"])))
  }

  /// Gradients and running statistics by hand: shard by shard, then the tree.
  @Test func meansAreTreesOverShards() throws {
    let data = try TensorDataset(Self.data().tensors)
    let model = try Network()
    model.train()
    model.drop.eval()
    let optimizer = try Optimizer(SGD(lr: 0.5))
    let phase = TrainingPhase<Network> { (try crossEntropy($0($1[0]), $1[1]), []) }
    var options = TrainerOptions(epochs: 1, batchSize: 16)
    options.shards = 4
    let plan = try ShardPlan(options, SingleProcess())
    let step = ShardedStep(model, optimizer, [phase], plan, SingleProcess())
    var random = RandomSource(seed: 1)
    let batches = try plan.parts(of: Array(0..<16)).map { try data.batch($0.indices, random: &random) }
    var parts: [(loss: Double, gradient: Tensor, mean: Tensor)] = []
    for batch in batches {
      let copy = try Network()
      copy.train()
      copy.drop.eval()
      let (loss, gradients) = try valueAndGradient(of: copy) { try crossEntropy($0(batch[0]), batch[1]) }
      parts.append(
        (
          Double(try loss.item(Float.self)), try #require(gradients["first.weight"]),
          try #require(copy.stateDictionary()["norm.running_mean"])
        ))
    }
    func tree(_ of: [Tensor]) throws -> Tensor { try ((of[0] + of[1]) + (of[2] + of[3])) * 0.25 }
    let before = try model.first.weight.value
    let numbers = try step.run(batches, seed: 0, step: 0)
    #expect(numbers[0] == ((parts[0].loss + parts[1].loss) + (parts[2].loss + parts[3].loss)) / 4)
    let wanted = try before - tree(parts.map(\.gradient)) * 0.5
    let after = try model.first.weight.value.doubles()
    for (found, value) in zip(after, try wanted.doubles()) { #expect(abs(found - value) < 1e-6) }
    #expect(try #require(model.norm.runningMean).value.sameBits(as: tree(parts.map(\.mean))))
    #expect(try model.norm.numBatchesTracked?.value.item(Int64.self) == 1)
  }

  @Test func runsGoOnWithAnotherNumberOfProcesses() throws {
    let (whole, parts) = (try Fixtures.temporaryFolder(), try Fixtures.temporaryFolder())
    defer { for folder in [whole, parts] { try? FileManager.default.removeItem(at: folder) } }
    let straight = try Self.trainer(folder: whole.path)
    try straight.run()
    let path = parts.path
    for (count, steps) in [(4, 3), (1, 2), (8, 1), (2, 100)] {
      let outcomes = try ThreadCommunicator.run(count) { communicator in
        var done = 0
        let trainer = try Self.trainer(communicator, folder: path)
        // One process alone is asked to end.
        let outcome = try trainer.run(shouldStop: {
          done += 1
          return communicator.rank == count - 1 && done == steps
        })
        return (outcome, try Self.state(trainer))
      }.map { try $0.get() }
      #expect(outcomes.allSatisfy { $0.0 == (count == 2 ? .finished : .interrupted) })
      if count == 2 { for item in outcomes { try expectSame(item.1, Self.state(straight), "resumed") } }
    }
    for name in ["model.safetensors", "best.safetensors", "metrics.jsonl"] {
      #expect(try Data(contentsOf: whole.appending(path: name)) == Data(contentsOf: parts.appending(path: name)))
    }
    // The number of shards is the run's.
    let error = #expect(throws: ToeplitzError.self) { try Self.trainer(shards: 4, folder: path).run() }
    #expect(error?.expected == "the run's shards 8")
  }

  @Test func allBeginWithTheFirstOnesWeights() throws {
    let states = try ThreadCommunicator.run(2) { communicator in
      let trainer = try Self.trainer(communicator, weights: UInt64(communicator.rank))
      try trainer.run()
      return try Self.state(trainer)
    }.map { try $0.get() }
    try expectSame(states[0], states[1], "rank 1")
  }

  @Test func wrongDivisionsAreRefused() throws {
    for (shards, batchSize) in [(3, 15), (0, 16), (-2, 16), (8, 12), (32, 16)] {
      let error = #expect(throws: ToeplitzError.self) { try Self.trainer(shards: shards, batchSize: batchSize) }
      #expect(error?.got == "\(shards) shards" && error?.expected.contains("\(batchSize)") == true)
    }
    for (count, shards) in [(3, 8), (2, 1), (8, 4)] {
      for result in ThreadCommunicator.run(count, { _ = try Self.trainer($0, shards: shards) }) {
        let error = #expect(throws: ToeplitzError.self) { try result.get() }
        #expect(error?.got == "\(count) processes")
      }
    }
    let others = ThreadCommunicator.run(2) { communicator in
      try Self.trainer(communicator, seed: UInt64(communicator.rank)).run()
    }
    let error = #expect(throws: ToeplitzError.self) { try others[1].get() }
    #expect(error?.expected == "the first process's seed 0" && error?.got == "1", "\(others)")
    #expect(throws: (any Error).self) { try others[0].get() }
  }

  @Test func nonFiniteStepsAreTheSameEverywhere() throws {
    // Only one of the shards is spoilt.
    @Sendable func spoiled(_ model: Network, _ batch: [Tensor]) throws -> Tensor {
      let few = try (batch[1].equal(Tensor(scalar: Int64(0))).cast(to: .float32).sum() - 1.5).clip(from: 0)
      return try crossEntropy(model(batch[0]), batch[1]) + few / few * 0
    }
    let alone = try Self.trainer(policy: .skip, spoiled)
    #expect(try alone.run() == .finished)
    let wanted = try Self.state(alone)
    let found = try ThreadCommunicator.run(4) { communicator in
      let trainer = try Self.trainer(communicator, policy: .skip, spoiled)
      try trainer.run()
      return try Self.state(trainer)
    }.map { try $0.get() }
    for state in found { try expectSame(state, wanted, "skipped") }
    let thrown = ThreadCommunicator.run(4) { communicator in
      try Self.trainer(communicator, policy: .throw, spoiled).run()
    }
    #expect(thrown.allSatisfy { if case .failure = $0 { true } else { false } })
  }

  @Test func countersThatDifferFromShardToShardAreRefused() throws {
    final class Counting: Module {
      let weight: Parameter
      let seen: Parameter
      init(_ weight: Tensor) throws {
        self.weight = Parameter(weight)
        seen = Parameter(try Tensor(scalar: Int64(0)), isBuffer: true)
      }
    }
    var options = TrainerOptions(epochs: 1, batchSize: 4)
    options.shards = 2
    let model = try Counting(Tensor.ones([1]))
    let trainer = try Trainer(
      model, Optimizer(SGD(lr: 0.1)), data: TensorDataset(Tensor([1, 2, 3, 4] as [Int64])), options: options
    ) { model, batch in
      model.seen.value = try model.seen.value + batch[0].sum()
      return try model.weight.value.sum()
    }
    let error = #expect(throws: ToeplitzError.self) { try trainer.run() }
    #expect(error?.got == "others in 'seen'")
    #expect(try model.seen.value.item(Int64.self) == 0 && model.weight.value.item(Float.self) == 1)
  }
}

/// Sums over processes.
@Suite struct TreeReductionTests {
  private static func vector(_ count: Int, _ rank: Int) throws -> Tensor {
    var random = RandomSource(seed: UInt64(rank * 1000 + count))
    return try Tensor.randomNormal([count], using: &random)
  }

  @Test func sumsAreTrees() throws {
    for count in [1, 2, 4, 8] {
      for elements in [0, 1, 3, 8, 1001] {
        var sums = try (0..<count).map { try Self.vector(elements, $0) }
        while sums.count > 1 { sums = try stride(from: 0, to: sums.count, by: 2).map { try sums[$0] + sums[$0 + 1] } }
        let found = ThreadCommunicator.run(count) { try $0.treeSum(Self.vector(elements, $0.rank)) }
        for result in found { #expect(try result.get().sameBits(as: sums[0]), "\(elements) on \(count)") }
      }
    }
  }

  /// Less than twice the vector, however many there are.
  @Test func eachProcessSendsLessThanTwiceTheVector() throws {
    for count in [2, 4, 8] {
      let sent = try ThreadCommunicator.run(count) { communicator in
        let counted = CountedCommunicator(communicator)
        _ = try counted.treeSum(Self.vector(4096, communicator.rank))
        return counted.sentByteCount
      }.map { try $0.get() }
      #expect(sent.allSatisfy { $0 == 2 * 4096 * 4 * (count - 1) / count })
    }
  }

  /// Buckets of several types and sizes, some larger than a bucket.
  @Test func bucketsChangeNothing() throws {
    let shapes: [(TensorShape, DType)] = [
      ([3, 5], .float32), ([], .float64), ([1100, 1000], .float32), ([7], .float32), ([2], .int64), ([0], .float32),
      ([4, 1, 2], .float16),
    ]
    let found = try ThreadCommunicator.run(4) { communicator in
      let reduction = TreeReduction(communicator)
      for (index, (shape, dtype)) in shapes.enumerated() {
        try reduction.add(Tensor.full(shape, Double(index * (communicator.rank + 1)), dtype: dtype).permutedReversed())
      }
      return try reduction.sums()
    }.map { try $0.get() }
    for sums in found {
      #expect(sums.count == shapes.count)
      for (index, (shape, dtype)) in shapes.enumerated() {
        #expect(
          try sums[index].sameBits(as: Tensor.full(TensorShape(shape.reversed()), Double(index * 10), dtype: dtype)))
      }
    }
  }

  @Test func failuresReachTheCaller() throws {
    let results = ThreadCommunicator.run(2) { communicator in
      let reduction = TreeReduction(communicator)
      try reduction.add(Tensor.ones([communicator.rank == 0 ? 4 : 6]))
      try reduction.add(Tensor.ones([2 << 20]))
      return try reduction.sums().count
    }
    #expect(results.contains { if case .failure(let error) = $0 { error is ToeplitzError } else { false } })
  }
}

extension Tensor {
  fileprivate func permutedReversed() throws -> Tensor { try permuted(Array((0..<rank).reversed())) }
}
