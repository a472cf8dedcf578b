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
    let result = try Tensor(
      uninitialized: TensorShape(batch + [rows, columns]), dtype: .float32, operation: name)
    // One matrix for all rows is packed once.
    if (0..<axes).allSatisfy({ batch[$0] == 1 || b.strides[$0] == 0 }), let (step, all) = a.evenRows, columns > 0 {
      let packed = try PackedMatrix(
        b.view(shape: [inner, columns], strides: Array(b.strides[axes...]), offset: b.offset))
      MatrixProduct(
        a: a.pointer(), aRow: step, aStep: a.strides[axes + 1], c: result.pointer(), cRow: columns, rows: all
      ).run(packed, table: tz_products_kernels(InstructionSet.current.code))
      withExtendedLifetime((a, b, result)) {}
      return result
    }
    let items = PanelProducts(a, b, result)
    ThreadPool.shared.run(items.count) { item, _ in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: items.panelSize) { scratch in
        if let panel = scratch.baseAddress { items.compute(item, panel) }
      }
    }
    withExtendedLifetime((a, b, result)) {}
    return result
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let (a, b, result) = (call.operands[0], call.operands[1], call.results[0])
    guard a.dtype == .float32, a.rank >= 2, b.rank >= 2, result.isContiguous, result.count > 0, a.count > 0 else {
      return nil
    }
    let batch = Array(result.shape.dropLast(2))
    func wide(_ tensor: Tensor) -> Tensor {
      let shape = TensorShape(batch + tensor.shape.suffix(2))
      return tensor.view(shape: shape, strides: tensor.broadcastStrides(to: shape), offset: tensor.offset)
    }
    let (left, right) = (wide(a), wide(b))
    let items = PanelProducts(left, right, result)
    let (pool, memory) = (ThreadPool.shared, call.memory)
    try memory.reserveScratch(pool.threadCount * items.panelSize * MemoryLayout<Float>.stride, operation: name)
    let compute: (Int, Int) -> Void = { item, thread in
      guard let scratch = memory.scratchBase else { return }
      items.compute(item, scratch.assumingMemoryBound(to: Float.self) + thread * items.panelSize)
      withExtendedLifetime((left, right, result)) {}
    }
    return { pool.run(items.count, compute) }
  }
}

/// Products of float32 matrices `a` `[…, rows, inner]` and `b` `[…, inner, columns]` of the same batch axes, wherever their elements
/// lie: items of work, each of which packs a panel at a time.
private struct PanelProducts {
  /// How many items there are, and floats of a panel.
  let count: Int
  let panelSize: Int
  private let batch: [Int]
  private let rows: Int
  private let inner: Int
  private let columns: Int
  private let aStrides: [Int]
  private let bStrides: [Int]
  private let matrixStrides: [Int]
  private let from: UnsafeMutablePointer<Float>
  private let other: UnsafeMutablePointer<Float>
  private let to: UnsafeMutablePointer<Float>
  /// Parts of the rows of a product, and parts that are computed together.
  private let splits: Int
  private let units: Int
  private let together: Int
  private let isRead: Bool
  private let table: UnsafePointer<tz_products_table>?

  /// - Parameter result: contiguous.
  init(_ a: Tensor, _ b: Tensor, _ result: Tensor) {
    let axes = a.rank - 2
    batch = Array(a.shape.dimensions[..<axes])
    (rows, inner, columns) = (a.shape[axes], a.shape[axes + 1], b.shape[axes + 1])
    (aStrides, bStrides, matrixStrides) = (a.strides, b.strides, Array(b.strides[axes...]))
    (from, other, to) = (a.pointer(Float.self), b.pointer(Float.self), result.pointer(Float.self))
    table = tz_products_kernels(InstructionSet.current.code)
    // Where rows are few, packing takes as long as reading the matrix where it lies.
    let height = Int(tz_products_rows(table))
    isRead = b.strides[axes + 1] == 1 && rows <= 2 * height
    let work = rows * inner * columns
    let products = batch.reduce(1, *)
    splits = max(
      1, min(rows / (2 * height), work / (1 << 18), (4 * ThreadPool.shared.threadCount + products - 1) / products))
    together = max(1, MatrixProduct.smallWork / max(1, work))
    units = products * splits
    count = (units + together - 1) / together
    panelSize = inner * PackedMatrix.width
  }

  /// Computes an item, with room for a panel.
  func compute(_ item: Int, _ panel: UnsafeMutablePointer<Float>) {
    let (axes, width) = (batch.count, PackedMatrix.width)
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
        let matrix = other + right + column * matrixStrides[1]
        if isRead, columns - column >= width {
          (one.b, one.b_step) = (UnsafePointer(matrix), matrixStrides[0])
        } else {
          PackedMatrix.pack(matrix, matrixStrides, panel, inner, min(width, columns - column))
          (one.b, one.b_step) = (UnsafePointer(panel), width)
        }
        one.c = to + (index * rows + first) * columns + column
        one.columns = Int32(min(width, columns - column))
        tz_product_panel(table, &one)
      }
    }
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
