import ToeplitzTensor

/// One of several convolutions that are computed together, with what is computed with it.
package struct ConvolutionStage: Sendable, Hashable {
  package var operation: ConvolutionOperation
  package var hasBias: Bool

  /// A convolution with or without bias.
  package init(_ operation: ConvolutionOperation, hasBias: Bool) {
    self.operation = operation
    self.hasBias = hasBias
  }

  /// How many operands it takes beside its input and residuals: the weight, maybe a bias, maybe factors.
  package var weightCount: Int { 1 + (hasBias ? 1 : 0) + (operation.hasWeightFactors ? 1 : 0) }
}
