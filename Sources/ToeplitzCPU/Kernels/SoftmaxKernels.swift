import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension AxisSoftmax: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    guard x.rank > 0 else { return [try applyAll(self, [x.reshaped([1])])[0].reshaped([])] }
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    if axis != x.rank - 1 {
      let last = AxisSoftmax(axis: -1, isLogarithmic: isLogarithmic)
      return [try apply(last, x.transposed(axis, -1)).transposed(axis, -1).contiguous()]
    }
    guard x.dtype == .float32 || x.dtype == .float64 else {
      return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
    }
    let source = try x.contiguous()
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return [y] }
    let width = x.shape[axis]
    let table = tz_elementwise_kernels(InstructionSet.current.code)
    ThreadPool.shared.runRows(x.count / width, width: width) { range in
      for row in range {
        if x.dtype == .float32 {
          let to = y.pointer(Float.self) + row * width
          self.row(source.pointer(Float.self) + row * width, to, width) {
            tz_unary_run(table, TZ_EXP, to, to, width, 0, 0)
          }
        } else {
          let to = y.pointer(Double.self) + row * width
          self.row(source.pointer(Double.self) + row * width, to, width) {
            for i in 0..<width { to[i] = to[i].exponential() }
          }
        }
      }
    }
    withExtendedLifetime((source, y)) {}
    return [y]
  }

  /// One row; `exponentiate` replaces the elements of `to` by their exponentials.
  @inline(__always)
  private func row<T: BinaryFloatingPoint>(
    _ from: UnsafeMutablePointer<T>, _ to: UnsafeMutablePointer<T>, _ width: Int, _ exponentiate: () -> Void
  ) {
    // The largest exponent becomes 0, so nothing overflows. NaN and +∞ make the whole row NaN through the sum.
    var largest = -T.infinity
    for i in 0..<width where from[i] > largest { largest = from[i] }
    for i in 0..<width { to[i] = from[i] - largest }
    exponentiate()
    var sum = 0.0
    for i in 0..<width { sum += Double(to[i]) }
    if isLogarithmic {
      let shift = T(sum.logarithm())
      for i in 0..<width { to[i] = (from[i] - largest) - shift }
    } else {
      let scale = T(1 / sum)
      for i in 0..<width { to[i] *= scale }
    }
  }
}
