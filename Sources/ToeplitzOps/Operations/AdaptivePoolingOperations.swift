import ToeplitzTensor

/// Pooling into a given number of windows that share the input as evenly as possible.
///
/// Window i of `o` over an axis of `L` covers `floor(i L / o) ..< ceil((i + 1) L / o)`.
package struct AdaptivePooling: TensorOperation {
  package enum Function: Sendable, Hashable { case average, maximum, maximumWithIndices }

  package var function: Function
  package var name: String
  /// The output size on each axis; nil keeps the input's.
  package var outputSize: [Int?]

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let dtype = inputs[0].dtype
    try require(
      dtype.isFloatingPoint || (function != .average && dtype.isNumber), .dtype,
      expected: function == .average ? "floating-point elements" : "numbers", got: "\(dtype)")
    let parts = try spatialParts(inputs[0].shape, rank: outputSize.count)
    for (axis, size) in parts.spatial.enumerated() {
      try require(
        size > 0, expected: "at least 1 position on axis \(axis)", got: "\(size) (shape \(inputs[0].shape))")
    }
    let sizes = zip(outputSize, parts.spatial).map { $0 ?? $1 }
    try require(
      sizes.allSatisfy { $0 > 0 }, .argument, expected: "output sizes of at least 1", got: "\(sizes)")
    let shape = TensorShape(parts.leading + sizes)
    return [TensorSpec(shape, dtype)] + (function == .maximumWithIndices ? [TensorSpec(shape, .int64)] : [])
  }

  /// Window i of `output` over an axis of `input` positions.
  package func windows(_ output: Int, _ input: Int) -> [Range<Int>] {
    (0..<output).map { index in
      // Whole and remainder apart, so that the products stay small.
      let (whole, rest) = input.quotientAndRemainder(dividingBy: output)
      let low = index * whole + index * rest / output
      let high = (index + 1) * whole + ((index + 1) * rest + output - 1) / output
      return low..<high
    }
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard x.dtype.isFloatingPoint, let dy = call.cotangents[0] else { return [nil] }
      let rank = outputSize.count
      guard function == .average else {
        let positions =
          function == .maximumWithIndices
          ? call.outputs[1]
          : try applyAll(AdaptivePooling(function: .maximumWithIndices, name: name, outputSize: outputSize), [x])[1]
        return [try dy.scatteredToPlanes(positions, of: x.shape, rank: rank)]
      }
      // The mean over a box is one mean after another, each a map of one axis.
      var dx = dy
      for axis in (x.rank - rank)..<x.rank {
        let means = windows(call.y.shape[axis], x.shape[axis]).map { window in
          window.map { Resample.Term(position: $0, weight: 1 / Double(window.count)) }
        }
        dx = try apply(Resample(axis: axis, Resample.Rule.weighted(means, fill: 0).adjoint(length: x.shape[axis])), dx)
      }
      return [dx]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    let rank = call.inputs[0].shape.rank
    if function == .maximumWithIndices, let time = call.axes[0], time >= rank - outputSize.count {
      return .whole(because: "it gives positions in the whole plane")
    }
    let pooled = outputSize.indices.filter { outputSize[$0] != nil }.map { rank - outputSize.count + $0 }
    return .pointwise(call, except: pooled, because: "the number of positions decides about the windows")
  }
}

extension Tensor {
  /// The means of windows that share each spatial axis evenly; a size of nil keeps the axis as it is.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  package func adaptiveAveragePooled(_ outputSize: [Int?]) throws -> Tensor {
    try apply(
      AdaptivePooling(
        function: .average, name: "AdaptiveAvgPool\(outputSize.count)d", outputSize: try checked(outputSize)),
      self)
  }

  /// The largest elements of windows that share each spatial axis evenly; a size of nil keeps the axis as it is.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  package func adaptiveMaxPooled(_ outputSize: [Int?]) throws -> Tensor {
    try apply(
      AdaptivePooling(
        function: .maximum, name: "AdaptiveMaxPool\(outputSize.count)d", outputSize: try checked(outputSize)),
      self)
  }

  /// ``adaptiveMaxPooled(_:)`` and where the elements stood in their plane `[spatial…]`, row-major, as int64.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  package func adaptiveMaxPooledWithIndices(_ outputSize: [Int?]) throws -> (values: Tensor, indices: Tensor) {
    let name = "AdaptiveMaxPool\(outputSize.count)d"
    let results = try applyAll(
      AdaptivePooling(function: .maximumWithIndices, name: name, outputSize: try checked(outputSize)), [self])
    return (results[0], results[1])
  }

  private func checked(_ outputSize: [Int?]) throws -> [Int?] {
    guard (1...3).contains(outputSize.count) else {
      throw ToeplitzError(
        .argument, "adaptive pooling", expected: "1 to 3 output sizes", got: "\(outputSize.count)")
    }
    return outputSize
  }
}
