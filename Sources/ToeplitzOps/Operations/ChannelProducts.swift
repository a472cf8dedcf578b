import ToeplitzTensor

/// For each channel the sum of y and that of `y · (x − center)`, as two float64 tensors `[C]`.
///
/// Inputs are y and x `[N, C, …]` and center `[C]` in float64: what the gradient of a normalisation needs to know of them.
package struct ChannelProducts: TensorOperation {
  package init() {}

  package var name: String { "channelProducts" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    let x = inputs[1]
    try require(
      x.dtype.isFloatingPoint && x.shape.rank >= 2, expected: "a floating-point input [N, C, …]", got: "\(x)")
    try require(inputs[0] == x, expected: "y like x \(x)", got: "\(inputs[0])")
    let channels = TensorSpec([x.shape[1]], .float64)
    try require(inputs[2] == channels, expected: "a center \(channels)", got: "\(inputs[2])")
    return [channels, channels]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (y, x, center) = (call.x, call.inputs[1], call.inputs[2])
      let ones = [Int](repeating: 1, count: x.rank - 2)
      func spread(_ tensor: Tensor) throws -> Tensor {
        try tensor.cast(to: x.dtype).reshaped(TensorShape([1, x.shape[1]] + ones))
      }
      let (sums, products) = (try call.cotangent(0), try call.cotangent(1))
      return [
        try (x - spread(center)) * spread(products) + spread(sums), try y * spread(products),
        try (products * call.outputs[0]).negated(),
      ]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it joins all positions in one number") }
}
