import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// How a run of training goes.
public struct TrainerOptions: Sendable {
  /// How often all samples are visited.
  public var epochs: Int
  /// Samples of a batch.
  public var batchSize: Int
  /// What the order of samples, their changes and dropout follow from.
  public var seed: UInt64
  /// How the learning rate changes.
  public var schedule: Schedule
  /// Gradients of a larger norm are made shorter; nil for none.
  public var maxGradientNorm: Double?
  /// How much of the average of parameters stays at each step, which validation uses then; nil for no average.
  public var averageDecay: Double?
  /// What happens when the loss or the gradient's norm is NaN or infinite.
  public var onNonFinite: NonFiniteStepPolicy
  /// Steps from one checkpoint to the next; besides there is one at the end of each epoch.
  public var checkpointEvery: Int?
  /// How many checkpoints are kept.
  public var keptCheckpoints: Int
  /// Epochs without a better validation after which training ends; nil for never.
  public var patience: Int?
  /// What else a run must share with the checkpoint that it goes on from, such as the split of the data.
  public var settings: [String: String] = [:]

  /// Options of a run.
  public init(
    epochs: Int, batchSize: Int, seed: UInt64 = 0, schedule: Schedule = .constant, maxGradientNorm: Double? = nil,
    averageDecay: Double? = nil, onNonFinite: NonFiniteStepPolicy = .throw, checkpointEvery: Int? = nil,
    keptCheckpoints: Int = 2, patience: Int? = nil
  ) {
    (self.epochs, self.batchSize, self.seed, self.schedule) = (epochs, batchSize, seed, schedule)
    (self.maxGradientNorm, self.averageDecay, self.onNonFinite) = (maxGradientNorm, averageDecay, onNonFinite)
    (self.checkpointEvery, self.keptCheckpoints, self.patience) = (checkpointEvery, keptCheckpoints, patience)
  }
}

/// What happens to a step whose loss or gradient is NaN or infinite; the model is as before it in any case.
public enum NonFiniteStepPolicy: String, Sendable, CaseIterable {
  /// An error that names the first operation and layer which gives such a number.
  case `throw`
  /// Training goes on with the next batch.
  case skip
  /// Training ends with a checkpoint.
  case stop
}

/// How a run ended.
public enum TrainingOutcome: String, Sendable {
  /// All epochs are done.
  case finished
  /// It was asked to end, and goes on from its checkpoint when it is run again.
  case interrupted
  /// Validation did not get better any more.
  case stoppedEarly
  /// A loss or gradient was not finite.
  case nonFinite
}

/// What a run tells while it goes on.
public struct TrainingReport: Sendable {
  /// Updates so far.
  public var step: Int
  /// Updates of the whole run.
  public var steps: Int
  /// The epoch, from 0.
  public var epoch: Int
  /// The loss of the last step.
  public var loss: Double
  /// Results of validation, at the end of an epoch.
  public var validation: [String: Double]?
}

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
  private let loss: (Model, [Tensor]) throws -> Tensor
  private let validate: ((Model) throws -> [String: Double])?
  private let scoreName: String
  private let average: ExponentialMovingAverage?
  private let step: CompiledStep<Model>

  /// A run.
  ///
  /// - Parameters:
  ///   - folder: where checkpoints, weights and metrics are written; nil for nowhere.
  ///   - score: the result of validation that should become large.
  ///   - validate: measures the model, which is in evaluation mode then, at the end of each epoch.
  ///   - loss: gives the number to make small for a batch of `data`.
  /// - Throws: ``ToeplitzError`` that names an option which is not legal, or a folder that cannot be made.
  public init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String? = nil, options: TrainerOptions,
    score: String = "accuracy", validate: ((Model) throws -> [String: Double])? = nil,
    loss: @escaping (_ model: Model, _ batch: [Tensor]) throws -> Tensor
  ) throws {
    guard options.epochs > 0 else {
      throw ToeplitzError(.argument, "Trainer", expected: "at least 1 epoch", got: "\(options.epochs)")
    }
    (self.model, self.optimizer, self.data, self.options, self.loss) = (model, optimizer, data, options, loss)
    (self.validate, scoreName) = (validate, score)
    self.folder = try folder.map { try RunFolder($0, kept: options.keptCheckpoints) }
    average = try options.averageDecay.map { try ExponentialMovingAverage(model, decay: $0) }
    let most = options.maxGradientNorm
    step = CompiledStep(model, optimizer) { model, optimizer, batch in
      var (value, gradients) = try valueAndGradient(of: model) { try loss($0, batch) }
      let norm: Tensor
      if let most { (gradients, norm) = try gradients.clipped(maxNorm: most) } else { norm = try gradients.norm() }
      try optimizer.update(model, with: gradients)
      return [value, norm]
    }
  }

  private var settings: [String: String] {
    options.settings.merging([
      "seed": "\(options.seed)", "batch size": "\(options.batchSize)", "samples": "\(data.count)",
      "epochs": "\(options.epochs)", "schedule": "\(options.schedule)",
    ]) { first, _ in first }
  }

  /// Trains until all epochs are done, going on from the folder's newest checkpoint if there is one.
  ///
  /// - Parameters:
  ///   - report: hears of each step.
  ///   - shouldStop: asked after each step; if true the run ends with a checkpoint.
  /// - Throws: ``ToeplitzError`` if the checkpoint is of another run, a file cannot be written, or as the policy says.
  @discardableResult
  public func run(
    report: (TrainingReport) throws -> Void = { _ in }, shouldStop: () -> Bool = { false }
  ) throws -> TrainingOutcome {
    var progress = TrainingProgress(settings: settings)
    if let folder {
      if let restored = try folder.restore(model: model, optimizer: optimizer, average: average, settings: settings) {
        progress = restored
      }
      try folder.forgetMetrics(after: progress.step)
    }
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
      let isEpochOver = order.epoch != epoch
      var validation: [String: Double]?
      if isEpochOver, let validate {
        let found = try measured(validate)
        validation = found
        line.merge(found) { $1 }
        progress.worse += 1
        if let score = found[scoreName], score > progress.best ?? -.infinity {
          progress.best = score
          progress.worse = 0
          try withAverages { try folder?.writeWeights(of: model, as: "best.safetensors") }
        }
      }
      try folder?.append(step: progress.step, line)
      try report(
        TrainingReport(step: progress.step, steps: steps, epoch: epoch, loss: outcome.loss, validation: validation))
      if let patience = options.patience, progress.worse > patience { return try finish(progress, .stoppedEarly) }
      if shouldStop() { return try finish(progress, .interrupted) }
      if isEpochOver || options.checkpointEvery.map({ progress.step % max(1, $0) == 0 }) ?? false {
        try checkpoint(progress)
      }
    }
    try checkpoint(progress)
    try withAverages { try folder?.writeWeights(of: model, as: "model.safetensors") }
    return .finished
  }

  /// Runs `body` while the model has the averages of its parameters, if there are.
  public func withAverages<Result>(_ body: () throws -> Result) rethrows -> Result {
    try average?.withAverages(body) ?? body()
  }

  private func measured(_ validate: (Model) throws -> [String: Double]) throws -> [String: Double] {
    model.eval()
    defer { model.train() }
    return try withAverages { try validate(model) }
  }

  private func trainOnce(_ order: inout BatchOrder, _ done: Int) throws -> (loss: Double, norm: Double, isSkipped: Bool)
  {
    optimizer.setLearningRate(options.schedule, step: done)
    var random = RandomSource(seed: UInt64(bitPattern: StepRandom.key(seed: options.seed ^ 0x5EED, step: done)))
    let indices = order.next()
    let batch = try data.batch(indices, random: &random)
    let before = StepSnapshot(step.values, optimizer)
    let results = try step.run(batch, seed: options.seed, step: done)
    let loss = try results[0].cast(to: .float64).reshaped([]).item(Double.self)
    let norm = try results[1].item(Double.self)
    guard loss.isFinite, norm.isFinite else {
      before.restore()
      if options.onNonFinite == .throw {
        // Once more, step by step, to see where it begins.
        _ = try withStepRandom(seed: options.seed, step: done) {
          try valueAndGradient(of: model, onNonFinite: .throw) { try self.loss($0, batch) }
        }
        throw ToeplitzError(
          .argument, "Trainer", expected: "a finite loss and gradient at step \(done)",
          got: "loss \(loss), norm \(norm)")
      }
      return (loss, norm, true)
    }
    try average?.update()
    return (loss, norm, false)
  }

  private func checkpoint(_ progress: TrainingProgress) throws {
    try folder?.write(progress, model: model, optimizer: optimizer, average: average)
  }

  private func finish(_ progress: TrainingProgress, _ outcome: TrainingOutcome) throws -> TrainingOutcome {
    try checkpoint(progress)
    return outcome
  }
}

/// A model and its optimiser as they were; costs nothing, for tensors are values.
private struct StepSnapshot {
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
