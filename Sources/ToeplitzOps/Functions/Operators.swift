import ToeplitzTensor

// Operators between tensors, and between a tensor and a number on either side. A number takes the tensor's element type; two
// tensors have to have one type already. Shapes broadcast as in NumPy.

extension Tensor {
  /// The number as a tensor without dimensions, of this tensor's element type.
  ///
  /// - Throws: ``ToeplitzError`` of kind `dtype` if whole numbers cannot hold it: rounding it in silence would give a wrong
  ///   result.
  package func scalar<Scalar: TensorScalar>(like value: Scalar, _ operation: String) throws -> Tensor {
    if dtype.isFloatingPoint { return try Tensor.full([], value.doubleValue, dtype: dtype) }
    func exact<Element: TensorScalar>(_ type: Element.Type) throws -> Tensor {
      if let whole = value as? any BinaryInteger, let type = type as? any (FixedWidthInteger & TensorScalar).Type {
        if let result = try whole.tensor(of: type) { return result }
      } else {
        let converted = Element(converting: value.doubleValue)
        if converted.doubleValue == value.doubleValue { return try Tensor(scalar: converted) }
      }
      throw ToeplitzError(
        .dtype, operation, expected: "a number that \(dtype) elements can hold (cast the tensor to float32 first)",
        got: "\(value)")
    }
    return try exact(dtype.scalarType)
  }
}

extension BinaryInteger {
  /// A tensor without dimensions of the given element type, if that holds the number.
  fileprivate func tensor<Element: FixedWidthInteger & TensorScalar>(of type: Element.Type) throws -> Tensor? {
    try Element(exactly: self).map { try Tensor(scalar: $0) }
  }
}

// MARK: - Arithmetic

extension Tensor {
  /// Sum of each pair of elements.
  public static func + (a: Tensor, b: Tensor) throws -> Tensor { try a.combined(.add, b) }
  /// A number added to each element.
  public static func + <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a + a.scalar(like: b, "add")
  }
  /// A number added to each element.
  public static func + <Scalar: TensorScalar>(a: Scalar, b: Tensor) throws -> Tensor {
    try b.scalar(like: a, "add") + b
  }

  /// Difference of each pair of elements.
  public static func - (a: Tensor, b: Tensor) throws -> Tensor { try a.combined(.subtract, b) }
  /// A number subtracted from each element.
  public static func - <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a - a.scalar(like: b, "subtract")
  }
  /// Each element subtracted from a number.
  public static func - <Scalar: TensorScalar>(a: Scalar, b: Tensor) throws -> Tensor {
    try b.scalar(like: a, "subtract") - b
  }

  /// Product of each pair of elements.
  public static func * (a: Tensor, b: Tensor) throws -> Tensor { try a.combined(.multiply, b) }
  /// Each element times a number.
  public static func * <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a * a.scalar(like: b, "multiply")
  }
  /// A number times each element.
  public static func * <Scalar: TensorScalar>(a: Scalar, b: Tensor) throws -> Tensor {
    try b.scalar(like: a, "multiply") * b
  }

  /// Quotient of each pair of elements; integers truncate, and dividing one by zero throws.
  public static func / (a: Tensor, b: Tensor) throws -> Tensor { try a.combined(.divide, b) }
  /// Each element divided by a number.
  public static func / <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a / a.scalar(like: b, "divide")
  }
  /// A number divided by each element.
  public static func / <Scalar: TensorScalar>(a: Scalar, b: Tensor) throws -> Tensor {
    try b.scalar(like: a, "divide") / b
  }

  /// Remainder of each pair of elements, with the divisor's sign as in Python and NumPy.
  public static func % (a: Tensor, b: Tensor) throws -> Tensor { try a.remainder(b) }
  /// Remainder of each element divided by a number, with the number's sign as in Python and NumPy.
  public static func % <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.remainder(a.scalar(like: b, "remainder"))
  }

  /// Each element with the opposite sign.
  public static prefix func - (a: Tensor) throws -> Tensor { try a.negated() }
  /// The tensor itself.
  public static prefix func + (a: Tensor) -> Tensor { a }

  /// Adds to each element.
  public static func += (a: inout Tensor, b: Tensor) throws { a = try a + b }
  /// Adds a number to each element.
  public static func += <Scalar: TensorScalar>(a: inout Tensor, b: Scalar) throws { a = try a + b }
  /// Subtracts from each element.
  public static func -= (a: inout Tensor, b: Tensor) throws { a = try a - b }
  /// Subtracts a number from each element.
  public static func -= <Scalar: TensorScalar>(a: inout Tensor, b: Scalar) throws { a = try a - b }
  /// Multiplies each element.
  public static func *= (a: inout Tensor, b: Tensor) throws { a = try a * b }
  /// Multiplies each element by a number.
  public static func *= <Scalar: TensorScalar>(a: inout Tensor, b: Scalar) throws { a = try a * b }
  /// Divides each element.
  public static func /= (a: inout Tensor, b: Tensor) throws { a = try a / b }
  /// Divides each element by a number.
  public static func /= <Scalar: TensorScalar>(a: inout Tensor, b: Scalar) throws { a = try a / b }
}

// MARK: - Comparison

extension Tensor {
  /// Whether the elements of each pair are equal, as bool.
  ///
  /// As in NumPy it compares element by element; a tensor is not `Equatable`. For one answer see ``allClose(_:rtol:atol:equalNaN:)``
  /// and ``all()``.
  public static func == (a: Tensor, b: Tensor) throws -> Tensor { try a.equal(b) }
  /// Whether each element is equal to a number, as bool.
  public static func == <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.equal(a.scalar(like: b, "equal"))
  }
  /// Whether the elements of each pair differ, as bool.
  public static func != (a: Tensor, b: Tensor) throws -> Tensor { try a.notEqual(b) }
  /// Whether each element differs from a number, as bool.
  public static func != <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.notEqual(a.scalar(like: b, "notEqual"))
  }
  /// Whether the left of each pair is smaller, as bool.
  public static func < (a: Tensor, b: Tensor) throws -> Tensor { try a.less(b) }
  /// Whether each element is smaller than a number, as bool.
  public static func < <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.less(a.scalar(like: b, "less"))
  }
  /// Whether the left of each pair is not larger, as bool.
  public static func <= (a: Tensor, b: Tensor) throws -> Tensor { try a.lessOrEqual(b) }
  /// Whether each element is not larger than a number, as bool.
  public static func <= <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.lessOrEqual(a.scalar(like: b, "lessOrEqual"))
  }
  /// Whether the left of each pair is larger, as bool.
  public static func > (a: Tensor, b: Tensor) throws -> Tensor { try a.greater(b) }
  /// Whether each element is larger than a number, as bool.
  public static func > <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.greater(a.scalar(like: b, "greater"))
  }
  /// Whether the left of each pair is not smaller, as bool.
  public static func >= (a: Tensor, b: Tensor) throws -> Tensor { try a.greaterOrEqual(b) }
  /// Whether each element is not smaller than a number, as bool.
  public static func >= <Scalar: TensorScalar>(a: Tensor, b: Scalar) throws -> Tensor {
    try a.greaterOrEqual(a.scalar(like: b, "greaterOrEqual"))
  }
}

// MARK: - Logic and bits

extension Tensor {
  /// Both of each pair of truth values, or the bits that both whole numbers have.
  public static func & (a: Tensor, b: Tensor) throws -> Tensor {
    try a.dtype == .bool ? a.logicalAnd(b) : a.bitwiseAnd(b)
  }
  /// One or both of each pair of truth values, or the bits that one or both whole numbers have.
  public static func | (a: Tensor, b: Tensor) throws -> Tensor {
    try a.dtype == .bool ? a.logicalOr(b) : a.bitwiseOr(b)
  }
  /// Just one of each pair of truth values, or the bits that just one of the whole numbers has.
  public static func ^ (a: Tensor, b: Tensor) throws -> Tensor {
    try a.dtype == .bool ? a.logicalXor(b) : a.bitwiseXor(b)
  }
  /// The opposite of each truth value, or the bits that each whole number does not have.
  public static prefix func ~ (a: Tensor) throws -> Tensor {
    try a.dtype == .bool ? a.logicalNot() : a.bitwiseNot()
  }
}
