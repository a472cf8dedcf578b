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
      return [TensorSpec(Shape(x[..<axis] + indices.dimensions + x[(axis + 1)...]), inputs[0].dtype)]
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
      return [TensorSpec(Shape(indices.dropLast() + x[(batch + depth)...]), inputs[0].dtype)]
    }
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, indices) = (call.x, call.inputs[1])
      guard x.dtype.isFloatingPoint else { return [nil, nil] }
      let (dy, zeros) = (try call.dy, try Tensor.zeros(x.shape, dtype: x.dtype))
      switch kind {
      case .elements(let axis):
        return [try zeros.scatteringElements(dy, at: indices, axis: axis, reduction: .add), nil]
      case .slices(let axis):
        let axis = try x.shape.normalizedAxis(axis, operation: name)
        // Indices and their axis first, so that each names a row.
        let order =
          Array(axis..<(axis + indices.rank)) + dy.shape.indices.filter { !(axis..<(axis + indices.rank)).contains($0) }
        let rest = x.count / max(x.shape[axis], 1)
        let moved = try zeros.permuted([axis] + x.shape.indices.filter { $0 != axis })
        let rows = try moved.reshaped([x.shape[axis], rest])
          .scatteringRows(
            dy.permuted(order).reshaped([indices.count, rest]), at: indices.reshaped([indices.count, 1]),
            reduction: .add)
        let back = x.shape.indices.map { $0 < axis ? $0 + 1 : $0 == axis ? 0 : $0 }
        return [try rows.reshaped(moved.shape).permuted(back), nil]
      case .rows(let batch):
        return [try zeros.scatteringRows(dy, at: indices.withLeadingCoordinates(batch), reduction: .add), nil]
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

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let indices = try inputs[1].cast(to: .int64).scalars(Int64.self)
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: x.dtype, operation: name)
    guard result.count > 0 else { return [result] }
    let size = x.dtype.byteSize
    let (source, target) = (x.elements, result.elements)
    switch kind {
    case .slices(let axis):
      let axis = try x.shape.normalizedAxis(axis, operation: name)
      let length = x.shape[axis]
      let inner = x.shape.dropFirst(axis + 1).reduce(1, *) * size
      let outer = x.shape.prefix(axis).reduce(1, *)
      let rows = try indices.map { try position($0, length) }
      for block in 0..<outer {
        for (at, row) in rows.enumerated() {
          (target + (block * rows.count + at) * inner).copyMemory(
            from: source + (block * length + row) * inner, byteCount: inner)
        }
      }
    case .elements(let axis):
      let axis = try x.shape.normalizedAxis(axis, operation: name)
      var walk = IndexWalk(outputs[0].shape, strides: x.strides)
      for (at, index) in indices.enumerated() {
        let row = try position(index, x.shape[axis])
        let from = walk.offset + (row - walk.index[axis]) * x.strides[axis]
        (target + at * size).copyMemory(from: source + from * size, byteCount: size)
        walk.advance()
      }
    case .rows(let batch):
      let rows = try IndexRows(indices, inputs[1].shape, x.shape, batch: batch, name: name)
      let width = rows.width * size
      for (at, offset) in rows.offsets.enumerated() {
        (target + at * width).copyMemory(from: source + offset * size, byteCount: width)
      }
    }
    withExtendedLifetime((x, result)) {}
    return [result]
  }

  private func position(_ index: Int64, _ length: Int) throws -> Int {
    let at = index < 0 ? index + Int64(length) : index
    try require(
      at >= 0 && at < Int64(length), .argument, expected: "indices in \(-length)..<\(length)", got: "\(index)")
    return Int(at)
  }
}

/// Where rows of indices point to in a contiguous tensor.
struct IndexRows {
  /// The first element of each row's slice.
  var offsets: [Int] = []
  /// Elements of a slice.
  var width: Int

  init(_ indices: [Int64], _ indexShape: Shape, _ shape: Shape, batch: Int, name: String) throws {
    let depth = indexShape[indexShape.rank - 1]
    width = shape.dropFirst(batch + depth).reduce(1, *)
    let strides = shape.contiguousStrides
    let rowCount = indexShape.dropLast().reduce(1, *)
    let rowsInBatch = indexShape.dropFirst(batch).dropLast().reduce(1, *)
    let batchSize = shape.dropFirst(batch).reduce(1, *)
    offsets.reserveCapacity(rowCount)
    for row in 0..<rowCount {
      var offset = row / max(rowsInBatch, 1) * batchSize
      for axis in 0..<depth {
        let index = indices[row * depth + axis]
        let length = shape[batch + axis]
        let at = index < 0 ? index + Int64(length) : index
        guard at >= 0, at < Int64(length) else {
          throw ToeplitzError(
            .argument, name, expected: "indices in \(-length)..<\(length) on axis \(batch + axis)", got: "\(index)")
        }
        offset += Int(at) * strides[batch + axis]
      }
      offsets.append(offset)
    }
  }
}

/// Walks all indices of a shape in row-major order and knows the offset by other strides.
struct IndexWalk {
  private let shape: Shape
  private let strides: [Int]
  private(set) var index: [Int]
  private(set) var offset = 0

  init(_ shape: Shape, strides: [Int]) {
    self.shape = shape
    self.strides = strides
    index = [Int](repeating: 0, count: shape.rank)
  }

  mutating func advance() {
    for axis in shape.indices.reversed() {
      index[axis] += 1
      offset += strides[axis]
      if index[axis] < shape[axis] { return }
      offset -= strides[axis] * index[axis]
      index[axis] = 0
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
  public func gatheredRows(_ indices: Tensor, batch: Int = 0) throws -> Tensor {
    try apply(Gather(kind: .rows(batch: batch)), self, indices)
  }
}
