import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Scatter: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try inputs[0].copied()
    let updates = try inputs[2].dense()
    guard updates.count > 0 else { return [result] }
    if let sums = try addedToRows(result, inputs[1], updates) { return [sums] }
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

  /// Float32 numbers that are added within rows, on several threads: gradients of poolings; nil for everything else.
  private func addedToRows(_ result: Tensor, _ positions: Tensor, _ updates: Tensor) throws -> Tensor? {
    guard case .elements(let axis) = kind, reduction == .add, result.dtype == .float32, result.rank == 2,
      axis == 1 || axis == -1, positions.dtype == .int64, positions.shape[0] == result.shape[0]
    else { return nil }
    let indices = try positions.dense()
    let (length, width) = (result.shape[1], positions.shape[1])
    let (at, from, to) = (indices.pointer(Int64.self), updates.pointer(Float.self), result.pointer(Float.self))
    for index in 0..<indices.count where at[index] < -Int64(length) || at[index] >= Int64(length) {
      throw ToeplitzError(
        .argument, name, expected: "indices in \(-length)..<\(length)", got: "\(at[index])")
    }
    ThreadPool.shared.runRows(result.shape[0], width: length) { range in
      for row in range {
        for index in row * width..<(row + 1) * width {
          let place = Int(at[index])
          to[row * length + (place < 0 ? place + length : place)] += from[index]
        }
      }
    }
    withExtendedLifetime((indices, updates, result)) {}
    return result
  }

  /// The first element of each update's place, and how many follow.
  private func places(_ indices: [Int64], _ shape: TensorShape, _ x: Tensor) throws -> ([Int], Int) {
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
