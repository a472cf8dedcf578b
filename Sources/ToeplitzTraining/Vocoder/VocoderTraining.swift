import ToeplitzModels
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A HiFi-GAN generator with the discriminators that it is trained against.
public final class VocoderNetworks: Module {
  /// Makes signals of mel frames.
  public let generator: HiFiGANGenerator
  /// Look at periods of signals; nil where training goes without discriminators.
  public let mpd: HiFiGANMultiPeriodDiscriminator?
  /// Look at signals and what is left of them at lower rates; nil where training goes without discriminators.
  public let msd: HiFiGANMultiScaleDiscriminator?

  /// Networks with random weights.
  ///
  /// - Parameters:
  ///   - divisor: what the authors' numbers of channels of the discriminators are divided by (1, 2, 4 or 8); nil for no
  ///     discriminators.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the configuration or the divisor is not legal.
  public init(_ configuration: HiFiGANConfiguration, divisor: Int? = 1, seed: UInt64 = 0) throws {
    generator = try HiFiGANGenerator(configuration, generator: Generator(seed: seed))
    let random = Generator(seed: seed &+ 1)
    mpd = try divisor.map { try HiFiGANMultiPeriodDiscriminator(divisor: $0, generator: random) }
    msd = try divisor.map { try HiFiGANMultiScaleDiscriminator(divisor: $0, generator: random) }
  }
}

/// How the losses of a vocoder are weighted.
public struct VocoderLossWeights: Sendable, Hashable {
  /// The weight of the difference of mel spectrograms (45 in HiFi-GAN).
  public var mel: Double
  /// The weight of ``multiResolutionSTFT(_:_:resolutions:)``; 0 for none, as in HiFi-GAN.
  public var stft: Double

  /// Weights; the standard ones are HiFi-GAN's.
  public init(mel: Double = 45, stft: Double = 0) { (self.mel, self.stft) = (mel, stft) }
}

/// What a step of training a vocoder does: the discriminators are updated, if there are, then the generator.
public struct VocoderStep: Sendable {
  private let input: MelSpectrogram
  private let target: MelSpectrogram
  private let weights: VocoderLossWeights
  private let maxGradientNorm: Double?

  /// A step for generators of a configuration.
  ///
  /// - Parameter maxGradientNorm: gradients of the generator of a larger norm are made shorter; nil for none.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the configuration has no spectrogram.
  public init(
    _ configuration: HiFiGANConfiguration, weights: VocoderLossWeights = VocoderLossWeights(),
    maxGradientNorm: Double? = nil
  ) throws {
    input = try MelSpectrogram(configuration.melConfiguration)
    // As the authors do: what the generator does not see is judged all the same.
    var whole = configuration.melConfiguration
    whole.maximumFrequency = nil
    target = try MelSpectrogram(whole)
    (self.weights, self.maxGradientNorm) = (weights, maxGradientNorm)
  }

  /// The phases of the step; a batch is signals `[N, L]`, L being a multiple of the hop.
  public func phases(for networks: VocoderNetworks) -> [TrainingPhase<VocoderNetworks>] {
    let judging = TrainingPhase<VocoderNetworks>(
      training: { [$0.mpd, $0.msd].compactMap { $0 } }, metrics: ["discriminators"]
    ) { networks, batch in
      let loss = try discriminatorsLoss(networks, real: batch[0])
      return (loss, [loss])
    }
    let making = TrainingPhase<VocoderNetworks>(
      training: { [$0.generator] }, metrics: ["mel", "stft", "adversarial", "features"],
      maxGradientNorm: maxGradientNorm
    ) { networks, batch in
      // Computed once where both phases are one graph: equal operations are.
      try generatorLoss(networks, networks.generator(input.frames(of: batch[0])), real: batch[0])
    }
    return networks.mpd == nil ? [making] : [judging, making]
  }

  private func discriminatorsLoss(_ networks: VocoderNetworks, real: Tensor) throws -> Tensor {
    guard let mpd = networks.mpd, let msd = networks.msd else { return try Tensor.zeros([]) }
    let fake = try networks.generator(input.frames(of: real)).stopGradient()
    let signals = try real.unsqueezed(1)
    return try discriminatorLoss(real: mpd(signals), fake: mpd(fake))
      + discriminatorLoss(real: msd(signals), fake: msd(fake))
  }

  /// The generator's loss for the signals `[N, 1, L]` that it made, and its parts.
  private func generatorLoss(
    _ networks: VocoderNetworks, _ fake: Tensor, real: Tensor
  ) throws -> (value: Tensor, outputs: [Tensor]) {
    let made = try fake.squeezed(1)
    let mel = try melL1(made, real, spectrogram: target)
    let zero = try Tensor.zeros([], dtype: mel.dtype)
    let stft = weights.stft == 0 ? zero : try multiResolutionSTFT(made, real)
    var (adversarial, features) = (zero, zero)
    if let mpd = networks.mpd, let msd = networks.msd {
      let signals = try real.unsqueezed(1)
      for (seen, generated) in [(try mpd(signals), try mpd(fake)), (try msd(signals), try msd(fake))] {
        adversarial = try adversarial + adversarialLoss(fake: generated)
        features = try features + featureMatchingLoss(real: seen, fake: generated)
      }
    }
    let loss = try mel * weights.mel + stft * weights.stft + adversarial + features
    return (loss, [mel, stft, adversarial, features])
  }
}
