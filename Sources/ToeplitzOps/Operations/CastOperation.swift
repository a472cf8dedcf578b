import ToeplitzTensor

/// The values converted to another element type.
package struct Cast: TensorOperation {
  package var dtype: DType
  package var name: String { "cast" }

  package init(dtype: DType) { self.dtype = dtype }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(inputs[0].shape, dtype)]
  }

  package var gradient: GradientRule {
    guard dtype.isFloatingPoint else { return .zero }
    return .vjp { [$0.x.dtype.isFloatingPoint ? try $0.dy.cast(to: $0.x.dtype) : nil] }
  }

  package func time(_ call: TimeCall) -> TimeRule { .pointwise(call, except: [], because: "") }
}

extension Cast: PairMove {}

extension Tensor {
  /// The values converted to `dtype`: floats round to nearest even, floats to integers truncate (and stop at the
  /// type's range), integers to integers wrap around, anything but zero is true.
  public func cast(to dtype: DType) throws -> Tensor {
    dtype == self.dtype ? self : try apply(Cast(dtype: dtype), self)
  }
}
