import ToeplitzTensor

/// The largest element of each window; NaN is larger than all.
package struct MaxPooling: TensorOperation {
  package var geometry: PoolGeometry
  /// Which positions are given besides, if any.
  package var positions: Positions?
  package var name: String { geometry.name }

  /// What the positions of the largest elements are counted in.
  package enum Positions: Sendable, Hashable {
    /// The plane of spatial axes that a window lies in, row by row, as PyTorch counts.
    case plane
    /// The whole tensor, as ONNX counts; within a plane row by row or column by column.
    case tensor(columnMajor: Bool)
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(inputs[0].dtype.isNumber, .dtype, expected: "numbers", got: "\(inputs[0].dtype)")
    let parts = try spatialParts(inputs[0].shape, rank: geometry.rank)
    let shape = TensorShape(parts.leading + (try geometry.outputSize(parts.spatial)))
    return [TensorSpec(shape, inputs[0].dtype)] + (positions == nil ? [] : [TensorSpec(shape, .int64)])
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard x.dtype.isFloatingPoint, let dy = call.cotangents[0] else { return [nil] }
      let indices = try positions == .plane ? call.outputs[1] : x.maxPooledWithIndices(geometry).indices
      // Windows wholly in the padding pass no gradient on.
      let none = try Tensor(scalar: Int64(0))
      let share = try dy.masked(by: indices.greaterOrEqual(none))
      return [try share.scatteredToPlanes(indices.maximum(none), of: x.shape, rank: geometry.rank)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    geometry.time(call, padding: -.infinity) { MaxPooling(geometry: $0) }
  }
}

/// The mean of each window.
package struct AveragePooling: TensorOperation {
  package var geometry: PoolGeometry
  /// Whether padding counts as elements of value 0.
  package var countsPadding: Bool
  /// What the sum is divided by instead of the number of elements.
  package var divisor: Int?
  package var name: String { geometry.name }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    try require(divisor != 0, .argument, expected: "a divisorOverride other than 0", got: "0")
    let parts = try spatialParts(inputs[0].shape, rank: geometry.rank)
    return [TensorSpec(TensorShape(parts.leading + (try geometry.outputSize(parts.spatial))), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let sizes = try divisors(call.x.shape, call.y.shape)
      return [try geometry.spread(call.dy / sizes.cast(to: call.x.dtype), over: call.x.shape)]
    }
  }

  /// What the sum of each window is divided by.
  private func divisors(_ input: TensorShape, _ output: TensorShape) throws -> Tensor {
    if let divisor { return try Tensor.full([], Double(divisor), dtype: .float64) }
    let counts = (0..<3).map { axis -> [Double] in
      // Missing axes come first and have one window of one position.
      let own = axis - (3 - geometry.rank)
      guard own >= 0 else { return [1] }
      let length = input[input.rank - geometry.rank + own]
      return (0..<output[output.rank - geometry.rank + own]).map { index in
        let start = index * geometry.stride[own] - geometry.paddingLow[own]
        return Double(
          (0..<geometry.kernelSize[own]).count { tap in
            let at = start + tap * geometry.dilation[own]
            return countsPadding ? at < length + geometry.paddingHigh[own] : (0..<length).contains(at)
          })
      }
    }
    let values = counts[0].flatMap { d in counts[1].flatMap { h in counts[2].map { max(1, d * h * $0) } } }
    return try Tensor(values, shape: TensorShape(Array(output.suffix(geometry.rank))), device: .cpu)
  }

  package func time(_ call: TimeCall) -> TimeRule {
    geometry.time(call, padding: countsPadding || divisor != nil ? 0 : nil) {
      AveragePooling(geometry: $0, countsPadding: countsPadding, divisor: divisor)
    }
  }
}

extension Tensor {
  /// The largest element of each window of `[N, C, spatial…]` (the batch axis may be missing); NaN wins.
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  package func maxPooled(_ geometry: PoolGeometry) throws -> Tensor {
    try apply(MaxPooling(geometry: geometry), self)
  }

  /// The largest element of each window and where it stood in its plane `[spatial…]`, row-major, as int64.
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  package func maxPooledWithIndices(_ geometry: PoolGeometry) throws -> (values: Tensor, indices: Tensor) {
    let results = try applyAll(MaxPooling(geometry: geometry, positions: .plane), [self])
    return (results[0], results[1])
  }

  /// The mean of each window of `[N, C, spatial…]` (the batch axis may be missing).
  ///
  /// - Parameters:
  ///   - geometry: the windows, without dilation.
  ///   - countIncludePad: whether padding counts as zeros.
  ///   - divisorOverride: what sums are divided by instead.
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  package func averagePooled(
    _ geometry: PoolGeometry, countIncludePad: Bool = true, divisorOverride: Int? = nil
  ) throws -> Tensor {
    return try apply(
      AveragePooling(geometry: geometry, countsPadding: countIncludePad, divisor: divisorOverride), self)
  }

  /// The largest element of each window, and its position in the whole tensor, as ONNX counts.
  ///
  /// - Throws: ``ToeplitzError`` if there is no window.
  package func maxPooledWithPositions(
    _ geometry: PoolGeometry, columnMajor: Bool
  ) throws -> (values: Tensor, positions: Tensor) {
    let results = try applyAll(
      MaxPooling(geometry: geometry, positions: .tensor(columnMajor: columnMajor)), [self])
    return (results[0], results[1])
  }

  /// The p-norm of each window.
  ///
  /// - Throws: ``ToeplitzError`` if there is no window.
  package func normPooled(_ geometry: PoolGeometry, p: Double) throws -> Tensor {
    func sums(_ x: Tensor) throws -> Tensor {
      try x.averagePooled(geometry, countIncludePad: false, divisorOverride: 1)
    }
    switch p {
    case 1: return try sums(abs())
    case 2: return try sums(self * self).sqrt()
    default: return try sums(abs().pow(p)).pow(1 / p)
    }
  }
}
