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
  /// Whether the next batch is made while a step is computed.
  public var prefetches = true
  /// Whether files for TensorBoard are written.
  public var writesEvents = true
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

/// What a result of validation should become.
public enum ScoreDirection: String, Sendable, CaseIterable {
  /// Larger, such as an accuracy.
  case larger
  /// Smaller, such as a distance.
  case smaller
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
  /// What else the step measured, by name.
  public var metrics: [String: Double] = [:]
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
  private let metricNames: [String]
  /// Computes a step once more, to see where a number begins that is not finite.
  private let diagnose: ((Model, [Tensor]) throws -> Void)?
  private let validate: ((Model) throws -> [String: Double])?
  private let score: (name: String, direction: ScoreDirection)
  private let loader: BatchLoader
  private let average: ExponentialMovingAverage?
  private let compiledStep: CompiledStep<Model>
  /// Updates so far.
  public private(set) var step = 0
  /// The epoch that the next batch belongs to, from 0.
  public private(set) var epoch = 0

  /// A run that makes a loss small.
  ///
  /// - Parameters:
  ///   - folder: where checkpoints, weights and metrics are written; nil for nowhere.
  ///   - score: the result of validation that decides which weights are best.
  ///   - direction: what the score should become.
  ///   - validate: measures the model, which is in evaluation mode then, at the end of each epoch.
  ///   - loss: gives the number to make small for a batch of `data`.
  /// - Throws: ``ToeplitzError`` that names an option which is not legal, or a folder that cannot be made.
  public convenience init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String? = nil, options: TrainerOptions,
    score: String = "accuracy", direction: ScoreDirection = .larger,
    validate: ((Model) throws -> [String: Double])? = nil,
    loss: @escaping (_ model: Model, _ batch: [Tensor]) throws -> Tensor
  ) throws {
    let most = options.maxGradientNorm
    try self.init(
      model, optimizer, data: data, folder: folder, options: options, metrics: [], score: score, direction: direction,
      validate: validate,
      diagnose: { model, batch in
        _ = try valueAndGradient(of: model, onNonFinite: .throw) { try loss($0, batch) }
      },
      step: { model, optimizer, batch in
        var (value, gradients) = try valueAndGradient(of: model) { try loss($0, batch) }
        let norm: Tensor
        if let most { (gradients, norm) = try gradients.clipped(maxNorm: most) } else { norm = try gradients.norm() }
        try optimizer.update(model, with: gradients)
        return [value, norm]
      })
  }

  /// A run whose steps do more than making one loss small, as those of adversarial networks.
  ///
  /// - Parameters:
  ///   - metrics: the names of what `step` gives behind loss and norm.
  ///   - score: the result of validation that decides which weights are best.
  ///   - direction: what the score should become.
  ///   - validate: measures the model, which is in evaluation mode then, at the end of each epoch.
  ///   - step: computes gradients, updates, and gives the loss, the norm of a gradient and the metrics, one number each. It is
  ///     recorded, as that of a ``CompiledStep`` is.
  /// - Throws: ``ToeplitzError`` that names an option which is not legal, or a folder that cannot be made.
  public convenience init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String? = nil, options: TrainerOptions,
    metrics: [String], score: String, direction: ScoreDirection = .larger,
    validate: ((Model) throws -> [String: Double])? = nil,
    step: @escaping (_ model: Model, _ optimizer: Optimizer, _ batch: [Tensor]) throws -> [Tensor]
  ) throws {
    try self.init(
      model, optimizer, data: data, folder: folder, options: options, metrics: metrics, score: score,
      direction: direction, validate: validate, diagnose: nil, step: step)
  }

  private init(
    _ model: Model, _ optimizer: Optimizer, data: some Dataset, folder: String?, options: TrainerOptions,
    metrics: [String], score: String, direction: ScoreDirection, validate: ((Model) throws -> [String: Double])?,
    diagnose: ((Model, [Tensor]) throws -> Void)?,
    step: @escaping (_ model: Model, _ optimizer: Optimizer, _ batch: [Tensor]) throws -> [Tensor]
  ) throws {
    guard options.epochs > 0 else {
      throw ToeplitzError(.argument, "Trainer", expected: "at least 1 epoch", got: "\(options.epochs)")
    }
    (self.model, self.optimizer, self.data, self.options, self.diagnose) = (model, optimizer, data, options, diagnose)
    (self.validate, self.score, metricNames) = (validate, (score, direction), metrics)
    self.folder = try folder.map { try RunFolder($0, kept: options.keptCheckpoints) }
    average = try options.averageDecay.map { try ExponentialMovingAverage(model, decay: $0) }
    loader = BatchLoader(data, prefetches: options.prefetches)
    compiledStep = CompiledStep(model, optimizer) { model, optimizer, batch in
      let results = try step(model, optimizer, batch)
      guard results.count == metrics.count + 2, results.allSatisfy({ $0.count == 1 }) else {
        throw ToeplitzError(
          .shape, "Trainer", expected: "a step that gives \(metrics.count + 2) numbers: loss, norm, \(metrics)",
          got: "\(results.map(\.spec))")
      }
      return results
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
    defer { (step, epoch) = (progress.step, progress.epoch) }
    if let folder {
      if let restored = try folder.restore(model: model, optimizer: optimizer, average: average, settings: settings) {
        progress = restored
      }
      try folder.forgetMetrics(after: progress.step)
    }
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
        let found = try measured(validate)
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
      try report(
        TrainingReport(
          step: progress.step, steps: steps, epoch: epoch, loss: outcome.loss, metrics: outcome.metrics,
          validation: validation))
      if let patience = options.patience, progress.worse > patience { return try finish(progress, .stoppedEarly) }
      if shouldStop() { return try finish(progress, .interrupted) }
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
      BatchLoader.Request(indices: order.next(), seed: options.seed, step: step)
    }
    let wanted = request(&order, done)
    var ahead = order
    let batch = try loader.batch(wanted, next: order.epoch < options.epochs ? request(&ahead, done + 1) : nil)
    let before = StepSnapshot(compiledStep.values, optimizer)
    let numbers = try compiledStep.run(batch, seed: options.seed, step: done)
      .map { try $0.cast(to: .float64).reshaped([]).item(Double.self) }
    let metrics = Dictionary(zip(metricNames, numbers.dropFirst(2))) { first, _ in first }
    guard numbers.allSatisfy(\.isFinite) else {
      before.restore()
      if options.onNonFinite == .throw {
        // Once more, step by step, to see where it begins.
        try withStepRandom(seed: options.seed, step: done) { try diagnose?(model, batch) }
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
