import ToeplitzTensor

/// A convolution or transposed convolution of any rank: inputs are x, weight and, if it has one, bias.
///
/// What compilation joins to it comes after those: factors of the weights, then residuals. `x` is `[N, C, spatial…]` (or channels last), the batch axis may be missing. The weight is in PyTorch's order.
public struct ConvolutionOperation: TensorOperation {
  /// Options and sizes.
  public var geometry: ConvolutionGeometry
  /// Where the channels of input and output stand.
  public var layout: Layout
  /// What is computed together with it.
  package var epilogue = Epilogue()
  /// Whether the operand after the bias is what the weights of each output channel are multiplied by, in float64;
  /// float32 weights only.
  package var hasWeightFactors = false
  /// How many of the last operands are tensors of the output's shape that are added to the sums; at most two.
  package var residualCount = 0
  /// Which of them nobody else needs, so that the result may take its memory.
  package var overwrittenResidual: Int?
  /// How prepared weights are stored.
  package var weightStorage = WeightStorage.full

  /// A convolution of the given geometry.
  public init(_ geometry: ConvolutionGeometry, layout: Layout = .channelsFirst) {
    self.geometry = geometry
    self.layout = layout
  }

  /// The geometry's name.
  public var name: String { geometry.name }

  /// One output with the input's element type.
  public func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    let more = (hasWeightFactors ? 1 : 0) + residualCount
    try require(
      inputs.count == 2 + more || inputs.count == 3 + more, .argument,
      expected: "x, weight and maybe bias" + (more > 0 ? ", and \(more) more" : ""), got: "\(inputs.count) tensors")
    let operands = operands(inputs)
    let (x, weight) = (operands.x, operands.weight)
    let rank = geometry.rank
    try require(x.dtype.isNumber, .dtype, expected: "numbers", got: "\(x.dtype)")
    try require(
      x.shape.rank == rank + 1 || x.shape.rank == rank + 2,
      expected: "an input of \(rank + 2) dimensions \(axes), or \(rank + 1) without batch", got: "shape \(x.shape)")
    try require(
      weight.shape == geometry.weightShape, expected: "a weight of shape \(geometry.weightShape)",
      got: "\(weight.shape)")
    let inner = x.shape.rank - rank - 1
    let (channelAxis, spatial) = layout == .channelsFirst ? (inner, inner + 1) : (inner + rank, inner)
    try require(
      x.shape[channelAxis] == geometry.inChannels, expected: "\(geometry.inChannels) input channels",
      got: "\(x.shape[channelAxis]) (shape \(x.shape))")
    for other in [weight, operands.bias].compactMap({ $0 }) {
      try require(
        other.dtype == x.dtype, .dtype, expected: "weight and bias of the input's type \(x.dtype)",
        got: "\(other.dtype)")
    }
    if let bias = operands.bias {
      try require(
        bias.shape.rank == 1 && bias.shape[0] == geometry.outChannels,
        expected: "a bias of shape [\(geometry.outChannels)]", got: "\(bias.shape)")
    }
    var result = x
    result.shape[channelAxis] = geometry.outChannels
    for axis in 0..<rank {
      result.shape[spatial + axis] = try geometry.outputLength(axis: axis, x.shape[spatial + axis])
    }
    for residual in operands.residuals {
      try require(residual == result, expected: "a residual like the output \(result)", got: "\(residual)")
    }
    return [result]
  }

  /// The operands by what they are for; their number has been checked.
  func operands<T>(_ inputs: [T]) -> (x: T, weight: T, bias: T?, factors: T?, residuals: ArraySlice<T>) {
    let end = inputs.count - residualCount
    let factors = hasWeightFactors ? end - 1 : end
    return (
      inputs[0], inputs[1], factors > 2 ? inputs[2] : nil, hasWeightFactors ? inputs[factors] : nil, inputs[end...]
    )
  }

  /// The operation with the given operands.
  ///
  /// - Parameters:
  ///   - factors: what the float32 weights of each output channel are multiplied by, in float64.
  ///   - residuals: at most two tensors of the output's shape that are added to the sums.
  package func callAsFunction(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, factors: Tensor? = nil, adding residuals: [Tensor] = []
  ) throws -> Tensor {
    var operation = self
    operation.hasWeightFactors = factors != nil
    operation.residualCount = residuals.count
    return try applyAll(operation, [x, weight] + [bias, factors].compactMap { $0 } + residuals)[0]
  }

  private var axes: String {
    let spatial = ["L", "H, W", "D, H, W"][geometry.rank - 1]
    return layout == .channelsFirst ? "[N, C, \(spatial)]" : "[N, \(spatial), C]"
  }

  /// What compilation has joined to it cannot be differentiated; by itself it is one of three bilinear maps (see
  /// ``ConvolutionWeightGradient``).
  public var gradient: GradientRule {
    guard isPlain else { return .none(because: "it is made by compilation, after differentiation") }
    return .vjp { call in
      let dy = try call.dy
      let dx = try inputGradient(dy, weight: call.inputs[1], inputShape: call.x.shape)
      let dWeight = try apply(ConvolutionWeightGradient(geometry, layout: layout), call.x, dy)
      guard call.inputs.count > 2 else { return [dx, dWeight] }
      let channel = channelAxis(call.x.shape.rank)
      return [dx, dWeight, try dy.sum(dy.shape.indices.filter { $0 != channel })]
    }
  }

  /// Whether nothing is computed together with it.
  private var isPlain: Bool { epilogue == Epilogue() && residualCount == 0 && !hasWeightFactors }

  /// The axis of the channels of an input or output of so many axes.
  func channelAxis(_ rank: Int) -> Int { layout == .channelsFirst ? rank - geometry.rank - 1 : rank - 1 }

  /// Behaviour along a spatial axis: a window, or overlapping sums of a transposed convolution.
  public func time(_ call: TimeCall) -> TimeRule {
    guard isPlain else { return .whole(because: "it is made by compilation, after planning") }
    guard call.isOfFirstAlone, let time = call.axes[0] else { return .whole(because: "its weight changes along time") }
    let rank = call.inputs[0].shape.rank
    let channel = channelAxis(rank)
    guard time != channel else { return .whole(because: "it sums over channels") }
    let first = layout == .channelsFirst ? channel + 1 : channel - geometry.rank
    guard time >= first else { return .pointwise(axis: time) }
    guard geometry.paddingMode != .circular else { return .whole(because: "circular padding reads the other end") }
    let axis = time - first
    var window = TimeWindow(
      extent: geometry.kernelSize[axis], stride: geometry.stride[axis], dilation: geometry.dilation[axis],
      low: geometry.paddingLow[axis], high: geometry.paddingHigh[axis])
    func padded(_ low: Int, _ high: Int) throws -> any TensorOperation {
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

  /// Computes the convolution.
  public func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let operands = operands(inputs)
    // Small integers are computed in int32 (they wrap around at the end).
    let type = inputs[0].dtype.convolutionStorage
    let input = try canonical(inputs[0].cast(to: type))
    let result = try overwritten(operands.residuals, type) ?? memory(outputs[0].shape, type)
    var epilogue = epilogue
    let residuals = try operands.residuals.map { try canonical($0.cast(to: type)) }
    let activation = type.convolutionType == .float32 ? nil : epilogue.activation
    if activation != nil { epilogue.activation = nil }
    if geometry.isTransposed, geometry.paddingMode == .circular {
      let circular = try CircularTranspose(geometry)
      try circular.run(
        input: input, packed: pack(circular.whole, operands.weight, nil, operands.factors).packed, bias: operands.bias,
        output: canonical(result), epilogue: epilogue, residuals: residuals)
    } else {
      let kept = try pack(geometry, operands.weight, operands.bias, operands.factors)
      try ConvolutionEngine.run(
        geometry, packed: kept.packed, runs: kept.runs, input: input, output: canonical(result), epilogue: epilogue,
        residuals: residuals)
    }
    return [try (activation.map { try $0(result) } ?? result).cast(to: inputs[0].dtype)]
  }

  /// The residual whose memory becomes the output's.
  ///
  /// Kernels read each element of it once, just before they write there (but those of single rows, which compute some
  /// outputs twice). Then a third of the bytes that large residuals move need not come from memory. Not where a residual
  /// may be wanted again: when a fast algorithm gives up.
  private func overwritten(_ residuals: ArraySlice<Tensor>, _ type: DType) -> Tensor? {
    guard let residual = overwrittenResidual.map({ residuals[residuals.startIndex + $0] }), residual.dtype == type,
      !geometry.isTransposed, geometry.groups == 1, geometry.outChannels > 1,
      Numerics.current == .invariant || geometry.kernelSize.allSatisfy({ $0 == 1 })
    else { return nil }
    // Rows one after the other, as ``memory(_:_:)`` lays them out.
    var least = 1
    for (size, stride) in zip(residual.shape.dimensions, residual.strides).reversed() where size != 1 {
      guard stride >= least else { return nil }
      least = stride * size
    }
    return residual
  }

  /// Memory for an output.
  ///
  /// The channels of small images begin at lines of the cache, so that threads which write neighbouring parts of a channel
  /// do not write to the same line.
  func memory(_ shape: Shape, _ type: DType) throws -> Tensor {
    let line = 64 / type.byteSize
    let last = shape.rank - 1
    guard geometry.rank == 2, layout == .channelsFirst, ThreadPool.shared.threadCount > 1,
      shape[last - 1] < Self.smallImage, shape[last] < Self.smallImage
    else { return try Tensor(uninitialized: shape, dtype: type, operation: name) }
    let positions = shape[last - 1] * shape[last]
    guard positions % line != 0, positions > line, positions < Self.smallImage else {
      return try Tensor(uninitialized: shape, dtype: type, operation: name)
    }
    var rows = shape
    rows[last - 1] = 1
    rows[last] = (positions + line - 1) / line * line
    let whole = try Tensor(uninitialized: rows, dtype: type, operation: name)
    var strides = whole.strides
    strides[last - 1] = shape[last]
    return whole.view(shape: shape, strides: strides, offset: 0)
  }

  /// Positions of an image that several threads share a channel of, and that is too small for that to be rare.
  private static let smallImage = 4096

  /// The prepared weight.
  func pack(
    _ geometry: ConvolutionGeometry, _ weight: Tensor, _ bias: Tensor?, _ factors: Tensor?
  ) throws -> WeightPackings.Kept {
    try WeightPackings.packed(geometry, weight: weight, factors: factors, bias: bias, storage: weightStorage)
  }

  /// A view with batch and channels first.
  func canonical(_ tensor: Tensor) -> Tensor {
    if layout == .channelsFirst, tensor.rank == geometry.rank + 2 { return tensor }
    var shape = tensor.shape.dimensions
    var strides = tensor.strides
    if shape.count == geometry.rank + 1 {
      shape.insert(1, at: 0)
      strides.insert(tensor.count, at: 0)
    }
    if layout == .channelsLast {
      shape.insert(shape.removeLast(), at: 1)
      strides.insert(strides.removeLast(), at: 1)
    }
    return tensor.view(shape: Shape(shape), strides: strides, offset: tensor.offset)
  }
}

/// The adjoint of a circularly padded convolution: a transposed convolution without crop, whose ends are then
/// added to where the padding had come from.
private struct CircularTranspose {
  let geometry: ConvolutionGeometry
  /// The same without crop.
  let whole: ConvolutionGeometry

  init(_ geometry: ConvolutionGeometry) throws {
    self.geometry = geometry
    whole = try ConvolutionGeometry(
      rank: geometry.rank, isTransposed: true, inChannels: geometry.inChannels, outChannels: geometry.outChannels,
      kernelSize: PerAxis(geometry.kernelSize), stride: PerAxis(geometry.stride),
      outputPadding: PerAxis(geometry.outputPadding), dilation: PerAxis(geometry.dilation), groups: geometry.groups)
  }

  func run(
    input: Tensor, packed: PackedWeights, bias: Tensor?, output: Tensor, epilogue: Epilogue, residuals: [Tensor]
  ) throws {
    let size = try whole.outputSize(Array(input.shape.dimensions.dropFirst(2)))
    // Half precision is rounded once, at the end.
    let input = try input.cast(to: packed.type)
    let residuals = try residuals.map { try $0.cast(to: packed.type) }
    var sums = try Tensor(
      uninitialized: Shape([input.shape[0], geometry.outChannels] + size), dtype: input.dtype, operation: geometry.name)
    try ConvolutionEngine.run(
      whole, packed: packed, input: input, output: sums, epilogue: Epilogue(inputSlope: epilogue.inputSlope))
    for axis in 0..<geometry.rank {
      sums = try fold(sums, axis: axis + 2, low: geometry.paddingLow[axis], length: output.shape[axis + 2])
    }
    if let bias {
      let shape = Shape([1, geometry.outChannels] + Array(repeating: 1, count: geometry.rank))
      sums = try sums + bias.cast(to: packed.type).reshaped(shape)
    }
    output.fillOnce(from: try epilogue.finish(sums, adding: residuals).cast(to: output.dtype))
  }

  /// Adds position u to position (u − low) mod length.
  private func fold(_ x: Tensor, axis: Int, low: Int, length: Int) throws -> Tensor {
    var result = try Tensor.zeros(
      Shape(x.shape.dimensions.enumerated().map { $0.offset == axis ? length : $0.element }), dtype: x.dtype)
    // Whole laps around the circle; the first starts before zero by `low`.
    var start = -low
    while start < x.shape[axis] - low {
      let from = max(start + low, 0)
      let lap = floorDivide(start, length) * length
      let to = start - lap
      let count = min(length - to, x.shape[axis] - from)
      let piece = try x.slice(axis: axis, from..<(from + count))
      let before = try Tensor.zeros(piece.shape.replacing(axis, by: to), dtype: x.dtype)
      let after = try Tensor.zeros(piece.shape.replacing(axis, by: length - to - count), dtype: x.dtype)
      result = try result + Tensor.concatenated([before, piece, after], axis: axis)
      start += count
    }
    return result
  }
}

extension Shape {
  /// The same shape with another size on one axis.
  func replacing(_ axis: Int, by size: Int) -> Shape {
    var copy = self
    copy[axis] = size
    return copy
  }
}
