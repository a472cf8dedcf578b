import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension CumulativeSum: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let carried = carries ? inputs[1] : nil
    switch outputs[0].dtype {
    case .float32: return try scan(inputs[0], axis, carried, from: 0.0, { $0 + Double($1 as Float) }, { Float($0) })
    case .float64: return try scan(inputs[0], axis, carried, from: 0.0, { $0 + ($1 as Double) }, { $0 })
    case .int64:
      return try scan(inputs[0].cast(to: .int64), axis, carried, from: Int64(0), { $0 &+ ($1 as Int64) }, { $0 })
    default:
      let wide = try applyAll(self, [inputs[0].cast(to: .float32)] + inputs.dropFirst())
      return try [wide[0].cast(to: inputs[0].dtype)] + wide.dropFirst()
    }
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    guard call.operands[0].dtype == .float32, call.results.allSatisfy(\.isContiguous) else { return nil }
    let ordered = BoundOperands(call.memory, name: name)
    let x = try ordered.dense(call.operands[0])
    let carried = carries ? try ordered.dense(call.operands[1]) : nil
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    let last = carries ? call.results[1] : nil
    return ordered.finished {
      scan(x, axis, carried, from: 0.0, { $0 + Double($1 as Float) }, { Float($0) }, call.results[0], last)
    }
  }

  @inline(__always)
  private func scan<T: TensorScalar, Sum: TensorScalar>(
    _ x: Tensor, _ axis: Int, _ carried: Tensor?, from zero: Sum, _ add: (Sum, T) -> Sum, _ narrow: (Sum) -> T
  ) throws -> [Tensor] {
    let (x, carried) = (try x.dense(), try carried?.dense())
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    let last = try carried.map { try Tensor(uninitialized: $0.shape, dtype: $0.dtype, operation: name) }
    scan(x, axis, carried, from: zero, add, narrow, y, last)
    return [y] + [last].compactMap { $0 }
  }

  /// The same of contiguous tensors.
  @inline(__always)
  private func scan<T: TensorScalar, Sum: TensorScalar>(
    _ x: Tensor, _ axis: Int, _ carried: Tensor?, from zero: Sum, _ add: (Sum, T) -> Sum, _ narrow: (Sum) -> T,
    _ y: Tensor, _ last: Tensor?
  ) {
    let length = x.shape[axis]
    let inner = x.shape.dimensions[(axis + 1)...].reduce(1, *)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    for lane in 0..<(length == 0 ? last?.count ?? 0 : x.count / length) {
      var at = (lane / inner) * length * inner + lane % inner
      var sum = carried?.pointer(Sum.self)[lane] ?? zero
      for _ in 0..<length {
        sum = add(sum, source[at])
        target[at] = narrow(sum)
        at += inner
      }
      last?.pointer(Sum.self)[lane] = sum
    }
    withExtendedLifetime((x, y, carried, last)) {}
  }
}
