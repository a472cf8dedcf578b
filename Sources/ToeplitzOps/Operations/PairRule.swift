import ToeplitzTensor

/// What is known of elements that are computed of pairs of positions, a query and a key, as the scores of attention are.
package enum PairContent: Sendable {
  case scores
  /// Those of keys that masks leave out are so small that their exponentials are zero.
  case masked
  /// Those of keys that masks leave out are zero.
  case probabilities
  /// One number for all keys of a query, which does not depend on keys that are left out.
  case statistic
  /// Truth values and others, of which nothing is known.
  case other
}

/// How an operation treats what masks leave out.
package enum PairRule: Sendable {
  /// The result is this.
  case content(PairContent)
  /// A constant operand leaves keys out.
  case masked(by: Int, MaskedPairs)
  /// Keys that are left out get a share of zero, the others what they have of a sum.
  case shares
  /// A key that is left out could change the result.
  case refused(because: String)
}

/// Which elements of a mask leave a key out.
package enum MaskedPairs: Sendable {
  /// Those of at most ``PairCall/mostOfLeftOut``.
  case small
  case ifTrue, ifFalse
}

/// What a rule of pairs is asked about.
package struct PairCall {
  /// What is added to a score that does not count is at most this: its exponential is zero beside others.
  package static let mostOfLeftOut = -1e4

  /// What is known of each operand that is computed of pairs.
  package let contents: [PairContent?]
  /// The operands that are constants.
  package let constants: [Tensor?]
  /// Whether each operand changes along queries or keys.
  package let changes: [Bool]
  /// Whether the operation joins all keys of a query.
  package let joinsKeys: Bool

  package init(contents: [PairContent?], constants: [Tensor?], changes: [Bool], joinsKeys: Bool) {
    (self.contents, self.constants, self.changes, self.joinsKeys) = (contents, constants, changes, joinsKeys)
  }

  /// Whether some operand is this.
  package func has(_ content: PairContent) -> Bool { contents.contains(content) }

  /// Whether no operand changes along keys.
  package var isStatistic: Bool { contents.allSatisfy { $0 == nil || $0 == .statistic } }

  /// The rule of operations that treat what is left out like anything else.
  package var plain: PairRule {
    if joinsKeys { return .refused(because: "it joins all positions in one number") }
    if has(.masked) || has(.probabilities) { return .refused(because: "it changes what masks leave out") }
    return .content(isStatistic ? .statistic : has(.other) ? .other : .scores)
  }

  /// The rule of operations that ask something of elements.
  package var question: PairRule { .content(isStatistic ? .statistic : .other) }

  /// The least and the greatest element of a constant.
  package func extremes(_ operand: Int) -> ClosedRange<Double>? {
    guard let tensor = constants[operand], tensor.dtype.isFloatingPoint, tensor.count > 0,
      let low = try? tensor.cast(to: .float64).min().item(Double.self),
      let high = try? tensor.cast(to: .float64).max().item(Double.self), low <= high
    else { return nil }
    return low...high
  }

  /// Whether an operand is a constant of numbers above 0.
  package func isPositive(_ operand: Int) -> Bool { extremes(operand).map { $0.lowerBound > 0 } ?? false }
}

/// An operation that has to do with masks and with what they leave out.
package protocol PairOperation: TensorOperation {
  /// What the result is, of operands some of which are computed of pairs.
  func pairs(_ call: PairCall) -> PairRule

  /// The axes of the first operand whose positions it joins, and whether the result has them too.
  func joinedAxes(_ shape: TensorShape) -> (axes: [Int], areKept: Bool)
}

extension PairOperation {
  /// None.
  package func joinedAxes(_ shape: TensorShape) -> (axes: [Int], areKept: Bool) { ([], true) }
}

/// An operation that moves or converts elements.
package protocol PairMove: PairOperation {}

extension PairMove {
  /// What the operand is.
  package func pairs(_ call: PairCall) -> PairRule { .content(call.contents[0] ?? .other) }
}

/// An operation whose results are answers to questions about elements.
package protocol PairQuestion: PairOperation {}

extension PairQuestion {
  /// Nothing is known of the answers.
  package func pairs(_ call: PairCall) -> PairRule { call.question }
}

/// A product that sums over the last axis of the first operand and the last but one of the second.
package protocol RowsTimesColumns: TensorOperation {}

/// An operation that is told by the shape of its result.
package protocol ShapingOperation: TensorOperation {}
