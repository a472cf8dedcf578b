import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

/// Models whose inputs are no plain tensors of known sizes, as `toeplitz inspect` and `run` take them.
@Suite struct InspectCommandTests {
  private func model(_ name: String) -> String { Fixtures.path("audio/\(name).onnx") }

  @Test(arguments: [
    ("takes-strings", "input  s: string[words]", "for s string[1]"),
    ("takes-sequence", "input  x: sequence of float32[n, 3]", "for x a sequence of 2 tensors"),
    ("takes-optional", "input  x: optional float32[t]", "for x [1]"),
    ("takes-scalar", "input  rate: int64[]", "for rate [], x [1]"),
    ("takes-unknown", "input  x: float32[?, 3, ?, ?]", "for x [1, 3, 64, 64]"),
    ("takes-state", "input  state: float32[2, ?, 8]", "for state [2, 1, 8], x [1, 128]"),
    ("wants-step", "input  steps: int64[1]", "for from [1], steps [1], to [1], x [6]"),
  ])
  func inputsOfAllKindsAreShown(name: String, port: String, given: String) throws {
    try withFolder { folder in
      let run = try runTool(["inspect", model(name)], in: folder)
      #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
      #expect(run.output.contains(port) && run.output.contains(given), "\(run.output)")
    }
  }

  /// Neither zeros nor ones do.
  @Test func whatNoInputsFitIsListedWithoutShapes() throws {
    try withFolder { folder in
      let run = try runTool(["inspect", model("wants-divisor")], in: folder)
      #expect(run.status == 0 && run.output.contains("Mod") && run.output.contains("3 operations"), "\(run.output)")
      #expect(run.errors.hasPrefix("warning: no shapes are shown") && run.errors.contains("0 (int64)"), "\(run.errors)")
    }
  }

  @Test func tooManyStringsAreRefused() throws {
    try withFolder { folder in
      let run = try runTool(["inspect", model("takes-strings"), "--shape", "s=99999999999"], in: folder)
      #expect(run.status == 1 && run.errors.contains("at most 1048576 strings for 's'"), "\(run.errors)")
    }
  }

  @Test func aSequenceIsAnArchive() throws {
    try withFolder { folder in
      var tensors: [String: Tensor] = [:]
      for index in 0..<12 {
        tensors["arr_\(index)"] = try Tensor([Float](repeating: Float(index), count: 3), shape: [1, 3])
      }
      try NumPy.writeArchive(tensors, to: folder.appending(path: "x.npz").path)
      let run = try runTool(
        ["run", model("takes-sequence"), "--input", "x=x.npz", "--output-dir", ".", "--profile"], in: folder)
      #expect(run.status == 0 && run.output.hasPrefix("y: float32[12, 3] in "), "\(run.errors)")
      let joined = try NumPy.read(contentsOf: folder.appending(path: "y.npy").path)
      #expect(try joined.scalars(Float.self) == (0..<36).map { Float($0 / 3) })
      let one = try runTool(["run", model("takes-sequence"), "--input", "x=x.npz:arr_0"], in: folder)
      #expect(one.status == 1 && one.errors.contains("expected sequence of float32[n, 3]"), "\(one.errors)")
    }
  }

  @Test func anOptionalInputMayBeLeftOut() throws {
    try withFolder { folder in
      try NumPy.write(Tensor([1, 2, 3] as [Float]), to: folder.appending(path: "x.npy").path)
      for (arguments, expected) in [([], "[1]"), (["--input", "x=x.npy"], "[3]")] {
        let run = try runTool(["run", model("takes-optional")] + arguments, in: folder)
        #expect(run.status == 0 && run.output.hasPrefix("y: float32\(expected) in "), "\(run.errors)")
      }
    }
  }

  @Test func oneNumberIsAScalar() throws {
    try withFolder { folder in
      try NumPy.write(Tensor([1, 2, 3] as [Float]), to: folder.appending(path: "x.npy").path)
      try NumPy.write(Tensor([16000] as [Int64]), to: folder.appending(path: "one.npy").path)
      try NumPy.write(Tensor([16000, 1] as [Int64]), to: folder.appending(path: "two.npy").path)
      let run = try runTool(
        ["run", model("takes-scalar"), "--input", "x=x.npy", "--input", "rate=one.npy", "--output-dir", "."], in: folder
      )
      #expect(run.status == 0, "\(run.errors)")
      let product = try NumPy.read(contentsOf: folder.appending(path: "y.npy").path)
      #expect(try product.scalars(Float.self) == [16000, 32000, 48000])
      let two = try runTool(
        ["run", model("takes-scalar"), "--input", "x=x.npy", "--input", "rate=two.npy"], in: folder)
      #expect(two.status == 1 && two.errors.contains("expected 0 dimensions"), "\(two.errors)")
    }
  }

  /// `?` stands for sizes that have nothing to do with each other.
  @Test func unknownSizesNeedNotBeTheSame() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([1, 3, 48, 192]), to: folder.appending(path: "x.npy").path)
      let run = try runTool(["run", model("takes-unknown"), "--input", "x=x.npy"], in: folder)
      #expect(run.status == 0 && run.output.hasPrefix("y: float32[1, 3, 48, 192] in "), "\(run.errors)")
    }
  }

  @Test(arguments: [
    ("trained-dropout", "(Dropout 'first' and 1 more)"), ("trained-statistics", "(BatchNormalization 'norm')"),
  ])
  func exportsInTrainingModeAreTold(name: String, nodes: String) throws {
    try withFolder { folder in
      let shape: TensorShape = name == "trained-dropout" ? [4] : [3, 2]
      try NumPy.write(Tensor.ones(shape), to: folder.appending(path: "x.npy").path)
      for arguments in [["inspect", model(name)], ["run", model(name), "--input", "x=x.npy"]] {
        let run = try runTool(arguments, in: folder)
        #expect(run.status == 0 && run.errors.split(separator: "\n").count == 1, "\(run.errors)")
        #expect(run.errors.contains("exported in training mode \(nodes)") && run.errors.contains("call eval()"))
      }
    }
  }

  @Test(arguments: [
    ("version https://git-lfs.github.com/spec/v1", "git lfs pull"), ("<!DOCTYPE html>", "a web page"),
    ("", "an empty file"),
    ("PK\u{3}\u{4}", "torch.onnx.export"), ("\u{1C}\0\0\0TFL3", "tf2onnx"), ("\u{14}\0\0\0ORTM", "format ORT"),
    ("RIFF$\0\0\0WAVE", "a sound file"), ("{\"weight_map\": {}}", "a checkpoint"),
  ])
  func filesThatAreNoModelsAreNamed(start: String, hint: String) throws {
    try withFolder { folder in
      try Data(start.utf8).write(to: folder.appending(path: "model.onnx"))
      for command in ["inspect", "run"] {
        let run = try runTool([command, "model.onnx"], in: folder)
        #expect(run.status == 1 && run.errors.hasPrefix("error: model.onnx: expected an ONNX model, got "))
        #expect(run.errors.contains(hint) && run.errors.split(separator: "\n").count == 1, "\(run.errors)")
      }
    }
  }

  @Test func otherElementTypesComeWithWhatToDo() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([1, 3, 2, 2], dtype: .float64), to: folder.appending(path: "x.npy").path)
      let run = try runTool(["run", model("takes-unknown"), "--input", "x=x.npy"], in: folder)
      #expect(
        run.errors
          == "error: x.npy: expected float32 elements for 'x' (save array.astype(numpy.float32)), got float64\n")
    }
  }

  @Test func plansAreWrittenAsJSON() throws {
    try withFolder { folder in
      let run = try runTool(["inspect", "vocoder", "--stream", "--json"], in: folder)
      let object = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
      let plan = try #require(object, "\(run.errors)")
      #expect(plan["block"] as? Int == 1 && plan["output_ratio"] as? [Int] == [256, 1])
      let fields = try #require(plan["receptive_fields"] as? [[Int]])
      #expect(fields.count == 256 && fields.map { $0[1] - $0[0] + 1 }.max() == plan["receptive_field"] as? Int)
      #expect(fields.map { $0[1] }.max() == plan["lookahead"] as? Int && fields.allSatisfy { $0[0] < 0 })
      let refused = try runTool(["inspect", "vocoder", "--json"], in: folder)
      #expect(refused.status != 0 && refused.errors.contains("--json goes with --stream"), "\(refused.errors)")
    }
  }

  /// Before opset 14 further results meant training.
  @Test func oldExportsInTrainingModeAreRefused() throws {
    try withFolder { folder in
      let run = try runTool(["inspect", model("trained-before")], in: folder)
      #expect(run.status == 1 && run.errors.hasPrefix("error: ") && run.errors.contains("call eval()"), "\(run.errors)")
    }
  }
}
