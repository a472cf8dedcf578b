import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzTraining

/// A run of `toeplitz train vocoder`.
struct VocoderRun: CustomStringConvertible {
  let trainer: Trainer<VocoderNetworks>
  private let configurationFile: String
  private let folder: String
  private let recordings: SoundFolder
  private let held: HeldOutSpeech?

  init(_ options: TrainVocoderCommand, _ processes: any Communicator) throws {
    let beginning = try options.from.map(Vocoder.locate)
    configurationFile = try options.config ?? beginning?.configuration ?? Bundled.path("config.json")
    let configuration = try HiFiGANConfiguration(contentsOf: configurationFile)
    guard options.segment % configuration.hopSize == 0 else {
      throw ToeplitzError(
        .argument, "--segment", expected: "a multiple of the hop \(configuration.hopSize)", got: "\(options.segment)")
    }
    let networks = try VocoderNetworks(
      configuration, divisor: options.adversarial ? options.divisor : nil, seed: options.seed)
    if let beginning { try networks.generator.load(Checkpoint(contentsOf: beginning.weights)) }
    if let path = options.discriminators {
      let stored = try Checkpoint(contentsOf: path)
      try networks.mpd?.load(stored.inside("mpd").tensors)
      try networks.msd?.load(stored.inside("msd").tensors)
    }
    let data = try SoundFolder(options.data, sampleRate: configuration.samplingRate, segment: options.segment)
    let held = try options.validation.map { try HeldOutSpeech($0, configuration) }
    let weights = VocoderLossWeights(mel: options.melWeight, stft: options.stftWeight)
    let step = try VocoderStep(configuration, weights: weights, maxGradientNorm: options.clip)
    // One rule for all: the authors' two optimisers have the same options.
    let optimizer = try Optimizer(AdamW(lr: options.lr, betas: (0.8, 0.99)))
    let stepsPerEpoch = max(1, data.count / options.batchSize)
    let decay = Schedule.step(size: stepsPerEpoch, gamma: options.lrDecay)
    var settings = TrainerOptions(
      epochs: options.epochs, batchSize: options.batchSize, seed: options.seed,
      schedule: options.warmUp > 0
        ? .warmUp(steps: options.warmUp, startFactor: 1 / Double(options.warmUp), then: decay) : decay,
      averageDecay: options.average > 0 ? options.average : nil, checkpointEvery: options.checkpointEvery,
      patience: options.patience)
    settings.shards = options.sharing.shardCount
    settings.settings = [
      "segment": "\(options.segment)", "discriminators": options.adversarial ? "1/\(options.divisor)" : "none",
      "loss weights": "\(weights)", "learning rate": "\(options.lr)", "clip": "\(options.clip ?? 0)",
    ]
    trainer = try Trainer(
      networks, optimizer, data: data, folder: options.out, options: settings, communicator: processes,
      phases: step.phases(for: networks),
      score: "held_out_mel", direction: .smaller,
      validate: held.map { held in { ["held_out_mel": try held.distance($0.generator)] } })
    folder = options.out
    self.held = held
    recordings = data
  }

  /// What is trained with.
  var description: String {
    String(format: "%d recordings, %.1f minutes", recordings.count, recordings.duration / 60)
  }

  /// Writes what the run has made.
  ///
  /// That is spectrograms of a held-out recording and of what the generator makes of it, config.json and generator.safetensors
  /// (the averages, if there are), and the authors' files of what training goes on with.
  func writeModels() throws {
    let folder = try RunFolder(folder)
    let networks = trainer.model
    try trainer.withAverages { try folder.writeWeights(of: networks.generator, as: "generator.safetensors") }
    if let example = try held.map({ held in try trainer.withAverages { try held.example(networks.generator.eval()) } }),
      !example.isEmpty
    {
      try Picture(spectrograms: example).save(to: folder.file("spectrograms.png"))
    }
    let file = try MappedFile(path: configurationFile)
    try AtomicFile.write(to: folder.file("config.json")) { try $0.write(file.bytes) }
    let steps = trainer.step
    let number = String(repeating: "0", count: max(0, 8 - "\(steps)".count)) + "\(steps)"
    try PyTorch.write(
      .dictionary([(.text("generator"), .tensors(networks.generator.stateDictionary()))]),
      to: folder.file("g_\(number)"))
    guard let mpd = networks.mpd, let msd = networks.msd else { return }
    try PyTorch.write(
      .dictionary([
        (.text("mpd"), .tensors(mpd.stateDictionary())), (.text("msd"), .tensors(msd.stateDictionary())),
        (.text("steps"), .int(steps)), (.text("epoch"), .int(trainer.epoch)),
      ]), to: folder.file("do_\(number)"))
  }
}

/// Recordings that are held out, of which the first seconds are made anew.
private struct HeldOutSpeech {
  private let signals: [Tensor]
  private let spectrogram: MelSpectrogram

  /// As many recordings as fit into a short pause of training.
  private static let most = 16
  private static let frames = 128

  init(_ folder: String, _ configuration: HiFiGANConfiguration) throws {
    spectrogram = try MelSpectrogram(configuration.melConfiguration)
    let length = Self.frames * configuration.hopSize
    let data = try SoundFolder(folder, sampleRate: configuration.samplingRate, segment: length)
    let chosen = stride(from: 0, to: data.count, by: max(1, data.count / Self.most)).prefix(Self.most)
    signals = try chosen.map { index in
      let samples = try data.beginning(index, most: length)
      return try Tensor(
        samples + [Float](repeating: 0, count: length - samples.count), shape: [1, length], device: .cpu)
    }
  }

  /// The log-mel spectrograms of the first signal and of what a generator makes of it: `[frames, bands]`.
  func example(_ generator: HiFiGANGenerator) throws -> [Tensor] {
    guard let signal = signals.first else { return [] }
    let mel = try spectrogram.frames(of: signal)
    let made = try spectrogram.frames(of: generator.compiled()(mel).squeezed(1))
    return try [mel, made].map { try $0.squeezed(0).transposed(0, 1) }
  }

  /// The mean L1 distance of log-mel spectrograms of the signals and of what a generator makes of theirs.
  func distance(_ generator: HiFiGANGenerator) throws -> Double {
    let compiled = generator.compiled()
    let distances = try signals.map { signal in
      let mel = try spectrogram.frames(of: signal)
      return try melL1(compiled(mel).squeezed(1), signal, spectrogram: spectrogram).item(Float.self)
    }
    return Double(distances.reduce(0, +)) / Double(max(1, distances.count))
  }
}
