import ToeplitzTensor

/// How the learning rate changes from update to update, as PyTorch's schedulers.
///
/// A function of the number of updates and nothing else, so a run that is resumed goes on with the rate that it would have had.
public indirect enum Schedule: Sendable, Hashable {
  /// Always the optimiser's own.
  case constant
  /// Multiplied by `gamma` every `size` updates (`StepLR`).
  case step(size: Int, gamma: Double = 0.1)
  /// Multiplied by `gamma` after each of some numbers of updates (`MultiStepLR`).
  case multiStep(milestones: [Int], gamma: Double = 0.1)
  /// Multiplied by `gamma` after each update (`ExponentialLR`).
  case exponential(gamma: Double)
  /// Half a cosine down to `etaMin` within `steps` updates, where it stays (`CosineAnnealingLR`).
  case cosine(steps: Int, etaMin: Double = 0)
  /// From `startFactor` of the rate up to the rate within `steps` updates, then another schedule from its beginning
  /// (`LinearLR` before `SequentialLR`'s next).
  case warmUp(steps: Int, startFactor: Double = 1.0 / 3, then: Schedule = .constant)
  /// Up from `maxLR / divFactor` to `maxLR` for a share of `steps`, then down to `maxLR / divFactor / finalDivFactor`, both
  /// along half a cosine (`OneCycleLR`; Smith and Topin, 2018).
  case oneCycle(
    maxLR: Double, steps: Int, pctStart: Double = 0.3, divFactor: Double = 25, finalDivFactor: Double = 1e4)

  /// The learning rate after `step` updates of a parameter whose own rate is `base`.
  public func learningRate(base: Double, step: Int) -> Double {
    let step = max(0, step)
    func power(_ gamma: Double, _ count: Int) -> Double { (0..<count).reduce(1) { product, _ in product * gamma } }
    func cosine(_ from: Double, _ to: Double, _ share: Double) -> Double {
      to + (from - to) / 2 * ((Double.pi * min(1, share)).cosine() + 1)
    }
    switch self {
    case .constant: return base
    case .step(let size, let gamma): return base * power(gamma, step / max(1, size))
    case .multiStep(let milestones, let gamma): return base * power(gamma, milestones.filter { $0 <= step }.count)
    case .exponential(let gamma): return base * power(gamma, step)
    case .cosine(let steps, let etaMin): return cosine(base, etaMin, Double(step) / Double(max(1, steps)))
    case .warmUp(let steps, let startFactor, let next):
      guard step < steps else { return next.learningRate(base: base, step: step - steps) }
      return base * (startFactor + (1 - startFactor) * Double(step) / Double(steps))
    case .oneCycle(let maxLR, let steps, let pctStart, let divFactor, let finalDivFactor):
      let (first, last) = (maxLR / divFactor, maxLR / divFactor / finalDivFactor)
      let peak = pctStart * Double(steps) - 1
      let at = Double(step)
      return at <= peak
        ? cosine(first, maxLR, at / peak) : cosine(maxLR, last, (at - peak) / (Double(steps) - 1 - peak))
    }
  }
}

/// A learning rate that shrinks when a measured number does not get better any more (`ReduceLROnPlateau`).
public struct Plateau: Sendable, Hashable, Codable {
  /// What the rate is multiplied by.
  public let factor: Double
  /// How many measurements without progress are suffered.
  public let patience: Int
  /// By which share a number must be below the best to count as progress.
  public let threshold: Double
  /// How many measurements after a change do not count.
  public let cooldown: Int
  /// The smallest rate.
  public let minLR: Double
  private var best = Double.greatestFiniteMagnitude
  private var bad = 0
  private var pause = 0

  /// A rule with PyTorch's options and their default values, for numbers that should get smaller.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `factor` is not in 0..<1 or a count is negative.
  public init(
    factor: Double = 0.1, patience: Int = 10, threshold: Double = 1e-4, cooldown: Int = 0, minLR: Double = 0
  ) throws {
    guard (0..<1).contains(factor), patience >= 0, cooldown >= 0 else {
      throw ToeplitzError(
        .argument, "Plateau", expected: "a factor in 0..<1, patience and cooldown of at least 0",
        got: "\(factor), \(patience), \(cooldown)")
    }
    (self.factor, self.patience, self.threshold, self.cooldown, self.minLR) = (
      factor, patience, threshold, cooldown, minLR
    )
  }

  /// Notes a measurement, and gives the rate that follows one of `learningRate`.
  public mutating func next(_ metric: Double, learningRate: Double) -> Double {
    if metric < best * (1 - threshold) {
      best = metric
      bad = 0
    } else {
      bad += 1
    }
    if pause > 0 {
      pause -= 1
      bad = 0
    }
    guard bad > patience else { return learningRate }
    pause = cooldown
    bad = 0
    let next = max(learningRate * factor, minLR)
    return learningRate - next > 1e-8 ? next : learningRate
  }
}
