import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension AxisSoftmax: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    guard x.rank > 0 else { return [try applyAll(self, [x.reshaped([1])])[0].reshaped([])] }
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    if x.dtype == .float32 { return [try vectorized(x.dense(), axis)] }
    if axis != x.rank - 1 {
      let last = AxisSoftmax(axis: -1, isLogarithmic: isLogarithmic)
      return [try apply(last, x.transposed(axis, -1)).transposed(axis, -1).dense()]
    }
    guard x.dtype == .float64 else {
      return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
    }
    let source = try x.dense()
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return [y] }
    let width = x.shape[axis]
    let (from, to) = (source.pointer(Double.self), y.pointer(Double.self))
    ThreadPool.shared.runRows(x.count / width, width: width) { range in
      for row in range { self.row(from + row * width, to + row * width, width) }
    }
    withExtendedLifetime((source, y)) {}
    return [y]
  }

  /// float32: along rows, or down columns that lie side by side.
  ///
  /// Their sums have another order, so a column by itself is no row: its bits may not depend on how many are beside it.
  private func vectorized(_ x: Tensor, _ axis: Int) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: .float32, operation: name)
    if x.count > 0 { computation(x, axis, y)() }
    return y
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let x = call.operands[0]
    guard x.dtype == .float32, x.rank > 0, x.count > 0, call.results[0].isContiguous else { return nil }
    let ordered = BoundOperands(call.memory, name: name)
    let dense = try ordered.dense(x)
    return ordered.finished(computation(dense, try x.shape.normalizedAxis(axis, operation: name), call.results[0]))
  }

  /// What computes the result of contiguous tensors.
  private func computation(_ x: Tensor, _ axis: Int, _ y: Tensor) -> () -> Void {
    let (length, inner) = (x.shape[axis], x.shape.dimensions[(axis + 1)...].reduce(1, *))
    let outer = x.count / length / inner
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    let (from, to, isLogarithmic) = (x.pointer(Float.self), y.pointer(Float.self), isLogarithmic)
    if axis == x.rank - 1 {
      return ThreadPool.shared.sharingRows(outer, width: 4 * length) { range in
        for row in range { table.softmax(from + row * length, to + row * length, length, isLogarithmic) }
        withExtendedLifetime((x, y)) {}
      }
    }
    let together = 64
    let blocks = (inner + together - 1) / together
    return ThreadPool.shared.sharingRows(outer * blocks, width: 4 * length * min(inner, together)) { range in
      for item in range {
        let first = item / blocks * length * inner + item % blocks * together
        table.softmax_columns(
          from + first, to + first, length, inner, min(together, inner - item % blocks * together), isLogarithmic)
      }
      withExtendedLifetime((x, y)) {}
    }
  }

  /// One row.
  private func row(_ from: UnsafeMutablePointer<Double>, _ to: UnsafeMutablePointer<Double>, _ width: Int) {
    // The largest exponent becomes 0, so nothing overflows. NaN and +∞ make the whole row NaN through the sum.
    var largest = -Double.infinity
    for i in 0..<width where from[i] > largest { largest = from[i] }
    var sum = 0.0
    for i in 0..<width {
      to[i] = (from[i] - largest).exponential()
      sum += to[i]
    }
    if isLogarithmic {
      let shift = sum.logarithm()
      for i in 0..<width { to[i] = (from[i] - largest) - shift }
    } else {
      for i in 0..<width { to[i] /= sum }
    }
  }
}
