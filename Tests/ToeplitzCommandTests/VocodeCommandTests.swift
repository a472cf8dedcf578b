import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzModels
import ToeplitzNN
import ToeplitzTensor
import ToeplitzTestSupport

/// The tool as its users run it: a process, its output and its exit status.
@Suite struct VocodeCommandTests {
  /// A folder with a copy of the bundled model whose weights `change` has changed.
  private func model(in folder: URL, _ change: (inout [String: Tensor]) throws -> Void) throws -> String {
    let place = folder.appending(path: "model")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: Fixtures.bundled("config.json"), toPath: place.appending(path: "config.json").path)
    var tensors = try Safetensors.read(contentsOf: Fixtures.bundled("generator.safetensors")).tensors
    try change(&tensors)
    try Safetensors.write(tensors, to: place.appending(path: "generator.safetensors").path)
    return place.path
  }

  private func expectRefusal(_ arguments: [String], in folder: URL, mentioning words: String...) throws {
    let result = try runTool(["vocode"] + arguments + ["-o", "out.wav"], in: folder)
    #expect(result.status == 1, "\(result.errors)")
    #expect(result.errors.hasPrefix("error: "), "\(result.errors)")
    #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    for word in words { #expect(result.errors.contains(word), "\(word) is not in: \(result.errors)") }
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
      $0.contains("out") || $0.hasSuffix(".tmp")
    }
    #expect(left.isEmpty, "\(left)")
  }

  @Test func bundledSentenceIsResynthesised() throws {
    try withFolder { folder in
      let result = try runTool(["vocode", "--float"], in: folder)
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.contains("5.71 s of audio") && result.output.contains("times real time"))
      let samples = try AudioFile(path: folder.appending(path: "vocoded.wav").path).readMono()
      let golden = try NumPy.read(contentsOf: Fixtures.path("vocoder/vocoded.npy")).scalars(Float.self)
      let distance = Distance(samples.map(Double.init), golden.map(Double.init))
      #expect(distance.absolute < 1e-4)
    }
  }

  @Test func weightsAndConfigurationMayBeNamed() throws {
    try withFolder { folder in
      for name in ["generator.safetensors", "config.json"] {
        let result = try runTool(
          ["vocode", Fixtures.bundled("speech.wav"), "--model", Fixtures.bundled(name), "-o", "out.wav"], in: folder)
        #expect(result.status == 0, "\(result.errors)")
        let file = try AudioFile(path: folder.appending(path: "out.wav").path)
        #expect(file.encoding == .pcm && file.bitsPerSample == 16)
      }
    }
  }

  @Test func aModelSavedWithPlainWeightsGivesTheSameBytes() throws {
    try withFolder { folder in
      let folded = try model(in: folder) { tensors in
        let model = try Vocoder(contentsOf: Fixtures.bundled("config.json")).generator
        tensors = try model.foldedState()
      }
      let first = try runTool(["vocode", "-o", "a.wav"], in: folder)
      let second = try runTool(["vocode", "-m", folded, "-o", "b.wav"], in: folder)
      #expect(first.status == 0 && second.status == 0, "\(first.errors) \(second.errors)")
      let bytes = try ["a.wav", "b.wav"].map { try Data(contentsOf: folder.appending(path: $0)) }
      #expect(bytes[0] == bytes[1])
    }
  }

  @Test func badRecordingsAreRefused() throws {
    try withFolder { folder in
      try expectRefusal(["missing.wav"], in: folder, mentioning: "missing.wav", "No such file")
      try Data("just some words in a file\n".utf8).write(to: folder.appending(path: "text.wav"))
      try expectRefusal(["text.wav"], in: folder, mentioning: "text.wav", "WAV or FLAC")
      let speech = try Data(contentsOf: URL(fileURLWithPath: Fixtures.bundled("speech.wav")))
      try speech.prefix(20).write(to: folder.appending(path: "stump.wav"))
      try expectRefusal(["stump.wav"], in: folder, mentioning: "stump.wav")
      try WAVWriter.write([0.1, 0.2], to: folder.appending(path: "short.wav").path, sampleRate: 22_050)
      try expectRefusal(["short.wav"], in: folder)
      try expectRefusal([folder.path], in: folder)
    }
  }

  @Test func badCheckpointsAreRefused() throws {
    try withFolder { folder in
      let speech = Fixtures.bundled("speech.wav")
      func refuse(_ words: [String], _ change: (inout [String: Tensor]) throws -> Void) throws {
        let place = try model(in: folder, change)
        let result = try runTool(["vocode", speech, "-m", place, "-o", "out.wav"], in: folder)
        #expect(result.status == 1 && result.errors.hasPrefix("error: "), "\(result.errors)")
        for word in words { #expect(result.errors.contains(word), "\(word) is not in: \(result.errors)") }
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out.wav").path))
        try FileManager.default.removeItem(atPath: place)
      }
      try refuse(["ups.1.bias", "missing"]) { $0["ups.1.bias"] = nil }
      try refuse(["conv_pre.weight_v", "[256, 80, 5]", "[256, 80, 7]"]) {
        $0["conv_pre.weight_v"] = try Tensor.ones([256, 80, 5])
      }
      try refuse(["surplus", "unexpected"]) { $0["surplus"] = try Tensor.ones([1]) }
      try refuse(["filter 0", "conv_post"]) { $0["conv_post.weight_v"] = try Tensor.zeros([1, 32, 7]) }
    }
  }

  @Test func damagedWeightFilesAreRefusedQuickly() throws {
    try withFolder { folder in
      let weights = try Data(contentsOf: URL(fileURLWithPath: Fixtures.bundled("generator.safetensors")))
      var claim = Data([0, 0, 0, 0, 0, 0, 0, 0x10])
      claim.append(Data("{}".utf8))
      for (name, bytes) in [("truncated", weights.prefix(1_000_000)), ("claim", claim), ("empty", Data())] {
        let place = folder.appending(path: name)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
          atPath: Fixtures.bundled("config.json"), toPath: place.appending(path: "config.json").path)
        try bytes.write(to: place.appending(path: "generator.safetensors"))
        try expectRefusal(
          [Fixtures.bundled("speech.wav"), "--model", place.path], in: folder, mentioning: "generator.safetensors")
      }
      try expectRefusal(["--model", "nowhere"], in: folder, mentioning: "nowhere")
    }
  }

  @Test func anOutputThatCannotBeWrittenIsRefused() throws {
    try withFolder { folder in
      let result = try runTool(["vocode", "-o", "no/such/folder/out.wav"], in: folder)
      #expect(result.status == 1 && result.errors.hasPrefix("error: no/such/folder/out.wav"), "\(result.errors)")
    }
  }

  @Test func wrongUsageExitsWith64() throws {
    try withFolder { folder in
      for arguments in [["vocode", "--threads", "0"], ["vocode", "--nonsense"], ["nonsense"]] {
        let status = try runTool(arguments, in: folder).status
        #expect(status == 64)
      }
    }
  }
}

extension HiFiGANGenerator {
  /// The state with every weight multiplied out, as after PyTorch's `remove_weight_norm`.
  func foldedState() throws -> [String: Tensor] {
    try removeAllWeightNorm().stateDictionary()
  }
}
