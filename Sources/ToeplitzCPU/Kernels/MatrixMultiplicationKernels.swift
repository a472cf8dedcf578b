import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension MatrixMultiply: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (aShape, bShape) = try matrices(inputs[0].shape, inputs[1].shape)
    let (rows, inner, columns) = (aShape[aShape.rank - 2], aShape[aShape.rank - 1], bShape[bShape.rank - 1])
    let batch = try TensorShape.broadcast(
      TensorShape(aShape.dropLast(2)), TensorShape(bShape.dropLast(2)), operation: name)
    let count = try batch.elementCount(name)
    guard rows > 0, inner > 0, columns > 0, count > 0 else {
      return [try Tensor.zeros(outputs[0].shape, dtype: outputs[0].dtype)]
    }
    switch inputs[0].dtype {
    case .float32, .float16, .bfloat16:
      let (a, b) = (try inputs[0].cast(to: .float32), try inputs[1].cast(to: .float32))
      let result = try products(
        a.reshaped(aShape).expanded(to: TensorShape(batch.dimensions + [rows, inner])),
        b.reshaped(bShape).expanded(to: TensorShape(batch.dimensions + [inner, columns])))
      return [try result.reshaped(outputs[0].shape).cast(to: outputs[0].dtype)]
    default: break
    }
    let a = try inputs[0].reshaped(aShape).expanded(to: TensorShape(batch.dimensions + [rows, inner]))
      .reshaped([count, rows, inner, 1])
    let b = try inputs[1].reshaped(bShape).expanded(to: TensorShape(batch.dimensions + [inner, columns]))
      .reshaped([count, inner, columns])
    let products = try (0..<count).map { index in
      try conv1d(b.slice(axis: 0, index..<(index + 1)), a.select(axis: 0, index))
    }
    return [try Tensor.concatenate(products).reshaped(outputs[0].shape)]
  }

  /// Products of float32 matrices `a` `[…, rows, inner]` and `b` `[…, inner, columns]` of the same batch axes, wherever their
  /// elements lie.
  private func products(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    let axes = a.rank - 2
    let batch = Array(a.shape.dimensions[..<axes])
    let (rows, inner, columns) = (a.shape[axes], a.shape[axes + 1], b.shape[axes + 1])
    let count = batch.reduce(1, *)
    let result = try Tensor(
      uninitialized: TensorShape(batch + [rows, columns]), dtype: .float32, operation: name)
    let table = tz_products_kernels(InstructionSet.current.code)
    let width = PackedMatrix.width
    let panels = (columns + width - 1) / width
    // One matrix for all rows is packed once.
    if (0..<axes).allSatisfy({ batch[$0] == 1 || b.strides[$0] == 0 }), let (step, all) = a.evenRows, panels > 0 {
      let packed = try PackedMatrix(
        b.view(shape: [inner, columns], strides: Array(b.strides[axes...]), offset: b.offset))
      MatrixProduct(
        a: a.pointer(), aRow: step, aStep: a.strides[axes + 1], c: result.pointer(), cRow: columns, rows: all
      ).run(packed, table: table)
      withExtendedLifetime((a, b, result)) {}
      return result
    }
    // Where rows are few, packing takes as long as reading the matrix where it lies.
    let height = Int(tz_products_rows(table))
    let isRead = b.strides[axes + 1] == 1 && rows <= 2 * height
    let work = rows * inner * columns
    let pool = ThreadPool.shared
    let splits = max(1, min(rows / (2 * height), work / (1 << 18), (4 * pool.threadCount + count - 1) / count))
    let together = max(1, MatrixProduct.smallWork / max(1, work))
    let units = count * splits
    let items = (units + together - 1) / together
    let (aStrides, bStrides) = (a.strides, b.strides)
    let (from, other, to) = (a.pointer(Float.self), b.pointer(Float.self), result.pointer(Float.self))
    pool.run(items) { item, _ in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: inner * width) { scratch in
        guard let panel = scratch.baseAddress else { return }
        for unit in item * together..<min(units, (item + 1) * together) {
          let (index, split) = (unit / splits, unit % splits)
          var (left, right, rest) = (0, 0, index)
          for axis in (0..<axes).reversed() {
            let at = rest % batch[axis]
            rest /= batch[axis]
            left += at * aStrides[axis]
            right += at * bStrides[axis]
          }
          let first = rows * split / splits
          var one = tz_product()
          one.a = UnsafePointer(from + left + first * aStrides[axes])
          (one.a_row, one.a_step) = (aStrides[axes], aStrides[axes + 1])
          (one.rows, one.steps, one.c_row) = (rows * (split + 1) / splits - first, inner, columns)
          for column in stride(from: 0, to: columns, by: width) {
            let matrix = other + right + column * bStrides[axes + 1]
            if isRead, columns - column >= width {
              (one.b, one.b_step) = (UnsafePointer(matrix), bStrides[axes])
            } else {
              PackedMatrix.pack(matrix, Array(bStrides[axes...]), panel, inner, min(width, columns - column))
              (one.b, one.b_step) = (UnsafePointer(panel), width)
            }
            one.c = to + (index * rows + first) * columns + column
            one.columns = Int32(min(width, columns - column))
            tz_product_panel(table, &one)
          }
        }
      }
    }
    withExtendedLifetime((a, b, result)) {}
    return result
  }
}

extension Tensor {
  /// The elements from each row to the next, where a row is the last axis, and how many there are; nil where distances differ.
  fileprivate var evenRows: (step: Int, count: Int)? {
    let outer = (0..<rank - 1).filter { shape[$0] != 1 }
    guard zip(outer, outer.dropFirst()).allSatisfy({ strides[$0] == strides[$1] * shape[$1] }) else { return nil }
    return (outer.last.map { strides[$0] } ?? shape[rank - 1], outer.reduce(1) { $0 * shape[$1] })
  }
}
