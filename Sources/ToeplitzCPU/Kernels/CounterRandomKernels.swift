import ToeplitzOps
import ToeplitzTensor

extension CounterUniform: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let key = UInt64(bitPattern: try inputs[0].item(Int64.self))
    let result = try Tensor(uninitialized: shape, dtype: .float64, operation: name)
    let (to, draw) = (result.pointer(Double.self), UInt64(draw))
    ThreadPool.shared.runRows(result.count, width: 1) { range in
      for index in range { to[index] = Self.number(key: key, draw: draw, index: UInt64(index)) }
    }
    return [result]
  }
}
