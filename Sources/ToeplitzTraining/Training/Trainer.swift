import Foundation
import ToeplitzCPU
import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The loop of training: batches, steps, validation and checkpoints, which goes on exactly where it stopped.
///
/// Everything that a step depends on, its batch, the changes of samples at random, dropout, the learning rate, follows from the
/// seed and the number of the step, and the rest is in the checkpoint. So a run that is killed at any moment and run again ends
/// with the same bits as one that is not.
public final class Trainer<Model: Module> {
  /// The model.
  public let model: Model
  /// The optimiser.
  public let optimizer: Optimizer
  /// The options.
  public let options: TrainerOptions
  private let data: any Dataset
  private let folder: RunFolder?
  private let phases: [TrainingPhase<Model>]
  private let communicator: CountedCommunicator
  private let plan: ShardPlan
  private let validate: ((Model) throws -> [String: Double])?
  private let score: (name: String, direction: ScoreDirection)
  private let loader: BatchLoader
  private let average: ExponentialMovingAverage?
  /// A step of one shard, as one graph.
  private let compiledStep: CompiledStep<Model>
  /// A step of several.
  private let shardedStep: ShardedStep<Model>
  /// Updates so far.
  public private(set) var step = 0
  /// The epoch that the next batch belongs to, from 0.
  public private(set) var epoch = 0

  /// A run that makes a loss small.
  ///
  /// - Parameters:
  ///   - folder: where checkpoints, weights and metrics are written; nil for nowhere.
  ///   - communicator: the processes that share the run, which all have the same data and options; the first one writes.
  ///   - score: the result of validation that decides which weights are best.
  ///   - direction: what the score should become.
  ///   - validate: measures the model, which is in evaluation mode then, at the end of each epoch.
  ///   - loss: gives the number to make small for a batch of `data`, a mean over its samples.
  /// - Throws: ``ToeplitzError`` that names an option which is not legal, or a folder that cannot be made.
  public convenience init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String? = nil, options: TrainerOptions,
    communicator: some Communicator = SingleProcess(), score: String = "accuracy", direction: ScoreDirection = .larger,
    validate: ((Model) throws -> [String: Double])? = nil,
    loss: @escaping (_ model: Model, _ batch: [Tensor]) throws -> Tensor
  ) throws {
    let phase = TrainingPhase<Model>(maxGradientNorm: options.maxGradientNorm) { (try loss($0, $1), []) }
    try self.init(
      model, optimizer, data: data, folder: folder, options: options, communicator: communicator, phases: [phase],
      score: score, direction: direction, validate: validate)
  }

  /// A run whose steps do more than making one loss small, as those of adversarial networks.
  ///
  /// - Parameters:
  ///   - folder: where checkpoints, weights and metrics are written; nil for nowhere.
  ///   - communicator: the processes that share the run, which all have the same data and options; the first one writes.
  ///   - phases: what a step does, one after the other; the last one's number is the loss that the run tells.
  ///   - score: the result of validation that decides which weights are best.
  ///   - direction: what the score should become.
  ///   - validate: measures the model, which is in evaluation mode then, at the end of each epoch.
  /// - Throws: ``ToeplitzError`` that names an option which is not legal, or a folder that cannot be made.
  public init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String? = nil, options: TrainerOptions,
    communicator: some Communicator = SingleProcess(), phases: [TrainingPhase<Model>], score: String,
    direction: ScoreDirection = .larger, validate: ((Model) throws -> [String: Double])? = nil
  ) throws {
    guard options.epochs > 0, !phases.isEmpty else {
      throw ToeplitzError(
        .argument, "Trainer", expected: "at least 1 epoch and 1 phase", got: "\(options.epochs) and \(phases.count)")
    }
    plan = try ShardPlan(options, communicator)
    (self.model, self.optimizer, self.data, self.options, self.phases) = (model, optimizer, data, options, phases)
    (self.validate, self.score) = (validate, (score, direction))
    self.communicator = CountedCommunicator(communicator)
    self.folder = try communicator.rank == 0 ? folder.map { try RunFolder($0, kept: options.keptCheckpoints) } : nil
    average = try options.averageDecay.map { try ExponentialMovingAverage(model, decay: $0) }
    loader = BatchLoader(data, prefetches: options.prefetches)
    compiledStep = CompiledStep(model, optimizer) { try TrainingPhase.step(phases, $0, $1, $2) }
    shardedStep = ShardedStep(model, optimizer, phases, plan, self.communicator)
  }

  /// Bytes that this process has given to others so far, in steps.
  public var sentByteCount: Int { communicator.sentByteCount }

  private var settings: [String: String] {
    options.settings.merging([
      "seed": "\(options.seed)", "batch size": "\(options.batchSize)", "samples": "\(data.count)",
      "epochs": "\(options.epochs)", "schedule": "\(options.schedule)",
      TrainingProgress.shardsSetting: "\(options.shards)",
    ]) { first, _ in first }
  }

  /// Trains until all epochs are done, going on from the folder's newest checkpoint if there is one.
  ///
  /// - Parameters:
  ///   - report: hears of each step, in the first process.
  ///   - shouldStop: asked after each step, in each process; if true in one, the run ends with a checkpoint.
  /// - Throws: ``ToeplitzError`` if the checkpoint is of another run, a file cannot be written, or as the policy says.
  @discardableResult
  public func run(
    report: (TrainingReport) throws -> Void = { _ in }, shouldStop: () -> Bool = { false }
  ) throws -> TrainingOutcome {
    var progress = TrainingProgress(settings: settings)
    defer { (step, epoch) = (progress.step, progress.epoch) }
    try communicator.requireSame(settings, model)
    if let restored = try restore() { progress = restored }
    folder?.removeLeftovers()
    try folder?.forgetMetrics(after: progress.step)
    let events = try options.writesEvents ? folder.map { try EventFile(folder: $0.path, after: progress.step) } : nil
    var order = try BatchOrder(
      count: data.count, batchSize: options.batchSize, seed: options.seed, epoch: progress.epoch,
      position: progress.position)
    let steps = options.epochs * order.batchesPerEpoch
    model.train()
    defer { model.eval() }
    while order.epoch < options.epochs {
      let epoch = order.epoch
      let outcome = try trainOnce(&order, progress.step)
      if outcome.isSkipped, options.onNonFinite == .stop {
        return try finish(progress, .nonFinite)
      }
      progress.step += 1
      (progress.epoch, progress.position) = (order.epoch, order.position)
      var line = ["loss": outcome.loss, "gradient_norm": outcome.norm, "lr": optimizer.learningRate]
      line.merge(outcome.metrics) { $1 }
      let isEpochOver = order.epoch != epoch
      var validation: [String: Double]?
      if isEpochOver, let validate {
        let found = try communicator.first { try measured(validate) }
        validation = found
        line.merge(found) { $1 }
        progress.worse += 1
        if let score = found[score.name], isBetter(score, than: progress.best) {
          progress.best = score
          progress.worse = 0
          try withAverages { try folder?.writeWeights(of: model, as: "best.safetensors") }
        }
      }
      try folder?.append(step: progress.step, line)
      try events?.add(step: progress.step, line)
      let told = TrainingReport(
        step: progress.step, steps: steps, epoch: epoch, loss: outcome.loss, metrics: outcome.metrics,
        validation: validation)
      if communicator.rank == 0 { try report(told) }
      if let patience = options.patience, progress.worse > patience { return try finish(progress, .stoppedEarly) }
      if try communicator.any(shouldStop()) { return try finish(progress, .interrupted) }
      if isEpochOver || options.checkpointEvery.map({ progress.step % max(1, $0) == 0 }) ?? false {
        try checkpoint(progress)
      }
      if isEpochOver { try writeReport() }
    }
    try checkpoint(progress)
    try writeReport()
    try withAverages { try folder?.writeWeights(of: model, as: "model.safetensors") }
    return .finished
  }

  /// Runs `body` while the model has the averages of its parameters, if there are.
  public func withAverages<Result>(_ body: () throws -> Result) rethrows -> Result {
    try average?.withAverages(body) ?? body()
  }

  private func isBetter(_ score: Double, than best: Double?) -> Bool {
    guard let best else { return !score.isNaN }
    return self.score.direction == .larger ? score > best : score < best
  }

  private func measured(_ validate: (Model) throws -> [String: Double]) throws -> [String: Double] {
    model.eval()
    defer { model.train() }
    return try withAverages { try validate(model) }
  }

  /// What a step gave.
  private struct StepOutcome {
    var loss: Double
    var norm: Double
    var metrics: [String: Double] = [:]
    var isSkipped = false
  }

  private func trainOnce(_ order: inout BatchOrder, _ done: Int) throws -> StepOutcome {
    optimizer.setLearningRate(options.schedule, step: done)
    func request(_ order: inout BatchOrder, _ step: Int) -> BatchLoader.Request {
      BatchLoader.Request(parts: plan.parts(of: order.next()), seed: options.seed, step: step)
    }
    let wanted = request(&order, done)
    var ahead = order
    let batches = try loader.batch(wanted, next: order.epoch < options.epochs ? request(&ahead, done + 1) : nil)
    // A single graph changes nothing before its numbers are known; and what nobody holds can be written over.
    let before = plan.count > 1 ? StepSnapshot(compiledStep.values, optimizer) : nil
    var numbers: [Double] = []
    if plan.count > 1 {
      numbers = try shardedStep.run(batches, seed: options.seed, step: done)
    } else {
      func accepts(_ results: [Tensor]) throws -> Bool {
        numbers = try results.map { try $0.item(Double.self) }
        return numbers.allSatisfy(\.isFinite)
      }
      _ = try compiledStep.run(
        batches[0], key: StepRandom.key(seed: options.seed, step: done), accepts: accepts)
    }
    let metricNames = phases.flatMap(\.metrics)
    let metrics = Dictionary(zip(metricNames, numbers.dropFirst(2))) { first, _ in first }
    guard numbers.allSatisfy(\.isFinite) else {
      before?.restore()
      if options.onNonFinite == .throw {
        let before = StepSnapshot(compiledStep.values, optimizer)
        // Once more, one operation after the other, to see where it begins; that may be in another process.
        defer { before.restore() }
        for (shard, batch) in zip(plan.own, batches) {
          before.restore()
          _ = try withStepRandom(seed: options.seed, step: done, shard: shard) {
            try TrainingPhase.step(phases, model, optimizer, batch, onNonFinite: .throw)
          }
        }
        let all = zip(["loss", "norm"] + metricNames, numbers).map { "\($0) \($1)" }
        throw ToeplitzError(
          .argument, "Trainer", expected: "a finite loss and gradient at step \(done)",
          got: all.joined(separator: ", "))
      }
      return StepOutcome(loss: numbers[0], norm: numbers[1], metrics: metrics, isSkipped: true)
    }
    try average?.update()
    return StepOutcome(loss: numbers[0], norm: numbers[1], metrics: metrics)
  }

  /// Takes over the newest checkpoint, as the first process has it; without one, all begin with the first one's weights.
  private func restore() throws -> TrainingProgress? {
    guard communicator.count > 1 else {
      return try folder?.restore(model: model, optimizer: optimizer, average: average, settings: settings)
    }
    let stored = try communicator.broadcast(folder?.newestCheckpoint() ?? [])
    guard stored.isEmpty else {
      return try TrainingProgress.restored(
        Checkpoint(bytes: stored, source: "the newest checkpoint"), model: model, optimizer: optimizer,
        average: average, settings: settings)
    }
    let weights = try communicator.broadcast(
      communicator.rank == 0 ? Safetensors.bytes(model.stateDictionary()) : [])
    try model.load(Checkpoint(bytes: weights, source: "the first process's weights").tensors)
    return nil
  }

  private func checkpoint(_ progress: TrainingProgress) throws {
    try folder?.write(progress, model: model, optimizer: optimizer, average: average)
  }

  private func writeReport() throws {
    try folder?.writeReport(title: "Training of \(model.displayName)", settings: settings)
  }

  private func finish(_ progress: TrainingProgress, _ outcome: TrainingOutcome) throws -> TrainingOutcome {
    try checkpoint(progress)
    try writeReport()
    return outcome
  }
}
