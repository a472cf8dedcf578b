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

  /// All elements in row-major order: ``scalars(_:)`` under a name that reads well with a type.
  ///
  /// - Throws: ``ToeplitzError`` of kind `dtype` if the elements are not of type `Scalar`.
  public func scalars<Scalar: TensorScalar>(of type: Scalar.Type) throws -> [Scalar] { try scalars(type) }
}

// MARK: - Reductions of one axis

extension Tensor {
  /// The sum along `axis`, accumulated in double precision; integers give int64.
  public func sum(axis: Int, keepsAxis: Bool = false) throws -> Tensor { try sum([axis], keepsAxes: keepsAxis) }
  /// The mean along `axis`.
  public func mean(axis: Int, keepsAxis: Bool = false) throws -> Tensor { try mean([axis], keepsAxes: keepsAxis) }
  /// The product along `axis`; integers give int64.
  public func product(axis: Int, keepsAxis: Bool = false) throws -> Tensor {
    try product([axis], keepsAxes: keepsAxis)
  }
  /// The largest element along `axis`; NaN wins.
  public func max(axis: Int, keepsAxis: Bool = false) throws -> Tensor { try max([axis], keepsAxes: keepsAxis) }
  /// The smallest element along `axis`; NaN wins.
  public func min(axis: Int, keepsAxis: Bool = false) throws -> Tensor { try min([axis], keepsAxes: keepsAxis) }
  /// The variance along `axis`, divided by the count less `correction` (1: unbiased, 0: population, as NumPy's).
  public func variance(axis: Int, correction: Double = 1, keepsAxis: Bool = false) throws -> Tensor {
    try variance([axis], correction: correction, keepsAxes: keepsAxis)
  }
}

// MARK: - Sizes as an array or as arguments

extension Tensor {
  /// The same elements in row-major order under another shape; one size may be −1 and is worked out.
  public func reshaped(_ sizes: Int...) throws -> Tensor { try reshaped(TensorShape(sizes)) }
  /// The same elements in row-major order under another shape; one size may be −1 and is worked out.
  @_disfavoredOverload
  public func reshaped(_ sizes: [Int]) throws -> Tensor { try reshaped(TensorShape(sizes)) }
  /// Axes of size 1 repeated to give these sizes, as a view; −1 keeps a size.
  @_disfavoredOverload
  public func expanded(to sizes: [Int]) throws -> Tensor { try expanded(to: TensorShape(sizes)) }
  /// The axes in the given order.
  public func permuted(_ order: Int...) throws -> Tensor { try permuted(order) }
}
