import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzModels
import ToeplitzTensor
import ToeplitzTestSupport

/// `run --input x=SOUND`: channels, rates and shapes, and what `inspect` assumes of sizes.
@Suite struct SoundInputTests {
  private let left = (0..<100).map { Float($0) / 128 }
  private let right = (0..<100).map { Float(-$0) / 256 }

  private func write(_ channels: [[Float]], _ name: String, in folder: URL) throws {
    let writer = try WAVWriter(
      path: folder.appending(path: name).path, sampleRate: 8000, channelCount: channels.count, encoding: .float32)
    try writer.append(planar: channels)
    try writer.finish()
  }

  /// The input as the model got it, and what was said.
  private func input(
    _ model: String, _ file: String, _ arguments: String..., in folder: URL
  ) throws -> (tensor: Tensor, errors: String) {
    let run = try runTool(
      ["run", Fixtures.path("audio/\(model).onnx"), "--input", "x=\(file)", "--output", "y=y.npy"] + arguments,
      in: folder)
    #expect(run.status == 0, "\(run.errors)")
    return (try NumPy.read(contentsOf: folder.appending(path: "y.npy").path), run.errors)
  }

  @Test func modelsGetTheChannelsThatTheyAskFor() throws {
    try withFolder { folder in
      try write([left, right], "stereo.wav", in: folder)
      try write([left], "mono.wav", in: folder)
      let mean = zip(left, right).map { ($0 + $1) / 2 }
      let pairs = zip(left, right).flatMap { [$0, $1] }
      let cases: [(model: String, file: String, shape: TensorShape, values: [Float])] = [
        ("takes-1-c-t", "stereo", [1, 2, 100], left + right), ("takes-1-2-t", "stereo", [1, 2, 100], left + right),
        ("takes-1-1-t", "stereo", [1, 1, 100], mean), ("takes-1-t-2", "stereo", [1, 100, 2], pairs),
        ("takes-c-t", "stereo", [2, 100], left + right), ("takes-2-t", "stereo", [2, 100], left + right),
        ("takes-batch-t", "stereo", [1, 100], mean), ("takes-t", "stereo", [100], mean),
        ("takes-t-1", "stereo", [100, 1], mean), ("takes-1-c-t", "mono", [1, 1, 100], left),
        ("takes-1-2-t", "mono", [1, 2, 100], left + left), ("takes-t", "mono", [100], left),
        ("takes-1-t-2", "mono", [1, 100, 2], left.flatMap { [$0, $0] }),
      ]
      for (model, file, shape, values) in cases {
        let (tensor, errors) = try input(model, "\(file).wav", "--rate", "8000", in: folder)
        #expect(tensor.shape == shape, "\(model) \(file)")
        #expect(try tensor.scalars(Float.self) == values, "\(model) \(file)")
        // Channels are never mixed without a word.
        #expect(errors.contains("mean of 2 channels") == (file == "stereo" && values == mean), "\(errors)")
      }
      let half = try input("takes-half", "mono.wav", "--rate", "8000", in: folder).tensor
      #expect(half.dtype == .float16 && half.shape == [1, 1, 100])
    }
  }

  @Test func channelsThatDoNotFitAreRefused() throws {
    try withFolder { folder in
      try write([left, right, left], "three.wav", in: folder)
      for (model, words) in [
        ("takes-1-2-t", ["2 channels", "got 3", "-ac 2"]), ("takes-four", ["1 to 3 dimensions"]),
        ("takes-64", ["64 samples", "'x'", "got 100", "--rate"]),
      ] {
        let run = try runTool(
          ["run", Fixtures.path("audio/\(model).onnx"), "--input", "x=three.wav", "--rate", "8000"], in: folder)
        #expect(run.status == 1 && run.errors.hasPrefix("error: ") && run.errors.split(separator: "\n").count == 1)
        for word in words { #expect(run.errors.contains(word), "\(run.errors)") }
      }
      #expect(try runTool(["run", "m.onnx", "--rate", "0"], in: folder).status == 64)
    }
  }

  @Test func ratesAreConvertedOrTold() throws {
    try withFolder { folder in
      try write([left, right], "stereo.wav", in: folder)
      let (plain, told) = try input("takes-1-c-t", "stereo.wav", in: folder)
      #expect(plain.shape == [1, 2, 100] && told.hasPrefix("warning: stereo.wav: 8000 Hz") && told.contains("--rate"))
      let (converted, quiet) = try input("takes-1-c-t", "stereo.wav", "--rate", "16000", in: folder)
      let resampler = try Resampler(from: 8000, to: 16_000)
      #expect(converted.shape == [1, 2, 200] && quiet.isEmpty)
      #expect(try converted.scalars(Float.self) == resampler(left) + resampler(right))
    }
  }

  @Test func outputsAreWrittenAsSound() throws {
    try withFolder { folder in
      try write([left, right], "stereo.wav", in: folder)
      func run(_ model: String, _ arguments: String...) throws -> ToolRun {
        try runTool(
          ["run", Fixtures.path("audio/\(model).onnx"), "--input", "x=stereo.wav", "--rate", "8000"] + arguments,
          in: folder)
      }
      for model in ["takes-1-c-t", "takes-1-t-2", "takes-c-t"] {
        let file = try run(model, "--output", "y=out.wav")
        #expect(file.status == 0 && file.errors.isEmpty, "\(file.errors)")
        let sound = try AudioFile(path: folder.appending(path: "out.wav").path)
        #expect(try sound.read() == [left, right] && sound.sampleRate == 8000, "\(model)")
        let piped = try run(model, "--output", "y=-", "--format", "wav", "--output-rate", "16000")
        try piped.bytes.write(to: folder.appending(path: "piped").absoluteURL)
        let other = try AudioFile(path: folder.appending(path: "piped").path)
        #expect(try other.read() == [left, right] && other.sampleRate == 16_000 && other.warnings.isEmpty)
      }
      let plain = try runTool(
        ["run", Fixtures.path("audio/takes-1-c-t.onnx"), "--input", "x=stereo.wav", "--output", "y=out2.wav"],
        in: folder)
      #expect(plain.status == 1 && plain.errors.contains("--output-rate or --rate"), "\(plain.errors)")
      #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out2.wav").path))
      #expect(try run("takes-t", "--output-rate", "1").status == 64)
    }
  }

  @Test func filesAreKnownByTheirFirstBytes() throws {
    try withFolder { folder in
      let flac = Fixtures.path("audio/stereo-24.flac")
      try FileManager.default.copyItem(atPath: flac, toPath: folder.appending(path: "sound.png").path)
      let samples = try AudioFile(path: flac).read()
      for file in [flac, "sound.png"] {
        let (tensor, _) = try input("takes-1-c-t", file, "--rate", "37800", in: folder)
        #expect(try tensor.shape == [1, 2, 1500] && tensor.scalars(Float.self) == samples[0] + samples[1])
      }
      try NumPy.write(Tensor.ones([7]), to: folder.appending(path: "array.wav").path)
      #expect(try input("takes-t", "array.wav", in: folder).tensor.shape == [7])
      let vocoded = try runTool(["vocode", Fixtures.path("audio/speech.flac"), "-o", "out.wav"], in: folder)
      #expect(vocoded.status == 0 && vocoded.output.contains("0.27 s"), "\(vocoded.errors) \(vocoded.output)")
      try Data("OggS and more".utf8).write(to: folder.appending(path: "sound.ogg"))
      let ogg = try runTool(["vocode", "sound.ogg", "-o", "none.wav"], in: folder)
      #expect(ogg.status == 1 && ogg.errors.contains("an Ogg file") && ogg.errors.contains("ffmpeg"))
      let other = try runTool(
        ["run", Fixtures.path("audio/takes-t.onnx"), "--input", "x=sound.ogg"], in: folder)
      #expect(other.status == 1 && other.errors.contains("an Ogg file"), "\(other.errors)")
    }
  }

  @Test func inspectFindsSizesThatFit() throws {
    try withFolder { folder in
      for (model, text) in [
        ("shared-symbol", "for a [1, 8], b [3, 1]"), ("wants-100", "for x [1, 1, 128]"),
        ("wants-16000", "for x [1, 1, 16384]"), ("wants-4", "for x [1, 4, 3]"),
      ] {
        let run = try runTool(["inspect", Fixtures.path("audio/\(model).onnx")], in: folder)
        #expect(run.status == 0 && run.errors.isEmpty && run.output.contains(text), "\(run.errors) \(run.output)")
      }
      let shared = Fixtures.path("audio/shared-symbol.onnx")
      for arguments in [["--size", "batch=5"], ["--shape", "a=5x8"]] {
        let run = try runTool(["inspect", shared] + arguments, in: folder)
        #expect(run.status == 0 && run.output.contains("for a [5, 8], b [3, 5]"), "\(run.errors)")
      }
    }
  }

  @Test func inspectListsWhatItHasNoSizesFor() throws {
    try withFolder { folder in
      let model = Fixtures.path("audio/wants-35.onnx")
      let run = try runTool(["inspect", model], in: folder)
      #expect(run.status == 0 && run.output.contains("Reshape") && run.output.contains("2 operations"), "\(run.output)")
      #expect(run.errors.hasPrefix("warning: ") && run.errors.contains("--size NAME=SIZE"), "\(run.errors)")
      #expect(run.errors.split(separator: "\n").count == 1)
      let sized = try runTool(["inspect", model, "--size", "t=35"], in: folder)
      #expect(sized.status == 0 && sized.errors.isEmpty && sized.output.contains("float32[1, 5, 7]"))
      for arguments in [["--dot"], ["--size", "t=64"]] {
        let refused = try runTool(["inspect", model] + arguments, in: folder)
        #expect(refused.status == 1 && refused.errors.hasPrefix("error: "), "\(refused.errors)")
      }
      let missing = try runTool(["inspect", Fixtures.path("audio/unknown-operators.onnx")], in: folder)
      #expect(
        missing.errors.contains(
          "Foo (domain far.away, opset 1, node 'first' and 2 more); Bar (domain far.away, opset 1, node 'only')"),
        "\(missing.errors)")
    }
  }

  @Test func oneNameMetWithTwoSizesIsRefused() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([5, 8]), to: folder.appending(path: "a.npy").path)
      try NumPy.write(Tensor.zeros([3, 4]), to: folder.appending(path: "b.npy").path)
      let run = try runTool(
        ["run", Fixtures.path("audio/shared-symbol.onnx"), "--input", "a=a.npy", "--input", "b=b.npy"], in: folder)
      #expect(run.status == 1 && run.errors.split(separator: "\n").count == 1)
      for word in ["'b'", "size 5 on axis 1", "'batch'", "'a'", "[3, 4]"] {
        #expect(run.errors.contains(word), "\(run.errors)")
      }
    }
  }
}
