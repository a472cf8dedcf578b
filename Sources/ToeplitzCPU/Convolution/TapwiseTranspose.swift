import ToeplitzOps
import ToeplitzTensor

/// A transposed convolution as the sum of its taps, each scattered by itself.
///
/// The stencil of a transposed convolution reads zeros beyond both ends of the input. A weight that is infinite or
/// NaN would turn those into NaN near the ends, where the definition has no product at all. Such weights are a
/// sign of a broken model; they are computed exactly, not fast.
struct TapwiseTranspose {
  let geometry: ConvolutionGeometry
  let weight: Tensor
  let bias: Tensor?

  /// Whether the stencil of this geometry reads beyond the ends of the input.
  static func mayReadOutside(_ geometry: ConvolutionGeometry) -> Bool {
    geometry.isTransposed && (geometry.kernelSize + geometry.outputPadding.map { $0 + 1 }).contains { $0 > 1 }
  }

  /// Computes into `output`; the parameters are those of ``ConvolutionEngine``.
  func run(input: Tensor, output: Tensor, epilogue: Epilogue, residuals: [Tensor]) throws {
    // One tap without output padding: every position that it computes comes from an input.
    let single = try ConvolutionGeometry(
      rank: geometry.rank, isTransposed: true, inChannels: geometry.inChannels, outChannels: geometry.outChannels,
      kernelSize: 1, stride: PerAxis(geometry.stride), groups: geometry.groups)
    let inner = try single.outputSize(Array(input.shape.dropFirst(2)))
    // Half precision is rounded once, at the end.
    let input = try input.cast(to: weight.dtype)
    let residuals = try residuals.map { try $0.cast(to: weight.dtype) }
    var sums = try Tensor.zeros(output.shape, dtype: weight.dtype)
    try forEachTap { tap in
      let starts = geometry.kernelSize.indices.map { tap[$0] * geometry.dilation[$0] - geometry.paddingLow[$0] }
      let room = starts.indices.map { output.shape[$0 + 2] - starts[$0] }
      guard starts.indices.allSatisfy({ room[$0] > 0 && starts[$0] + inner[$0] > 0 }) else { return }
      var weight = self.weight
      for (axis, index) in tap.enumerated() { weight = try weight.slice(axis: axis + 2, index..<(index + 1)) }
      let piece = try Tensor(
        uninitialized: TensorShape([input.shape[0], geometry.outChannels] + inner), dtype: weight.dtype,
        operation: geometry.name)
      try ConvolutionEngine.run(
        single, packed: PackedWeights(single, weight: weight, bias: nil), input: input, output: piece,
        epilogue: Epilogue(inputSlope: epilogue.inputSlope))
      sums = try sums + piece.padded(starts.indices.map { ($0 + 2, starts[$0], room[$0] - inner[$0]) })
    }
    if let bias {
      sums = try sums + bias.reshaped(TensorShape([1, geometry.outChannels] + geometry.kernelSize.map { _ in 1 }))
    }
    output.fillOnce(from: try epilogue.finish(sums, adding: residuals).cast(to: output.dtype))
  }

  private func forEachTap(_ body: ([Int]) throws -> Void) throws {
    func go(_ tap: [Int]) throws {
      guard tap.count < geometry.rank else { return try body(tap) }
      for index in 0..<geometry.kernelSize[tap.count] { try go(tap + [index]) }
    }
    try go([])
  }
}
