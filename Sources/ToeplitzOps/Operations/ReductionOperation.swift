import ToeplitzTensor

/// Elements along some axes combined into one number.
package struct Reduction: TensorOperation {
  package enum Function: String, Sendable {
    case sum, mean, product, maximum, minimum, variance, argMaximum, argMinimum
  }

  package var function: Function
  /// The axes that disappear; all if nil.
  package var axes: [Int]?
  package var keepsAxes: Bool
  /// For the variance: subtracted from the count in the divisor.
  package var correction: Double = 1
  package var name: String { function.rawValue }

  package func reduced(_ shape: TensorShape) throws -> [Int] {
    guard let axes else { return Array(shape.indices) }
    let normal = try axes.map { try shape.normalizedAxis($0, operation: name) }
    try require(Set(normal).count == normal.count, .argument, expected: "each axis once", got: "\(axes)")
    return normal.sorted()
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    let gone = try reduced(shape)
    let count = gone.reduce(1) { $0 * shape[$1] }
    var result = dtype
    switch function {
    case .sum, .product: result = dtype.isFloatingPoint ? dtype : .int64
    case .mean, .variance:
      try require(dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(dtype)")
    case .argMaximum, .argMinimum:
      result = .int64
      fallthrough
    case .maximum, .minimum:
      try require(count > 0, expected: "at least one element to choose from", got: "shape \(shape)")
    }
    let sizes = shape.indices.compactMap { gone.contains($0) ? (keepsAxes ? 1 : nil) : shape[$0] }
    return [TensorSpec(TensorShape(sizes), result)]
  }

  package var gradient: GradientRule {
    switch function {
    case .argMaximum, .argMinimum: .zero
    default: .vjp { [try inputCotangent($0)] }
    }
  }

  private func inputCotangent(_ call: GradientCall) throws -> Tensor? {
    let x = call.x
    guard x.dtype.isFloatingPoint else { return nil }
    let gone = try reduced(x.shape)
    let spread = TensorShape(x.shape.indices.map { gone.contains($0) ? 1 : x.shape[$0] })
    let dy = try call.dy.reshaped(spread)
    let count = Double(gone.reduce(1) { $0 * x.shape[$1] })
    switch function {
    case .sum: return try dy.expanded(to: x.shape)
    case .mean: return try (dy / count).expanded(to: x.shape)
    case .variance:
      return try (x - x.mean(gone, keepsAxes: true)) * dy * (2 / Swift.max(0, count - correction))
    case .product: return try productOfOthers(x, gone) * dy
    default:
      // Equal elements share the cotangent, as in PyTorch.
      let mask = try x.equal(call.y.reshaped(spread)).cast(to: x.dtype)
      return try mask * (dy / mask.sum(gone, keepsAxes: true))
    }
  }

  /// For each element the product of all others that it is multiplied with, right also where some are zero.
  private func productOfOthers(_ x: Tensor, _ gone: [Int]) throws -> Tensor {
    let order = x.shape.indices.filter { !gone.contains($0) } + gone
    let width = gone.reduce(1) { $0 * x.shape[$1] }
    let moved = try x.permuted(order)
    let rows = try moved.reshaped([x.count / Swift.max(width, 1), width])
    let before = try rows.accumulated(axis: 1, product: true, exclusive: true)
    let after = try rows.accumulated(axis: 1, product: true, exclusive: true, reverse: true)
    var back = [Int](repeating: 0, count: x.rank)
    for (position, axis) in order.enumerated() { back[axis] = position }
    return try (before * after).reshaped(moved.shape).permuted(back)
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard let axis = call.axes[0], let gone = try? reduced(call.inputs[0].shape), !gone.contains(axis) else {
      return .whole(because: "it joins all positions in one number")
    }
    return .pointwise(axis: keepsAxes ? axis : axis - gone.count { $0 < axis })
  }
}

extension Reduction: PairOperation {
  package func pairs(_ call: PairCall) -> PairRule {
    guard call.joinsKeys else { return call.plain }
    return call.has(.masked) && function == .maximum || call.has(.probabilities) && function == .sum
      ? .content(.statistic) : call.plain
  }

  package func joinedAxes(_ shape: TensorShape) -> (axes: [Int], areKept: Bool) { ((try? reduced(shape)) ?? [], false) }
}

extension Tensor {
  private func reduce(
    _ function: Reduction.Function, _ axes: [Int]?, _ keeps: Bool, correction: Double = 1
  ) throws -> Tensor {
    try apply(Reduction(function: function, axes: axes, keepsAxes: keeps, correction: correction), self)
  }

  /// The sum over the given axes (all if nil), accumulated in double precision; integers give int64.
  public func sum(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor { try reduce(.sum, axes, keepsAxes) }
  /// The mean over the given axes.
  public func mean(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    try reduce(.mean, axes, keepsAxes)
  }
  /// The product over the given axes; integers give int64.
  public func product(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    try reduce(.product, axes, keepsAxes)
  }
  /// The largest element over the given axes; NaN wins.
  public func max(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    try reduce(.maximum, axes, keepsAxes)
  }
  /// The smallest element over the given axes; NaN wins.
  public func min(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    try reduce(.minimum, axes, keepsAxes)
  }
  /// The variance over the given axes, divided by the count less `correction` (1: unbiased, 0: population).
  public func variance(_ axes: [Int]? = nil, correction: Double = 1, keepsAxes: Bool = false) throws -> Tensor {
    try reduce(.variance, axes, keepsAxes, correction: correction)
  }
  /// The standard deviation over the given axes: the root of the ``variance(_:correction:keepsAxes:)``.
  public func std(_ axes: [Int]? = nil, correction: Double = 1, keepsAxes: Bool = false) throws -> Tensor {
    try variance(axes, correction: correction, keepsAxes: keepsAxes).sqrt()
  }
  /// The index of the first largest element along `axis` (of all elements if nil), as int64.
  public func argmax(axis: Int? = nil, keepsAxis: Bool = false) throws -> Tensor {
    try reduce(.argMaximum, axis.map { [$0] }, keepsAxis)
  }
  /// The index of the first smallest element along `axis` (of all elements if nil), as int64.
  public func argmin(axis: Int? = nil, keepsAxis: Bool = false) throws -> Tensor {
    try reduce(.argMinimum, axis.map { [$0] }, keepsAxis)
  }
}
