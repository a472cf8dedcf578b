import ToeplitzTensor

/// A depthwise convolution of images and the pointwise one after it (Sifre, 2014; Howard et al., 2017).
///
/// Inputs are x `[N, C, H, W]`, then weight and, where it has one, bias of the first convolution, then of the second. Both
/// run over one band of the image after the other, so that what lies between them never leaves the cache of a thread, where
/// there are kernels for that. The bits are the same either way.
package struct SeparableConvolution: Operation {
  /// The depthwise convolution, with what is computed together with it.
  package var first: ConvolutionOperation
  /// The pointwise convolution, with what is computed together with it.
  package var second: ConvolutionOperation
  /// Whether the convolutions have a bias.
  package var hasBias: (first: Bool, second: Bool)

  /// Both convolutions in one operation.
  package init(_ first: ConvolutionOperation, _ second: ConvolutionOperation, hasBias: (first: Bool, second: Bool)) {
    self.first = first
    self.second = second
    self.hasBias = hasBias
  }

  /// Whether convolutions of these geometries may be computed together.
  package static func supports(_ first: ConvolutionGeometry, _ second: ConvolutionGeometry) -> Bool {
    func all(_ values: [Int], are value: Int) -> Bool { values.allSatisfy { $0 == value } }
    return first.rank == 2 && !first.isTransposed && first.groups == first.inChannels
      && first.outChannels == first.inChannels && first.paddingMode == .zeros && first.kernelSize[0] > 1
      && second.rank == 2 && !second.isTransposed && second.groups == 1 && second.inChannels == first.outChannels
      && all(second.kernelSize, are: 1) && all(second.stride, are: 1) && all(second.paddingLow, are: 0)
      && all(second.paddingHigh, are: 0)
  }

  /// `SeparableConvolution`.
  package var name: String { "SeparableConvolution" }

  /// What the second convolution gives.
  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3 + (hasBias.first ? 1 : 0) + (hasBias.second ? 1 : 0))
    let (one, two) = operands(inputs)
    return try second.infer(first.infer(one) + two)
  }

  /// The operands of both convolutions, but for the second one's input.
  private func operands<T>(_ inputs: [T]) -> (first: [T], second: [T]) {
    let count = hasBias.first ? 3 : 2
    return (Array(inputs.prefix(count)), Array(inputs.dropFirst(count)))
  }

  /// Computes both convolutions.
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (one, two) = operands(inputs)
    if inputs[0].dtype == .float32, inputs[0].rank == 4, first.layout == .channelsFirst,
      second.layout == .channelsFirst,
      Self.supports(first.geometry, second.geometry)
    {
      let result = try second.memory(outputs[0].shape, .float32)
      if try ConvolutionEngine.runSeparable(
        part(first, one.dropFirst()), part(second, two[...]), input: inputs[0], output: result)
      {
        return [result]
      }
    }
    return try second.evaluate(first.evaluate(one, first.infer(one.map(\.spec))) + two, outputs)
  }

  private func part(_ operation: ConvolutionOperation, _ operands: ArraySlice<Tensor>) throws -> ConvolutionEngine.Part
  {
    let packed = try operation.pack(
      operation.geometry, operands[operands.startIndex], operands.dropFirst().first)
    return ConvolutionEngine.Part(geometry: operation.geometry, packed: packed, fusion: operation.fusion)
  }
}

extension SeparableConvolution: ExportableOperation {
  package var held: [Tensor] { first.held + second.held }

  /// Two convolutions.
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let (one, two) = operands(inputs)
    let middle = try first.infer(one)
    let nodes = try first.exported(one, middle)
    // The second one's operand 0 is what the first gave.
    return try nodes
      + second.exported(middle + two, outputs).map {
        $0.moved(by: nodes.count) { $0 == 0 ? .node(nodes.count - 1) : .input(one.count + $0 - 1) }
      }
  }
}
