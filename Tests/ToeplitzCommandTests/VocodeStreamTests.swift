import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

/// `toeplitz vocode --stream`: the sound of a run without it, as it comes.
@Suite struct VocodeStreamTests {
  private let stream = Fixtures.path("cases/pipes/stream.wav")

  private func data(_ name: String, in folder: URL) throws -> Data {
    try Data(contentsOf: folder.appending(path: name))
  }

  /// The sound of the fixture as the samples alone, of one or two channels.
  private func samples(channels: Int = 1) throws -> [Float] {
    try AudioFile(path: stream).readMono().flatMap { [Float](repeating: $0, count: channels) }
  }

  private func raw(_ samples: [Float], _ encoding: WAVWriter.Encoding, in folder: URL) throws -> Data {
    let path = folder.appending(path: "samples.raw").path
    let writer = try WAVWriter(path: path, sampleRate: 8000, encoding: encoding, isRaw: true)
    try writer.append(samples)
    try writer.finish()
    return try Data(contentsOf: URL(fileURLWithPath: path))
  }

  @Test func filesAndPipesGiveTheBytesOfTheWhole() throws {
    try withFolder { folder in
      let input = try Data(contentsOf: URL(fileURLWithPath: stream))
      for flags in [[], ["--float"]] {
        #expect(try runTool(["vocode", stream, "-o", "whole.wav"] + flags, in: folder).status == 0)
        let whole = try data("whole.wav", in: folder)
        for frames in ["1", "8", "1000"] {
          let run = try runTool(
            ["vocode", "--stream", stream, "-o", "out.wav", "--frames", frames] + flags, in: folder)
          #expect(run.status == 0 && run.output.contains("behind the spectrogram"), "\(run.errors)")
          #expect(try data("out.wav", in: folder) == whole)
        }
        let piped = try runTool(["vocode", "--stream", "-", "-o", "out.wav"] + flags, in: folder, input: input)
        #expect(piped.status == 0 && piped.errors.isEmpty, "\(piped.errors)")
        #expect(try data("out.wav", in: folder) == whole)
        // Into a pipe: with the sizes where they are known, else with those that mean "to the end".
        let known = try runTool(["vocode", "--stream", stream, "-o", "-"] + flags, in: folder)
        #expect(known.bytes == whole && known.errors.split(separator: "\n").count == 1, "\(known.errors)")
        let open = try runTool(["vocode", "--stream", "-", "-o", "-"] + flags, in: folder, input: input)
        let header = flags.isEmpty ? 44 : 58
        #expect(open.bytes.count == whole.count && open.bytes.dropFirst(header) == whole.dropFirst(header))
        #expect(open.bytes[4..<8].allSatisfy { $0 == 0xFF })
      }
    }
  }

  /// The vocoder as a model of single steps, run by the tool, is the vocoder.
  @Test func stepsOfTheVocoderAreWritten() throws {
    try withFolder { folder in
      #expect(try runTool(["export", "step.onnx", "--chunk", "2"], in: folder).status == 0)
      let mel = try Generator(seed: 4).uniform([1, 80, 24], from: -5, to: 1)
      try NumPy.write(mel, to: folder.appending(path: "mel.npy").path)
      let run = try runTool(
        ["run", "step.onnx", "--input", "x=mel.npy", "--chunk", "5", "--output-dir", "out"], in: folder)
      #expect(run.status == 0 && run.output.contains("steps of 2"), "\(run.output) \(run.errors)")
      let sound = try NumPy.read(contentsOf: folder.appending(path: "out/y.npy").path)
      let generator = try Vocoder(
        configuration: Fixtures.bundled("config.json"), weights: Fixtures.bundled("generator.safetensors")
      ).generator
      #expect(try sound.sameBits(as: generator.eval()(mel).copied()))
      #expect(try runTool(["export", "step.onnx", "--chunk", "0"], in: folder).status != 0)
    }
  }

  /// Steps of an ONNX model are written, or the operation is named that forbids it.
  @Test func stepsOfAnyModelAreWritten() throws {
    try withFolder { folder in
      let name = Fixtures.path("onnx/streamed/attention_script_plain")
      let arrays = try NumPy.readArchive(contentsOf: name + ".npz")
      let (x, expected) = (try #require(arrays["x"]), try #require(arrays["y"]))
      try NumPy.write(x, to: folder.appending(path: "x.npy").path)
      let written = try runTool(["export", "step.onnx", "--model", name + ".onnx", "--chunk", "4"], in: folder)
      #expect(
        written.status == 0 && written.output.contains("steps of 4 positions"), "\(written.output) \(written.errors)")
      let run = try runTool(
        ["run", "step.onnx", "--input", "x=x.npy", "--chunk", "5", "--output-dir", "out"], in: folder)
      #expect(run.status == 0, "\(run.errors)")
      let distance = try NumPy.read(contentsOf: folder.appending(path: "out/y.npy").path).distance(to: expected)
      #expect(distance.absolute <= 1e-5 * distance.scale, "\(distance)")
      let refused = try runTool(["export", "step.onnx", "--model", name + ".onnx"], in: folder)
      #expect(refused.status == 1 && refused.errors.contains("--chunk"), "\(refused.errors)")
    }
  }

  @Test func samplesWithoutHeader() throws {
    try withFolder { folder in
      let rate = try AudioFile(path: stream).sampleRate
      for (name, encoding) in [("s16", WAVWriter.Encoding.int16), ("f32", .float32)] {
        for channels in [1, 2] {
          let input = try raw(samples(channels: channels), encoding, in: folder)
          let path = folder.appending(path: "in.wav").path
          try WAVWriter.write(samples(), to: path, sampleRate: rate, encoding: encoding)
          let flags = encoding == .float32 ? ["--float"] : []
          #expect(try runTool(["vocode", "in.wav", "-o", "whole.wav"] + flags, in: folder).status == 0)
          let whole = try data("whole.wav", in: folder)
          let options = ["vocode", "--stream", "--raw", name, "--rate", "\(rate)", "--channels", "\(channels)", "-"]
          let piped = try runTool(options + ["-o", "-"], in: folder, input: input)
          #expect(piped.status == 0 && piped.bytes == whole.dropFirst(encoding == .int16 ? 44 : 58), "\(piped.errors)")
          let file = try runTool(options + ["-o", "out.wav"] + flags, in: folder, input: input)
          #expect(file.status == 0, "\(file.errors)")
          #expect(try data("out.wav", in: folder) == whole)
        }
      }
    }
  }

  @Test func whatCannotBeStreamedIsOneLine() throws {
    try withFolder { folder in
      let whole = try raw(samples(), .int16, in: folder)
      for (arguments, input, words) in [
        (["--raw", "s16"], whole, "--rate"), ([], whole, "a WAV file, or a format and a rate"),
        (["--raw", "s16", "--rate", "16000"], whole + Data([1]), "1 bytes at the end"),
        (["--raw", "f32", "--rate", "16000"], Data([0, 0, 0xC0, 0x7F]), "finite samples"),
        (["--raw", "s16", "--rate", "16000"], whole.prefix(20), "samples"),
        (["--raw", "s16", "--rate", "7"], whole, "a rate of"),
      ] {
        let run = try runTool(["vocode", "--stream", "-", "-o", "out.wav"] + arguments, in: folder, input: input)
        #expect(
          run.status == 1 && run.errors.hasPrefix("error: ") && run.errors.contains(words), "\(words): \(run.errors)")
        #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out.wav").path))
      }
      for arguments in [
        ["--raw", "s16"], ["--stream", "--rate", "8000"], ["--stream", "--frames", "0"], ["--stream", "--raw", "u8"],
      ] {
        #expect(try runTool(["vocode", "-o", "out.wav"] + arguments, in: folder).status == 64)
      }
    }
  }

  @Test func anInterruptionFinishesTheFile() throws {
    try withFolder { folder in
      #expect(try runTool(["vocode", stream, "-o", "whole.wav"], in: folder).status == 0)
      // A recorder that goes on for long after the sound; `in` is ready before anybody reads. What threads of a pool start has all other
      // signals blocked.
      let tool = try tool().path
      let script = """
        mkfifo in; (cat \(stream); exec sleep 300) > in & recorder=$!
        \(tool) vocode --stream in -o out.wav & vocoder=$!
        sleep 15; kill -INT $vocoder; wait $vocoder; status=$?; kill -KILL $recorder; exit $status
        """
      let run = try runTool(["-c", "set -m; " + script], in: folder, program: "/bin/bash")
      #expect(run.status == 0 && run.output.contains("broken off"), "\(run.output) \(run.errors)")
      #expect(try data("out.wav", in: folder) == data("whole.wav", in: folder))
    }
  }

  @Test func closedPipesEndQuietly() throws {
    try withFolder { folder in
      let script = "\(try tool().path) vocode --stream -o - -q | head -c 10 | wc -c"
      let run = try runTool(["-c", script], in: folder, program: "/bin/sh")
      #expect(run.output.trimmingCharacters(in: .whitespacesAndNewlines) == "10" && run.errors.isEmpty, "\(run.errors)")
    }
  }
}
