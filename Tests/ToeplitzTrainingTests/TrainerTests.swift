import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct TrainerTests {
  private final class Network: Module, UnaryLayer {
    let first: Linear
    let norm: BatchNorm1d
    let act = ReLU()
    let drop: Dropout
    let last: Linear
    init() throws {
      norm = try BatchNorm1d(numFeatures: 8)
      drop = try Dropout(p: 0.2)
      let generator = Generator(seed: 5)
      first = try Linear(inFeatures: 4, outFeatures: 8, generator: generator)
      last = try Linear(inFeatures: 8, outFeatures: 3, generator: generator)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try last(drop(act(norm(first(x))))) }
  }

  /// Three clouds of points.
  private func data(_ count: Int = 50) throws -> TensorDataset {
    try Clouds.dataset(randomTensor([count, 4], dtype: .float32))
  }

  private func trainer(
    _ folder: String?, epochs: Int = 4, seed: UInt64 = 3, policy: NonFiniteStepPolicy = .throw,
    _ loss: @escaping (Network, [Tensor]) throws -> Tensor = { try crossEntropy($0($1[0]), $1[1]) }
  ) throws -> Trainer<Network> {
    let data = try data()
    var options = TrainerOptions(
      epochs: epochs, batchSize: 8, seed: seed, schedule: .cosine(steps: 24), maxGradientNorm: 1, averageDecay: 0.9,
      onNonFinite: policy, checkpointEvery: 5)
    options.keptCheckpoints = 2
    return try Trainer(
      Network(), Optimizer(AdamW(lr: 0.03)), data: data, folder: folder, options: options,
      validate: { try Clouds.accuracy($0, data) }, loss: loss)
  }

  private func metrics(_ folder: URL) throws -> [String] {
    try String(contentsOf: folder.appending(path: "metrics.jsonl"), encoding: .utf8).split(separator: "\n").map(
      String.init)
  }

  @Test func interruptedRunsEndWithTheSameBits() throws {
    let (whole, parts) = (try Fixtures.temporaryFolder(), try Fixtures.temporaryFolder())
    let straight = try trainer(whole.path)
    #expect(try straight.run() == .finished)
    var starts = 0
    while true {
      let again = try trainer(parts.path)
      var count = 0
      let outcome = try again.run(shouldStop: {
        count += 1; return count == 3 + starts
      })
      starts += 1
      guard outcome == .interrupted else {
        #expect(outcome == .finished)
        for (name, value) in straight.model.stateDictionary() {
          #expect(try value.sameBits(as: again.model.stateDictionary()[name]!), "\(name)")
        }
        break
      }
    }
    #expect(starts > 3)
    let (a, b) = (try metrics(whole), try metrics(parts))
    #expect(a == b && a.count == 24)
    #expect(a.last?.contains("\"accuracy\":") == true)
    let names = Set(try FileManager.default.contentsOfDirectory(atPath: whole.path))
    #expect(names.isSuperset(of: ["model.safetensors", "best.safetensors", "metrics.jsonl"]))
    #expect(names.filter { $0.hasPrefix("checkpoint-") }.count == 2)
    let weights = try Checkpoint(contentsOf: whole.appending(path: "model.safetensors").path)
    #expect(weights.names.contains("first.weight") && weights.names.contains("norm.running_mean"))
  }

  /// A step that failed in the middle is as if it had never begun.
  @Test func failuresLoseNothing() throws {
    let (whole, parts) = (try Fixtures.temporaryFolder(), try Fixtures.temporaryFolder())
    let straight = try trainer(whole.path)
    try straight.run()
    struct Stop: Error {}
    // What a killed process leaves of a file that it was writing.
    let half = parts.appending(path: ".toeplitz-1f.tmp")
    try Data("half".utf8).write(to: half)
    let broken = try trainer(parts.path)
    #expect(throws: Stop.self) { try broken.run { if $0.step == 13 { throw Stop() } } }
    #expect(!FileManager.default.fileExists(atPath: half.path))
    let again = try trainer(parts.path)
    try again.run()
    for (name, value) in straight.model.stateDictionary() {
      #expect(try value.sameBits(as: again.model.stateDictionary()[name]!), "\(name)")
    }
    #expect(try metrics(whole) == metrics(parts))
  }

  @Test func otherSettingsAreRefused() throws {
    let folder = try Fixtures.temporaryFolder()
    try trainer(folder.path, epochs: 1).run()
    let error = #expect(throws: ToeplitzError.self) { try trainer(folder.path, epochs: 1, seed: 4).run() }
    #expect(error?.expected.contains("seed 3") == true)
    try Data("not a checkpoint".utf8).write(to: folder.appending(path: "checkpoint-99999999.safetensors"))
    #expect(throws: ToeplitzError.self) { try trainer(folder.path, epochs: 1).run() }
  }

  @Test func itLearns() throws {
    let trainer = try trainer(nil, epochs: 12)
    var last: TrainingReport?
    try trainer.run { last = $0 }
    #expect(last?.validation?["accuracy"] ?? 0 > 0.95, "\(String(describing: last))")
  }

  @Test func nonFiniteStepsAreTreatedAsAsked() throws {
    func spoiled(_ model: Network, _ batch: [Tensor]) throws -> Tensor {
      let y = try model(batch[0])
      // 0 / 0 where a batch has few of class 0.
      let few = try (batch[1].equal(Tensor(scalar: Int64(0))).cast(to: .float32).sum() - 2.5).clip(from: 0)
      return try crossEntropy(y, batch[1]) + y.sum() * few / few * 0
    }
    let stopped = try trainer(nil, policy: .stop, spoiled)
    #expect(try stopped.run() == .nonFinite)
    let skipped = try trainer(nil, policy: .skip, spoiled)
    #expect(try skipped.run() == .finished)
    #expect(try skipped.model.stateDictionary().values.allSatisfy { try !$0.hasNonFinite() })
    let error = #expect(throws: ToeplitzError.self) { try trainer(nil, policy: .throw, spoiled).run() }
    #expect(error?.got.contains("divide") == true, "\(error.map(String.init(describing:)) ?? "")")
  }

  @Test func ordersVisitEverySampleOnceAnEpoch() throws {
    var order = try BatchOrder(count: 10, batchSize: 4, seed: 1, dropsLast: false)
    let first = (0..<3).flatMap { _ in order.next() }
    #expect(first.sorted() == Array(0..<10) && order.epoch == 1)
    let second = (0..<3).flatMap { _ in order.next() }
    #expect(second.sorted() == Array(0..<10) && first != second)
    var again = try BatchOrder(count: 10, batchSize: 4, seed: 1, dropsLast: false, epoch: 1, position: 4)
    #expect(again.next() == Array(second[4..<8]))
    #expect(throws: ToeplitzError.self) { try BatchOrder(count: 3, batchSize: 4, seed: 1) }
    #expect(throws: ToeplitzError.self) { try BatchOrder(count: 8, batchSize: 4, seed: 1, position: 3) }
  }

  @Test func splitsHaveAllClasses() throws {
    let classes = (0..<100).map { $0 % 7 == 0 ? 1 : 0 }
    let split = try StratifiedSplit(classes: classes, heldOut: 0.2, seed: 4)
    #expect(Set(split.training + split.heldOut) == Set(0..<100) && split.training.count + split.heldOut.count == 100)
    #expect(split.heldOut.filter { classes[$0] == 1 }.count == 3 && split.heldOut.count == 20)
    #expect(try split != StratifiedSplit(classes: classes, heldOut: 0.2, seed: 5))
  }
}
