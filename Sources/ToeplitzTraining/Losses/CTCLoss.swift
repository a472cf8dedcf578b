import ToeplitzOps
import ToeplitzTensor

/// How badly a sequence says a shorter one, over all ways to align them (`CTCLoss`; Graves et al., *Connectionist Temporal
/// Classification*, 2006).
///
/// - Parameters:
///   - logProbabilities: logarithms of the probabilities of all classes, `[T, N, C]`, as ``Tensor/logSoftmax(axis:)`` gives them.
///   - targets: classes without blanks, int64 `[N, S]`; what lies behind a target's length does not matter.
///   - inputLengths: how many of the T positions count, one for each sample.
///   - targetLengths: how many of the S classes count, one for each sample.
///   - blank: the class that stands for nothing.
///   - zeroInfinity: whether samples whose target is too long for the input count as 0 instead of as infinite.
///   - reduction: `mean` divides each loss by its target's length first, as PyTorch does.
/// - Throws: ``ToeplitzError`` of kind `shape` if shapes do not fit, `argument` if lengths or `blank` lie outside.
public func ctc(
  _ logProbabilities: Tensor, _ targets: Tensor, inputLengths: [Int], targetLengths: [Int], blank: Int = 0,
  zeroInfinity: Bool = false, reduction: LossReduction = .mean
) throws -> Tensor {
  let x = logProbabilities
  guard x.rank == 3, x.dtype.isFloatingPoint, targets.rank == 2, targets.dtype == .int64,
    targets.shape[0] == x.shape[1], x.shape[0] > 0, x.shape[1] > 0
  else {
    throw ToeplitzError(
      .shape, "ctc", expected: "log probabilities [T, N, C] and int64 targets [N, S]",
      got: "\(x.spec) and \(targets.spec)")
  }
  let (time, batch, classes, size) = (x.shape[0], x.shape[1], x.shape[2], targets.shape[1])
  guard (0..<classes).contains(blank), inputLengths.count == batch, targetLengths.count == batch,
    inputLengths.allSatisfy({ (1...time).contains($0) }), targetLengths.allSatisfy({ (0...size).contains($0) })
  else {
    throw ToeplitzError(
      .argument, "ctc",
      expected: "a blank in 0..<\(classes), \(batch) input lengths in 1...\(time) and target lengths in 0...\(size)",
      got: "\(blank), \(inputLengths) and \(targetLengths)")
  }
  let lattice = try CTCLattice(targets, classes: classes, blank: blank, targetLengths: targetLengths)
  var alpha = try lattice.start(x.select(axis: 0, 0))
  for step in 1..<max(1, time) {
    let next = try lattice.advanced(alpha, x.select(axis: 0, step))
    guard inputLengths.contains(where: { $0 <= step }) else {
      alpha = next
      continue
    }
    let goesOn = try Tensor(inputLengths.map { $0 > step }, shape: [batch, 1], device: .cpu)
    alpha = try Tensor.where(goesOn, next, alpha)
  }
  var losses = try lattice.end(alpha).negated()
  // Further away than any sum of logarithms: there is no alignment.
  let isImpossible = try losses.greater(losses.number(-CTCLattice.never / 2))
  losses = try Tensor.where(isImpossible, losses.number(zeroInfinity ? 0 : .infinity), losses)
  guard reduction == .mean else { return try reduction(losses) }
  let lengths = try Tensor(targetLengths.map { Double(max(1, $0)) }).cast(to: x.dtype)
  return try (losses / lengths).mean()
}

/// The states of an alignment: each class of a target, and a blank before, between and after them.
private struct CTCLattice {
  /// The logarithm of the probability of what cannot be; finite, so that its slope is zero and not NaN.
  static let never = -1e30
  private let states: Tensor
  private let count: Int
  /// Whether a state may follow the one two before it: a class that differs from the class before.
  private let mayJump: Tensor
  private let targetLengths: [Int]

  init(_ targets: Tensor, classes: Int, blank: Int, targetLengths: [Int]) throws {
    let (batch, size) = (targets.shape[0], targets.shape[1])
    (count, self.targetLengths) = (2 * size + 1, targetLengths)
    let labels = try targets.scalars(Int64.self)
    var states = [Int64](repeating: Int64(blank), count: batch * count)
    var jumps = [Bool](repeating: false, count: batch * count)
    for sample in 0..<batch {
      for index in 0..<targetLengths[sample] {
        let label = labels[sample * size + index]
        guard label >= 0, label < classes, label != blank else {
          throw ToeplitzError(
            .argument, "ctc", expected: "targets in 0..<\(classes) other than the blank \(blank)", got: "\(label)")
        }
        let at = sample * count + 2 * index + 1
        states[at] = label
        jumps[at] = index > 0 && labels[sample * size + index - 1] != label
      }
    }
    self.states = try Tensor(states, shape: [batch, count], device: .cpu)
    mayJump = try Tensor(jumps, shape: [batch, count], device: .cpu)
  }

  /// The logarithms of all states' probabilities after the first position: it begins with a blank or the first class.
  func start(_ logs: Tensor) throws -> Tensor {
    let isFirst = try Tensor((0..<count).map { $0 < 2 }, shape: [1, count], device: .cpu)
    let own = try logs.gatheredElements(states, axis: 1)
    return try Tensor.where(isFirst.expanded(to: own.shape), own, own.number(Self.never))
  }

  /// Those after one more position.
  func advanced(_ alpha: Tensor, _ logs: Tensor) throws -> Tensor {
    func earlier(_ by: Int) throws -> Tensor {
      guard count > by else { return try Tensor.full(alpha.shape, Self.never, dtype: alpha.dtype) }
      let edge = try Tensor.full([alpha.shape[0], by], Self.never, dtype: alpha.dtype)
      return try Tensor.concatenate([edge, alpha.slice(axis: 1, 0..<(count - by))], axis: 1)
    }
    let jumped = try earlier(2)
    let ways = [alpha, try earlier(1), try Tensor.where(mayJump, jumped, jumped.number(Self.never))]
    return try Self.logSum(ways) + logs.gatheredElements(states, axis: 1)
  }

  /// The logarithm of each sample's probability: it ends with the last class or a blank after it.
  func end(_ alpha: Tensor) throws -> Tensor {
    let last = try Tensor(targetLengths.map { Int64(2 * $0) }, shape: [targetLengths.count, 1], device: .cpu)
    let before = try Tensor(
      targetLengths.map { Int64(max(0, 2 * $0 - 1)) }, shape: [targetLengths.count, 1], device: .cpu)
    let hasClass = try Tensor(targetLengths.map { $0 > 0 }, shape: [targetLengths.count, 1], device: .cpu)
    let label = try alpha.gatheredElements(before, axis: 1)
    let ways = [
      try alpha.gatheredElements(last, axis: 1), try Tensor.where(hasClass, label, label.number(Self.never)),
    ]
    return try Self.logSum(ways).squeezed(1)
  }

  /// The logarithm of a sum, given those of its parts.
  private static func logSum(_ logs: [Tensor]) throws -> Tensor {
    let largest = try logs.dropFirst().reduce(logs[0]) { try $0.maximum($1) }.stopGradient()
    let parts = try logs.map { try ($0 - largest).exp() }
    return try parts.dropFirst().reduce(parts[0]) { try $0 + $1 }.log() + largest
  }
}
