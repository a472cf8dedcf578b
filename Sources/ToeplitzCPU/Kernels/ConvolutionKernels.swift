import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension ConvolutionOperation: CPUKernel {
  package var makesNewResults: Bool { true }

  package var packedOperands: [Int] { [1] }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    try FusedConvolution(self).evaluate(inputs, outputs)
  }

  package func fillsViews(_ inputs: [TensorSpec]) -> Bool { FusedConvolution(self).fillsViews(inputs) }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec], into view: Tensor) throws {
    try FusedConvolution(self).evaluate(inputs, outputs, into: view)
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    try FusedConvolution(self).bound(call)
  }

  /// A view with batch and channels first.
  func canonical(_ tensor: Tensor) throws -> Tensor {
    if isLinear { return try rows(tensor) }
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
    return tensor.view(shape: TensorShape(shape), strides: strides, offset: tensor.offset)
  }

  /// `[…, C]` as one sample `[1, C, rows]`; a copy only where rows do not follow each other at one distance.
  private func rows(_ tensor: Tensor) throws -> Tensor {
    let last = tensor.rank - 1
    let outer = (0..<last).filter { tensor.shape[$0] != 1 }
    let isEven = zip(outer, outer.dropFirst()).allSatisfy {
      tensor.strides[$0] == tensor.strides[$1] * tensor.shape[$1]
    }
    let even = try isEven ? tensor : tensor.dense()
    let count = outer.reduce(1) { $0 * tensor.shape[$1] }
    return even.view(
      shape: [1, tensor.shape[last], count],
      strides: [even.count, even.strides[last], outer.last.map { even.strides[$0] } ?? tensor.shape[last]],
      offset: even.offset)
  }
}

extension FusedConvolution: CPUKernel {
  package var makesNewResults: Bool { true }

  package var packedOperands: [Int] { [1] }

  package var mayOverwrite: Bool { residualCount > 0 }

  package func overwriting(_ operands: inout [Tensor]) -> Self {
    var operation = self
    let first = operands.count - residualCount
    operation.overwrittenResidual = (0..<residualCount).first { operands[first + $0].ownsStorage() }
    return operation
  }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    try evaluate(inputs, outputs, given: nil)
  }

  package func fillsViews(_ inputs: [TensorSpec]) -> Bool {
    inputs[0].dtype == .float32 && layout == .channelsFirst && !isProduct(.float32) && overwrittenResidual == nil
  }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec], into view: Tensor) throws {
    _ = try evaluate(inputs, outputs, given: view)
  }

  package func modelOfLayout(_ operands: [Tensor]) -> Tensor? {
    // Another residual would be moved in each call.
    self.operands(operands).residuals.first.flatMap { $0.hasRowsInOrder ? $0 : nil }
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let (parts, type) = (self.operands(call.operands), call.operands[0].dtype)
    // What weights are packed to is made once.
    guard call.areConstant[1..<(call.operands.count - residualCount)].allSatisfy({ $0 }) else { return nil }
    if isProduct(type) { return try boundLinear(call) }
    guard call.results[0].count > 0, type == type.convolutionStorage,
      type.convolutionType == .float32 || epilogue.activation == nil,
      !geometry.isTransposed || geometry.paddingMode != .circular
    else { return nil }
    /// The view with batch and channels first, if no copy is needed for one.
    func seen(_ tensor: Tensor) throws -> Tensor? {
      let view = try convolution.canonical(tensor)
      return view.storage === tensor.storage ? view : nil
    }
    guard let input = try seen(parts.x), let output = try seen(call.results[0]) else { return nil }
    let kept = try pack(geometry, parts.weight, parts.bias, parts.factors)
    guard !kept.packed.hasNonFinite || !TapwiseTranspose.mayReadOutside(geometry) else { return nil }
    let laidOut = BoundOperands(call.memory, name: name)
    let residuals = try parts.residuals.compactMap { given -> Tensor? in
      guard let residual = try seen(given) else { return nil }
      // One set of offsets serves residuals and output.
      return try residual.liesLike(output) ? residual : laidOut.laidOut(residual, output.strides)
    }
    guard residuals.count == residualCount else { return nil }
    let form = try ConvolutionRun.Form(input, output, epilogue, mode: geometry.paddingMode, name: geometry.name)
    let run = ConvolutionRun(
      form, kept.packed, input: input, output: output, epilogue: epilogue, name: geometry.name)
    return laidOut.finished(
      try run.bound(input: input, output: output, residuals: residuals, memory: call.memory))
  }

  /// Computes the output into the given tensor, if there is one.
  private func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec], given: Tensor?) throws -> [Tensor] {
    let operands = operands(inputs)
    if outputs[0].shape.contains(0) { return [try Tensor.zeros(outputs[0].shape, dtype: outputs[0].dtype)] }
    if isProduct(inputs[0].dtype) { return [try linear(inputs, outputs[0])] }
    // Small integers are computed in int32 (they wrap around at the end).
    let type = inputs[0].dtype.convolutionStorage
    let input = try convolution.canonical(inputs[0].cast(to: type))
    let result = try given ?? overwritten(operands.residuals, type) ?? memory(outputs[0].shape, type)
    var epilogue = epilogue
    let residuals = try operands.residuals.map { try convolution.canonical($0.cast(to: type)) }
    let activation = type.convolutionType == .float32 ? nil : epilogue.activation
    if activation != nil { epilogue.activation = nil }
    if geometry.isTransposed, geometry.paddingMode == .circular {
      let circular = try CircularTranspose(geometry)
      try circular.run(
        input: input, packed: pack(circular.whole, operands.weight, nil, operands.factors).packed, bias: operands.bias,
        output: convolution.canonical(result), epilogue: epilogue, residuals: residuals)
    } else if try !computeUnpacked(operands.weight, operands.bias, input, convolution.canonical(result)) {
      let kept = try pack(geometry, operands.weight, operands.bias, operands.factors)
      try ConvolutionEngine.run(
        geometry, packed: kept.packed, runs: kept.runs, input: input, output: convolution.canonical(result),
        epilogue: epilogue,
        residuals: residuals)
    }
    return [try (activation.map { try $0(result) } ?? result).cast(to: inputs[0].dtype)]
  }

  /// Computes the output with the weight as it lies, where that pays since the weight is about to change.
  private func computeUnpacked(_ weight: Tensor, _ bias: Tensor?, _ input: Tensor, _ output: Tensor) throws -> Bool {
    guard WeightUse.isTransient, epilogue == Epilogue(), residualCount == 0, !hasWeightFactors, weightStorage == .full,
      let run = try TapProductRun(geometry, weight: weight, bias: bias, input: input, output: output)
    else { return false }
    return try run(name: name)
  }

  /// The residual whose memory becomes the output's.
  ///
  /// Kernels read each element of it once, just before they write there (but those of single rows, which compute some
  /// outputs twice). Then a third of the bytes that large residuals move need not come from memory. Not where a residual
  /// may be wanted again: when a fast algorithm gives up.
  func overwritten(_ residuals: ArraySlice<Tensor>, _ type: DType) -> Tensor? {
    guard let residual = overwrittenResidual.map({ residuals[residuals.startIndex + $0] }), residual.dtype == type,
      !geometry.isTransposed, geometry.groups == 1, geometry.outChannels > 1,
      Numerics.current == .invariant || geometry.kernelSize.allSatisfy({ $0 == 1 }),
      !convolution.isLinear || residual.isContiguous, residual.hasRowsInOrder
    else { return nil }
    return residual
  }

  /// Memory for an output.
  ///
  /// The channels of small images begin at lines of the cache, so that threads which write neighbouring parts of a channel
  /// do not write to the same line.
  func memory(_ shape: TensorShape, _ type: DType) throws -> Tensor {
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
    let weight =
      weight.rank == geometry.rank + 2
      ? weight : weight.view(shape: geometry.weightShape, strides: weight.strides + [1], offset: weight.offset)
    return try WeightPackings.packed(geometry, weight: weight, factors: factors, bias: bias, storage: weightStorage)
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
      uninitialized: TensorShape([input.shape[0], geometry.outChannels] + size), dtype: input.dtype,
      operation: geometry.name)
    try ConvolutionEngine.run(
      whole, packed: packed, input: input, output: sums, epilogue: Epilogue(inputSlope: epilogue.inputSlope))
    for axis in 0..<geometry.rank {
      sums = try fold(sums, axis: axis + 2, low: geometry.paddingLow[axis], length: output.shape[axis + 2])
    }
    if let bias {
      let shape = TensorShape([1, geometry.outChannels] + Array(repeating: 1, count: geometry.rank))
      sums = try sums + bias.cast(to: packed.type).reshaped(shape)
    }
    output.fillOnce(from: try epilogue.finish(sums, adding: residuals).cast(to: output.dtype))
  }

  /// Adds position u to position (u − low) mod length.
  private func fold(_ x: Tensor, axis: Int, low: Int, length: Int) throws -> Tensor {
    var result = try Tensor.zeros(
      TensorShape(x.shape.dimensions.enumerated().map { $0.offset == axis ? length : $0.element }), dtype: x.dtype)
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
      result = try result + Tensor.concatenate([before, piece, after], axis: axis)
      start += count
    }
    return result
  }
}

extension ConvolutionStage {
  /// The prepared weight of these operands.
  func pack(_ operands: ArraySlice<Tensor>) throws -> WeightPackings.Kept {
    let first = operands.startIndex
    return try operation.pack(
      operation.geometry, operands[first], hasBias ? operands[first + 1] : nil,
      operation.hasWeightFactors ? operands[first + weightCount - 1] : nil)
  }
}
