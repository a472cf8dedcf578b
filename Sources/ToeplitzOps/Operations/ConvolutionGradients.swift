import ToeplitzTensor

/// The third of the bilinear maps of a convolution: the weight's cotangent from the input and the output's cotangent.
///
/// `dw[o, c, k] = Σ_n Σ_t dy[n, o, t] · x[n, c, t · stride + k · dilation − padding]`, and for a transposed convolution the
/// same with x and dy exchanged. Operands are x and dy of the convolution, the result has its weight's shape.
package struct ConvolutionWeightGradient: TensorOperation {
  /// The convolution.
  package var geometry: ConvolutionGeometry
  /// Where the channels of x and dy stand.
  package var layout: Layout

  package init(_ geometry: ConvolutionGeometry, layout: Layout = .channelsFirst) {
    self.geometry = geometry
    self.layout = layout
  }

  package var name: String { "\(geometry.name)WeightGradient" }

  /// The convolution itself, which knows the sizes.
  package var convolution: ConvolutionOperation { ConvolutionOperation(geometry, layout: layout) }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    let weight = TensorSpec(geometry.weightShape, inputs[0].dtype)
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    let output = try convolution.infer([inputs[0], weight])[0]
    try require(inputs[1] == output, expected: "a cotangent like the output \(output)", got: "\(inputs[1])")
    return [weight]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (x, dy, weight) = (call.x, call.inputs[1], try call.dy)
      return [
        try convolution.inputGradient(dy, weight: weight, inputShape: x.shape), try apply(convolution, x, weight),
      ]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it sums over all positions") }
}

extension ConvolutionOperation {
  /// The cotangent of an input of the given shape from that of the output: the adjoint map.
  func inputGradient(_ dy: Tensor, weight: Tensor, inputShape: Shape) throws -> Tensor {
    if isLinear { return try apply(ConvolutionOperation(geometry.adjoint(inputSize: [1]), layout: layout), dy, weight) }
    let first =
      layout == .channelsFirst ? channelAxis(inputShape.rank) + 1 : channelAxis(inputShape.rank) - geometry.rank
    let mode = geometry.paddingMode
    guard mode == .reflect || mode == .replicate else {
      let size = Array(inputShape[first..<(first + geometry.rank)])
      return try apply(ConvolutionOperation(geometry.adjoint(inputSize: size), layout: layout), dy, weight)
    }
    // Padding is an operation before a convolution without.
    let pads = (0..<geometry.rank).map {
      PadAxis(axis: first + $0, low: geometry.paddingLow[$0], high: geometry.paddingHigh[$0], mode: mode, value: 0)
    }
    let plain = try ConvolutionGeometry(
      rank: geometry.rank, inChannels: geometry.inChannels, outChannels: geometry.outChannels,
      kernelSize: PerAxis(geometry.kernelSize), stride: PerAxis(geometry.stride), dilation: PerAxis(geometry.dilation),
      groups: geometry.groups)
    let size = pads.indices.map { inputShape[first + $0] + pads[$0].low + pads[$0].high }
    let padded = try apply(ConvolutionOperation(plain.adjoint(inputSize: size), layout: layout), dy, weight)
    return try pads.reduce(padded) { try $1.adjoint($0, size: inputShape[$1.axis]) }
  }
}
