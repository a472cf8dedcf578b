import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// What a discriminator says of signals.
public struct DiscriminatorOutput {
  /// How real each part of a signal seems, `[N, positions]`.
  public var score: Tensor
  /// What its layers gave, the score's last.
  public var features: [Tensor]
}

/// The slope below zero of the leaky rectifiers inside the discriminators.
private let slope = 0.1

/// Looks at every `period`-th sample of a signal: as an image with a column for each remainder.
final class HiFiGANPeriodDiscriminator: Module {
  private let convs: ModuleList<WeightNormConv2d>
  private let convPost: WeightNormConv2d
  private let period: Int

  init(period: Int, divisor: Int, generator: Generator) throws {
    self.period = period
    func convolution(_ inputs: Int, _ outputs: Int, _ kernel: Int, stride: Int) throws -> WeightNormConv2d {
      try WeightNormConv2d(
        inChannels: inputs, outChannels: outputs, kernelSize: [kernel, 1], stride: [stride, 1],
        padding: [(kernel - 1) / 2, 0], generator: generator)
    }
    let widths = [32, 128, 512, 1024, 1024].map { $0 / divisor }
    convs = ModuleList(
      try widths.indices.map { index in
        try convolution(index == 0 ? 1 : widths[index - 1], widths[index], 5, stride: index < 4 ? 3 : 1)
      })
    convPost = try convolution(widths[4], 1, 3, stride: 1)
  }

  /// What it says of signals `[N, 1, L]`.
  func callAsFunction(_ x: Tensor) throws -> DiscriminatorOutput {
    let missing = (period - x.shape[2] % period) % period
    let whole = missing == 0 ? x : try x.padded([(axis: 2, low: 0, high: missing)], mode: .reflect)
    let image = try whole.reshaped([x.shape[0], 1, whole.shape[2] / period, period])
    return try judged(image, convs.elements, convPost)
  }
}

/// Looks at neighbouring samples of a signal.
final class HiFiGANScaleDiscriminator: Module {
  private let convs: ModuleList<Conv1d>
  private let convPost: Conv1d

  /// - Parameter isSpectral: whether weights have spectral norm instead of weight norm.
  init(isSpectral: Bool, divisor: Int, generator: Generator) throws {
    func convolution(
      _ inputs: Int, _ outputs: Int, _ kernel: Int, stride: Int = 1, groups: Int = 1
    ) throws -> Conv1d {
      let plain = try Conv1d(
        inChannels: inputs, outChannels: outputs, kernelSize: kernel, stride: stride, padding: (kernel - 1) / 2,
        groups: groups, generator: generator)
      return try isSpectral ? plain.spectralNorm(generator: generator) : plain.weightNorm()
    }
    let widths = [128, 128, 256, 512, 1024, 1024, 1024].map { $0 / divisor }
    convs = ModuleList([
      try convolution(1, widths[0], 15), try convolution(widths[0], widths[1], 41, stride: 2, groups: 4),
      try convolution(widths[1], widths[2], 41, stride: 2, groups: 16),
      try convolution(widths[2], widths[3], 41, stride: 4, groups: 16),
      try convolution(widths[3], widths[4], 41, stride: 4, groups: 16),
      try convolution(widths[4], widths[5], 41, groups: 16), try convolution(widths[5], widths[6], 5),
    ])
    convPost = try convolution(widths[6], 1, 3)
  }

  /// What it says of signals `[N, 1, L]`.
  func callAsFunction(_ x: Tensor) throws -> DiscriminatorOutput { try judged(x, convs.elements, convPost) }
}

/// The layers one after another, each but the last with a rectifier behind it.
private func judged(
  _ x: Tensor, _ layers: [some ConvolutionLayer], _ last: some ConvolutionLayer
) throws -> DiscriminatorOutput {
  var (x, features) = (x, [Tensor]())
  for layer in layers {
    x = try layer(x).leakyReLU(negativeSlope: slope)
    features.append(x)
  }
  x = try last(x)
  features.append(x)
  return DiscriminatorOutput(score: try x.flattened(from: 1), features: features)
}

/// The five discriminators of HiFi-GAN that look at periods of 2, 3, 5, 7 and 11 samples.
///
/// Keys are those of the authors' checkpoints: `mpd` in `do_*` files.
public final class HiFiGANMultiPeriodDiscriminator: Module {
  private let discriminators: ModuleList<HiFiGANPeriodDiscriminator>

  /// Discriminators with random weights.
  ///
  /// - Parameter divisor: what the authors' numbers of channels are divided by: 1, 2, 4 or 8.
  /// - Throws: ``ToeplitzError`` of kind `argument` for another divisor.
  public init(divisor: Int = 1, generator: Generator = Generator()) throws {
    try requireDivisor(divisor)
    discriminators = ModuleList(
      try [2, 3, 5, 7, 11].map {
        try HiFiGANPeriodDiscriminator(period: $0, divisor: divisor, generator: generator)
      })
  }

  /// What each says of signals `[N, 1, L]`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` for other shapes.
  public func callAsFunction(_ x: Tensor) throws -> [DiscriminatorOutput] {
    try requireSignals(x)
    return try discriminators.map { try $0(x) }
  }
}

/// The three discriminators of HiFi-GAN that look at a signal, at its half and its quarter of samples; the first has spectral
/// norm.
///
/// Keys are those of the authors' checkpoints: `msd` in `do_*` files.
public final class HiFiGANMultiScaleDiscriminator: Module {
  private let discriminators: ModuleList<HiFiGANScaleDiscriminator>
  private let meanpools: ModuleList<AvgPool1d>

  /// Discriminators with random weights.
  ///
  /// - Parameter divisor: what the authors' numbers of channels are divided by: 1, 2, 4 or 8.
  /// - Throws: ``ToeplitzError`` of kind `argument` for another divisor.
  public init(divisor: Int = 1, generator: Generator = Generator()) throws {
    try requireDivisor(divisor)
    discriminators = ModuleList(
      try (0..<3).map {
        try HiFiGANScaleDiscriminator(isSpectral: $0 == 0, divisor: divisor, generator: generator)
      })
    meanpools = ModuleList(try (0..<2).map { _ in try AvgPool1d(kernelSize: 4, stride: 2, padding: 2) })
  }

  /// What each says of signals `[N, 1, L]`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` for other shapes.
  public func callAsFunction(_ x: Tensor) throws -> [DiscriminatorOutput] {
    try requireSignals(x)
    var x = x
    return try discriminators.elements.enumerated().map { index, discriminator in
      if index > 0 { x = try meanpools[index - 1](x) }
      return try discriminator(x)
    }
  }
}

private func requireDivisor(_ divisor: Int) throws {
  // The convolutions with 16 groups are narrowest at an eighth.
  guard [1, 2, 4, 8].contains(divisor) else {
    throw ToeplitzError(.argument, "HiFiGAN discriminators", expected: "a divisor of 1, 2, 4 or 8", got: "\(divisor)")
  }
}

private func requireSignals(_ x: Tensor) throws {
  guard x.rank == 3, x.shape[1] == 1, x.shape[2] > 16 else {
    throw ToeplitzError(
      .shape, "HiFiGAN discriminators", expected: "signals [N, 1, L] of more than 16 samples", got: "\(x.spec)")
  }
}
