import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension LSTMCell: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    // A copy: the gates are computed in place.
    let gates = try inputs[0].copied()
    let cell = try inputs[1].dense()
    let hidden = try Tensor(uninitialized: cell.shape, dtype: cell.dtype, operation: name)
    let next = try Tensor(uninitialized: cell.shape, dtype: cell.dtype, operation: name)
    if cell.dtype == .float32 {
      let table = tz_elementwise_kernels(InstructionSet.current.code)
      step(
        gates, cell, hidden, next, sigmoid: { tz_unary_run(table, TZ_SIGMOID, $0, $0, $1, 0, 0) },
        tanh: { tz_unary_run(table, TZ_TANH, $0, $1, $2, 0, 0) })
    } else {
      step(
        gates, cell, hidden, next,
        sigmoid: { (x: UnsafeMutablePointer<Double>, count) in
          for i in 0..<count { x[i] = 1 / (1 + (-x[i]).exponential()) }
        },
        tanh: { x, y, count in for i in 0..<count { y[i] = x[i].hyperbolicTangent() } })
    }
    withExtendedLifetime((gates, cell, hidden, next)) {}
    return [hidden, next]
  }

  private func step<T: BinaryFloatingPoint>(
    _ gates: Tensor, _ cell: Tensor, _ hidden: Tensor, _ next: Tensor,
    sigmoid: (UnsafeMutablePointer<T>, Int) -> Void,
    tanh: (UnsafeMutablePointer<T>, UnsafeMutablePointer<T>, Int) -> Void
  ) {
    let size = cell.shape[1]
    let places = order.memory
    for row in 0..<cell.shape[0] {
      let g = gates.pointer(T.self) + 4 * row * size
      let (c, h, n) = (
        cell.pointer(T.self) + row * size, hidden.pointer(T.self) + row * size, next.pointer(T.self) + row * size
      )
      let (input, output) = (g + places.input * size, g + places.output * size)
      let (forget, candidate) = (g + places.forget * size, g + places.candidate * size)
      // Up to the candidate's and behind it.
      sigmoid(g, places.candidate * size)
      if places.candidate < 3 { sigmoid(candidate + size, (3 - places.candidate) * size) }
      tanh(candidate, candidate, size)
      for i in 0..<size { n[i] = forget[i] * c[i] + input[i] * candidate[i] }
      tanh(n, h, size)
      for i in 0..<size { h[i] *= output[i] }
    }
  }
}
