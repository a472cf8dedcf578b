import ToeplitzOps
import ToeplitzTensor

/// A residual unit of two one-dimensional convolutions: `x + second(leaky(first(leaky(x))))`.
///
/// Inputs are x `[N, C, L]` or `[C, L]`, then weight and, where it has them, bias and factors of the weights of the first
/// convolution, then of the second, then maybe a tensor like x that is added too. Both run over one tile of positions after the other, so that what lies between them never leaves the cache,
/// where that is estimated to be faster than one convolution after the other. The bits are the same either way with
/// ``Numerics/invariant``.
package struct ResidualUnit: TensorOperation {
  /// The convolutions; the second one's residuals are x and maybe another tensor.
  package var stages: (first: ConvolutionStage, second: ConvolutionStage) {
    get { (firstStage, secondStage) }
    set { (firstStage, secondStage) = newValue }
  }
  package private(set) var firstStage: ConvolutionStage
  package private(set) var secondStage: ConvolutionStage

  /// A unit of the given convolutions.
  ///
  /// - Parameters:
  ///   - inputSlope: factor of values of x below zero before the first convolution; 1 for nothing.
  ///   - middleSlope: factor of values below zero between the convolutions; 1 for nothing.
  package init(
    _ first: ConvolutionGeometry, _ second: ConvolutionGeometry, hasBias: (first: Bool, second: Bool),
    inputSlope: Double, middleSlope: Double
  ) {
    firstStage = ConvolutionStage(first, hasBias: hasBias.first)
    secondStage = ConvolutionStage(second, hasBias: hasBias.second)
    firstStage.operation.epilogue.inputSlope = inputSlope
    secondStage.operation.epilogue.inputSlope = middleSlope
    secondStage.operation.residualCount = 1
  }

  /// Options and sizes of the first convolution.
  package var first: ConvolutionGeometry { firstStage.operation.geometry }
  /// Options and sizes of the second convolution, whose output has the shape of x.
  package var second: ConvolutionGeometry { secondStage.operation.geometry }

  /// Whether the last operand is a tensor like x that is added too.
  package var hasExtra: Bool {
    get { secondStage.operation.residualCount == 2 }
    set { secondStage.operation.residualCount = newValue ? 2 : 1 }
  }

  /// What happens to x first, and to the result of the second convolution.
  package var epilogue: Epilogue {
    var epilogue = secondStage.operation.epilogue
    epilogue.inputSlope = firstStage.operation.epilogue.inputSlope
    return epilogue
  }

  /// `ResidualUnit`.
  package var name: String { "ResidualUnit" }

  /// One output like x.
  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1 + firstStage.weightCount + secondStage.weightCount + (hasExtra ? 1 : 0))
    try require(
      first.rank == 1 && second.rank == 1, .argument, expected: "one-dimensional convolutions",
      got: "\(first.name) and \(second.name)")
    let operands = operands(inputs)
    let middle = try firstStage.operation.infer([inputs[0]] + operands.first)[0]
    var plain = secondStage.operation
    plain.residualCount = 0
    let result = try plain.infer([middle] + operands.second)[0]
    try require(
      result == inputs[0], expected: "convolutions that keep the shape \(inputs[0].shape)", got: "\(result.shape)")
    if let extra = operands.extra {
      try require(extra == result, expected: "a tensor to add like x, \(result)", got: "\(extra)")
    }
    return [result]
  }

  /// The operands of both convolutions, but for their inputs and residuals.
  package func operands<T>(_ inputs: [T]) -> (first: ArraySlice<T>, second: ArraySlice<T>, extra: T?) {
    let middle = 1 + firstStage.weightCount
    let end = middle + secondStage.weightCount
    return (inputs[1..<middle], inputs[middle..<end], hasExtra ? inputs[end] : nil)
  }

  /// None: compilation makes it after differentiation.
  package var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  /// All of time: compilation makes it after planning.
  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension ResidualUnit: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    let operands = [inputs[0]] + operands(inputs).first
    let middle = try firstStage.operation.infer(operands)
    return try firstStage.operation.multiplyAdds(operands) + secondStage.operation.multiplyAdds(middle)
  }
}
