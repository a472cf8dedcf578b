import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A two-dimensional convolution without bias whose padding keeps the size at stride 1, before a batch normalisation.
///
/// Its initial values are normal with variance 2 / (taps × output channels / groups), which keeps the variance of
/// gradients through rectifiers (He et al., 2015).
func normalizedConvolution(
  _ inChannels: Int, _ outChannels: Int, kernel: Int, stride: Int = 1, groups: Int = 1, generator: Generator
) throws -> Conv2d {
  let layer = try Conv2d(
    inChannels: inChannels, outChannels: outChannels, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
    padding: .uniform((kernel - 1) / 2), groups: groups, bias: false, generator: .zeros)
  let fanOut = Double(outChannels) / Double(groups) * Double(kernel * kernel)
  try layer.weight.set(
    generator.normal(layer.geometry.weightShape, standardDeviation: (2 / fanOut).squareRoot()))
  return layer
}

/// The means over height and width, `[N, C, H, W]` to `[N, C]`.
func pooledFeatures(_ x: Tensor) throws -> Tensor { try x.adaptiveAveragePooled([1, 1]).flattened(from: 1) }

/// Throws unless `value` lies in `range`.
func require(_ model: String, _ label: String, _ value: Int, in range: ClosedRange<Int>) throws {
  guard range.contains(value) else {
    throw ToeplitzError(
      .argument, model, expected: "\(label) in \(range.lowerBound)...\(range.upperBound)", got: "\(value)")
  }
}
