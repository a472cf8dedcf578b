import ToeplitzTensor

/// The matrix product, with NumPy's rules for vectors and batches.
///
/// A matrix product is a convolution with one tap: A's rows are the output channels and B's columns the positions,
/// so the convolution kernels compute it.
package struct MatrixMultiply: TensorOperation {
  package init() {}

  package var name: String { "matmul" }

  package func matrices(_ a: TensorShape, _ b: TensorShape) throws -> (TensorShape, TensorShape) {
    try require(a.rank > 0 && b.rank > 0, expected: "at least one dimension", got: "\(a) and \(b)")
    return (a.rank == 1 ? [1, a[0]] : a, b.rank == 1 ? [b[0], 1] : b)
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    try require(
      inputs[0].dtype == inputs[1].dtype && inputs[0].dtype.isNumber, .dtype,
      expected: "two tensors of one number type", got: "\(inputs[0].dtype) and \(inputs[1].dtype)")
    let (a, b) = try matrices(inputs[0].shape, inputs[1].shape)
    try require(
      a[a.rank - 1] == b[b.rank - 2], expected: "as many columns left as rows right",
      got: "shapes \(inputs[0].shape) and \(inputs[1].shape)")
    let batch = try TensorShape.broadcast(TensorShape(a.dropLast(2)), TensorShape(b.dropLast(2)), operation: name)
    let rows = inputs[0].shape.rank == 1 ? [] : [a[a.rank - 2]]
    let columns = inputs[1].shape.rank == 1 ? [] : [b[b.rank - 1]]
    return [TensorSpec(TensorShape(batch.dimensions + rows + columns), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (a, b) = (call.x, call.inputs[1])
      guard a.dtype.isFloatingPoint else { return [nil, nil] }
      let (left, right) = try matrices(a.shape, b.shape)
      let batch = try TensorShape.broadcast(
        TensorShape(left.dropLast(2)), TensorShape(right.dropLast(2)), operation: name)
      let dy = try call.dy.reshaped(TensorShape(batch.dimensions + [left[left.rank - 2], right[right.rank - 1]]))
      let (wideA, wideB) = (try a.reshaped(left), try b.reshaped(right))
      let da = try dy.matmul(wideB.transposed(-1, -2)).summed(to: left)
      let db = try wideA.transposed(-1, -2).matmul(dy).summed(to: right)
      return [try da.reshaped(a.shape), try db.reshaped(b.shape)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    let (a, b, rank) = (call.inputs[0].shape, call.inputs[1].shape, call.outputs[0].shape.rank)
    switch (call.axes[0], call.axes[1]) {
    case (let time?, nil) where a.rank > 1 && time < a.rank - 1:
      // Counted from the end; a vector on the right takes one axis away.
      let place = a.rank - time
      guard place == 2 || place > b.rank || b[b.rank - place] == 1 else { break }
      return .pointwise(axis: rank - (b.rank == 1 ? place - 1 : place))
    case (nil, let time?) where b.rank > 1 && time != b.rank - 2:
      let place = b.rank - time
      guard place == 1 || place > a.rank || a[a.rank - place] == 1 else { break }
      return .pointwise(axis: rank - (a.rank == 1 && place > 1 ? place - 1 : place))
    case (let one?, let other?) where a.rank - one == b.rank - other && a.rank - one > 2 && a[one] == b[other]:
      return .pointwise(axis: rank - (a.rank - one))
    default: break
    }
    return .whole(because: "it sums over time, or one operand changes along it")
  }
}

extension MatrixMultiply: RowsTimesColumns {}

extension Tensor {
  /// The matrix product with `other`: vectors count as a row on the left and a column on the right, leading axes are
  /// a batch and broadcast.
  public func matmul(_ other: Tensor) throws -> Tensor { try apply(MatrixMultiply(), self, other) }
}

extension MatrixMultiply: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    try infer(inputs)[0].shape.reduce(inputs[0].shape.last ?? 1, *)
  }
}
