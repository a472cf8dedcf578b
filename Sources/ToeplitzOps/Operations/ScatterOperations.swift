import ToeplitzTensor

/// How a scattered element is joined with the one that is there.
public enum ScatterReduction: String, Sendable, Hashable {
  /// It replaces it.
  case none
  /// The sum.
  case add
  /// The product.
  case mul
  /// The larger.
  case max
  /// The smaller.
  case min
}

/// Elements written where indices say: inputs are the tensor, the indices and the updates.
package struct Scatter: TensorOperation {
  package enum Kind: Sendable, Hashable {
    /// One element for each index along an axis.
    case elements(axis: Int)
    /// Slices named by rows of indices.
    case rows
  }

  package var kind: Kind
  package var reduction: ScatterReduction
  package var name: String { "scatter" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    let (x, indices, updates) = (inputs[0].shape, inputs[1].shape, inputs[2].shape)
    try require(inputs[1].dtype.isInteger, .dtype, expected: "whole-number indices", got: "\(inputs[1].dtype)")
    try require(
      inputs[0].dtype == inputs[2].dtype, .dtype, expected: "updates of type \(inputs[0].dtype)",
      got: "\(inputs[2].dtype)")
    try require(
      reduction == .none || inputs[0].dtype.isNumber, .dtype, expected: "numbers", got: "\(inputs[0].dtype)")
    switch kind {
    case .elements(let axis):
      let axis = try x.normalizedAxis(axis, operation: name)
      try require(
        x.rank == indices.rank && indices == updates, expected: "indices and updates of one shape of rank \(x.rank)",
        got: "\(indices) and \(updates)")
      for other in x.indices where other != axis {
        try require(indices[other] <= x[other], expected: "indices within shape \(x)", got: "shape \(indices)")
      }
    case .rows:
      try require(indices.rank > 0, expected: "indices of rank 1 or more", got: "shape \(indices)")
      let depth = indices[indices.rank - 1]
      try require(depth <= x.rank, expected: "rows of at most \(x.rank) indices", got: "shape \(indices)")
      let expected = TensorShape(indices.dropLast() + x[depth...])
      try require(updates == expected, expected: "updates of shape \(expected)", got: "\(updates)")
    }
    return [inputs[0]]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, indices, updates) = (call.x, call.inputs[1], call.inputs[2])
      guard x.dtype.isFloatingPoint else { return [nil, nil, nil] }
      let (y, dy) = (call.y, try call.dy)
      switch reduction {
      case .none: return [try scattered(dy, indices, updates * 0, .none), nil, try gathered(dy, indices)]
      case .add: return [dy, nil, try gathered(dy, indices)]
      case .max, .min:
        // All that equal the result share its cotangent.
        let (own, others) = (
          try x.equal(y).cast(to: x.dtype), try updates.equal(gathered(y, indices)).cast(to: x.dtype)
        )
        let share = try dy / scattered(own, indices, others, .add)
        return [try own * share, nil, try others * gathered(share, indices)]
      case .mul:
        let dx = try dy * scattered(x * 0 + 1, indices, updates, .mul)
        // The product of all others: by division where there is no zero, else by leaving a single zero out.
        let isZero = try updates.equal(updates.number(0))
        let zeros = try scattered(x.equal(x.number(0)).cast(to: x.dtype), indices, isZero.cast(to: x.dtype), .add)
        let rest = try scattered(x, indices, Tensor.where(isZero, updates * 0 + 1, updates), .mul)
        let alone = try gathered(zeros, indices).equal(updates.number(1)).logicalAnd(isZero)
        let others = try Tensor.where(isZero, gathered(rest, indices).masked(by: alone), gathered(y, indices) / updates)
        return [dx, nil, try others * gathered(dy, indices)]
      }
    }
  }

  private func scattered(
    _ x: Tensor, _ indices: Tensor, _ updates: Tensor, _ reduction: ScatterReduction
  ) throws -> Tensor {
    try apply(Scatter(kind: kind, reduction: reduction), x, indices, updates)
  }

  /// What stands where updates go.
  private func gathered(_ x: Tensor, _ indices: Tensor) throws -> Tensor {
    switch kind {
    case .elements(let axis): try x.gatheredElements(indices, axis: axis)
    case .rows: try x.gatheredND(indices)
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard case .elements(let axis) = kind, let time = call.axes[0], call.axes.allSatisfy({ $0 == time }),
      (axis < 0 ? axis + call.inputs[0].shape.rank : axis) != time,
      call.inputs[0].shape[time] == call.inputs[1].shape[time]
    else { return .whole(because: "indices name positions in time") }
    return .pointwise(axis: time)
  }
}

extension Tensor {
  /// This tensor with the elements of `updates` where `indices`, of the same shape, say along `axis`.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or shapes and types do not fit.
  public func scatteredElements(
    _ updates: Tensor, at indices: Tensor, axis: Int = 0, reduction: ScatterReduction = .none
  ) throws -> Tensor {
    try apply(Scatter(kind: .elements(axis: axis), reduction: reduction), self, indices, updates)
  }

  /// This tensor with the slices of `updates` where the rows (the last axis) of `indices` say.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or shapes and types do not fit.
  public func scatteredND(
    _ updates: Tensor, at indices: Tensor, reduction: ScatterReduction = .none
  ) throws -> Tensor {
    try apply(Scatter(kind: .rows, reduction: reduction), self, indices, updates)
  }
}
