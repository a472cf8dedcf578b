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
  private var convolution: ConvolutionOperation { ConvolutionOperation(geometry, layout: layout) }

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

  package func evaluate(_ operands: [Tensor], _ specs: [TensorSpec]) throws -> [Tensor] {
    let type = operands[0].dtype.convolutionType
    let x = try convolution.canonical(operands[0].cast(to: type))
    let dy = try convolution.canonical(operands[1].cast(to: type))
    let conv = try geometry.isTransposed ? geometry.adjoint(inputSize: Array(x.shape.dropFirst(2))) : geometry
    // The input and the output of the convolution proper.
    var (read, made) = geometry.isTransposed ? (dy, x) : (x, dy)
    for axis in 0..<conv.rank {
      read = try read.padded(
        [(axis: axis + 2, low: conv.paddingLow[axis], high: conv.paddingHigh[axis])], mode: conv.paddingMode)
    }
    let (groups, outputs, inputs) = (conv.groups, conv.outChannels / conv.groups, conv.inChannels / conv.groups)
    let positions = made.shape.dropFirst(2).reduce(made.shape[0], *)
    func rows(_ tensor: Tensor, _ channels: Int) throws -> Tensor {
      try tensor.permuted([1, 0] + Array(2..<tensor.rank)).reshaped([groups, channels, positions])
    }
    let left = try rows(made, outputs)
    var taps: [Tensor] = []
    func go(_ window: Tensor, _ axis: Int) throws {
      guard axis < conv.rank else {
        let right = try rows(window, inputs).transposed(1, 2)
        taps.append(try left.matrixMultiplied(by: right))
        return
      }
      for index in 0..<conv.kernelSize[axis] {
        let start = index * conv.dilation[axis]
        let end = start + (made.shape[axis + 2] - 1) * conv.stride[axis] + 1
        try go(window.slice(axis: axis + 2, start..<end, step: conv.stride[axis]), axis + 1)
      }
    }
    try go(read, 0)
    return [try Tensor.stacked(taps, axis: 3).reshaped(geometry.weightShape).cast(to: specs[0].dtype)]
  }
}

extension ConvolutionOperation {
  /// The cotangent of an input of the given shape from that of the output: the adjoint map.
  func inputGradient(_ dy: Tensor, weight: Tensor, inputShape: Shape) throws -> Tensor {
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
