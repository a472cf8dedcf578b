import ToeplitzTensor

/// Sums of all elements up to each one along an axis.
struct CumulativeSum: Operation {
  var axis: Int
  var name: String { "cumulativeSum" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    _ = try inputs[0].shape.normalizedAxis(axis, operation: name)
    return [TensorSpec(inputs[0].shape, inputs[0].dtype.isFloatingPoint ? inputs[0].dtype : .int64)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    switch outputs[0].dtype {
    case .float32:
      return [try scan(x.contiguous(), axis, from: 0.0, { $0 + Double($1 as Float) }, { Float($0) })]
    case .float64: return [try scan(x.contiguous(), axis, from: 0.0, { $0 + ($1 as Double) }, { $0 })]
    case .int64:
      return [
        try scan(x.cast(to: .int64).contiguous(), axis, from: Int64(0), { $0 &+ ($1 as Int64) }, { $0 })
      ]
    default: return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
    }
  }

  @inline(__always)
  private func scan<T: TensorScalar, Sum>(
    _ x: Tensor, _ axis: Int, from zero: Sum, _ add: (Sum, T) -> Sum, _ narrow: (Sum) -> T
  ) throws -> Tensor {
    let y = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    guard x.count > 0 else { return y }
    let length = x.shape[axis]
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    for lane in 0..<(x.count / length) {
      var at = (lane / inner) * length * inner + lane % inner
      var sum = zero
      for _ in 0..<length {
        sum = add(sum, source[at])
        target[at] = narrow(sum)
        at += inner
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }
}

extension Tensor {
  /// Sums of all elements up to each one along `axis`, accumulated in double precision; integers give int64.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  public func cumulativeSum(axis: Int) throws -> Tensor { try apply(CumulativeSum(axis: axis), self) }
}
