import ToeplitzOps
import ToeplitzTensor

// Initialisers of the usual layers whose first arguments have no labels, as in PyTorch: `Linear(512, 10)`, `BatchNorm2d(64)`,
// `MaxPool2d(2)`. Each creates what the initialiser with labels does, and throws what that throws.

extension Linear {
  /// A linear map of a last axis of `inFeatures` to one of `outFeatures`.
  public convenience init(
    _ inFeatures: Int, _ outFeatures: Int, bias: Bool = true, dtype: DType = .float32, device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try self.init(
      inFeatures: inFeatures, outFeatures: outFeatures, bias: bias, dtype: dtype, device: device, generator: generator)
  }
}

extension Embedding {
  /// A table of `numEmbeddings` rows of `embeddingDim` numbers.
  public convenience init(
    _ numEmbeddings: Int, _ embeddingDim: Int, paddingIdx: Int? = nil, dtype: DType = .float32, device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try self.init(
      numEmbeddings: numEmbeddings, embeddingDim: embeddingDim, paddingIdx: paddingIdx, dtype: dtype, device: device,
      generator: generator)
  }
}

extension BatchNorm {
  /// A batch normalisation of `numFeatures` channels.
  public convenience init(
    _ numFeatures: Int, eps: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = true,
    trackRunningStats: Bool = true, dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try self.init(
      numFeatures: numFeatures, eps: eps, momentum: momentum, affine: affine, trackRunningStats: trackRunningStats,
      dtype: dtype, device: device)
  }
}

extension InstanceNorm {
  /// An instance normalisation of `numFeatures` channels.
  public convenience init(
    _ numFeatures: Int, eps: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = false,
    trackRunningStats: Bool = false, dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try self.init(
      numFeatures: numFeatures, eps: eps, momentum: momentum, affine: affine, trackRunningStats: trackRunningStats,
      dtype: dtype, device: device)
  }
}

extension GroupNorm {
  /// A normalisation of `numChannels` channels in `numGroups` groups.
  public convenience init(
    _ numGroups: Int, _ numChannels: Int, eps: Double = 1e-5, affine: Bool = true, dtype: DType = .float32,
    device: Device = .cpu
  ) throws {
    try self.init(
      numGroups: numGroups, numChannels: numChannels, eps: eps, affine: affine, dtype: dtype, device: device)
  }
}

extension LayerNorm {
  /// A normalisation of a last axis of `size`.
  public convenience init(
    _ size: Int, eps: Double = 1e-5, elementwiseAffine: Bool = true, bias: Bool = true, dtype: DType = .float32,
    device: Device = .cpu
  ) throws {
    try self.init(
      normalizedShape: [size], eps: eps, elementwiseAffine: elementwiseAffine, bias: bias, dtype: dtype,
      device: device)
  }

  /// A normalisation of last axes of the given sizes.
  public convenience init(
    _ sizes: [Int], eps: Double = 1e-5, elementwiseAffine: Bool = true, bias: Bool = true, dtype: DType = .float32,
    device: Device = .cpu
  ) throws {
    try self.init(
      normalizedShape: TensorShape(sizes), eps: eps, elementwiseAffine: elementwiseAffine, bias: bias, dtype: dtype,
      device: device)
  }
}

extension MaxPool {
  /// A pooling of windows of `kernelSize`.
  public convenience init(
    _ kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
    padding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, ceilMode: Bool = false
  ) throws {
    try self.init(
      kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
  }
}

extension AvgPool {
  /// A pooling of windows of `kernelSize`.
  public convenience init(
    _ kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
    padding: any PerAxisConvertible = 0, ceilMode: Bool = false, countIncludePad: Bool = true,
    divisorOverride: Int? = nil
  ) throws {
    try self.init(
      kernelSize: kernelSize, stride: stride, padding: padding, ceilMode: ceilMode,
      countIncludePad: countIncludePad, divisorOverride: divisorOverride)
  }
}

extension AdaptiveAvgPool {
  /// A pooling to the same size on every axis.
  public convenience init(_ outputSize: Int) throws { try self.init(outputSize: outputSize) }
}

extension AdaptiveMaxPool {
  /// A pooling to the same size on every axis.
  public convenience init(_ outputSize: Int) throws { try self.init(outputSize: outputSize) }
}

extension Dropout {
  /// A dropout with probability `p`.
  public convenience init(_ p: Double, generator: Generator? = nil) throws {
    try self.init(p: p, generator: generator)
  }
}

extension LeakyReLU {
  /// A leaky rectifier with the given slope below zero.
  public convenience init(_ negativeSlope: Double) { self.init(negativeSlope: negativeSlope) }
}

extension ReflectionPad {
  /// A padding of one number, or two for each axis.
  public convenience init(_ padding: any PerAxisConvertible) throws { try self.init(padding: padding) }
}

extension ReplicationPad {
  /// A padding of one number, or two for each axis.
  public convenience init(_ padding: any PerAxisConvertible) throws { try self.init(padding: padding) }
}

extension ZeroPad {
  /// A padding of one number, or two for each axis.
  public convenience init(_ padding: any PerAxisConvertible) throws { try self.init(padding: padding) }
}

extension ConstantPad {
  /// A padding of one number, or two for each axis, with positions that hold `value`.
  public convenience init(_ padding: any PerAxisConvertible, _ value: Double) throws {
    try self.init(padding: padding, value: value)
  }
}
