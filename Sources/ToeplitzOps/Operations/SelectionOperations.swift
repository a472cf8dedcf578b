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
      return [try zeros.scatteredElements(dy, at: call.outputs[1], axis: axis, reduction: .add)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "it orders all positions")
  }
}

extension Tensor {
  /// The `count` largest (or smallest) elements along `axis`, best first, and their positions as int64.
  ///
  /// - Throws: ``ToeplitzError`` if there are not as many.
  public func topK(
    _ count: Int, axis: Int = -1, largest: Bool = true
  ) throws -> (values: Tensor, indices: Tensor) {
    let results = try applyAll(TopElements(count: count, axis: axis, largest: largest), [self])
    return (results[0], results[1])
  }

  /// The elements along `axis` in order (`torch.sort`, `numpy.sort`).
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  public func sorted(axis: Int = -1, descending: Bool = false) throws -> Tensor {
    try topK(shape[shape.normalizedAxis(axis, operation: "sort")], axis: axis, largest: descending).values
  }

  /// The positions, as int64, of the elements along `axis` in order (`torch.argsort`, `numpy.argsort`).
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  public func argsort(axis: Int = -1, descending: Bool = false) throws -> Tensor {
    try topK(shape[shape.normalizedAxis(axis, operation: "sort")], axis: axis, largest: descending).indices
  }

  /// Where the elements that are not zero are: `[rank, count]`, int64.
  public func nonzero() throws -> Tensor {
    let flags = try equal(Tensor.full([], 0, dtype: dtype).cast(to: dtype)).logicalNot().scalars(Bool.self)
    var columns = [[Int64]](repeating: [], count: rank)
    let strides = shape.contiguousStrides
    for (at, flag) in flags.enumerated() where flag {
      for axis in 0..<rank { columns[axis].append(Int64(at / strides[axis] % shape[axis])) }
    }
    return try Tensor(columns.flatMap { $0 }, shape: [rank, columns.first?.count ?? 0], device: .cpu)
  }
}
