import CToeplitzKernels
import ToeplitzTensor

/// The softmax along one axis, or its logarithm.
package struct AxisSoftmax: TensorOperation {
  package var axis: Int
  package var isLogarithmic: Bool
  package var name: String { isLogarithmic ? "LogSoftmax" : "Softmax" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    if inputs[0].shape.rank > 0 || ![0, -1].contains(axis) {
      _ = try inputs[0].shape.normalizedAxis(axis, operation: name)
    }
    return inputs
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (y, dy) = (call.y, try call.dy)
      guard y.rank > 0 else { return [try dy * 0] }
      if isLogarithmic { return [try dy - y.exponential() * dy.sum([axis], keepsAxes: true)] }
      return [try y * (dy - (dy * y).sum([axis], keepsAxes: true))]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "it divides by a sum over all positions")
  }

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

extension Tensor {
  /// Exponentials along `axis` divided by their sum.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis or the elements are not floating-point numbers.
  public func softmax(axis: Int) throws -> Tensor {
    try apply(AxisSoftmax(axis: axis, isLogarithmic: false), self)
  }

  /// The logarithm of ``softmax(axis:)``, without its loss of digits.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis or the elements are not floating-point numbers.
  public func logSoftmax(axis: Int) throws -> Tensor {
    try apply(AxisSoftmax(axis: axis, isLogarithmic: true), self)
  }
}
