import ToeplitzTensor

/// A function of two truth values, applied to each pair of elements with NumPy's broadcasting.
package struct Logical: TensorOperation {
  package enum Function: String, Sendable { case and, or, xor }

  package var function: Function
  package var name: String { "logical \(function.rawValue)" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    for input in inputs { try require(input.dtype == .bool, .dtype, expected: "bool elements", got: "\(input.dtype)") }
    return [TensorSpec(try Shape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), .bool)]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: .bool, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    switch function {
    case .and: walk.map(Bool.self) { $0 && $1 }
    case .or: walk.map(Bool.self) { $0 || $1 }
    case .xor: walk.map(Bool.self) { $0 != $1 }
    }
    return [result]
  }
}

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
      TensorSpec(try Shape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), inputs[0].dtype)
    ]
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    func run<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) {
      switch function {
      case .and: walk.map(type) { $0 & $1 }
      case .or: walk.map(type) { $0 | $1 }
      case .xor: walk.map(type) { $0 ^ $1 }
      // Shifts by the width or more, and by negative numbers, give zeros (or ones, of a negative number to the right).
      case .shiftLeft: walk.map(type) { $1 < 0 ? 0 : $0 << $1 }
      case .shiftRight: walk.map(type) { $1 < 0 ? $0 >> T(T.bitWidth - 1) : $0 >> $1 }
      }
    }
    withInteger(result.dtype) { run($0) }
    return [result]
  }
}

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
      TensorSpec(try Shape.broadcast(inputs[0].shape, inputs[1].shape, operation: name), inputs[0].dtype)
    ]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (a, b, dy) = (call.x, call.inputs[1], try call.dy)
      guard a.dtype.isFloatingPoint else { return [nil, nil] }
      let quotient = try a / b
      let whole = try truncates ? quotient.roundedTowardZero() : quotient.roundedDown()
      return [try dy.summed(to: a.shape), try (dy * whole).negated().summed(to: b.shape)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    let walk = BroadcastWalk(inputs[0], inputs[1], result)
    let truncates = truncates
    func floating<T: TensorScalar>(_ type: T.Type) {
      walk.map(type) { T(converting: remainder($0.doubleValue, $1.doubleValue, truncates)) }
    }
    if result.dtype.isFloatingPoint {
      floating(result.dtype.scalarType)
      return [result]
    }
    func whole<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) throws {
      try require(
        try !inputs[1].scalars(type).contains(0), .argument, expected: "divisors other than 0", got: "0 (\(T.dtype))")
      walk.map(type) { a, b in
        let rest = a.remainderReportingOverflow(dividingBy: b).partialValue
        return !truncates && rest != 0 && (rest < 0) != (b < 0) ? rest &+ b : rest
      }
    }
    try withInteger(result.dtype) { try whole($0) }
    return [result]
  }
}

private func remainder(_ a: Double, _ b: Double, _ truncates: Bool) -> Double {
  let rest = a.truncatingRemainder(dividingBy: b)
  guard !truncates else { return rest }
  // Zero takes the divisor's sign too.
  if rest == 0 { return b.sign == .minus ? -0.0 : 0 }
  return (rest < 0) != (b < 0) ? rest + b : rest
}

/// Calls `body` with the Swift type of a whole-number element type.
func withInteger<R>(
  _ dtype: DType, _ body: (any (TensorScalar & FixedWidthInteger).Type) throws -> R
) rethrows -> R {
  switch dtype {
  case .int8: try body(Int8.self)
  case .uint8: try body(UInt8.self)
  case .int16: try body(Int16.self)
  case .uint16: try body(UInt16.self)
  case .int32: try body(Int32.self)
  case .uint32: try body(UInt32.self)
  case .uint64: try body(UInt64.self)
  default: try body(Int64.self)
  }
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

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let result = try Tensor(uninitialized: x.shape, dtype: .bool, operation: name)
    func run<T: TensorScalar>(_ type: T.Type, _ ask: (Double) -> Bool) {
      let (source, target) = (x.pointer(type), result.pointer(Bool.self))
      for index in 0..<x.count { target[index] = ask(source[index].doubleValue) }
    }
    switch question {
    case .isNaN: run(x.dtype.scalarType) { $0.isNaN }
    case .isZero: run(x.dtype.scalarType) { $0 == 0 }
    case .isInfinite(let positive, let negative):
      run(x.dtype.scalarType) { $0.isInfinite && ($0 > 0 ? positive : negative) }
    }
    withExtendedLifetime((x, result)) {}
    return [result]
  }
}

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
