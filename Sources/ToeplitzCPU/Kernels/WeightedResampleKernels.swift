import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension WeightedResample: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].contiguous()
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: x.dtype, operation: name)
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let outer = x.shape.prefix(axis).reduce(1, *)
    let length = x.shape[axis]
    func run<T: TensorScalar>(_ type: T.Type) {
      ThreadPool.shared.runRows(outer, width: max(1, terms.count * inner)) { range in
        for block in range {
          for (index, terms) in terms.enumerated() {
            let to = result.pointer(type) + (block * self.terms.count + index) * inner
            guard let terms else {
              to.update(repeating: T(converting: fill), count: inner)
              continue
            }
            let from = x.pointer(type) + block * length * inner
            // A single term moves elements of any type without a change.
            if terms.count == 1, terms[0].weight == 1 {
              to.update(from: from + terms[0].position * inner, count: inner)
              continue
            }
            for i in 0..<inner {
              var sum = 0.0
              for term in terms { sum += from[term.position * inner + i].doubleValue * term.weight }
              to[i] = T(converting: sum)
            }
          }
        }
      }
    }
    if x.dtype == .float32 { run(Float.self) } else { run(x.dtype.scalarType) }
    withExtendedLifetime((x, result)) {}
    return [result]
  }
}
