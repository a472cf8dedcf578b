import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

/// `toeplitz train vocoder` and `train denoiser` on a few short sounds.
@Suite struct TrainSoundCommandTests {
  private func writeSounds(_ folder: URL) throws {
    for part in ["speech", "held"] {
      let place = folder.appending(path: part)
      try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
      for index in 0..<4 {
        let writer = try WAVWriter(
          path: place.appending(path: "\(index).wav").path, sampleRate: 16_000, encoding: .int16)
        try writer.append((0..<20_000).map { Float(0.4 * sin(Double($0) * 0.02 * Double(index + 2))) })
        try writer.finish()
      }
    }
    let configuration = """
      {"resblock": "2", "upsample_rates": [8, 4], "upsample_kernel_sizes": [16, 8], "upsample_initial_channel": 16,
       "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 2]], "num_mels": 10, "n_fft": 128, "hop_size": 32,
       "win_size": 128, "sampling_rate": 16000, "fmin": 0, "fmax": 4000}
      """
    try Data(configuration.utf8).write(to: folder.appending(path: "config.json"))
  }

  private let vocoder = [
    "train", "vocoder", "--data", "speech", "--config", "config.json", "--batch-size", "2", "--segment", "512",
    "--divisor", "8", "--quiet", "--threads", "1",
  ]

  @Test func vocodersAreTrainedWrittenAndGoneOnWith() throws {
    try withFolder { folder in
      try writeSounds(folder)
      let run = try runTool(vocoder + ["--validation", "held", "--out", "run", "--epochs", "2"], in: folder)
      #expect(run.status == 0, "\(run.errors)")
      let names = Set(try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "run").path))
      let expected: Set = [
        "config.json", "generator.safetensors", "best.safetensors", "model.safetensors", "metrics.jsonl", "report.html",
        "curve-mel.png", "g_00000004", "do_00000004",
      ]
      #expect(names.isSuperset(of: expected), "\(names)")
      #expect(names.contains { $0.hasPrefix("events.out.tfevents.") })
      let metrics = try String(contentsOf: folder.appending(path: "run/metrics.jsonl"), encoding: .utf8)
      #expect(metrics.contains("held_out_mel") && metrics.contains("\"discriminators\""))
      let voiced = try runTool(["vocode", "held/0.wav", "--model", "run", "-o", "voiced.wav", "--quiet"], in: folder)
      #expect(voiced.status == 0, "\(voiced.errors)")
      // Another run begins with the authors' files.
      let next = try runTool(
        vocoder + [
          "--out", "next", "--epochs", "1", "--from", "run/g_00000004", "--discriminators", "run/do_00000004",
          "--warm-up", "2", "--clip", "100",
        ], in: folder)
      #expect(next.status == 0, "\(next.errors)")
      let other = try runTool(vocoder + ["--out", "run", "--epochs", "3"], in: folder)
      #expect(other.status != 0 && other.errors.contains("epochs"), "\(other.errors)")
    }
  }

  @Test func denoisersAreTrainedAndHeard() throws {
    try withFolder { folder in
      try writeSounds(folder)
      let run = try runTool(
        [
          "train", "denoiser", "--data", "speech", "--validation", "held", "--out", "run", "--epochs", "2",
          "--batch-size", "2", "--quiet", "--threads", "1",
        ], in: folder)
      #expect(run.status == 0 && run.output.contains("dB better"), "\(run.output) \(run.errors)")
      for name in ["clean", "noisy", "denoised"] {
        #expect(try AudioFile(path: folder.appending(path: "run/\(name).wav").path).frameCount == 32_000)
      }
    }
  }

  @Test func badOptionsAreRefused() throws {
    try withFolder { folder in
      try writeSounds(folder)
      for (extra, word) in [
        (["--segment", "500"], "hop"), (["--divisor", "3"], "divisor"), (["--data", "nowhere"], "nowhere"),
        (["--no-adversarial", "--discriminators", "x"], "adversarial"), (["--from", "nowhere"], "nowhere"),
      ] {
        let run = try runTool(vocoder + ["--out", "run"] + extra, in: folder)
        #expect(run.status != 0 && run.errors.contains(word), "\(extra): \(run.errors)")
      }
    }
  }
}
