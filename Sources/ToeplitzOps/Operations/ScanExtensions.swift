import ToeplitzTensor

extension Tensor {
  /// The products of the elements up to each one along `axis`.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  public func cumprod(axis: Int) throws -> Tensor { try accumulated(axis: axis, product: true) }

  /// Sums (or products) of the elements up to each one along `axis`.
  ///
  /// - Parameters:
  ///   - exclusive: whether the element itself does not count.
  ///   - reverse: whether it goes from the end.
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  package func accumulated(
    axis: Int, product: Bool = false, exclusive: Bool = false, reverse: Bool = false
  ) throws -> Tensor {
    let at = try shape.normalizedAxis(axis, operation: "cumulate")
    var x = reverse ? try flipped([at]) : self
    if exclusive, shape[at] > 0 {
      let first = try x.slice(axis: at, 0..<1)
      let start = try Tensor.full(first.shape, product ? 1 : 0, dtype: dtype)
      x = try Tensor.concatenate([start, x.slice(axis: at, 0..<(shape[at] - 1))], axis: at)
    }
    if product {
      var rows: [Tensor] = []
      for index in 0..<shape[at] {
        let row = try x.slice(axis: at, index..<(index + 1))
        rows.append(try rows.last.map { try $0 * row } ?? row)
      }
      x = rows.isEmpty ? x : try Tensor.concatenate(rows, axis: at)
    } else {
      x = try x.cumsum(axis: at).cast(to: dtype)
    }
    return reverse ? try x.flipped([at]) : x
  }
}
