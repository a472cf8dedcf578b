import ToeplitzOps
import ToeplitzTensor

/// What batch and instance normalisation share: a weight and bias for each channel and running statistics.
open class FeatureNorm<Rank: SpatialRank>: ElementwiseLayer {
  /// One factor for each channel, if the layer is affine.
  public let weight: Parameter?
  /// One number added to each channel, if the layer is affine and has a bias.
  public let bias: Parameter?
  /// The running mean of each channel, if statistics are tracked.
  public let runningMean: Parameter?
  /// The running unbiased variance of each channel, if statistics are tracked.
  public let runningVar: Parameter?
  /// How many batches have been seen in training, if statistics are tracked; int64.
  public let numBatchesTracked: Parameter?
  /// Channels of the input.
  public let numFeatures: Int
  /// What is added to the variance.
  public let eps: Double
  /// How much of a new batch goes into the running statistics; nil for the mean of all batches.
  public let momentum: Double?

  init(
    _ name: String, numFeatures: Int, eps: Double, momentum: Double?, affine: Bool, bias: Bool,
    trackRunningStats: Bool,
    dtype: DType, device: Device
  ) throws {
    try device.requirePresent(name)
    guard numFeatures > 0 else {
      throw ToeplitzError(.argument, name, expected: "numFeatures of at least 1", got: "\(numFeatures)")
    }
    guard eps >= 0 else { throw ToeplitzError(.argument, name, expected: "eps of at least 0", got: "\(eps)") }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, name, expected: "a floating-point type", got: "\(dtype)")
    }
    let shape: TensorShape = [numFeatures]
    weight = affine ? Parameter(try Tensor.ones(shape, dtype: dtype)) : nil
    self.bias = affine && bias ? Parameter(try Tensor.zeros(shape, dtype: dtype)) : nil
    runningMean = trackRunningStats ? Parameter(try Tensor.zeros(shape, dtype: dtype), isBuffer: true) : nil
    runningVar = trackRunningStats ? Parameter(try Tensor.ones(shape, dtype: dtype), isBuffer: true) : nil
    numBatchesTracked = trackRunningStats ? Parameter(try Tensor(scalar: Int64(0)), isBuffer: true) : nil
    self.numFeatures = numFeatures
    self.eps = eps
    self.momentum = momentum
  }

  /// PyTorch's options.
  open override var extraRepr: String {
    "\(numFeatures), eps=\(eps), momentum=\(momentum.map { "\($0)" } ?? "None"), "
      + "affine=\(PythonText.bool(weight != nil)), bias=\(PythonText.bool(bias != nil)), "
      + "track_running_stats=\(PythonText.bool(runningMean != nil))"
  }

  /// Throws unless axis `axis` of `x` has the layer's channels and `x` one of the given ranks.
  func check(_ x: Tensor, ranks: [Int], axis: Int) throws {
    guard ranks.contains(x.rank) else {
      let wanted = ranks.map(String.init).joined(separator: " or ")
      throw ToeplitzError(
        .shape, displayName, expected: "an input of \(wanted) dimensions", got: "shape \(x.shape)")
    }
    guard x.shape[axis] == numFeatures else {
      throw ToeplitzError(
        .shape, displayName, expected: "\(numFeatures) channels on axis \(axis)",
        got: "\(x.shape[axis]) (shape \(x.shape))")
    }
  }

  /// Moves the running statistics a share of the way to those of a batch.
  ///
  /// - Parameters:
  ///   - mean: `[C]`, float64.
  ///   - unbiasedVariance: `[C]`, float64.
  ///   - share: one float64 number.
  func track(mean: Tensor, unbiasedVariance: Tensor, share: Tensor) throws {
    func move(_ parameter: Parameter?, to new: Tensor) throws {
      guard let parameter else { return }
      let old = try parameter.value.cast(to: .float64)
      parameter.value = try (old * (share.negated() + 1) + new * share).cast(to: parameter.value.dtype)
    }
    try move(runningMean, to: mean)
    try move(runningVar, to: unbiasedVariance)
  }
}

/// Batch normalisation (Ioffe and Szegedy, 2015): each channel with mean 0 and variance 1, then scaled and shifted.
///
/// In training, and without running statistics, the statistics are the batch's; otherwise the running ones. Input
/// `[N, C, spatial…]`; `BatchNorm1d` also takes `[N, C]`.
open class BatchNorm<Rank: SpatialRank>: FeatureNorm<Rank>, UnaryLayer {
  /// Creates a layer with weight 1, bias 0, running mean 0 and running variance 1.
  ///
  /// - Parameters:
  ///   - numFeatures: channels.
  ///   - eps: added to the variance.
  ///   - momentum: how much of a new batch goes into the running statistics; nil for the mean of all batches.
  ///   - affine: whether there is a weight and a bias for each channel.
  ///   - bias: whether an affine layer has a bias.
  ///   - trackRunningStats: whether statistics are kept for evaluation.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    numFeatures: Int, eps: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = true, bias: Bool = true,
    trackRunningStats: Bool = true, dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try super.init(
      "BatchNorm\(Rank.count)d", numFeatures: numFeatures, eps: eps, momentum: momentum, affine: affine,
      bias: bias,
      trackRunningStats: trackRunningStats, dtype: dtype, device: device)
  }

  override var dependsOnMode: Bool { true }

  /// The normalised input; in training the running statistics change.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` also if batch statistics are to be taken of one value a channel.
  open func forward(_ x: Tensor) throws -> Tensor {
    try check(x, ranks: Rank.count == 1 ? [2, 3] : [Rank.count + 2], axis: 1)
    if !isTraining, let runningMean, let runningVar {
      return try x.normalizedChannels(
        mean: runningMean.value, variance: runningVar.value, weight: weight?.value, bias: bias?.value,
        eps: eps,
        name: displayName)
    }
    let count = x.count / numFeatures
    guard count != 1 else {
      throw ToeplitzError(
        .shape, displayName, expected: "more than 1 value per channel in training", got: "shape \(x.shape)")
    }
    guard count > 0 else { return x }
    let (mean, variance) = try batchStatistics(x)
    if isTraining, let numBatchesTracked {
      numBatchesTracked.value = try numBatchesTracked.value + Tensor(scalar: Int64(1))
      let share =
        try momentum.map { try Tensor(scalar: $0) } ?? numBatchesTracked.value.cast(to: .float64).reciprocal()
      try track(mean: mean, unbiasedVariance: variance * (Double(count) / Double(count - 1)), share: share)
    }
    return try x.normalizedChannels(
      mean: mean, variance: variance, weight: weight?.value, bias: bias?.value, eps: eps, name: displayName)
  }

  /// Mean and population variance of each channel over all samples, in float64.
  private func batchStatistics(_ x: Tensor) throws -> (mean: Tensor, variance: Tensor) {
    let width = x.shape.dropFirst(2).reduce(1, *)
    // Short rows are joined first: measuring each costs more than copying.
    let isShort = width < 16 && x.shape[0] > 1
    let rows = try isShort ? x.transposed(0, 1).reshaped([1, numFeatures, x.shape[0] * width]) : x
    let parts = try rows.channelMoments(name: displayName)
    let mean = try parts.mean.mean([0])
    // The variance within samples and that between their means.
    let distance = try parts.mean - mean
    return (mean, try (parts.variance + distance * distance).mean([0]))
  }
}

/// Instance normalisation (Ulyanov et al., 2016): each channel of each sample with mean 0 and variance 1.
///
/// With running statistics, evaluation uses those instead. Input `[N, C, spatial…]` or `[C, spatial…]`.
open class InstanceNorm<Rank: SpatialRank>: FeatureNorm<Rank>, UnaryLayer {
  /// Creates a layer; without further options it has no parameters.
  ///
  /// - Parameters:
  ///   - numFeatures: channels.
  ///   - eps: added to the variance.
  ///   - momentum: how much of a new batch goes into the running statistics; with nil they stay, as in PyTorch.
  ///   - affine: whether there is a weight and a bias for each channel.
  ///   - bias: whether an affine layer has a bias.
  ///   - trackRunningStats: whether statistics are kept for evaluation.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    numFeatures: Int, eps: Double = 1e-5, momentum: Double? = 0.1, affine: Bool = false, bias: Bool = true,
    trackRunningStats: Bool = false, dtype: DType = .float32, device: Device = .cpu
  ) throws {
    try super.init(
      "InstanceNorm\(Rank.count)d", numFeatures: numFeatures, eps: eps, momentum: momentum, affine: affine,
      bias: bias,
      trackRunningStats: trackRunningStats, dtype: dtype, device: device)
  }

  /// The normalised input; in training the running statistics change.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` also if statistics are to be taken of one value a channel.
  open func forward(_ x: Tensor) throws -> Tensor {
    let unbatched = x.rank == Rank.count + 1
    try check(x, ranks: [Rank.count + 1, Rank.count + 2], axis: unbatched ? 0 : 1)
    let y = try normalize(unbatched ? x.unsqueezed(0) : x)
    return unbatched ? try y.squeezed(0) : y
  }

  private func normalize(_ x: Tensor) throws -> Tensor {
    if !isTraining, let runningMean, let runningVar {
      return try x.normalizedChannels(
        mean: runningMean.value, variance: runningVar.value, weight: weight?.value, bias: bias?.value,
        eps: eps,
        name: displayName)
    }
    let count = x.shape.dropFirst(2).reduce(1, *)
    guard count != 1 else {
      throw ToeplitzError(
        .shape, displayName, expected: "more than 1 spatial element in training", got: "shape \(x.shape)")
    }
    guard x.count > 0 else { return x }
    let moments = try x.channelMoments(name: displayName)
    if isTraining, runningMean != nil {
      let unbiased = Double(count) / Double(count - 1)
      try track(
        mean: moments.mean.mean([0]), unbiasedVariance: moments.variance.mean([0]) * unbiased,
        share: Tensor(scalar: momentum ?? 0))
    }
    return try x.normalizedChannels(
      mean: moments.mean, variance: moments.variance, weight: weight?.value, bias: bias?.value, eps: eps,
      name: displayName)
  }
}

/// Batch normalisation of `[N, C]` or `[N, C, L]`.
public typealias BatchNorm1d = BatchNorm<Rank1>
/// Batch normalisation of `[N, C, H, W]`.
public typealias BatchNorm2d = BatchNorm<Rank2>
/// Batch normalisation of `[N, C, D, H, W]`.
public typealias BatchNorm3d = BatchNorm<Rank3>
/// Instance normalisation of `[N, C, L]`.
public typealias InstanceNorm1d = InstanceNorm<Rank1>
/// Instance normalisation of `[N, C, H, W]`.
public typealias InstanceNorm2d = InstanceNorm<Rank2>
/// Instance normalisation of `[N, C, D, H, W]`.
public typealias InstanceNorm3d = InstanceNorm<Rank3>
