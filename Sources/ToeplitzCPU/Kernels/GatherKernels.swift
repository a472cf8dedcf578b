import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Gather: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
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

  init(_ indices: [Int64], _ indexShape: TensorShape, _ shape: TensorShape, batch: Int, name: String) throws {
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
  private let shape: TensorShape
  private let strides: [Int]
  private(set) var index: [Int]
  private(set) var offset = 0

  init(_ shape: TensorShape, strides: [Int]) {
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
