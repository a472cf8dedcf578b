import ToeplitzTensor

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
  /// The standard deviation along `axis`: the root of the ``variance(axis:correction:keepsAxis:)``.
  public func std(axis: Int, correction: Double = 1, keepsAxis: Bool = false) throws -> Tensor {
    try std([axis], correction: correction, keepsAxes: keepsAxis)
  }
}

// MARK: - As functions

/// The sum over the given axes (all if nil).
public func sum(_ x: Tensor, _ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
  try x.sum(axes, keepsAxes: keepsAxes)
}

/// The sum along `axis`.
public func sum(_ x: Tensor, axis: Int, keepsAxis: Bool = false) throws -> Tensor {
  try x.sum(axis: axis, keepsAxis: keepsAxis)
}

/// The mean over the given axes (all if nil).
public func mean(_ x: Tensor, _ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
  try x.mean(axes, keepsAxes: keepsAxes)
}

/// The mean along `axis`.
public func mean(_ x: Tensor, axis: Int, keepsAxis: Bool = false) throws -> Tensor {
  try x.mean(axis: axis, keepsAxis: keepsAxis)
}

/// The product over the given axes (all if nil).
public func product(_ x: Tensor, _ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
  try x.product(axes, keepsAxes: keepsAxes)
}

/// The product along `axis`.
public func product(_ x: Tensor, axis: Int, keepsAxis: Bool = false) throws -> Tensor {
  try x.product(axis: axis, keepsAxis: keepsAxis)
}

/// The largest element over the given axes (all if nil).
public func max(_ x: Tensor, _ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
  try x.max(axes, keepsAxes: keepsAxes)
}

/// The largest element along `axis`.
public func max(_ x: Tensor, axis: Int, keepsAxis: Bool = false) throws -> Tensor {
  try x.max(axis: axis, keepsAxis: keepsAxis)
}

/// The smallest element over the given axes (all if nil).
public func min(_ x: Tensor, _ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
  try x.min(axes, keepsAxes: keepsAxes)
}

/// The smallest element along `axis`.
public func min(_ x: Tensor, axis: Int, keepsAxis: Bool = false) throws -> Tensor {
  try x.min(axis: axis, keepsAxis: keepsAxis)
}

/// The variance over the given axes (all if nil).
public func variance(_ x: Tensor, _ axes: [Int]? = nil, correction: Double = 1, keepsAxes: Bool = false) throws
  -> Tensor
{
  try x.variance(axes, correction: correction, keepsAxes: keepsAxes)
}

/// The variance along `axis`.
public func variance(_ x: Tensor, axis: Int, correction: Double = 1, keepsAxis: Bool = false) throws -> Tensor {
  try x.variance(axis: axis, correction: correction, keepsAxis: keepsAxis)
}

/// The standard deviation over the given axes (all if nil).
public func std(_ x: Tensor, _ axes: [Int]? = nil, correction: Double = 1, keepsAxes: Bool = false) throws -> Tensor {
  try x.std(axes, correction: correction, keepsAxes: keepsAxes)
}

/// The standard deviation along `axis`.
public func std(_ x: Tensor, axis: Int, correction: Double = 1, keepsAxis: Bool = false) throws -> Tensor {
  try x.std(axis: axis, correction: correction, keepsAxis: keepsAxis)
}

/// The index of the first largest element along `axis` (of all elements if nil), as int64.
public func argmax(_ x: Tensor, axis: Int? = nil, keepsAxis: Bool = false) throws -> Tensor {
  try x.argmax(axis: axis, keepsAxis: keepsAxis)
}

/// The index of the first smallest element along `axis` (of all elements if nil), as int64.
public func argmin(_ x: Tensor, axis: Int? = nil, keepsAxis: Bool = false) throws -> Tensor {
  try x.argmin(axis: axis, keepsAxis: keepsAxis)
}

/// The sums of all elements up to each one along `axis`.
public func cumsum(_ x: Tensor, axis: Int) throws -> Tensor { try x.cumsum(axis: axis) }

/// The products of all elements up to each one along `axis`.
public func cumprod(_ x: Tensor, axis: Int) throws -> Tensor { try x.cumprod(axis: axis) }
