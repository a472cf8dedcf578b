import ToeplitzTensor

/// A weight from its direction and length (Salimans and Kingma, 2016): `g v / ‖v‖`, the norm being over all axes but one.
///
/// Operands are g, with as many elements as there are norms, and v. It is computed in float64 and rounded once.
package struct WeightNormalization: TensorOperation {
  /// The axis that keeps its own norms; nil for one norm of all elements.
  package var axis: Int?

  package init(axis: Int?) { self.axis = axis }

  package var name: String { "weightNorm" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    let (g, v) = (inputs[0], inputs[1])
    try require(
      v.dtype.isFloatingPoint && g.dtype == v.dtype, .dtype, expected: "two tensors of one floating-point type",
      got: "\(g.dtype) and \(v.dtype)")
    let axis = try axis.map { try v.shape.normalizedAxis($0, operation: name) }
    let count = axis.map { v.shape[$0] } ?? 1
    try require(
      g.shape.reduce(1, *) == count, expected: "\(count) lengths for a direction of shape \(v.shape)",
      got: "shape \(g.shape)")
    return [v]
  }

  /// The axes that a norm is over.
  package func normAxes(_ shape: TensorShape) -> [Int] { shape.indices.filter { $0 != axis } }

  /// The norms of v in float64, with axes of size 1 for those that they are over.
  package func norms(_ v: Tensor) throws -> Tensor {
    let wide = try v.cast(to: .float64)
    return try (wide * wide).sum(normAxes(v.shape), keepsAxes: true).sqrt()
  }

  /// The weight, as operations.
  package func composed(_ inputs: [Tensor]) throws -> [Tensor] {
    let norm = try norms(inputs[1])
    let factor = try inputs[0].cast(to: .float64).reshaped(norm.shape) / norm
    return [try (inputs[1].cast(to: .float64) * factor).cast(to: inputs[1].dtype)]
  }

  package var gradient: GradientRule { .vjp { try $0.differentiated(composed) } }

  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it measures all positions together") }
}

extension Tensor {
  /// The weight of which this is the direction: `g v / ‖v‖`.
  ///
  /// - Parameters:
  ///   - length: g.
  ///   - axis: the axis that keeps its own norms; nil for one norm of all elements.
  /// - Throws: ``ToeplitzError`` if shapes or types do not fit.
  package func weightNormalized(length: Tensor, axis: Int?) throws -> Tensor {
    try apply(WeightNormalization(axis: axis), length, self)
  }
}
