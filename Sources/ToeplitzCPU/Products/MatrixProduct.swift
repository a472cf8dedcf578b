import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Rows of float32 numbers times a matrix: `c[i][j] = start[j] + Σ_k a[i][k] b[k][j]`, then an epilogue.
///
/// Every result is one chain of multiply-adds in the order of k, started from the bias: how the work is cut does not change
/// a bit of it.
struct MatrixProduct {
  /// The rows: elements between them, and between their elements.
  var a: UnsafePointer<Float>
  var aRow: Int
  var aStep: Int
  var c: UnsafeMutablePointer<Float>
  var cRow: Int
  var rows: Int
  /// The bias; its whole panels are read.
  var start: UnsafePointer<Float>?
  var epilogue: UnsafePointer<tz_product_epilogue>?

  /// Multiply-adds that are not worth waking a thread for.
  static let smallWork = 1 << 16

  /// Computes all of it on all threads.
  func run(_ b: PackedMatrix, table: UnsafePointer<tz_products_table>?) { computation(b, table: table)() }

  /// What computes all of it on all threads.
  func computation(_ b: PackedMatrix, table: UnsafePointer<tz_products_table>?) -> () -> Void {
    let pool = ThreadPool.shared
    let work = rows * b.panels * b.panelSize
    let most = work < Self.smallWork ? 1 : min(8 * pool.threadCount, max(1, work / Self.smallWork))
    let height = Int(tz_products_rows(table))
    // Several register blocks of rows at a time, so that a panel read from the second-level cache serves all of them.
    let rowItems = max(1, min(most, rows / (4 * height)))
    let panelItems = max(1, min(b.panels, most / rowItems))
    guard rowItems * panelItems > 1 else { return { part(b, 0..<rows, 0..<b.panels, table) } }
    let compute: (Int, Int) -> Void = { item, _ in
      let (row, panel) = (item / panelItems, item % panelItems)
      part(
        b, rows * row / rowItems..<rows * (row + 1) / rowItems,
        b.panels * panel / panelItems..<b.panels * (panel + 1) / panelItems, table)
    }
    return { pool.run(rowItems * panelItems, compute) }
  }

  /// Computes some rows and panels on this thread.
  private func part(
    _ b: PackedMatrix, _ rows: Range<Int>, _ panels: Range<Int>, _ table: UnsafePointer<tz_products_table>?
  ) {
    var panel = panels.lowerBound
    let together = Int(tz_products_together(table))
    if rows.count == 1 {
      while panel + together <= panels.upperBound, (panel + together) * PackedMatrix.width <= b.columns {
        var one = product(b, rows, panel)
        one.epilogue = nil
        tz_product_row(table, &one, b.panelSize)
        if let epilogue {
          tz_product_finish(table, epilogue, one.c, one.place, together * PackedMatrix.width)
        }
        panel += together
      }
    }
    while panel < panels.upperBound {
      var one = product(b, rows, panel)
      tz_product_panel(table, &one)
      panel += 1
    }
  }

  private func product(_ b: PackedMatrix, _ rows: Range<Int>, _ panel: Int) -> tz_product {
    let column = panel * PackedMatrix.width
    let place = rows.lowerBound * cRow + column
    return tz_product(
      a: a + rows.lowerBound * aRow, a_row: aRow, a_step: aStep, b: b.panel(panel), b_step: PackedMatrix.width,
      c: c + place, c_row: cRow, start: start.map { $0 + column }, rows: rows.count, steps: b.steps,
      columns: Int32(min(PackedMatrix.width, b.columns - column)), adds: false, epilogue: epilogue, place: place)
  }
}

extension FusedConvolution {
  /// Whether ``linear(_:_:)`` computes it.
  func isProduct(_ type: DType) -> Bool {
    convolution.isLinear && [.float32, .float16, .bfloat16].contains(type) && weightStorage == .full
      && epilogue.inputSlope == 1 && geometry.inChannels > 0
  }

  /// The result of a linear map of the last axis.
  func linear(_ inputs: [Tensor], _ output: TensorSpec) throws -> Tensor {
    let operands = operands(inputs)
    // [1, C, rows], wherever the rows lie.
    let x = try convolution.canonical(operands.x.cast(to: .float32))
    let packed = try LinearPackings.packed(geometry, operands.weight, factors: operands.factors)
    let residuals = try operands.residuals.map { try $0.cast(to: .float32).dense() }
    let bias = try operands.bias.map { try PackedMatrix.padded($0.cast(to: .float32)) }
    // The sums of a single row are all written before its residuals are read.
    let result =
      try (x.shape[2] > 1 ? overwritten(operands.residuals, .float32) : nil)
      ?? Tensor(uninitialized: output.shape, dtype: .float32, operation: name)
    withExtendedLifetime((x, bias, residuals, result)) {
      computation(x, packed, bias: bias, residuals, result)()
    }
    return try result.cast(to: output.dtype)
  }

  /// The same of float32 tensors that stay where they are; weights and bias are constants.
  func boundLinear(_ call: BoundCall) throws -> BoundComputation? {
    let (operands, result) = (operands(call.operands), call.results[0])
    guard operands.x.dtype == .float32, result.isContiguous, operands.bias?.dtype ?? .float32 == .float32 else {
      return nil
    }
    let ordered = BoundOperands(call.memory, name: name)
    var x = try convolution.canonical(operands.x)
    if x.storage !== operands.x.storage { x = try convolution.canonical(ordered.dense(operands.x)) }
    let packed = try LinearPackings.packed(geometry, operands.weight, factors: operands.factors)
    let residuals = try operands.residuals.map { try ordered.dense($0) }
    let bias = try operands.bias.map { try PackedMatrix.padded($0) }
    let compute = computation(x, packed, bias: bias, residuals, result)
    return ordered.finished {
      compute()
      withExtendedLifetime((x, bias, residuals, result)) {}
    }
  }

  /// What computes the product of float32 rows `[1, C, rows]` into contiguous ones.
  private func computation(
    _ x: Tensor, _ packed: PackedMatrix, bias: Tensor?, _ residuals: [Tensor], _ result: Tensor
  ) -> () -> Void {
    let table = tz_products_kernels(InstructionSet.current.code)
    let kept = KeptEpilogue(epilogue, residuals)
    let compute = MatrixProduct(
      a: x.pointer(), aRow: x.strides[2], aStep: x.strides[1], c: result.pointer(), cRow: geometry.outChannels,
      rows: x.shape[2], start: bias.map { UnsafePointer($0.pointer(Float.self)) }, epilogue: kept?.address
    ).computation(packed, table: table)
    return { withExtendedLifetime(kept) { compute() } }
  }
}

extension Epilogue {
  /// What the kernels of products do with their sums.
  ///
  /// - Parameter residuals: contiguous float32 tensors, which the caller keeps.
  fileprivate func ending(_ residuals: [Tensor]) -> tz_product_epilogue {
    let addresses = residuals.addresses
    func address(_ at: UnsafeRawPointer?) -> UnsafePointer<Float>? { at?.assumingMemoryBound(to: Float.self) }
    let activation = activation?.function(InstructionSet.current)
    return tz_product_epilogue(
      residual: (address(addresses.0), address(addresses.1)), scale: Float(outputScale), slope: Float(outputSlope),
      activation: activation?.function, a: activation?.a ?? 0, b: activation?.b ?? 0)
  }
}

/// An epilogue at one place in memory, where products that are computed later find it.
final class KeptEpilogue {
  private let memory = UnsafeMutablePointer<tz_product_epilogue>.allocate(capacity: 1)

  /// Nil where there is nothing to do.
  init?(_ epilogue: Epilogue, _ residuals: [Tensor] = []) {
    if epilogue == Epilogue(), residuals.isEmpty { return nil }
    memory.initialize(to: epilogue.ending(residuals))
  }

  deinit { memory.deallocate() }

  var address: UnsafePointer<tz_product_epilogue> { UnsafePointer(memory) }
}
