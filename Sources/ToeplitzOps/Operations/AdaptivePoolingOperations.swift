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
    let shape = Shape(parts.leading + sizes)
    return [TensorSpec(shape, dtype)] + (function == .maximumWithIndices ? [TensorSpec(shape, .int64)] : [])
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
          window.map { WeightedResample.Term(position: $0, weight: 1 / Double(window.count)) }
        }
        dx = try apply(WeightedResample(axis: axis, terms: means, fill: 0).adjoint(length: x.shape[axis]), dx)
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

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    switch x.dtype {
    case .float32: return try pool(x, Float.self, outputs)
    case .float64: return try pool(x, Double.self, outputs)
    case .int64: return try pool(x, Int64.self, outputs)
    case .int32: return try pool(x, Int32.self, outputs)
    default:
      var results = try applyAll(self, [x.cast(to: .float32)])
      results[0] = try results[0].cast(to: x.dtype)
      return results
    }
  }

  private func windows(_ output: Int, _ input: Int) -> [Range<Int>] {
    (0..<output).map { index in
      // Whole and remainder apart, so that the products stay small.
      let (whole, rest) = input.quotientAndRemainder(dividingBy: output)
      let low = index * whole + index * rest / output
      let high = (index + 1) * whole + ((index + 1) * rest + output - 1) / output
      return low..<high
    }
  }

  private func pool<T: NumericTensorScalar>(_ x: Tensor, _ type: T.Type, _ outputs: [TensorSpec]) throws
    -> [Tensor]
  {
    let results = try outputs.map { try Tensor(uninitialized: $0.shape, dtype: $0.dtype, operation: name) }
    guard results[0].count > 0 else { return results }
    let rank = outputSize.count
    let (x, distance) = try x.rows(ofLast: rank)
    let missing = [Int](repeating: 1, count: 3 - rank)
    var input = missing + x.shape.suffix(rank)
    let output = missing + outputs[0].shape.suffix(rank)
    // A plane as one window is one long row.
    if function == .average, output == [1, 1, 1] { input = [1, 1, input.reduce(1, *)] }
    let axes = (0..<3).map { windows(output[$0], input[$0]) }
    let (inputPlane, outputPlane) = (input.reduce(1, *), output.reduce(1, *))
    let source = x.pointer(T.self)
    let target = results[0].pointer(T.self)
    let indices = function == .maximumWithIndices ? results[1].pointer(Int64.self) : nil
    let (rows, columns) = (input[1], input[2])
    ThreadPool.shared.runRows(results[0].count / outputPlane, width: max(inputPlane, outputPlane)) { range in
      // Indices instead of iterators, whose reference counts the threads would fight for.
      let (depth, height, width) = (axes[0], axes[1], axes[2])
      for plane in range {
        let from = source + plane * distance
        var at = plane * outputPlane
        for d in 0..<depth.count {
          for h in 0..<height.count {
            for w in 0..<width.count {
              let (d, h, w) = (depth[d], height[h], width[w])
              if function == .average {
                let total = sum(from, rows, columns, d, h, w)
                target[at] = T(converting: total / Double(d.count * h.count * w.count))
              } else {
                let index = largest(from, rows, columns, d, h, w)
                target[at] = from[index]
                if function == .maximumWithIndices { indices?[at] = Int64(index) }
              }
              at += 1
            }
          }
        }
      }
    }
    withExtendedLifetime((x, results)) {}
    return results
  }

  @inline(__always)
  private func sum<T: NumericTensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ rows: Int, _ columns: Int, _ d: Range<Int>, _ h: Range<Int>, _ w: Range<Int>
  ) -> Double {
    var (total, other) = (0.0, 0.0)
    for i in d {
      for j in h {
        let row = x + (i * rows + j) * columns
        var at = w.lowerBound
        // Two sums side by side: one would wait for itself at every addition.
        while at + 1 < w.upperBound {
          total += row[at].doubleValue
          other += row[at + 1].doubleValue
          at += 2
        }
        if at < w.upperBound { total += row[at].doubleValue }
      }
    }
    return total + other
  }

  @inline(__always)
  private func largest<T: NumericTensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ rows: Int, _ columns: Int, _ d: Range<Int>, _ h: Range<Int>, _ w: Range<Int>
  ) -> Int {
    var index = (d.lowerBound * rows + h.lowerBound) * columns + w.lowerBound
    for i in d {
      for j in h {
        let row = (i * rows + j) * columns
        for at in (row + w.lowerBound)..<(row + w.upperBound) where x[at] > x[index] || x[at] != x[at] {
          index = at
        }
      }
    }
    return index
  }
}

extension Tensor {
  /// The means of windows that share each spatial axis evenly; a size of nil keeps the axis as it is.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  public func adaptiveAveragePooled(_ outputSize: [Int?]) throws -> Tensor {
    try apply(
      AdaptivePooling(
        function: .average, name: "AdaptiveAvgPool\(outputSize.count)d", outputSize: try checked(outputSize)),
      self)
  }

  /// The largest elements of windows that share each spatial axis evenly; a size of nil keeps the axis as it is.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  public func adaptiveMaxPooled(_ outputSize: [Int?]) throws -> Tensor {
    try apply(
      AdaptivePooling(
        function: .maximum, name: "AdaptiveMaxPool\(outputSize.count)d", outputSize: try checked(outputSize)),
      self)
  }

  /// ``adaptiveMaxPooled(_:)`` and where the elements stood in their plane `[spatial…]`, row-major, as int64.
  ///
  /// - Throws: ``ToeplitzError`` if this is not `[N, C, spatial…]` or `[C, spatial…]` with as many spatial axes.
  public func adaptiveMaxPooledWithIndices(_ outputSize: [Int?]) throws -> (values: Tensor, indices: Tensor) {
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
