import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct VocoderTrainingTests {
  private func withSpeech(_ body: (URL) throws -> Void) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let inner = folder.appending(path: "sound/inner")
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    // One is shorter than a segment, one has another rate.
    for (index, (count, rate)) in [(900, 16_000), (5000, 16_000), (6000, 8000), (3000, 16_000)].enumerated() {
      let place = index == 3 ? inner : folder.appending(path: "sound")
      let writer = try WAVWriter(path: place.appending(path: "\(index).wav").path, sampleRate: rate, encoding: .int16)
      try writer.append((0..<count).map { Float(0.5 * Foundation.sin(Double($0 * (index + 2)) * 0.02)) })
      try writer.finish()
    }
    try body(folder)
  }

  private func configuration(_ folder: URL) throws -> HiFiGANConfiguration {
    let path = folder.appending(path: "config.json")
    try Data(
      """
      {"resblock": "2", "upsample_rates": [8, 4], "upsample_kernel_sizes": [16, 8], "upsample_initial_channel": 16,
       "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 2]], "num_mels": 10, "n_fft": 128, "hop_size": 32,
       "win_size": 128, "sampling_rate": 16000, "fmin": 0, "fmax": 4000}
      """.utf8
    ).write(to: path, options: .atomic)  // Threads that play processes write it at the same time.
    return try HiFiGANConfiguration(contentsOf: path.path)
  }

  @Test func segmentsComeFromAllRecordings() throws {
    try withSpeech { folder in
      let path = folder.appending(path: "sound").path
      let data = try SoundFolder(path, sampleRate: 16_000, segment: 1024)
      #expect(data.count == 4 && data.paths.last?.hasSuffix("inner/3.wav") == true)
      #expect(abs(data.duration - (900.0 + 5000 + 12000 + 3000) / 16_000) < 0.01)
      var random = RandomSource(seed: 1)
      let batch = try data.batch([0, 1, 2, 3], random: &random)[0]
      #expect(batch.shape == [4, 1024])
      #expect(try batch.slice(axis: 0, 0..<1).slice(axis: 1, 900..<1024).scalars(Float.self).allSatisfy { $0 == 0 })
      var again = RandomSource(seed: 1)
      #expect(try data.batch([0, 1, 2, 3], random: &again)[0].sameBits(as: batch))
      let begun = try data.beginning(1, most: 10)
      #expect(try begun == AudioFile(path: data.paths[1]).readMono(frames: 0..<10))
      #expect(throws: ToeplitzError.self) { try SoundFolder(path + "/none", sampleRate: 16_000, segment: 9) }
      #expect(throws: ToeplitzError.self) { try SoundFolder(path, sampleRate: 16_000, segment: 0) }
      let empty = folder.appending(path: "empty")
      try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: true)
      #expect(throws: ToeplitzError.self) { try SoundFolder(empty.path, sampleRate: 16_000, segment: 9) }
    }
  }

  private func trainer(
    _ folder: URL, _ run: String, divisor: Int? = 8, prefetches: Bool = true, shards: Int = 1, epochs: Int = 3,
    _ communicator: some Communicator = SingleProcess()
  ) throws -> Trainer<VocoderNetworks> {
    let configuration = try configuration(folder)
    let networks = try VocoderNetworks(configuration, divisor: divisor, seed: 1)
    let step = try VocoderStep(configuration, weights: VocoderLossWeights(mel: 45, stft: 0))
    var options = TrainerOptions(epochs: epochs, batchSize: 2, seed: 2, averageDecay: 0.9, checkpointEvery: 1)
    options.prefetches = prefetches
    options.shards = shards
    return try Trainer(
      networks, Optimizer(AdamW(lr: 1e-3, betas: (0.8, 0.99))),
      data: SoundFolder(folder.appending(path: "sound").path, sampleRate: 16_000, segment: 512),
      folder: folder.appending(path: run).path, options: options, communicator: communicator,
      phases: step.phases(for: networks), score: "none")
  }

  @Test func stepsUpdateAllNetworksAndGoOnToTheBit() throws {
    try withSpeech { folder in
      let whole = try trainer(folder, "whole")
      let before = whole.model.stateDictionary()
      var metrics: [[String: Double]] = []
      #expect(try whole.run { metrics.append($0.metrics) } == .finished)
      #expect(whole.step == 6 && whole.epoch == 3)
      let after = whole.model.stateDictionary()
      // The singular vector of a single row is 1 always.
      for (name, value) in before where value.count > 1 || !name.hasSuffix("_u") {
        #expect(try !value.sameBits(as: #require(after[name])), "\(name) has not changed")
      }
      #expect(
        after["msd.discriminators.0.convs.0.weight_u"] != nil && after["mpd.discriminators.4.conv_post.weight_g"] != nil
      )
      for metric in metrics {
        #expect(Set(metric.keys) == ["mel", "stft", "adversarial", "features", "discriminators"])
        for name in ["mel", "adversarial", "features", "discriminators"] { #expect(metric[name] ?? 0 > 0, "\(name)") }
      }
      // Stopped after each step, without batches made ahead.
      var outcome = TrainingOutcome.interrupted
      var rounds = 0
      while outcome == .interrupted, rounds < 10 {
        outcome = try trainer(folder, "parts", prefetches: false).run(shouldStop: { true })
        rounds += 1
      }
      let resumed = try trainer(folder, "parts")
      try resumed.run()
      for (name, value) in resumed.model.stateDictionary() {
        #expect(try value.sameBits(as: #require(after[name])), "\(name)")
      }
    }
  }

  /// Both phases of a step on two processes, whose discriminators have singular vectors for buffers.
  @Test func processesShareAdversarialSteps() throws {
    try withSpeech { folder in
      @Sendable func state(_ communicator: some Communicator) throws -> [String: Tensor] {
        let trainer = try trainer(folder, "shared", shards: 2, epochs: 1, communicator)
        try trainer.run()
        return trainer.model.stateDictionary()
      }
      let wanted = try state(SingleProcess())
      try FileManager.default.removeItem(at: folder.appending(path: "shared"))
      let results = ThreadCommunicator.run(2) { try state($0) }
      for case .failure(let error) in results where !(error is ThreadCommunicator.Left) { throw error }
      for result in results {
        for (name, value) in try result.get() {
          #expect(try value.sameBits(as: #require(wanted[name])), "\(name)")
        }
      }
    }
  }

  @Test func trainingWithoutDiscriminatorsLowersTheMelDistance() throws {
    try withSpeech { folder in
      let configuration = try configuration(folder)
      let networks = try VocoderNetworks(configuration, divisor: nil, seed: 1)
      let step = try VocoderStep(configuration, weights: VocoderLossWeights(mel: 45, stft: 1), maxGradientNorm: 100)
      let phases = step.phases(for: networks)
      let optimizer = try Optimizer(AdamW(lr: 2e-3, betas: (0.8, 0.99)))
      let compiled = CompiledStep(networks, optimizer) { try TrainingPhase.step(phases, $0, $1, $2) }
      let signal = try randomTensor([2, 2400], dtype: .float32) * 0.1
      let results = try (0..<25).map { _ in
        try compiled.run([signal]).map { try $0.cast(to: .float32).item(Float.self) }
      }
      #expect(results[24][2] < 0.7 * results[0][2], "\(results[0]) \(results[24])")
      #expect(results.allSatisfy { $0.count == 6 && $0[4] == 0 && $0[5] == 0 })
    }
  }

  /// The generator is recorded twice, for the discriminators and for its own gradient, and computed once.
  @Test func equalPartsAreComputedOnce() throws {
    try withSpeech { folder in
      let configuration = try configuration(folder)
      let networks = try VocoderNetworks(configuration, divisor: 8, seed: 1)
      let phases = try VocoderStep(configuration).phases(for: networks)
      let compiled = CompiledStep(networks, try Optimizer(SGD(lr: 1e-9))) { try TrainingPhase.step(phases, $0, $1, $2) }
      var hyperbolic = 0
      compiled.observe = { node, _ in
        guard let node else { return }
        if "\(node.operation)".lowercased().contains("tanh") || node.operation.name == "tanh" { hyperbolic += 1 }
      }
      _ = try compiled.run([randomTensor([1, 512], dtype: .float32)])
      #expect(hyperbolic == 1)
    }
  }
}
