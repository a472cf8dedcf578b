import ToeplitzTensor

/// A function of two truth values, applied to each pair of elements with NumPy's broadcasting.
package struct Logical: TensorOperation {
  package enum Function: String, Sendable { case and, or, xor }

  package var function: Function
  package var name: String { "logical \(function.rawValue)" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    for input in inputs { try require(input.dtype == .bool, .dtype, expected: "bool elements", got: "\(input.dtype)") }
    return [TensorSpec(try TensorShape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), .bool)]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Logical: PairQuestion {}

/// A function of the bits of two whole numbers, applied to each pair of elements with NumPy's broadcasting.
package struct Bitwise: TensorOperation {
  package enum Function: String, Sendable { case and, or, xor, shiftLeft, shiftRight }

  package var function: Function
  package var name: String { "bitwise \(function.rawValue)" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    try require(
      inputs[0].dtype.isInteger && inputs[0].dtype == inputs[1].dtype, .dtype, expected: "whole numbers of one type",
      got: "\(inputs[0].dtype) and \(inputs[1].dtype)")
    return [
      TensorSpec(try TensorShape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), inputs[0].dtype)
    ]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Bitwise: PairQuestion {}

/// The remainder of a division, applied to each pair of elements with NumPy's broadcasting.
package struct Remainder: TensorOperation {
  /// Whether the result has the sign of the dividend, as in C; otherwise that of the divisor, as in Python.
  package var truncates: Bool
  package var name: String { "remainder" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    try require(
      inputs[0].dtype.isNumber && inputs[0].dtype == inputs[1].dtype, .dtype, expected: "numbers of one type",
      got: "\(inputs[0].dtype) and \(inputs[1].dtype)")
    return [
      TensorSpec(try TensorShape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), inputs[0].dtype)
    ]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (a, b, dy) = (call.x, call.inputs[1], try call.dy)
      guard a.dtype.isFloatingPoint else { return [nil, nil] }
      let quotient = try a / b
      let whole = try truncates ? quotient.trunc() : quotient.floor()
      return [try dy.summed(to: a.shape), try (dy * whole).negated().summed(to: b.shape)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

/// A question about each element, answered by true or false.
package struct Classify: TensorOperation {
  package enum Question: Sendable, Hashable {
    case isNaN
    case isInfinite(positive: Bool, negative: Bool)
    case isZero
  }

  package var question: Question
  package var name: String {
    switch question {
    case .isNaN: "isNaN"
    case .isInfinite: "isInfinite"
    case .isZero: "not"
    }
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(inputs[0].shape, .bool)]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Classify: PairQuestion {}

extension Tensor {
  /// Whether both elements of each pair of truth values are true.
  public func logicalAnd(_ other: Tensor) throws -> Tensor { try apply(Logical(function: .and), self, other) }
  /// Whether one element or both of each pair of truth values are true.
  public func logicalOr(_ other: Tensor) throws -> Tensor { try apply(Logical(function: .or), self, other) }
  /// Whether just one element of each pair of truth values is true.
  public func logicalXor(_ other: Tensor) throws -> Tensor { try apply(Logical(function: .xor), self, other) }
  /// Whether each element is zero or false.
  public func logicalNot() throws -> Tensor { try apply(Classify(question: .isZero), self) }
  /// The bits that both whole numbers of each pair have.
  public func bitwiseAnd(_ other: Tensor) throws -> Tensor { try apply(Bitwise(function: .and), self, other) }
  /// The bits that one or both whole numbers of each pair have.
  public func bitwiseOr(_ other: Tensor) throws -> Tensor { try apply(Bitwise(function: .or), self, other) }
  /// The bits that just one whole number of each pair has.
  public func bitwiseXor(_ other: Tensor) throws -> Tensor { try apply(Bitwise(function: .xor), self, other) }
  /// The bits that each whole number does not have.
  public func bitwiseNot() throws -> Tensor { try bitwiseXor(Tensor.full([], -1, dtype: .int64).cast(to: dtype)) }
  /// The bits of each whole number moved up by its partner; zeros come in, and bits that go over the top are lost.
  public func shiftedLeft(_ other: Tensor) throws -> Tensor { try apply(Bitwise(function: .shiftLeft), self, other) }
  /// The bits of each whole number moved down by its partner; the sign comes in.
  public func shiftedRight(_ other: Tensor) throws -> Tensor { try apply(Bitwise(function: .shiftRight), self, other) }
  /// The remainder of each element divided by its partner.
  ///
  /// - Parameter truncates: whether it has the sign of the dividend, as in C; otherwise that of the divisor, as in
  ///   Python.
  /// - Throws: ``ToeplitzError`` if a whole number is divided by zero.
  public func remainder(_ other: Tensor, truncates: Bool = false) throws -> Tensor {
    try apply(Remainder(truncates: truncates), self, other)
  }
  /// Whether each element is not a number.
  public func isNaN() throws -> Tensor { try apply(Classify(question: .isNaN), self) }
  /// Whether each element is infinite, of the signs asked for.
  public func isInfinite(positive: Bool = true, negative: Bool = true) throws -> Tensor {
    try apply(Classify(question: .isInfinite(positive: positive, negative: negative)), self)
  }
}
