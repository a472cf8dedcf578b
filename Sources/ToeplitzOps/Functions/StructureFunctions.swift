import ToeplitzTensor

// Functions that join, extend, repeat and look up, under the field's names.

/// The tensors one after another along an axis (`torch.cat`).
public func concatenate(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor {
  try Tensor.concatenate(tensors, axis: axis)
}

/// The tensors along a new axis (`torch.stack`).
public func stack(_ tensors: [Tensor], axis: Int = 0) throws -> Tensor { try Tensor.stack(tensors, axis: axis) }

/// The tensor extended (or, by negative numbers, cropped) at the ends of its last axes, in PyTorch's order.
///
/// ```swift
/// let wide = try pad(images, [1, 2])        // one column on the left, two on the right
/// let framed = try pad(images, [1, 1, 3, 3])  // left, right, top, bottom
/// ```
///
/// - Parameters:
///   - padding: how many positions before and after the last axis, then before and after the one in front of it, and so on.
///   - mode: what the new positions hold; `value` for `.zeros`.
/// - Throws: ``ToeplitzError`` if there are more pairs than axes or an odd number of sizes.
public func pad(_ x: Tensor, _ padding: [Int], mode: PaddingMode = .zeros, value: Double = 0) throws -> Tensor {
  guard padding.count % 2 == 0, padding.count <= 2 * x.rank else {
    throw ToeplitzError(
      .argument, "pad", expected: "two sizes for each of at most \(x.rank) axes, the last axis first", got: "\(padding)"
    )
  }
  let pairs = (0..<(padding.count / 2)).map {
    (axis: x.rank - 1 - $0, low: padding[2 * $0], high: padding[2 * $0 + 1])
  }
  return try x.padded(pairs, mode: mode, value: value)
}

/// `x Wᵀ + b` for each row of `x` `[…, in]`, of a weight `[out, in]` and a bias `[out]` (see `Linear`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if shapes or element types do not fit.
public func linear(_ x: Tensor, _ weight: Tensor, bias: Tensor? = nil) throws -> Tensor {
  try x.linear(weight: weight, bias: bias)
}

/// The rows of a table `[count, width]` that `indices` name: `indices.shape + [width]`.
///
/// - Throws: ``ToeplitzError`` if an index is not in `0..<count` or the indices are not whole numbers.
public func embedding(_ indices: Tensor, _ table: Tensor) throws -> Tensor { try table.embedding(indices) }

extension Tensor {
  /// For each element that of `a` where `condition` is true, a number elsewhere.
  public static func `where`<Scalar: TensorScalar>(_ condition: Tensor, _ a: Tensor, _ b: Scalar) throws -> Tensor {
    try Tensor.where(condition, a, a.scalar(like: b, "where"))
  }
  /// A number for each element where `condition` is true, that of `b` elsewhere.
  public static func `where`<Scalar: TensorScalar>(_ condition: Tensor, _ a: Scalar, _ b: Tensor) throws -> Tensor {
    try Tensor.where(condition, b.scalar(like: a, "where"), b)
  }
}

extension Tensor {
  /// The tensor repeated along each axis, as `numpy.tile` and `torch.Tensor.repeat`; missing axes in front are added.
  ///
  /// - Throws: ``ToeplitzError`` if there are fewer numbers than axes or one is below 0.
  public func tiled(_ repeats: [Int]) throws -> Tensor {
    guard repeats.count >= rank, repeats.allSatisfy({ $0 >= 0 }) else {
      throw ToeplitzError(.argument, "tile", expected: "\(rank) repeats of at least 0", got: "\(repeats)")
    }
    let sizes = [Int](repeating: 1, count: repeats.count - rank) + shape
    let between = try reshaped(TensorShape(sizes.flatMap { [1, $0] }))
    let wide = try between.expanded(to: TensorShape(zip(repeats, sizes).flatMap { [$0, $1] }))
    let products = try zip(repeats, sizes).map { count, size -> Int in
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw ToeplitzError(.shape, "tile", expected: "fewer elements", got: "\(repeats)") }
      return product
    }
    return try wide.reshaped(TensorShape(products))
  }

  /// The tensor repeated along each axis, as `numpy.tile` and `torch.Tensor.repeat`; missing axes in front are added.
  ///
  /// - Throws: ``ToeplitzError`` if there are fewer numbers than axes or one is below 0.
  public func tiled(_ repeats: Int...) throws -> Tensor { try tiled(repeats) }

  /// For each whole number of the tensor a row of `count` zeros with a one at its place: `shape + [count]`.
  ///
  /// A number that is no place gives a row of zeros.
  ///
  /// - Throws: ``ToeplitzError`` if the elements are not whole numbers.
  public func oneHot(_ count: Int, dtype: DType = .float32) throws -> Tensor {
    guard self.dtype.isInteger, count >= 0 else {
      throw ToeplitzError(
        .dtype, "oneHot", expected: "whole numbers and a count of at least 0", got: "\(self.dtype), \(count)")
    }
    return try unsqueezed(-1).equal(Tensor(0..<count).cast(to: self.dtype)).cast(to: dtype)
  }

  /// The matrices `[…, rows, columns]` with zeros above the given diagonal (0 is the main one, 1 that above it).
  ///
  /// - Throws: ``ToeplitzError`` if there are fewer than two axes.
  public func tril(_ diagonal: Int = 0) throws -> Tensor {
    try Tensor.where(columnsLessRows("tril") <= diagonal, self, 0)
  }

  /// The matrices `[…, rows, columns]` with zeros below the given diagonal (0 is the main one, 1 that above it).
  ///
  /// - Throws: ``ToeplitzError`` if there are fewer than two axes.
  public func triu(_ diagonal: Int = 0) throws -> Tensor {
    try Tensor.where(columnsLessRows("triu") >= diagonal, self, 0)
  }

  /// For each element of a matrix the number of its column less that of its row.
  private func columnsLessRows(_ operation: String) throws -> Tensor {
    guard rank >= 2 else {
      throw ToeplitzError(.shape, operation, expected: "matrices [..., rows, columns]", got: "shape \(shape)")
    }
    return try Tensor(0..<shape[rank - 1]) - Tensor(0..<shape[rank - 2]).unsqueezed(1)
  }
}
