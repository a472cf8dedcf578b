import ToeplitzOps
import ToeplitzTensor

/// A convolution with what lowering has fused into it.
///
/// Inputs are those of the convolution (x, weight and maybe bias), then factors of the weights, then residuals.
package struct FusedConvolution: TensorOperation {
  /// The convolution by itself.
  package var convolution: ConvolutionOperation
  /// What is computed together with it.
  package var epilogue = Epilogue()
  /// Whether the operand after the bias is what the weights of each output channel are multiplied by, in float64;
  /// float32 weights only.
  package var hasWeightFactors = false
  /// How many of the last operands are tensors of the output's shape that are added to the sums; at most two.
  package var residualCount = 0
  /// Which of them nobody else needs, so that the result may take its memory.
  package var overwrittenResidual: Int?

  /// A convolution into which nothing is fused yet.
  package init(_ convolution: ConvolutionOperation) { self.convolution = convolution }

  /// A convolution of the given geometry into which nothing is fused yet.
  package init(_ geometry: ConvolutionGeometry, layout: TensorLayout = .channelsFirst) {
    self.init(ConvolutionOperation(geometry, layout: layout))
  }

  /// Options and sizes.
  package var geometry: ConvolutionGeometry {
    get { convolution.geometry }
    set { convolution.geometry = newValue }
  }
  /// Where the channels of input and output stand.
  package var layout: TensorLayout { convolution.layout }
  /// How prepared weights are stored.
  package var weightStorage: WeightStorage {
    get { convolution.weightStorage }
    set { convolution.weightStorage = newValue }
  }
  /// Whether it is a linear map of the last axis.
  package var isLinear: Bool { convolution.isLinear }
  /// A view with batch and channels first.
  func canonical(_ tensor: Tensor) throws -> Tensor { try convolution.canonical(tensor) }
  /// The convolution's name.
  package var name: String { convolution.name }

  /// What the convolution gives.
  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    let more = (hasWeightFactors ? 1 : 0) + residualCount
    try require(
      inputs.count == 2 + more || inputs.count == 3 + more, .argument,
      expected: "x, weight and maybe bias, and \(more) more", got: "\(inputs.count) tensors")
    let operands = operands(inputs)
    let results = try convolution.infer([operands.x, operands.weight] + [operands.bias].compactMap { $0 })
    for residual in operands.residuals {
      try require(residual == results[0], expected: "a residual like the output \(results[0])", got: "\(residual)")
    }
    return results
  }

  /// The operands by what they are for; their number has been checked.
  package func operands<T>(_ inputs: [T]) -> (x: T, weight: T, bias: T?, factors: T?, residuals: ArraySlice<T>) {
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

  /// None: lowering makes it after differentiation.
  package var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  /// All of time: lowering makes it after planning.
  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension FusedConvolution: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int { try convolution.multiplyAdds(inputs) }
}

/// One of several convolutions that are computed together, with what is computed with it.
package struct ConvolutionStage: Sendable, Hashable {
  package var operation: FusedConvolution
  package var hasBias: Bool

  /// A convolution with or without bias.
  package init(_ operation: FusedConvolution, hasBias: Bool) {
    self.operation = operation
    self.hasBias = hasBias
  }

  /// A plain convolution.
  package init(_ geometry: ConvolutionGeometry, hasBias: Bool) {
    self.init(FusedConvolution(geometry), hasBias: hasBias)
  }

  /// How many operands it takes beside its input and residuals: the weight, maybe a bias, maybe factors.
  package var weightCount: Int { 1 + (hasBias ? 1 : 0) + (operation.hasWeightFactors ? 1 : 0) }
}
