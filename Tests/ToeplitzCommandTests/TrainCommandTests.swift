import Foundation
import Testing
import Toeplitz
import ToeplitzImage
import ToeplitzTestSupport

/// `toeplitz train` as users run it, and kill it.
@Suite struct TrainCommandTests {
  /// Small images of three classes: a bar that lies, stands or is missing.
  private func writeData(_ folder: URL) throws {
    var random = RandomSource(seed: 3)
    let count = 96
    var pixels = [Float](repeating: 0, count: count * 36)
    for image in 0..<count {
      let at = Int(random.nextUnit() * 4) + 1
      for index in 0..<36 {
        let isOn = image % 3 == 0 ? index / 6 == at : image % 3 == 1 ? index % 6 == at : false
        pixels[image * 36 + index] = (isOn ? 1 : 0) + Float(random.nextUnit()) * 0.3
      }
    }
    try NumPy.writeArchive(
      [
        "images": Tensor(pixels, shape: [count, 1, 6, 6]),
        "labels": Tensor((0..<count).map { Int64($0 % 3) }),
      ], to: folder.appending(path: "bars.npz").path)
  }

  private let arguments = [
    "train", "classifier", "--data", "bars.npz", "--epochs", "4", "--batch-size", "16", "--checkpoint-every", "2",
    "--quiet",
  ]

  private func weights(_ folder: URL, _ run: String) throws -> Data {
    try Data(contentsOf: folder.appending(path: "\(run)/model.safetensors"))
  }

  @Test func killedRunsEndWithTheSameBits() throws {
    try withFolder { folder in
      try writeData(folder)
      let whole = try runTool(arguments + ["--out", "whole"], in: folder)
      #expect(whole.status == 0, "\(whole.errors)")
      #expect(whole.output.contains("accuracy"))
      let confusion = try Picture(contentsOf: folder.appending(path: "whole/confusion.png").path)
      #expect((confusion.width, confusion.height) == (96, 96))
      var random = RandomSource(seed: UInt64(Date().timeIntervalSince1970))
      var kills = 0
      var last = ToolRun(bytes: Data(), errors: "", status: -1, seconds: 0)
      while kills < 12 {
        let wait = random.nextUnit() * max(0.2, whole.seconds) * 0.6
        last = try runTool(arguments + ["--out", "killed"], in: folder) { process in
          Thread.sleep(forTimeInterval: wait)
          kill(process, SIGKILL)
        }
        if last.status == 0 { break }
        kills += 1
      }
      if last.status != 0 { last = try runTool(arguments + ["--out", "killed"], in: folder) }
      #expect(last.status == 0, "\(last.errors)")
      #expect(try weights(folder, "whole") == weights(folder, "killed"), "after \(kills) kills")
      func metrics(_ run: String) throws -> String {
        try String(contentsOf: folder.appending(path: "\(run)/metrics.jsonl"), encoding: .utf8)
      }
      #expect(try metrics("whole") == metrics("killed"))
    }
  }

  @Test func interruptedRunsLeaveACheckpoint() throws {
    try withFolder { folder in
      try writeData(folder)
      let long = arguments.map { $0 == "4" ? "4000" : $0 } + ["--out", "run"]
      let run = try runTool(long, in: folder) { process in
        let metrics = folder.appending(path: "run/metrics.jsonl").path
        for _ in 0..<600 where !FileManager.default.fileExists(atPath: metrics) { Thread.sleep(forTimeInterval: 0.05) }
        kill(process, SIGINT)
      }
      #expect(run.status == 130 && run.output.contains("interrupted"), "\(run.status) \(run.output) \(run.errors)")
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "run").path)
      #expect(names.contains { $0.hasPrefix("checkpoint-") })
    }
  }

  /// A build without MPI says what it lacks; one with it is checked by Scripts/check-mpi.py.
  @Test func shardsAreChecked() throws {
    try withFolder { folder in
      try writeData(folder)
      #if !MPI
        let alone = try runTool(arguments + ["--out", "run", "--distributed"], in: folder)
        #expect(alone.status == 1 && alone.errors.contains("--traits default,MPI"), "\(alone.errors)")
      #endif
      let three = try runTool(arguments + ["--out", "run", "--shards", "3"], in: folder)
      #expect(three.status == 1 && three.errors.contains("power of two"), "\(three.errors)")
      let none = try runTool(arguments + ["--out", "run", "--shards", "0"], in: folder)
      #expect(none.status == 64 && none.errors.contains("--shards"))
      let parts = try runTool(arguments + ["--out", "run", "--shards", "4", "--epochs", "1"], in: folder)
      #expect(parts.status == 0, "\(parts.errors)")
      let others = try runTool(arguments + ["--out", "run", "--shards", "2", "--epochs", "1"], in: folder)
      #expect(others.status == 1 && others.errors.contains("shards 4"), "\(others.errors)")
    }
  }

  @Test func badDataIsRefused() throws {
    try withFolder { folder in
      try writeData(folder)
      let missing = try runTool(["train", "classifier", "--data", "nothing.npz", "--out", "run"], in: folder)
      #expect(missing.status == 1 && missing.errors.hasPrefix("error: "))
      try NumPy.writeArchive(["images": Tensor.zeros([4, 6, 6])], to: folder.appending(path: "half.npz").path)
      let half = try runTool(["train", "classifier", "--data", "half.npz", "--out", "run"], in: folder)
      #expect(half.status == 1 && half.errors.contains("labels"))
      let few = try runTool(arguments + ["--batch-size", "1000", "--out", "run"], in: folder)
      #expect(few.status == 1 && few.errors.contains("batch of 1000"), "\(few.errors)")
    }
  }
}
