import ToeplitzTensor

/// Numbers as whole ones: `clamp(round(x / scale) + zeroPoint)`, rounded to even, with the zero point's type.
///
/// Operands are x, the scale and the zero point; the last two are single numbers or broadcast to x. As ONNX's QuantizeLinear.
package struct Quantize: TensorOperation {
  package init() {}

  package var name: String { "quantize" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    let dtype = inputs[2].dtype
    try require(
      inputs[0].dtype == inputs[1].dtype && [.float32, .float64].contains(inputs[1].dtype), .dtype,
      expected: "float32 or float64 numbers and scales of their type",
      got: "\(inputs[0].dtype) and \(inputs[1].dtype)")
    try require(
      dtype == .uint8 || dtype == .int8, .dtype, expected: "a zero point of type uint8 or int8", got: "\(dtype)")
    try requireBroadcast(inputs)
    return [TensorSpec(inputs[0].shape, dtype)]
  }

  /// Zero, as that of a rounding.
  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

/// Whole numbers as what they stand for: `(q − zeroPoint) · scale`, with the scale's type.
///
/// Operands are q, the scale and the zero point, of q's type; the last two are single numbers or broadcast to q. As ONNX's
/// DequantizeLinear. It stays in a graph where all operands are constant, so that what computes with whole numbers finds them.
package struct Dequantize: TensorOperation {
  package init() {}

  package var name: String { "dequantize" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    let dtype = inputs[0].dtype
    try require(
      [.uint8, .int8, .int32].contains(dtype) && inputs[2].dtype == dtype, .dtype,
      expected: "codes and a zero point of one type, uint8, int8 or int32", got: "\(dtype) and \(inputs[2].dtype)")
    try require(
      [.float32, .float64].contains(inputs[1].dtype), .dtype, expected: "a float32 or float64 scale",
      got: "\(inputs[1].dtype)")
    try requireBroadcast(inputs)
    return [TensorSpec(inputs[0].shape, inputs[1].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let dtype = call.inputs[1].dtype
      let (codes, zero) = (try call.x.cast(to: dtype), try call.inputs[2].cast(to: dtype))
      return [nil, try (call.dy * (codes - zero)).summed(to: call.inputs[1].shape), nil]
    }
  }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension TensorOperation {
  /// Throws unless the scale and zero point broadcast to the first operand.
  fileprivate func requireBroadcast(_ inputs: [TensorSpec]) throws {
    for other in inputs[1...] {
      try require(
        (try? TensorShape.broadcast(inputs[0].shape, other.shape, operation: name)) == inputs[0].shape,
        expected: "a scale and zero point that broadcast to \(inputs[0].shape)", got: "shape \(other.shape)")
    }
  }
}

extension Tensor {
  /// `clamp(round(x / scale) + zeroPoint)`, with the zero point's type, uint8 or int8.
  ///
  /// - Throws: ``ToeplitzError`` if shapes or types do not fit.
  package func quantized(scale: Tensor, zeroPoint: Tensor) throws -> Tensor {
    try apply(Quantize(), self, scale, zeroPoint)
  }

  /// `(q − zeroPoint) · scale` of codes of type uint8, int8 or int32.
  ///
  /// - Throws: ``ToeplitzError`` if shapes or types do not fit.
  package func dequantized(scale: Tensor, zeroPoint: Tensor) throws -> Tensor {
    try apply(Dequantize(), self, scale, zeroPoint)
  }
}
