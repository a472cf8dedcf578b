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
struct Scatter: Operation {
  enum Kind: Sendable {
    /// One element for each index along an axis.
    case elements(axis: Int)
    /// Slices named by rows of indices.
    case rows
  }

  var kind: Kind
  var reduction: ScatterReduction
  var name: String { "scatter" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
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
      let expected = Shape(indices.dropLast() + x[depth...])
      try require(updates == expected, expected: "updates of shape \(expected)", got: "\(updates)")
    }
    return [inputs[0]]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try inputs[0].copied()
    let updates = try inputs[2].contiguous()
    guard updates.count > 0 else { return [result] }
    let indices = try inputs[1].cast(to: .int64).scalars(Int64.self)
    let (offsets, width) = try places(indices, inputs[1].shape, result)
    func write<T: TensorScalar>(_ type: T.Type, _ join: (T, T) -> T) {
      let (source, target) = (updates.pointer(type), result.pointer(type))
      for (row, offset) in offsets.enumerated() {
        for i in 0..<width { target[offset + i] = join(target[offset + i], source[row * width + i]) }
      }
    }
    func reduce<T: NumericTensorScalar>(_ type: T.Type) {
      switch reduction {
      case .none: write(type) { $1 }
      case .add: write(type, T.sum)
      case .mul: write(type, T.product)
      case .max: write(type) { $1 > $0 ? $1 : $0 }
      case .min: write(type) { $1 < $0 ? $1 : $0 }
      }
    }
    func replace<T: TensorScalar>(_ type: T.Type) { write(type) { $1 } }
    if let type = result.dtype.scalarType as? any NumericTensorScalar.Type {
      reduce(type)
    } else {
      replace(result.dtype.scalarType)
    }
    withExtendedLifetime((result, updates)) {}
    return [result]
  }

  /// The first element of each update's place, and how many follow.
  private func places(_ indices: [Int64], _ shape: Shape, _ x: Tensor) throws -> ([Int], Int) {
    switch kind {
    case .rows:
      let rows = try IndexRows(indices, shape, x.shape, batch: 0, name: name)
      return (rows.offsets, rows.width)
    case .elements(let axis):
      let axis = try x.shape.normalizedAxis(axis, operation: name)
      let length = x.shape[axis]
      var walk = IndexWalk(shape, strides: x.strides)
      return (
        try indices.map { index in
          let at = index < 0 ? index + Int64(length) : index
          try require(
            at >= 0 && at < Int64(length), .argument, expected: "indices in \(-length)..<\(length)", got: "\(index)")
          defer { walk.advance() }
          return walk.offset + (Int(at) - walk.index[axis]) * x.strides[axis]
        }, 1
      )
    }
  }
}

extension Tensor {
  /// This tensor with the elements of `updates` where `indices`, of the same shape, say along `axis`.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or shapes and types do not fit.
  public func scatteringElements(
    _ updates: Tensor, at indices: Tensor, axis: Int = 0, reduction: ScatterReduction = .none
  ) throws -> Tensor {
    try apply(Scatter(kind: .elements(axis: axis), reduction: reduction), self, indices, updates)
  }

  /// This tensor with the slices of `updates` where the rows (the last axis) of `indices` say.
  ///
  /// - Throws: ``ToeplitzError`` if an index is out of range or shapes and types do not fit.
  public func scatteringRows(
    _ updates: Tensor, at indices: Tensor, reduction: ScatterReduction = .none
  ) throws -> Tensor {
    try apply(Scatter(kind: .rows, reduction: reduction), self, indices, updates)
  }
}
