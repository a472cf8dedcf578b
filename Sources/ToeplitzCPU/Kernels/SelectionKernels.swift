import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension TopElements: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let rows = try inputs[0].transposed(axis, -1).dense()
    let length = rows.shape[rows.rank - 1]
    let shape = rows.shape.replacing(rows.rank - 1, by: count)
    let values = try Tensor(uninitialized: shape, dtype: rows.dtype, operation: name)
    let places = try Tensor(uninitialized: shape, dtype: .int64, operation: name)
    func run<T: TensorScalar>(_ type: T.Type) {
      let source = rows.pointer(type)
      for row in 0..<(length == 0 ? 0 : rows.count / length) {
        let from = source + row * length
        // NaN counts as larger than all; of equal elements the first comes first.
        let keys = (0..<length).map { from[$0].doubleValue }
        let order = (0..<length).sorted { a, b in
          let (x, y) = (keys[a], keys[b])
          if x == y || (x.isNaN && y.isNaN) { return a < b }
          if x.isNaN || y.isNaN { return x.isNaN == largest }
          return largest ? x > y : x < y
        }
        for at in 0..<count {
          values.pointer(type)[row * count + at] = from[order[at]]
          places.pointer(Int64.self)[row * count + at] = Int64(order[at])
        }
      }
    }
    run(rows.dtype.scalarType)
    withExtendedLifetime((rows, values, places)) {}
    return [
      try values.transposed(axis, -1).dense(), try places.transposed(axis, -1).dense(),
    ]
  }
}
