/// How a run of training goes.
public struct TrainerOptions: Sendable {
  /// How often all samples are visited.
  public var epochs: Int
  /// Samples of a batch.
  public var batchSize: Int
  /// Parts of a batch whose gradients are computed apart and summed in a fixed tree: 1, or a power of two that divides the batch.
  ///
  /// Batch statistics are those of a part. So many processes at most share a step.
  public var shards = 1
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
