import ToeplitzNN
import ToeplitzTensor

/// A part of a step of training: the gradient of one number, and an update with it.
///
/// Most steps have one phase. Those of adversarial networks have two: the discriminators are updated first, and the generator is
/// judged by what they are then.
public struct TrainingPhase<Model: Module> {
  /// The names of what the phase measures besides the number that it makes small.
  public let metrics: [String]
  /// Gradients of a larger norm are made shorter; nil for none.
  public let maxGradientNorm: Double?
  private let trained: (Model) -> [Module]
  private let loss: (Model, [Tensor]) throws -> (value: Tensor, outputs: [Tensor])

  /// A phase that makes a number small.
  ///
  /// - Parameters:
  ///   - trained: the parts of the model that are updated, by default all.
  ///   - metrics: the names of the other numbers that `loss` gives.
  ///   - loss: gives the number to make small for a batch, its mean over samples, and the metrics, one number each.
  public init(
    training trained: @escaping (_ model: Model) -> [Module] = { [$0] }, metrics: [String] = [],
    maxGradientNorm: Double? = nil,
    loss: @escaping (_ model: Model, _ batch: [Tensor]) throws -> (value: Tensor, outputs: [Tensor])
  ) {
    (self.trained, self.metrics, self.maxGradientNorm, self.loss) = (trained, metrics, maxGradientNorm, loss)
  }

  /// The number, what is measured besides, one number each in float64, and the gradient.
  func gradients(
    of model: Model, _ batch: [Tensor], onNonFinite: NonFinitePolicy = .ignore
  ) throws -> (numbers: [Tensor], gradients: Gradients) {
    let values = ModelValues(trained(model))
    let found = try differentiate(
      values, at: [], strict: false, onNonFinite: onNonFinite, operation: "valueAndGradient"
    ) { _ in try loss(model, batch) }
    guard found.outputs.count == metrics.count, found.outputs.allSatisfy({ $0.count == 1 }) else {
      throw ToeplitzError(
        .shape, "TrainingPhase", expected: "a loss that gives one number for each of \(metrics)",
        got: "\(found.outputs.map(\.spec))")
    }
    let numbers = try ([found.value] + found.outputs).map { try $0.cast(to: .float64).reshaped([]) }
    return (numbers, Gradients(values.parameters, found.gradients))
  }

  /// Updates the model, and gives the norm that the gradient had.
  func update(_ model: Model, _ optimizer: Optimizer, with gradients: Gradients) throws -> Tensor {
    var (gradients, norm) = (gradients, try gradients.norm())
    if let maxGradientNorm { (gradients, norm) = try gradients.clipped(maxNorm: maxGradientNorm) }
    try optimizer.update(model, with: gradients)
    return norm
  }
}

extension TrainingPhase {
  /// What a step of several phases gives: the last one's number and norm, then the metrics of all.
  static func numbers<Number>(_ found: [(numbers: [Number], norm: Number)]) -> [Number] {
    guard let last = found.last else { return [] }
    return [last.numbers[0], last.norm] + found.flatMap { $0.numbers.dropFirst() }
  }

  /// A step of all phases, one after the other.
  static func step(
    _ phases: [TrainingPhase], _ model: Model, _ optimizer: Optimizer, _ batch: [Tensor],
    onNonFinite: NonFinitePolicy = .ignore
  ) throws -> [Tensor] {
    numbers(
      try phases.map { phase in
        let (numbers, gradients) = try phase.gradients(of: model, batch, onNonFinite: onNonFinite)
        return (numbers, try phase.update(model, optimizer, with: gradients))
      })
  }
}
