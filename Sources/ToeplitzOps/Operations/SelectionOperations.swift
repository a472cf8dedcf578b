import ToeplitzTensor

/// The largest or smallest elements along an axis, and where they were.
package struct TopElements: TensorOperation {
  package var count: Int
  package var axis: Int
  package var largest: Bool
  package var name: String { "topK" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    try require(
      (0...inputs[0].shape[axis]).contains(count), .argument,
      expected: "a count in 0...\(inputs[0].shape[axis])", got: "\(count)")
    let shape = inputs[0].shape.replacing(axis, by: count)
    return [TensorSpec(shape, inputs[0].dtype), TensorSpec(shape, .int64)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let x = call.x
      guard x.dtype.isFloatingPoint, let dy = call.cotangents[0] else { return [nil] }
      let zeros = try Tensor.zeros(x.shape, dtype: x.dtype)
      return [try zeros.scatteringElements(dy, at: call.outputs[1], axis: axis, reduction: .add)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "it orders all positions")
  }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let rows = try inputs[0].transposed(axis, -1).contiguous()
    let length = rows.shape[rows.rank - 1]
    let shape = rows.shape.replacing(rows.rank - 1, by: count)
    let values = try Tensor(uninitialized: shape, dtype: rows.dtype, operation: name)
    let places = try Tensor(uninitialized: shape, dtype: .int64, operation: name)
    func run<T: TensorScalar>(_ type: T.Type) {
      let source = rows.pointer(type)
      for row in 0..<(length == 0 ? 0 : rows.count / length) {
        let from = source + row * length
        // NaN counts as larger than all; of equal elements the first comes first.
        let keys = (0..<length).map { from[$0].doubleValue }
        let order = (0..<length).sorted { a, b in
          let (x, y) = (keys[a], keys[b])
          if x == y || (x.isNaN && y.isNaN) { return a < b }
          if x.isNaN || y.isNaN { return x.isNaN == largest }
          return largest ? x > y : x < y
        }
        for at in 0..<count {
          values.pointer(type)[row * count + at] = from[order[at]]
          places.pointer(Int64.self)[row * count + at] = Int64(order[at])
        }
      }
    }
    run(rows.dtype.scalarType)
    withExtendedLifetime((rows, values, places)) {}
    return [
      try values.transposed(axis, -1).contiguous(), try places.transposed(axis, -1).contiguous(),
    ]
  }
}

extension Tensor {
  /// The `count` largest (or smallest) elements along `axis`, best first, and their positions as int64.
  ///
  /// - Throws: ``ToeplitzError`` if there are not as many.
  public func topElements(
    _ count: Int, axis: Int = -1, largest: Bool = true
  ) throws -> (values: Tensor, indices: Tensor) {
    let results = try applyAll(TopElements(count: count, axis: axis, largest: largest), [self])
    return (results[0], results[1])
  }

  /// Where the elements that are not zero are: `[rank, count]`, int64.
  public func nonZeroPositions() throws -> Tensor {
    let flags = try equal(Tensor.full([], 0, dtype: dtype).cast(to: dtype)).logicalNot().scalars(Bool.self)
    var columns = [[Int64]](repeating: [], count: rank)
    var walk = IndexWalk(shape, strides: shape.contiguousStrides)
    for flag in flags {
      if flag { for axis in 0..<rank { columns[axis].append(Int64(walk.index[axis])) } }
      walk.advance()
    }
    return try Tensor(columns.flatMap { $0 }, shape: [rank, columns.first?.count ?? 0], device: .cpu)
  }
}
