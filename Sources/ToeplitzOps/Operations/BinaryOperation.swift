import ToeplitzTensor

/// A function of two numbers, applied to each pair of elements with NumPy's broadcasting.
package struct Binary: TensorOperation {
  package enum Function: String, Sendable {
    case add, subtract, multiply, divide, power, minimum, maximum
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    /// Whether the result is truth.
    package var isComparison: Bool {
      switch self {
      case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: true
      default: false
      }
    }
  }

  package var function: Function
  package var name: String { function.rawValue }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    try require(
      inputs[0].dtype == inputs[1].dtype, .dtype, expected: "two tensors of one element type",
      got: "\(inputs[0].dtype) and \(inputs[1].dtype)")
    let isCompared = inputs[0].dtype == .bool && (function == .equal || function == .notEqual)
    try require(inputs[0].dtype.isNumber || isCompared, .dtype, expected: "numbers", got: "\(inputs[0].dtype)")
    let shape = try TensorShape.broadcast(inputs[0].shape, inputs[1].shape, operation: name)
    return [TensorSpec(shape, function.isComparison ? .bool : inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    if function.isComparison { return .zero }
    return .vjp { call in
      let (a, b, y, dy) = (call.x, call.inputs[1], call.y, try call.dy)
      guard a.dtype.isFloatingPoint else { return [nil, nil] }
      let parts = try partials(a, b, y, dy)
      return [try parts.0.summed(to: a.shape), try parts.1.summed(to: b.shape)]
    }
  }

  /// The cotangents of both operands, of the result's shape or one that broadcasts to it.
  private func partials(_ a: Tensor, _ b: Tensor, _ y: Tensor, _ dy: Tensor) throws -> (Tensor, Tensor) {
    switch function {
    case .add: return (dy, dy)
    case .subtract: return (dy, try dy.negated())
    case .multiply: return (try dy * b, try dy * a)
    case .divide: return (try dy / b, try (dy * y / b).negated())
    case .power:
      // x⁰ is 1 everywhere, and 0ᵇ is 0 for b near what it is: both have no slope, where the formulas would say NaN.
      let base = try (dy * b * a.pow(b - 1)).masked(by: b.notEqual(b.number(0)))
      let exponent = try (dy * y * a.log()).masked(by: a.notEqual(a.number(0)))
      return (base, exponent)
    case .minimum, .maximum:
      // Equal elements share the cotangent, as in PyTorch.
      let ties = try a.equal(b).cast(to: a.dtype) * 0.5
      let first = try (function == .minimum ? a.less(b) : a.greater(b)).cast(to: a.dtype)
      let share = try first + ties
      return (try dy * share, try dy * (share.negated() + 1))
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: return (dy, dy)
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Binary: PairOperation {
  package func pairs(_ call: PairCall) -> PairRule {
    let (a, b) = (call.contents[0], call.contents[1])
    let (hasMasked, hasProbabilities) = (call.has(.masked), call.has(.probabilities))
    switch function {
    case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: return call.question
    case .add where !hasProbabilities:
      let mask = (0..<2).first {
        call.changes[$0] && (call.extremes($0)?.lowerBound ?? 0) <= PairCall.mostOfLeftOut
      }
      if let mask { return .masked(by: mask, .small) }
      return hasMasked ? .content(.masked) : call.plain
    case .subtract where a == .masked && [.statistic, nil].contains(b): return .content(.masked)
    case .multiply where hasMasked && (call.isPositive(0) || call.isPositive(1)): return .content(.masked)
    case .multiply where hasProbabilities && !hasMasked: return .content(.probabilities)
    case .divide where a == .masked && call.isPositive(1): return .content(.masked)
    case .divide where a == .probabilities && [.statistic, nil].contains(b): return .content(.probabilities)
    default: return call.plain
    }
  }
}

extension Tensor {
  /// A function of each pair of elements.
  func combined(_ function: Binary.Function, _ other: Tensor) throws -> Tensor {
    try apply(Binary(function: function), self, other)
  }

  /// Each element raised to the power of its partner.
  public func pow(_ exponent: Tensor) throws -> Tensor { try apply(Binary(function: .power), self, exponent) }
  /// Each element raised to a power.
  public func pow<Scalar: TensorScalar>(_ exponent: Scalar) throws -> Tensor {
    try pow(scalar(like: exponent, "power"))
  }
  // Disfavoured below, or `x.min([1])` would compare with a tensor `[1]` and not reduce axis 1.
  /// The smaller of each element and a number; NaN wins.
  public func minimum<Scalar: TensorScalar>(_ other: Scalar) throws -> Tensor {
    try minimum(scalar(like: other, "minimum"))
  }
  /// The larger of each element and a number; NaN wins.
  public func maximum<Scalar: TensorScalar>(_ other: Scalar) throws -> Tensor {
    try maximum(scalar(like: other, "maximum"))
  }
  /// The smaller of each pair; NaN wins.
  @_disfavoredOverload
  public func minimum(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .minimum), self, other) }
  /// The larger of each pair; NaN wins.
  @_disfavoredOverload
  public func maximum(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .maximum), self, other) }
  /// Whether the elements of each pair are equal, as bool.
  public func equal(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .equal), self, other) }
  /// Whether the elements of each pair differ, as bool.
  public func notEqual(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .notEqual), self, other) }
  /// Whether the left of each pair is smaller, as bool.
  public func less(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .less), self, other) }
  /// Whether the left of each pair is not larger, as bool.
  public func lessOrEqual(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .lessOrEqual), self, other) }
  /// Whether the left of each pair is larger, as bool.
  public func greater(_ other: Tensor) throws -> Tensor { try apply(Binary(function: .greater), self, other) }
  /// Whether the left of each pair is not smaller, as bool.
  public func greaterOrEqual(_ other: Tensor) throws -> Tensor {
    try apply(Binary(function: .greaterOrEqual), self, other)
  }
}
