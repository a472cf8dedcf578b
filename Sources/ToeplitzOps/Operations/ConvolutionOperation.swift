import ToeplitzTensor

/// A convolution or transposed convolution of any rank: inputs are x, weight and, if it has one, bias.
///
/// `x` is `[N, C, spatial…]` (or channels last), the batch axis may be missing. The weight is in PyTorch's order.
public struct ConvolutionOperation: TensorOperation {
  /// Options and sizes.
  public var geometry: ConvolutionGeometry
  /// Where the channels of input and output stand.
  public var layout: TensorLayout
  /// How prepared weights are stored.
  package var weightStorage = WeightStorage.full

  /// A convolution of the given geometry.
  public init(_ geometry: ConvolutionGeometry, layout: TensorLayout = .channelsFirst) {
    self.geometry = geometry
    self.layout = layout
  }

  /// The geometry's name.
  public var name: String { geometry.name }

  /// One output with the input's element type.
  public func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(
      inputs.count == 2 || inputs.count == 3, .argument, expected: "x, weight and maybe bias",
      got: "\(inputs.count) tensors")
    let (x, weight, bias) = (inputs[0], inputs[1], inputs.count > 2 ? inputs[2] : nil)
    let rank = geometry.rank
    try require(x.dtype.isNumber, .dtype, expected: "numbers", got: "\(x.dtype)")
    try require(
      x.shape.rank == rank + 1 || x.shape.rank == rank + 2 || isLinear && x.shape.rank > 0,
      expected: "an input of \(rank + 2) dimensions \(axes), or \(rank + 1) without batch", got: "shape \(x.shape)")
    try require(
      weight.shape == geometry.weightShape || isLinear && weight.shape == TensorShape(geometry.weightShape.dropLast()),
      expected: "a weight of shape \(geometry.weightShape)",
      got: "\(weight.shape)")
    let inner = x.shape.rank - rank - 1
    let (channelAxis, spatial) = layout == .channelsFirst ? (inner, inner + 1) : (inner + rank, inner)
    try require(
      x.shape[channelAxis] == geometry.inChannels, expected: "\(geometry.inChannels) input channels",
      got: "\(x.shape[channelAxis]) (shape \(x.shape))")
    for other in inputs.dropFirst() {
      try require(
        other.dtype == x.dtype, .dtype, expected: "weight and bias of the input's type \(x.dtype)",
        got: "\(other.dtype)")
    }
    if let bias {
      try require(
        bias.shape.rank == 1 && bias.shape[0] == geometry.outChannels,
        expected: "a bias of shape [\(geometry.outChannels)]", got: "\(bias.shape)")
    }
    var result = x
    result.shape[channelAxis] = geometry.outChannels
    for axis in 0..<rank where !isLinear {
      result.shape[spatial + axis] = try geometry.outputLength(axis: axis, x.shape[spatial + axis])
    }
    return [result]
  }

  /// The operation with the given operands.
  package func callAsFunction(_ x: Tensor, weight: Tensor, bias: Tensor? = nil) throws -> Tensor {
    try applyAll(self, [x, weight] + [bias].compactMap { $0 })[0]
  }

  private var axes: String {
    let spatial = ["L", "H, W", "D, H, W"][geometry.rank - 1]
    return layout == .channelsFirst ? "[N, C, \(spatial)]" : "[N, \(spatial), C]"
  }

  /// It is one of three bilinear maps (see `ConvolutionWeightGradient`).
  public var gradient: GradientRule {
    .vjp { call in
      let dy = try call.dy
      let dx = try inputGradient(dy, weight: call.inputs[1], inputShape: call.x.shape)
      let dWeight = try apply(ConvolutionWeightGradient(geometry, layout: layout), call.x, dy)
        .reshaped(call.inputs[1].shape)
      guard call.inputs.count > 2 else { return [dx, dWeight] }
      let channel = channelAxis(call.x.shape.rank)
      return [dx, dWeight, try dy.sum(dy.shape.indices.filter { $0 != channel })]
    }
  }

  /// Whether it is a linear map of the last axis, so that x may have any number of axes before it, and the weight may be
  /// `[out, in]`.
  package var isLinear: Bool {
    layout == .channelsLast && geometry.rank == 1 && geometry.groups == 1 && geometry.kernelSize[0] == 1
      && geometry.stride[0] == 1 && geometry.paddingLow[0] == 0 && geometry.paddingHigh[0] == 0
      && geometry.outputPadding[0] == 0
  }

  /// The axis of the channels of an input or output of so many axes.
  package func channelAxis(_ rank: Int) -> Int { layout == .channelsFirst ? rank - geometry.rank - 1 : rank - 1 }

  /// Behaviour along a spatial axis: a window, or overlapping sums of a transposed convolution.
  public func time(_ call: TimeCall) -> TimeRule {
    guard call.isOfFirstAlone, let time = call.axes[0] else { return .whole(because: "its weight changes along time") }
    let rank = call.inputs[0].shape.rank
    let channel = channelAxis(rank)
    guard time != channel else { return .whole(because: "it sums over channels") }
    let first = layout == .channelsFirst ? channel + 1 : channel - geometry.rank
    guard time >= first else { return .pointwise(axis: time) }
    guard geometry.paddingMode != .circular else { return .whole(because: "circular padding reads the other end") }
    let axis = time - first
    var window = geometry.window(axis)
    @Sendable func padded(_ low: Int, _ high: Int) throws -> any TensorOperation {
      var copy = self
      copy.geometry = try geometry.padded(axis: axis, low, high)
      return copy
    }
    guard geometry.isTransposed else {
      return .window(window, axis: time, mode: geometry.paddingMode, repadded: padded)
    }
    window.high -= geometry.outputPadding[axis]
    return .overlapAdd(window, axis: time, recropped: padded)
  }
}

extension TensorShape {
  /// The same shape with another size on one axis.
  package func replacing(_ axis: Int, by size: Int) -> TensorShape {
    var copy = self
    copy[axis] = size
    return copy
  }
}

// MARK: Work

extension ConvolutionOperation: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    let shape = inputs[0].shape
    if isLinear { return shape.dropLast().reduce(1, *) * geometry.inChannels * geometry.outChannels }
    let channel = channelAxis(shape.rank)
    let first = layout == .channelsFirst ? channel + 1 : channel - geometry.rank
    let samples = shape.rank == geometry.rank + 2 ? shape[0] : 1
    return try samples * geometry.multiplyAdds(inputSize: Array(shape[first..<(first + geometry.rank)]))
  }
}

// MARK: Gradients

/// The third of the bilinear maps of a convolution: the weight's cotangent from the input and the output's cotangent.
///
/// `dw[o, c, k] = Σ_n Σ_t dy[n, o, t] · x[n, c, t · stride + k · dilation − padding]`, and for a transposed convolution the
/// same with x and dy exchanged. Operands are x and dy of the convolution, the result has its weight's shape.
package struct ConvolutionWeightGradient: TensorOperation {
  /// The convolution.
  package var geometry: ConvolutionGeometry
  /// Where the channels of x and dy stand.
  package var layout: TensorLayout

  package init(_ geometry: ConvolutionGeometry, layout: TensorLayout = .channelsFirst) {
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
  func inputGradient(_ dy: Tensor, weight: Tensor, inputShape: TensorShape) throws -> Tensor {
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
