import ToeplitzTensor

extension ConvolutionFusion {
  /// What follows the convolution's sums, as operations of their own: for sums that something has been done to since.
  package func finished(_ sums: Tensor) throws -> Tensor { try finish(sums) }
}
