import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzModels
@testable import ToeplitzCPU
@testable import ToeplitzOps

/// The bundled checkpoint against values that PyTorch computed in double precision.
@Suite struct VocoderTests {
  private func vocoder() throws -> Vocoder {
    try Vocoder(configuration: Fixtures.bundled("config.json"), weights: Fixtures.bundled("generator.safetensors"))
  }

  /// What the published training script saves: `{'generator': …}` in a file without a suffix, beside `do_…`.
  @Test func foldersMayHoldCheckpointsOfPyTorch() throws {
    let source = Fixtures.path("cases/hifigan_generator_key")
    let weights = try Checkpoint(contentsOf: source + "/g_00000001.pt")
    let recording = try AudioFile(path: source + "/in.wav")
    for names in [["g_00000001.pt"], ["g_00000001", "g_00000002", "do_00000002"], ["generator.pth", "other.bin"]] {
      let folder = try Fixtures.temporaryFolder()
      defer { try? FileManager.default.removeItem(at: folder) }
      try FileManager.default.copyItem(atPath: source + "/config.json", toPath: folder.path + "/config.json")
      for name in names {
        try FileManager.default.copyItem(atPath: source + "/g_00000001.pt", toPath: folder.path + "/" + name)
      }
      let vocoder = try Vocoder(contentsOf: folder.path)
      #expect(vocoder.loadReport.place == "generator")
      #expect(
        try vocoder.generator.convPre.stateDictionary()["bias"]?.sameBits(as: weights.tensor("generator.conv_pre.bias"))
          == true)
      let output = folder.path + "/out.wav"
      let count = try vocoder.resynthesize(recording, to: WAVWriter(path: output, sampleRate: vocoder.sampleRate))
      #expect(count == 11008)
    }
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(atPath: source + "/config.json", toPath: folder.path + "/config.json")
    let none = #expect(throws: ToeplitzError.self) { try Vocoder(contentsOf: folder.path) }
    #expect(none?.got == "none")
    for name in ["a.pt", "b.pt"] {
      try FileManager.default.copyItem(atPath: source + "/g_00000001.pt", toPath: folder.path + "/" + name)
    }
    let several = #expect(throws: ToeplitzError.self) { try Vocoder(contentsOf: folder.path) }
    #expect(several?.got == "a.pt, b.pt")
  }

  @Test func melOfTheRecordingIsTheGoldenMel() throws {
    let golden = try NumPy.read(contentsOf: Fixtures.path("vocoder/mel.npy"))
    let samples = try AudioFile(path: Fixtures.bundled("speech.wav")).readMono()
    let distance = try vocoder().mel(samples).distance(to: golden)
    print("mel: \(distance)")
    #expect(distance.absolute < 1e-4)
  }

  @Test(arguments: InstructionSet.available)
  func generatorGivesTheGoldenOutput(isa: InstructionSet) throws {
    let mel = try NumPy.read(contentsOf: Fixtures.path("vocoder/mel.npy"))
    let golden = try NumPy.read(contentsOf: Fixtures.path("vocoder/vocoded.npy"))
    let model = try vocoder()
    let (output, compiled) = try InstructionSet.$override.withValue(isa) {
      (try model.generator(mel), try model.generator.compiled()(mel))
    }
    #expect(try compiled.sameBits(as: output))
    let distance = try output.distance(to: golden)
    print("generator on \(isa): \(distance)")
    #expect(distance.absolute < 1e-4)
    #expect(distance.sameSpecials)
  }

  @Test func everyStageGivesTheGoldenIntermediate() throws {
    let golden = try Safetensors.read(contentsOf: Fixtures.path("vocoder/intermediate.safetensors"))
    let model = try vocoder().generator
    var x = try model.convPre(golden.tensor("mel"))
    #expect(try x.distance(to: golden.tensor("conv_pre")).absolute < 1e-4)
    for stage in 0..<3 {
      x = try model.ups[stage](x.leakyReLU(negativeSlope: 0.1))
      #expect(try x.distance(to: golden.tensor("ups.\(stage)")).absolute < 1e-4)
      let blocks = try (0..<3).map { try model.resblocks[stage * 3 + $0](x) }
      x = try (blocks[0] + blocks[1] + blocks[2]) * (1.0 / 3)
      #expect(try x.distance(to: golden.tensor("stage.\(stage)")).absolute < 1e-4)
    }
    #expect(try model(golden.tensor("mel")).distance(to: golden.tensor("output")).absolute < 1e-4)
  }

  @Test(arguments: [1, 7, 64, 100_000])
  func windowsDoNotChangeABit(windowFrames: Int) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    // A short piece, at another rate and with two channels, so that every part of the chain is cut into windows.
    let speech = try AudioFile(path: Fixtures.bundled("speech.wav")).readMono(frames: 20_000..<36_000)
    let recording = folder.appending(path: "in.wav").path
    let input = try WAVWriter(path: recording, sampleRate: 32_000, channelCount: 2, encoding: .float32)
    try input.append(planar: [speech, speech.map { -0.5 * $0 }])
    try input.finish()
    func run(_ frames: Int) throws -> [Float] {
      let model = try vocoder()
      model.windowFrames = frames
      let path = folder.appending(path: "\(frames).wav").path
      let output = try WAVWriter(path: path, sampleRate: model.sampleRate, encoding: .float32)
      let count = try model.resynthesize(AudioFile(path: recording), to: output)
      let samples = try AudioFile(path: path).readMono()
      #expect(samples.count == count)
      return samples
    }
    let whole = try run(512)
    #expect(whole.count == 43 * 256)
    #expect(try run(windowFrames) == whole)
  }

  @Test(arguments: [0, -1, Int.min])
  func aWindowWithoutFramesIsRefused(windowFrames: Int) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let model = try vocoder()
    model.windowFrames = windowFrames
    let path = folder.appending(path: "out.wav").path
    let error = #expect(throws: ToeplitzError.self) {
      try model.resynthesize(
        AudioFile(path: Fixtures.bundled("speech.wav")), to: WAVWriter(path: path, sampleRate: model.sampleRate))
    }
    #expect(error?.kind == .argument && error?.description.contains("windowFrames") == true)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func contextIsExactlyWhatSamplesDependOn() throws {
    // Changing one frame changes samples as far as the context reaches, and no further.
    let model = try vocoder().generator
    let context = model.contextFrames
    let frames = 2 * context + 9
    let mel = try Generator(seed: 3).normal([1, 80, frames])
    var changed = mel
    let middle = context + 4
    try changed.withMutableElements(Float.self) { elements in
      for band in 0..<80 { elements[band * frames + middle] += 3 }
    }
    let difference = try (model(mel) - model(changed)).abs().scalars(Float.self)
    let touched = difference.indices.filter { difference[$0] > 0 }
    let first = try #require(touched.first)
    let last = try #require(touched.last)
    #expect(first / 256 >= middle - context && last / 256 <= middle + context)
    // The bound is not idle: three frames less would be wrong.
    #expect(first / 256 < middle - context + 3)
  }

  /// Kernels of twice an odd rate, and plain weights with filters of zeros, as PyTorch computes them.
  @Test(arguments: ["odd-5-5", "odd-3", "odd-7-mixed", "dead-first", "dead-transposed", "dead-block"])
  func variantsGiveTheGoldenOutput(name: String) throws {
    let golden = try Checkpoint(contentsOf: Fixtures.path("vocoder/variants.safetensors")).inside(name)
    let configuration = try HiFiGANConfiguration(contentsOf: Fixtures.path("vocoder/\(name).json"))
    let (mel, output) = (try golden.tensor("mel"), try golden.tensor("output"))
    let model = try HiFiGANGenerator(configuration).eval()
    try model.load(golden.tensors.filter { $0.key != "mel" && $0.key != "output" })
    #expect(output.shape == [1, 1, 9 * configuration.hopSize])
    #expect(try model(mel).distance(to: output).absolute < 1e-5)
    #expect(try model.compiled()(mel).sameBits(as: model(mel)))
    #expect(try model.outputLength(for: 9) == output.shape[2])
    // Length and direction of each filter are such that PyTorch, too, gets the weights out of them again.
    let other = try HiFiGANGenerator(configuration).eval()
    try other.load(model.stateDictionary())
    #expect(try other(mel).distance(to: output).absolute < 1e-5)
    #expect(model.stateDictionary().keys.contains("conv_pre.weight_g"))
    // Kernels of other odd lengths would give other lengths than hops.
    if name == "odd-3" {
      let folder = try Fixtures.temporaryFolder()
      defer { try? FileManager.default.removeItem(at: folder) }
      let path = folder.appending(path: "config.json")
      let text = try String(contentsOfFile: Fixtures.path("vocoder/odd-3.json"), encoding: .utf8)
      try Data(text.replacing("[6, 4]", with: "[8, 4]").utf8).write(to: path)
      let error = #expect(throws: ToeplitzError.self) { try HiFiGANConfiguration(contentsOf: path.path) }
      #expect(error?.description.contains("or are twice it") == true)
    }
  }

  @Test func randomConfigurationsBuildAndRun() throws {
    for (resblock, rates, kernels) in [("1", [4, 2], [8, 4]), ("2", [3, 5], [7, 9])] {
      let hop = rates.reduce(1, *)
      let text = """
        {"resblock": "\(resblock)", "upsample_rates": \(rates), "upsample_kernel_sizes": \(kernels),
         "upsample_initial_channel": 32, "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
         "num_mels": 20, "n_fft": 128, "hop_size": \(hop), "win_size": 64, "sampling_rate": 8000, "fmin": 0,
         "fmax": null, "unknown_entry": {"x": 1}}
        """
      let folder = try Fixtures.temporaryFolder()
      defer { try? FileManager.default.removeItem(at: folder) }
      let path = folder.appending(path: "config.json")
      try Data(text.utf8).write(to: path)
      let model = try HiFiGANGenerator(HiFiGANConfiguration(contentsOf: path.path), generator: Generator(seed: 1))
      let y = try model(Generator(seed: 2).normal([2, 20, 11]))
      #expect(y.shape == [2, 1, 11 * hop])
      #expect(try model.outputLength(for: 11) == 11 * hop)
      #expect(model.inputLengths(for: 11 * hop) == 11..<12)
      for length in [Int.min, -hop, 0, 11 * hop + 1, Int.max] { #expect(model.inputLengths(for: length).isEmpty) }
      #expect(model.stateDictionary()["resblocks.0.\(resblock == "1" ? "convs1" : "convs").1.weight_g"] != nil)
    }
  }

  @Test(arguments: [
    ("{", "JSON"), ("[]", "another type"), ("{\"resblock\": \"2\"}", "no entry"),
    ("RATES", "upsample_rates"), ("HUGE", "upsample_initial_channel"), ("HOP", "hop_size"), ("KIND", "resblock"),
  ])
  func badConfigurationsAreRefused(text: String, mention: String) throws {
    var json = try String(contentsOfFile: Fixtures.bundled("config.json"), encoding: .utf8)
    switch text {
    case "RATES": json = json.replacing("\"upsample_kernel_sizes\": [", with: "\"upsample_kernel_sizes\": [3,")
    case "HUGE": json = json.replacing("256,\n \"resblock_kernel", with: "4611686018427387904,\n \"resblock_kernel")
    case "HOP": json = json.replacing("\"hop_size\": 256", with: "\"hop_size\": 255")
    case "KIND": json = json.replacing("\"resblock\": \"2\"", with: "\"resblock\": \"3\"")
    default: json = text
    }
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "config.json")
    try Data(json.utf8).write(to: path)
    let error = #expect(throws: ToeplitzError.self) { try HiFiGANConfiguration(contentsOf: path.path) }
    #expect(error?.description.contains(mention) == true, "\(error?.description ?? "no error")")
  }
}
