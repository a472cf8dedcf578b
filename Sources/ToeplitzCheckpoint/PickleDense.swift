import ToeplitzTensor

/// Sparse tensors with all their elements.
enum PickleDense {
  /// The dense tensor of a layout `torch.sparse_coo` (indices, values), `torch.sparse_csr` or `torch.sparse_csc`
  /// (boundaries, indices, values).
  static func tensor(_ layout: String, _ parts: [Tensor], _ sizes: [Int], _ place: FilePlace) throws -> Tensor {
    switch (layout, parts.count) {
    case ("torch.sparse_coo", 2): return try coordinates(parts[0], parts[1], sizes, place)
    case ("torch.sparse_csr", 3), ("torch.sparse_csc", 3):
      return try compressed(parts, sizes, byColumn: layout == "torch.sparse_csc", place)
    default:
      throw ToeplitzError(
        .unsupported, place.file, expected: "a sparse tensor in the layout coo, csr or csc; save tensor.to_dense()",
        got: layout.quoted, path: place.entry)
    }
  }

  private static func coordinates(
    _ indices: Tensor, _ values: Tensor, _ sizes: [Int], _ place: FilePlace
  ) throws -> Tensor {
    guard indices.rank == 2, values.rank >= 1, indices.shape[0] <= sizes.count, indices.shape[1] == values.shape[0],
      indices.dtype == .int64
    else { throw place.malformed("an index for each value", got: "\(indices.shape) and \(values.shape)") }
    guard values.count > 0 else { return try filled(sizes, [], values, place) }
    let (axes, count) = (indices.shape[0], indices.shape[1])
    let block = Array(values.shape.dimensions.dropFirst())
    guard block.starts(with: sizes[axes...]), block.count - (sizes.count - axes) <= 1 else {
      throw place.malformed("values of the sizes \(sizes[axes...])", got: "\(values.shape)")
    }
    let positions = try indices.scalars(Int64.self)
    var cells = [Int](repeating: 0, count: count)
    for axis in 0..<axes {
      for index in 0..<count {
        let position = positions[axis * count + index]
        guard position >= 0, position < sizes[axis] else {
          throw place.malformed("indices from 0 to \(sizes[axis] - 1)", got: "\(position)")
        }
        // Wraps only where the shape is refused below.
        cells[index] = cells[index] &* sizes[axis] &+ Int(position)
      }
    }
    return try filled(sizes[..<axes] + block, cells, values, place)
  }

  private static func compressed(
    _ parts: [Tensor], _ sizes: [Int], byColumn: Bool, _ place: FilePlace
  ) throws -> Tensor {
    let (values, rank) = (parts[2], sizes.count)
    guard rank == 2, parts[0].rank == 1, parts[1].rank == 1, values.rank >= 1, parts[0].dtype == .int64,
      parts[1].dtype == .int64
    else {
      throw ToeplitzError(
        .unsupported, place.file, expected: "a sparse matrix with indices of int64; save tensor.to_dense()",
        got: "\(rank) axes and \(parts[0].dtype)", path: place.entry)
    }
    let (bounds, inner) = (try parts[0].scalars(Int64.self), try parts[1].scalars(Int64.self))
    let (lines, length) = byColumn ? (sizes[1], sizes[0]) : (sizes[0], sizes[1])
    guard lines >= 0, bounds.count - 1 == lines, bounds.first == 0, bounds.last == Int64(inner.count),
      zip(bounds, bounds.dropFirst()).allSatisfy({ $0 <= $1 }), values.shape[0] == inner.count,
      inner.allSatisfy({ $0 >= 0 && $0 < length })
    else { throw place.malformed("boundaries and indices within \(sizes)", got: "others") }
    var cells: [Int] = []
    for line in 0..<lines {
      for index in Int(bounds[line])..<Int(bounds[line + 1]) {
        cells.append(byColumn ? Int(inner[index]) &* sizes[1] &+ line : line &* sizes[1] &+ Int(inner[index]))
      }
    }
    return try filled(sizes + values.shape.dimensions.dropFirst(), cells, values, place)
  }

  /// Zeros with each value added to the block of its cell.
  private static func filled(
    _ sizes: [Int], _ cells: [Int], _ values: Tensor, _ place: FilePlace
  ) throws -> Tensor {
    _ = try ElementBytes.byteCount(sizes, itemSize: values.dtype.byteSize, place)
    let block = values.shape.dimensions.dropFirst().reduce(1, *)
    func fill<T: TensorScalar>(_ type: T.Type, _ sum: (T, T) -> T) throws -> Tensor {
      let numbers = try values.scalars(T.self)
      var result = try Tensor.zeros(TensorShape(sizes), dtype: values.dtype)
      try result.withMutableElements(T.self) { elements in
        for (index, cell) in cells.enumerated() {
          for part in 0..<block {
            let position = cell * block + part
            elements[position] = sum(elements[position], numbers[index * block + part])
          }
        }
      }
      return result
    }
    func add<T: TensorScalar>(_ type: T.Type) throws -> Tensor {
      if let type = type as? any NumericTensorScalar.Type {
        func numeric<N: NumericTensorScalar>(_ type: N.Type) throws -> Tensor { try fill(type, N.sum) }
        return try numeric(type)
      }
      return try fill(type) { $1.doubleValue == 0 ? $0 : $1 }
    }
    return try add(values.dtype.scalarType)
  }
}
