import ToeplitzOps
import ToeplitzTensor

/// What becomes of the losses of single elements.
public enum LossReduction: String, Sendable, CaseIterable {
  /// Their mean.
  case mean
  /// Their sum.
  case sum
  /// Nothing: all are returned.
  case none

  func callAsFunction(_ losses: Tensor) throws -> Tensor {
    switch self {
    case .mean: try losses.mean()
    case .sum: try losses.sum()
    case .none: losses
    }
  }
}

/// Throws unless both are alike: a loss that broadcasts is a mistake nearly always.
private func requireAlike(_ input: Tensor, _ target: Tensor, _ loss: String) throws {
  guard input.spec == target.spec, input.dtype.isFloatingPoint else {
    throw ToeplitzError(
      .shape, loss, expected: "a floating-point input and a target like it", got: "\(input.spec) and \(target.spec)")
  }
}

/// The mean absolute difference (`L1Loss`).
///
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike.
public func l1(_ input: Tensor, _ target: Tensor, reduction: LossReduction = .mean) throws -> Tensor {
  try requireAlike(input, target, "l1")
  return try reduction((input - target).abs())
}

/// The mean squared difference (`MSELoss`).
///
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike.
public func mse(_ input: Tensor, _ target: Tensor, reduction: LossReduction = .mean) throws -> Tensor {
  try requireAlike(input, target, "mse")
  let difference = try input - target
  return try reduction(difference * difference)
}

/// Half the squared difference up to `delta`, from there on `delta` times the difference less `delta / 2` (`HuberLoss`).
///
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike, `argument` unless `delta` is positive.
public func huber(
  _ input: Tensor, _ target: Tensor, delta: Double = 1, reduction: LossReduction = .mean
) throws -> Tensor {
  try requireAlike(input, target, "huber")
  guard delta > 0 else { throw ToeplitzError(.argument, "huber", expected: "a positive delta", got: "\(delta)") }
  let difference = try input - target
  let distance = try difference.abs()
  let isNear = try distance.less(distance.number(delta))
  return try reduction(Tensor.where(isNear, difference * difference * 0.5, (distance + -delta / 2) * delta))
}

/// Half the squared difference divided by `beta` up to `beta`, from there on the difference less `beta / 2` (`SmoothL1Loss`);
/// ``l1(_:_:reduction:)`` if `beta` is 0.
///
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike, `argument` if `beta` is negative.
public func smoothL1(
  _ input: Tensor, _ target: Tensor, beta: Double = 1, reduction: LossReduction = .mean
) throws -> Tensor {
  guard beta >= 0 else { throw ToeplitzError(.argument, "smoothL1", expected: "beta of at least 0", got: "\(beta)") }
  guard beta > 0 else { return try l1(input, target, reduction: reduction) }
  try requireAlike(input, target, "smoothL1")
  let difference = try input - target
  let distance = try difference.abs()
  let isNear = try distance.less(distance.number(beta))
  return try reduction(Tensor.where(isNear, difference * difference * (0.5 / beta), distance + -beta / 2))
}

/// How badly logits say the right class (`CrossEntropyLoss`).
///
/// - Parameters:
///   - input: logits `[N, C]` or `[N, C, …]`.
///   - target: classes, int64 `[N]` or `[N, …]`; or the probability of each class, like the input.
///   - weight: how much each class counts, `[C]`; the mean is divided by the weights of the targets.
///   - ignoreIndex: targets of this class do not count.
///   - labelSmoothing: how much of the target is spread evenly over all classes.
/// - Throws: ``ToeplitzError`` if shapes do not fit, or the smoothing is not in 0...1; of kind `argument` if a class in a target
///   whose elements are known is not below C.
public func crossEntropy(
  _ input: Tensor, _ target: Tensor, weight: Tensor? = nil, ignoreIndex: Int = -100, labelSmoothing: Double = 0,
  reduction: LossReduction = .mean
) throws -> Tensor {
  func refuse(_ expected: String, _ got: String, _ kind: ToeplitzError.Kind = .shape) -> ToeplitzError {
    ToeplitzError(kind, "crossEntropy", expected: expected, got: got)
  }
  guard input.rank >= 2, input.dtype.isFloatingPoint, input.shape[1] > 0 else {
    throw refuse("floating-point logits [N, C, …]", "\(input.spec)")
  }
  guard (0...1).contains(labelSmoothing) else {
    throw refuse("a labelSmoothing in 0...1", "\(labelSmoothing)", .argument)
  }
  let classes = input.shape[1]
  if let weight, weight.spec != TensorSpec([classes], input.dtype) {
    throw refuse("weights \(TensorSpec([classes], input.dtype))", "\(weight.spec)")
  }
  let ones = [Int](repeating: 1, count: input.rank - 2)
  let spread = try weight?.reshaped(TensorShape([1, classes] + ones))
  let logs = try input.logSoftmax(axis: 1)
  if target.spec == input.spec {
    let smooth =
      labelSmoothing == 0 ? target : try target * (1 - labelSmoothing) + labelSmoothing / Double(classes)
    let weighted = try spread.map { try logs * $0 } ?? logs
    let losses = try (weighted * smooth).sum([1]).negated()
    return reduction == .mean ? try losses.mean() : try reduction(losses)
  }
  let positions = TensorShape([input.shape[0]] + input.shape.dropFirst(2))
  guard target.spec == TensorSpec(positions, .int64) else {
    throw refuse("classes int64\(positions), or probabilities \(input.spec)", "\(target.spec)")
  }
  if !target.isTraced {
    let wrong = try target.scalars(Int64.self).first { ($0 < 0 || $0 >= classes) && $0 != ignoreIndex }
    if let wrong { throw refuse("classes in 0..<\(classes) (or ignoreIndex)", "\(wrong)", .argument) }
  }
  let counts = try target.notEqual(target.number(Double(ignoreIndex)))
  let index = try Tensor.where(counts, target, target.number(0)).unsqueezed(1)
  let share = try counts.cast(to: input.dtype)
  // How much each position counts.
  let amount =
    try spread.map { try $0.expanded(to: input.shape).gatheredElements(index, axis: 1).squeezed(1) * share } ?? share
  var losses = try (logs.gatheredElements(index, axis: 1).squeezed(1) * amount).negated()
  if labelSmoothing > 0 {
    let all = try (spread.map { try logs * $0 } ?? logs).sum([1]).negated() * share
    losses = try losses * (1 - labelSmoothing) + all * (labelSmoothing / Double(classes))
  }
  return reduction == .mean ? try losses.sum() / amount.sum() : try reduction(losses)
}

/// How badly logits say yes or no (`BCEWithLogitsLoss`).
///
/// - Parameters:
///   - target: the probability of yes, like the input.
///   - posWeight: how much more yes counts; broadcasts to the input.
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike.
public func binaryCrossEntropyWithLogits(
  _ input: Tensor, _ target: Tensor, posWeight: Tensor? = nil, reduction: LossReduction = .mean
) throws -> Tensor {
  try requireAlike(input, target, "binaryCrossEntropyWithLogits")
  let no = try (target.negated() + 1) * input
  let yes = try input.logSigmoid()
  guard let posWeight else { return try reduction(no - yes) }
  return try reduction(no - ((posWeight + -1) * target + 1) * yes)
}

/// The Kullback-Leibler divergence of logarithms of probabilities from probabilities (`KLDivLoss`): of each element
/// `target · (log target − input)`.
///
/// The divergence of whole distributions is the sum; PyTorch's `batchmean` is the sum divided by the batch's size.
///
/// - Parameter logTarget: whether the target is given as logarithms too.
/// - Throws: ``ToeplitzError`` of kind `shape` unless input and target are alike.
public func klDivergence(
  _ input: Tensor, _ target: Tensor, logTarget: Bool = false, reduction: LossReduction = .mean
) throws -> Tensor {
  try requireAlike(input, target, "klDivergence")
  if logTarget { return try reduction(target.exp() * (target - input)) }
  // 0 log 0 is 0.
  let isPositive = try target.greater(target.number(0))
  let logs = try Tensor.where(isPositive, target, target.number(1)).log()
  return try reduction(target * logs - target * input)
}

/// One minus the cosine of the angle between rows that belong together, the cosine (above `margin`) of others
/// (`CosineEmbeddingLoss`).
///
/// - Parameters:
///   - first: `[N, D]`.
///   - second: `[N, D]`.
///   - target: `[N]`, 1 or −1, of the rows' element type.
/// - Throws: ``ToeplitzError`` of kind `shape` if shapes do not fit.
public func cosineEmbedding(
  _ first: Tensor, _ second: Tensor, _ target: Tensor, margin: Double = 0, reduction: LossReduction = .mean
) throws -> Tensor {
  try requireAlike(first, second, "cosineEmbedding")
  guard first.rank == 2, target.spec == TensorSpec([first.shape[0]], first.dtype) else {
    throw ToeplitzError(
      .shape, "cosineEmbedding", expected: "rows [N, D] and targets [N] of their type",
      got: "\(first.spec) and \(target.spec)")
  }
  // PyTorch's constant.
  let eps = 1e-12
  let squares = try ((first * first).sum([1]) + eps) * ((second * second).sum([1]) + eps)
  let cosine = try (first * second).sum([1]) / squares.sqrt()
  let zero = try target.number(0)
  let same = try Tensor.where(target.equal(target.number(1)), cosine.negated() + 1, zero)
  let other = try Tensor.where(target.equal(target.number(-1)), (cosine + -margin).clip(from: 0), zero)
  return try reduction(same + other)
}
