import ToeplitzTensor

/// The largest element of each window; NaN is larger than all.
package struct MaxPooling: TensorOperation {
  package var geometry: PoolGeometry
  /// Whether the second output is wanted: where the elements stood in their plane, as int64.
  package var givesIndices: Bool
  package var name: String { geometry.name }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(inputs[0].dtype.isNumber, .dtype, expected: "numbers", got: "\(inputs[0].dtype)")
    let parts = try spatialParts(inputs[0].shape, rank: geometry.rank)
    let shape = Shape(parts.leading + (try geometry.outputSize(parts.spatial)))
    return [TensorSpec(shape, inputs[0].dtype)] + (givesIndices ? [TensorSpec(shape, .int64)] : [])
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard x.dtype.isFloatingPoint, let dy = call.cotangents[0] else { return [nil] }
      let positions = try givesIndices ? call.outputs[1] : x.maxPooledWithIndices(geometry).indices
      return [try dy.scatteredToPlanes(positions, of: x.shape, rank: geometry.rank)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    geometry.time(call) { MaxPooling(geometry: $0, givesIndices: false) }
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
    return [TensorSpec(Shape(parts.leading + (try geometry.outputSize(parts.spatial))), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let sizes = try divisors(call.x.shape, call.y.shape)
      let windows = PoolWindows(
        kernel: geometry.kernelSize, stride: geometry.stride, dilation: geometry.dilation, low: geometry.padding)
      return [try windows.spread(call.dy / sizes.cast(to: call.x.dtype), over: call.x.shape)]
    }
  }

  /// What the sum of each window is divided by.
  private func divisors(_ input: Shape, _ output: Shape) throws -> Tensor {
    if let divisor { return try Tensor.full([], Double(divisor), dtype: .float64) }
    let counts = (0..<3).map { axis -> [Double] in
      // Missing axes come first and have one window of one position.
      let own = axis - (3 - geometry.rank)
      guard own >= 0 else { return [1] }
      let (length, padding) = (input[input.rank - geometry.rank + own], geometry.padding[own])
      return (0..<output[output.rank - geometry.rank + own]).map { index in
        let start = index * geometry.stride[own] - padding
        let end = start + geometry.kernelSize[own]
        return Double(countsPadding ? min(end, length + padding) - start : max(0, min(end, length) - max(start, 0)))
      }
    }
    let values = counts[0].flatMap { d in counts[1].flatMap { h in counts[2].map { max(1, d * h * $0) } } }
    return try Tensor(values, shape: Shape(Array(output.suffix(geometry.rank))), device: .cpu)
  }

  package func time(_ call: TimeCall) -> TimeRule {
    geometry.time(call) { AveragePooling(geometry: $0, countsPadding: countsPadding, divisor: divisor) }
  }
}

extension Tensor {
  /// The largest element of each window of `[N, C, spatial…]` (the batch axis may be missing); NaN wins.
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  public func maxPooled(_ geometry: PoolGeometry) throws -> Tensor {
    try apply(MaxPooling(geometry: geometry, givesIndices: false), self)
  }

  /// The largest element of each window and where it stood in its plane `[spatial…]`, row-major, as int64.
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  public func maxPooledWithIndices(_ geometry: PoolGeometry) throws -> (values: Tensor, indices: Tensor) {
    let results = try applyAll(MaxPooling(geometry: geometry, givesIndices: true), [self])
    return (results[0], results[1])
  }

  /// The mean of each window of `[N, C, spatial…]` (the batch axis may be missing).
  ///
  /// - Parameters:
  ///   - geometry: the windows, without dilation.
  ///   - countIncludePad: whether padding counts as zeros.
  ///   - divisorOverride: what sums are divided by instead.
  /// - Throws: ``ToeplitzError`` if the input does not fit the geometry.
  public func averagePooled(
    _ geometry: PoolGeometry, countIncludePad: Bool = true, divisorOverride: Int? = nil
  ) throws -> Tensor {
    guard geometry.dilation.allSatisfy({ $0 == 1 }) else {
      throw ToeplitzError(.argument, geometry.name, expected: "dilation 1", got: "\(geometry.dilation)")
    }
    return try apply(
      AveragePooling(geometry: geometry, countsPadding: countIncludePad, divisor: divisorOverride), self)
  }
}
