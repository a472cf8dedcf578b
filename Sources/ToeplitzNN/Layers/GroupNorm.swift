import ToeplitzOps
import ToeplitzTensor

/// Group normalisation (Wu and He, 2018): groups of channels of each sample with mean 0 and variance 1.
///
/// Input `[N, C, …]`.
open class GroupNorm: ElementwiseLayer, UnaryLayer {
  /// One factor for each channel, if the layer is affine.
  public let weight: Parameter?
  /// One number added to each channel, if the layer is affine and has a bias.
  public let bias: Parameter?
  /// Groups of channels.
  public let numGroups: Int
  /// Channels of the input.
  public let numChannels: Int
  /// What is added to the variance.
  public let eps: Double

  /// Creates a layer with weight 1 and bias 0.
  ///
  /// - Parameters:
  ///   - numGroups: groups of channels.
  ///   - numChannels: channels; a multiple of `numGroups`.
  ///   - eps: added to the variance.
  ///   - affine: whether there is a weight and a bias for each channel.
  ///   - bias: whether an affine layer has a bias.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    numGroups: Int, numChannels: Int, eps: Double = 1e-5, affine: Bool = true, bias: Bool = true,
    dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try device.requirePresent("GroupNorm")
    guard numGroups > 0 else {
      throw ToeplitzError(.argument, "GroupNorm", expected: "numGroups of at least 1", got: "\(numGroups)")
    }
    guard numChannels > 0, numChannels % numGroups == 0 else {
      throw ToeplitzError(
        .argument, "GroupNorm", expected: "numChannels to be a multiple of numGroups \(numGroups)",
        got: "\(numChannels)")
    }
    guard eps >= 0 else {
      throw ToeplitzError(.argument, "GroupNorm", expected: "eps of at least 0", got: "\(eps)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "GroupNorm", expected: "a floating-point type", got: "\(dtype)")
    }
    weight = affine ? Parameter(try Tensor.ones([numChannels], dtype: dtype)) : nil
    self.bias = affine && bias ? Parameter(try Tensor.zeros([numChannels], dtype: dtype)) : nil
    self.numGroups = numGroups
    self.numChannels = numChannels
    self.eps = eps
  }

  /// The normalised input.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` also if each group has just one value.
  open func forward(_ x: Tensor) throws -> Tensor {
    guard x.rank >= 2, x.shape[1] == numChannels else {
      throw ToeplitzError(
        .shape, "GroupNorm", expected: "an input [N, C, …] with \(numChannels) channels on axis 1",
        got: "shape \(x.shape)")
    }
    guard x.count / numGroups != 1 else {
      throw ToeplitzError(
        .shape, "GroupNorm", expected: "more than 1 value per group", got: "shape \(x.shape)")
    }
    guard x.count > 0 else { return x }
    let moments = try x.channelMoments(groups: numGroups, name: "GroupNorm")
    return try x.normalizedChannels(
      mean: moments.mean, variance: moments.variance, weight: weight?.value, bias: bias?.value, eps: eps,
      name: "GroupNorm")
  }

  /// PyTorch's options.
  open override var extraRepr: String {
    "\(numGroups), \(numChannels), eps=\(eps), affine=\(PythonText.bool(weight != nil)), "
      + "bias=\(PythonText.bool(bias != nil))"
  }
}

/// Layer normalisation (Ba et al., 2016): all elements of the last axes together with mean 0 and variance 1.
///
/// Input `[…, normalizedShape]`.
open class LayerNorm: ElementwiseLayer, UnaryLayer {
  /// One factor for each element of the normalised shape, if the layer is affine.
  public let weight: Parameter?
  /// One number added to each element, if the layer is affine and has a bias.
  public let bias: Parameter?
  /// The sizes of the last axes.
  public let normalizedShape: TensorShape
  /// What is added to the variance.
  public let eps: Double

  /// Creates a layer with weight 1 and bias 0.
  ///
  /// - Parameters:
  ///   - normalizedShape: the sizes of the last axes.
  ///   - eps: added to the variance.
  ///   - elementwiseAffine: whether there is a weight and a bias for each element.
  ///   - bias: whether an affine layer has a bias.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    normalizedShape: TensorShape, eps: Double = 1e-5, elementwiseAffine: Bool = true, bias: Bool = true,
    dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try device.requirePresent("LayerNorm")
    guard !normalizedShape.isEmpty, normalizedShape.allSatisfy({ $0 > 0 }) else {
      throw ToeplitzError(
        .argument, "LayerNorm", expected: "a normalizedShape of at least one size, each at least 1",
        got: "\(normalizedShape)")
    }
    guard eps >= 0 else {
      throw ToeplitzError(.argument, "LayerNorm", expected: "eps of at least 0", got: "\(eps)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "LayerNorm", expected: "a floating-point type", got: "\(dtype)")
    }
    weight = elementwiseAffine ? Parameter(try Tensor.ones(normalizedShape, dtype: dtype)) : nil
    self.bias = elementwiseAffine && bias ? Parameter(try Tensor.zeros(normalizedShape, dtype: dtype)) : nil
    self.normalizedShape = normalizedShape
    self.eps = eps
  }

  /// The normalised input.
  open func forward(_ x: Tensor) throws -> Tensor {
    try x.layerNorm(normalizedShape, weight: weight?.value, bias: bias?.value, eps: eps)
  }

  /// PyTorch's options.
  open override var extraRepr: String {
    "\(PythonText.tuple(normalizedShape.dimensions)), eps=\(eps), "
      + "elementwise_affine=\(PythonText.bool(weight != nil)), bias=\(PythonText.bool(bias != nil))"
  }
}
