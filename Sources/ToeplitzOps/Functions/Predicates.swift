import ToeplitzTensor

extension Tensor {
  /// Whether each element is neither infinite nor NaN.
  public func isFinite() throws -> Tensor {
    guard dtype.isFloatingPoint else { return try Tensor.full(shape, 1, dtype: .bool) }
    return try isNaN().logicalOr(isInfinite()).logicalNot()
  }

  /// Whether all truth values are true (all numbers other than zero); true of no elements.
  ///
  /// - Throws: ``ToeplitzError`` in code that is traced.
  public func all() throws -> Bool { try truths().allSatisfy { $0 } }

  /// Whether one truth value or more is true (one number other than zero).
  ///
  /// - Throws: ``ToeplitzError`` in code that is traced.
  public func any() throws -> Bool { try truths().contains(true) }

  private func truths() throws -> [Bool] {
    try (dtype == .bool ? self : self != Tensor.full([], 0, dtype: dtype)).scalars(Bool.self)
  }

  /// Whether `|self − other| ≤ atol + rtol · |other|` for each pair of elements, as `numpy.allclose`.
  ///
  /// Shapes broadcast; the element types may differ.
  ///
  /// - Parameters:
  ///   - other: what is expected.
  ///   - rtol: the relative tolerance.
  ///   - atol: the absolute tolerance.
  ///   - equalNaN: whether a NaN is close to a NaN.
  /// - Throws: ``ToeplitzError`` if the shapes do not broadcast, and in code that is traced.
  public func allClose(
    _ other: Tensor, rtol: Double = 1e-5, atol: Double = 1e-8, equalNaN: Bool = false
  ) throws -> Bool {
    let shape = try TensorShape.broadcast(shape, other.shape, operation: "allClose")
    let mine = try expanded(to: shape).cast(to: .float64).scalars(Double.self)
    let theirs = try other.expanded(to: shape).cast(to: .float64).scalars(Double.self)
    return zip(mine, theirs).allSatisfy { a, b in
      if a == b || (equalNaN && a.isNaN && b.isNaN) { return true }
      return b.isFinite && Swift.abs(a - b) <= atol + rtol * Swift.abs(b)
    }
  }
}
