import ToeplitzTensor

/// Sums of all elements up to each one along an axis, in double precision.
///
/// If it carries, a second operand of size 1 on the axis (float64, or int64 for integers) is added to all sums, and the last
/// of them, not rounded, is a second result: pieces computed one after the other have the bits of the whole.
package struct CumulativeSum: TensorOperation {
  package var axis: Int
  package var carries = false
  package var name: String { "cumulativeSum" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: carries ? 2 : 1)
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    let axis = try shape.normalizedAxis(axis, operation: name)
    let sums = TensorSpec(shape, dtype.isFloatingPoint ? dtype : .int64)
    guard carries else { return [sums] }
    let carried = TensorSpec(shape.replacing(axis, by: 1), dtype.isFloatingPoint ? .float64 : .int64)
    try require(inputs[1] == carried, expected: "a carried sum \(carried)", got: "\(inputs[1])")
    return [sums, carried]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] + (carries ? [nil] : []) }
      // A term is in all sums from its own position on; what is carried in is in all of them, and all are carried out.
      let last = try carries ? call.cotangents[1]?.cast(to: call.x.dtype) : nil
      var dx = try call.dy.flipped([axis]).cumsum(axis: axis).flipped([axis])
      if let last { dx = try dx + last }
      guard carries else { return [dx] }
      let sum = try call.dy.cast(to: .float64).sum([axis], keepsAxes: true)
      return [dx, try call.cotangents[1].map { try sum + $0 } ?? sum]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    guard call.isOfFirstAlone, let time = call.axes[0], !carries else {
      return .whole(because: "what it carries on changes along time")
    }
    let x = call.inputs[0]
    guard (axis < 0 ? axis + x.shape.rank : axis) == time else { return .pointwise(axis: time) }
    let carried = TensorSpec(x.shape.replacing(time, by: 1), x.dtype.isFloatingPoint ? .float64 : .int64)
    return .state(axis: time, carried: [carried], stepped: CumulativeSum(axis: axis, carries: true))
  }
}

extension Tensor {
  /// Sums of all elements up to each one along `axis`, accumulated in double precision; integers give int64.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis.
  public func cumsum(axis: Int) throws -> Tensor { try apply(CumulativeSum(axis: axis), self) }
}
