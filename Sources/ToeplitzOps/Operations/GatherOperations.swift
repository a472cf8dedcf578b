import ToeplitzTensor

/// Elements chosen by indices.
package struct Gather: TensorOperation {
  package enum Kind: Sendable, Hashable {
    /// Whole slices of one axis: `take` in NumPy.
    case slices(axis: Int)
    /// One element for each index: `gather` in PyTorch, `take_along_axis` in NumPy.
    case elements(axis: Int)
    /// Slices named by rows of indices into the first axes after `batch` shared ones.
    case rows(batch: Int)
  }

  package var kind: Kind
  package var name: String { "gather" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    let (x, indices) = (inputs[0].shape, inputs[1].shape)
    try require(inputs[1].dtype.isInteger, .dtype, expected: "whole-number indices", got: "\(inputs[1].dtype)")
    switch kind {
    case .slices(let axis):
      let axis = try x.normalizedAxis(axis, operation: name)
      return [TensorSpec(TensorShape(x[..<axis] + indices.dimensions + x[(axis + 1)...]), inputs[0].dtype)]
    case .elements(let axis):
      let axis = try x.normalizedAxis(axis, operation: name)
      try require(x.rank == indices.rank, expected: "indices of rank \(x.rank)", got: "shape \(indices)")
      for other in x.indices where other != axis {
        try require(indices[other] <= x[other], expected: "indices within shape \(x)", got: "shape \(indices)")
      }
      return [TensorSpec(indices, inputs[0].dtype)]
    case .rows(let batch):
      try require(indices.rank > 0, expected: "indices of rank 1 or more", got: "shape \(indices)")
      let depth = indices[indices.rank - 1]
      try require(
        batch >= 0 && batch < indices.rank && batch + depth <= x.rank && depth >= 0
          && indices[..<batch].elementsEqual(x[..<batch]),
        expected: "rows of indices into \(x) after \(batch) shared axes", got: "shape \(indices)")
      return [TensorSpec(TensorShape(indices.dropLast() + x[(batch + depth)...]), inputs[0].dtype)]
    }
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, indices) = (call.x, call.inputs[1])
      guard x.dtype.isFloatingPoint else { return [nil, nil] }
      let (dy, zeros) = (try call.dy, try Tensor.zeros(x.shape, dtype: x.dtype))
      switch kind {
      case .elements(let axis):
        return [try zeros.scatteredElements(dy, at: indices, axis: axis, reduction: .add), nil]
      case .slices(let axis):
        let axis = try x.shape.normalizedAxis(axis, operation: name)
        // Indices and their axis first, so that each names a row.
        let order =
          Array(axis..<(axis + indices.rank)) + dy.shape.indices.filter { !(axis..<(axis + indices.rank)).contains($0) }
        let rest = x.count / max(x.shape[axis], 1)
        let moved = try zeros.permuted([axis] + x.shape.indices.filter { $0 != axis })
        let rows = try moved.reshaped([x.shape[axis], rest])
          .scatteredND(
            dy.permuted(order).reshaped([indices.count, rest]), at: indices.reshaped([indices.count, 1]),
            reduction: .add)
        let back = x.shape.indices.map { $0 < axis ? $0 + 1 : $0 == axis ? 0 : $0 }
        return [try rows.reshaped(moved.shape).permuted(back), nil]
      case .rows(let batch):
        return [try zeros.scatteredND(dy, at: indices.withLeadingCoordinates(batch), reduction: .add), nil]
      }
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    let shape = call.inputs[0].shape
    switch (kind, call.axes[0], call.axes[1]) {
    case (.slices(let axis), let time?, nil):
      let axis = axis < 0 ? axis + shape.rank : axis
      if axis == time { return .whole(because: "indices name positions in time") }
      return .pointwise(axis: time < axis ? time : time - 1 + call.inputs[1].shape.rank)
    case (.slices(let axis), nil, let time?): return .pointwise(axis: (axis < 0 ? axis + shape.rank : axis) + time)
    case (.elements(let axis), let one?, let other?) where one == other && one != (axis < 0 ? axis + shape.rank : axis):
      return shape[one] == call.inputs[1].shape[one]
        ? .pointwise(axis: one) : .whole(because: "there are fewer indices than positions")
    case (.rows(0), nil, let time?) where time < call.inputs[1].shape.rank - 1: return .pointwise(axis: time)
    default: return .whole(because: "indices name positions in time")
    }
  }
}

extension Tensor {
  /// The slices of `axis` that `indices`, of any shape, name; negative ones count from the end.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range.
  public func gathered(_ indices: Tensor, axis: Int = 0) throws -> Tensor {
    try apply(Gather(kind: .slices(axis: axis)), self, indices)
  }

  /// For each element of `indices`, of this tensor's rank, the element of `axis` that it names, at its own place on
  /// the other axes.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or the shapes do not fit.
  public func gatheredElements(_ indices: Tensor, axis: Int = 0) throws -> Tensor {
    try apply(Gather(kind: .elements(axis: axis)), self, indices)
  }

  /// The slices named by the rows (the last axis) of `indices`; the first `batch` axes are shared.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or the shapes do not fit.
  public func gatheredND(_ indices: Tensor, batch: Int = 0) throws -> Tensor {
    try apply(Gather(kind: .rows(batch: batch)), self, indices)
  }
}
