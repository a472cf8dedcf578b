import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzTraining

/// A run of `toeplitz train denoiser`.
struct DenoiserRun {
  let trainer: Trainer<Denoiser>
  private let held: HeldOut

  /// Held-out speech, clean and with noise that is the same for all runs.
  private struct HeldOut {
    let clean: Tensor
    let noisy: Tensor
    private static let seconds = 2
    private static let most = 32

    init(_ folder: String) throws {
      let length = Self.seconds * Denoiser.sampleRate
      let speech = try SoundFolder(folder, sampleRate: Denoiser.sampleRate, segment: length)
      var random = RandomSource(seed: 20)
      clean = try speech.batch(Array(0..<min(Self.most, speech.count)), random: &random)[0]
      noisy = try NoisySpeech.noisy(clean, random: &random)
    }
  }

  init(_ options: TrainDenoiserCommand, _ processes: any Communicator) throws {
    let held = try HeldOut(options.validation)
    let data = NoisySpeech(
      speech: try SoundFolder(options.data, sampleRate: Denoiser.sampleRate, segment: Denoiser.sampleRate))
    let model = try Denoiser(seed: options.seed)
    let steps = options.epochs * max(1, data.count / options.batchSize)
    var settings = TrainerOptions(
      epochs: options.epochs, batchSize: options.batchSize, seed: options.seed,
      schedule: .oneCycle(maxLR: options.lr, steps: max(2, steps)), maxGradientNorm: 5, patience: options.patience)
    settings.shards = options.sharing.shardCount
    let resolutions = [
      STFTResolution(fftSize: 512, hopSize: 128, windowSize: 512),
      STFTResolution(fftSize: 1024, hopSize: 256, windowSize: 1024),
    ]
    trainer = try Trainer(
      model, Optimizer(AdamW(lr: options.lr)), data: data, folder: options.out, options: settings,
      communicator: processes, score: "si_sdr",
      validate: { ["si_sdr": try Self.ratio(try $0.compiled()(held.noisy), held.clean)] }
    ) { model, batch in
      let y = try model(batch[1])
      return try multiResolutionSTFT(y, batch[0], resolutions: resolutions) + l1(y, batch[0]) * 20
    }
    self.held = held
  }

  /// How far speech stands out from what is not speech, in dB, before and after (Le Roux et al., *SDR: half-baked or well done?*,
  /// 2019).
  func measured() throws -> (noisy: Double, denoised: Double) {
    (try Self.ratio(held.noisy, held.clean), try Self.ratio(denoised(), held.clean))
  }

  private func denoised() throws -> Tensor { try trainer.model.eval().compiled()(held.noisy) }

  /// The mean scale-invariant signal-to-distortion ratio of signals `[N, L]`.
  static func ratio(_ signals: Tensor, _ clean: Tensor) throws -> Double {
    let (x, s) = (try signals.cast(to: .float64), try clean.cast(to: .float64))
    let scale = try (x * s).sum([1], keepsAxes: true) / ((s * s).sum([1], keepsAxes: true) + 1e-9)
    let target = try s * scale
    let rest = try x - target
    let ratios = try ((target * target).sum([1]) + 1e-9) / ((rest * rest).sum([1]) + 1e-9)
    // 10 / ln 10.
    return try (ratios.log() * 4.342944819032518).mean().item(Double.self)
  }

  /// The logarithms of the magnitudes of one signal `[1, L]`: `[frames, bins]`.
  private static func levels(_ signal: Tensor) throws -> Tensor {
    let spectrum = try signal.stft(
      fftSize: Denoiser.fftSize, hopSize: Denoiser.hopSize, window: Tensor.hann(Denoiser.fftSize))
    return try (spectrum * spectrum).sum([3]).clip(from: 1e-8).log().squeezed(0)
  }

  /// Writes the first held-out recording as it is, with noise, and without it again, and the spectrograms of the three below one
  /// another.
  func writeExample(to folder: String) throws {
    let cleaned = try denoised()
    try Picture(spectrograms: [held.clean, held.noisy, cleaned].map { try Self.levels($0.slice(axis: 0, 0..<1)) })
      .save(to: RunFolder(folder).file("spectrograms.png"))
    for (name, tensor) in [("clean", held.clean), ("noisy", held.noisy), ("denoised", cleaned)] {
      let path = URL(fileURLWithPath: folder).appending(path: "\(name).wav").path
      let writer = try WAVWriter(path: path, sampleRate: Denoiser.sampleRate, encoding: .int16)
      try writer.append(tensor.select(axis: 0, 0).scalars(Float.self))
      try writer.finish()
    }
  }
}
