import ToeplitzTensor

/// Rows of a table chosen by whole numbers: inputs are the numbers, of any shape, and the table `[count, width]`.
package struct EmbeddingLookup: TensorOperation {
  package var name: String { "Embedding" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    try require(
      inputs[0].dtype.isInteger, .dtype, expected: "whole-number indices", got: "\(inputs[0].dtype)")
    try require(
      inputs[1].shape.rank == 2, expected: "a table [count, width]", got: "shape \(inputs[1].shape)")
    return [TensorSpec(TensorShape(inputs[0].shape.dimensions + [inputs[1].shape[1]]), inputs[1].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (indices, table) = (call.x, call.inputs[1])
      guard table.dtype.isFloatingPoint else { return [nil, nil] }
      let zeros = try Tensor.zeros(table.shape, dtype: table.dtype)
      let rows = try call.dy.reshaped([indices.count, table.shape[1]])
      return [nil, try zeros.scatteredND(rows, at: indices.reshaped([indices.count, 1]), reduction: .add)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [], because: "")
  }
}

extension Tensor {
  /// The rows of this table `[count, width]` that `indices` name: `indices.shape + [width]`.
  ///
  /// - Throws: ``ToeplitzError`` if an index is not in `0..<count` or the indices are not whole numbers.
  package func embedding(_ indices: Tensor) throws -> Tensor { try apply(EmbeddingLookup(), indices, self) }
}
