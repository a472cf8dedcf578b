import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

/// `toeplitz run`, `inspect`, `convert` and `verify` as their users run them.
@Suite struct ModelCommandTests {
  private let model = Fixtures.path("onnx/residual.onnx")

  private func input(in folder: URL) throws -> (x: Tensor, y: Tensor) {
    let data = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/residual.npz"))
    let (x, y) = (try data.tensor("input_0"), try data.tensor("output_0"))
    try NumPy.write(x, to: folder.appending(path: "x.npy").path)
    try NumPy.writeArchive(["x": x, "other": y], to: folder.appending(path: "x.npz").path)
    return (x, y)
  }

  @Test func runWritesEachOutput() throws {
    try withFolder { folder in
      let (_, y) = try input(in: folder)
      for file in ["x.npy", "x.npz", "x.npz:x"] {
        let result = try runTool(
          ["run", model, "--input", "x=\(file)", "--output-dir", "out", "--repeat", "2"], in: folder)
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        #expect(result.output.hasPrefix("y: float32\(y.shape) in ") && result.output.hasSuffix(" ms\n"))
        let got = try NumPy.read(contentsOf: folder.appending(path: "out/y.npy").path)
        #expect(try got.distance(to: y).absolute < 1e-5)
        try FileManager.default.removeItem(at: folder.appending(path: "out"))
      }
    }
  }

  @Test func foldersThatAreNoneAreNamed() throws {
    try withFolder { folder in
      _ = try input(in: folder)
      try FileManager.default.createDirectory(at: folder.appending(path: "empty"), withIntermediateDirectories: true)
      let test = folder.appending(path: "tests/one")
      try FileManager.default.createDirectory(at: test, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: model, toPath: test.appending(path: "model.onnx").path)
      for (arguments, message) in [
        (["verify", "x.npy"], "error: x.npy: expected a folder that can be read, got a file\n"),
        (["verify", "missing"], "error: missing: expected a folder that can be read, got nothing there\n"),
        (["verify", "empty"], "error: empty: expected model.onnx, or folders that hold one, got neither\n"),
        (
          ["run", model, "--input", "x=x.npy", "--output-dir", "x.npy"],
          "error: x.npy: expected a folder, or a place where one can be made, got a file\n"
        ),
      ] {
        let result = try runTool(arguments, in: folder)
        #expect(result.status == 1 && result.errors == message, "\(arguments): \(result.errors)")
      }
      let result = try runTool(["verify", "tests"], in: folder)
      #expect(result.status == 1 && result.output.hasPrefix("failed one: tests/one: expected folders test_data_set_"))
    }
  }

  @Test func profileListsOperationsInOrder() throws {
    try withFolder { folder in
      _ = try input(in: folder)
      let result = try runTool(
        ["run", model, "--input", "x=x.npy", "--profile", "--repeat", "3", "--plain"], in: folder)
      #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
      let lines = result.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      #expect(lines[1].hasPrefix("loaded in ") && lines[2].hasPrefix("first run in "))
      let parts = lines.dropFirst(3).split(separator: "").map { $0.map { $0.split(separator: " ").map(String.init) } }
      #expect(parts.count == 3)
      guard parts.count == 3 else { return }
      let (operations, kinds) = (parts[0].dropFirst(), parts[1].dropFirst())
      #expect(parts[0][0] == ["ms", "share", "×", "floor", "operation", "output", "fused", "name"])
      #expect(operations.filter { $0[4] == "Conv2d" && $0[5].hasPrefix("float32[") }.count == 4)
      #expect(parts[2][0][0] == "floor:" && parts[2][0].filter { $0 == "ms" }.count == 3)
      // Kinds and shares add up.
      #expect(kinds.dropLast().reduce(0) { $0 + (Int($1[3]) ?? 0) } == operations.count)
      #expect(kinds.last?[3...] == ["\(operations.count)", "all"] && kinds.last?[1] == "100.0")
      #expect(abs(operations.reduce(0) { $0 + (Double($1[1]) ?? 0) } - 100) < 1)
      #expect(try !runTool(["run", model, "--input", "x=x.npy"], in: folder).output.contains("operation"))
    }
  }

  @Test func badUseIsOneLine() throws {
    try withFolder { folder in
      _ = try input(in: folder)
      try NumPy.write(Tensor.zeros([2, 3]), to: folder.appending(path: "rank.npy").path)
      try NumPy.write(Tensor.zeros([2, 4, 9, 9]), to: folder.appending(path: "size.npy").path)
      try NumPy.write(Tensor.zeros([2, 3, 9, 9], dtype: .int64), to: folder.appending(path: "type.npy").path)
      let cases: [([String], [String])] = [
        ([], ["'x'", "float32[N, 3, H, W]"]), (["--input", "q=x.npy"], ["'q'", "one of x"]),
        (["--input", "x=rank.npy"], ["'x'", "4 dimensions"]), (["--input", "x=size.npy"], ["size 3 on axis 1"]),
        (["--input", "x=type.npy"], ["float32", "int64"]), (["--input", "x=missing.npy"], ["missing.npy"]),
        (["--input", "x=x.txt"], ["x.txt"]), (["--input", "x=x.npz:none"], ["none"]),
      ]
      for (arguments, words) in cases {
        let result = try runTool(["run", model] + arguments + ["--output-dir", "out"], in: folder)
        #expect(result.status == 1 && result.errors.hasPrefix("error: "), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1)
        for word in words { #expect(result.errors.contains(word), "\(word) is not in: \(result.errors)") }
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out").path))
      }
      #expect(try runTool(["run", model, "--input", "x"], in: folder).status == 64)
      #expect(try runTool(["run", model, "--repeat", "0"], in: folder).status == 64)
      #expect(try runTool(["run", "missing.onnx"], in: folder).status == 1)
    }
  }

  @Test func workAndMemoryAreBounded() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([1, 2, 4, 4]), to: folder.appending(path: "x.npy").path)
      // A loop without an end, by Scripts/hostile_models.py.
      let endless = ["run", Fixtures.path("hostile/while-true.onnx"), "--input", "x=x.npy", "--output-dir", "out"]
      let late = try runTool(endless + ["--time-limit", "0.2"], in: folder)
      #expect(late.status == 1 && late.errors.hasPrefix("error: ") && late.errors.contains("--time-limit"))
      #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out").path))
      let inspect = ["inspect", model, "--shape", "x=1x3x2000x2000"]
      let large = try runTool(inspect + ["--memory", "20"], in: folder)
      #expect(large.status == 1 && large.errors.contains("at most \(20 << 20) bytes"), "\(large.errors)")
      let named = try runTool(inspect, in: folder, environment: ["TOEPLITZ_MEMORY_LIMIT": "20"])
      #expect(named.status == 1 && named.errors == large.errors)
      #expect(try runTool(inspect + ["--memory", "0"], in: folder).status == 64)
      #expect(try runTool(inspect + ["--time-limit", "0"], in: folder).status == 64)
    }
  }

  @Test func nothingIsWrittenForResultsThatNoFileHolds() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([1, 2, 4, 4]), to: folder.appending(path: "x.npy").path)
      func run(_ model: String) throws -> ToolRun {
        try runTool(
          ["run", Fixtures.path("hostile/\(model).onnx"), "--input", "x=x.npy", "--output-dir", "out"], in: folder)
      }
      // A result of 200 dimensions, and a transform whose tables are larger than all tensors may be.
      for (model, words) in [("unsqueeze-many", "64 dimensions"), ("dft-forever", "for all tensors")] {
        let result = try run(model)
        #expect(result.status == 1 && result.errors.contains(words), "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "out").path))
      }
    }
  }

  @Test func timeInWhichTheProcessIsStoppedDoesNotCount() throws {
    try withFolder { folder in
      try NumPy.write(Tensor.zeros([1, 2, 4, 4]), to: folder.appending(path: "x.npy").path)
      let endless = ["run", Fixtures.path("hostile/while-true.onnx"), "--input", "x=x.npy", "--time-limit", "1"]
      var continued = ContinuousClock.now
      let result = try runTool(endless, in: folder) { process in
        Thread.sleep(forTimeInterval: 0.3)
        kill(process, SIGSTOP)
        Thread.sleep(forTimeInterval: 2)
        continued = .now
        kill(process, SIGCONT)
      }
      #expect(
        result.status == 1 && result.errors.contains("within 1 s of processor time (--time-limit)"), "\(result.errors)")
      #expect(ContinuousClock.now - continued > .seconds(0.3))
    }
  }

  @Test func inspectShowsOperations() throws {
    try withFolder { folder in
      let result = try runTool(["inspect", model, "--size", "H=9", "--size", "W=11"], in: folder)
      #expect(result.status == 0, "\(result.errors)")
      for word in ["input  x: float32[N, 3, H, W]", "Pad, BatchNormalization, ReLU", "20736", "float32[1, 8, 8, 12]"] {
        #expect(result.output.contains(word), "\(word) is not in: \(result.output)")
      }
      let plain = try runTool(["inspect", model, "--plain"], in: folder)
      #expect(plain.status == 0 && plain.output.contains("BatchNormalization "))
      let dot = try runTool(["inspect", model, "--dot"], in: folder)
      #expect(dot.status == 0 && dot.output.hasPrefix("digraph"))
    }
  }

  @Test func checkpointsAreInspectedWithWhatTheyHoldBesides() throws {
    try withFolder { folder in
      for (path, line) in [
        ("checkpoint/reference.safetensors", "metadata note: a\\u{a}b\n"),
        ("torch/kinds/sparse.pt", "csr: float32[2, 3] (sparse in the file)\n"),
        ("torch/kinds/foreign.pt", "made: not read: expected"),
        ("cases/pt_foreign_object/namespace.pt", "metadata args.lr: 0.001\n"),
      ] {
        let result = try runTool(["inspect", Fixtures.path(path)], in: folder)
        #expect(result.status == 0 && result.output.contains(line), "\(result.output)\(result.errors)")
      }
    }
  }

  @Test func convertRefusesWhatItWouldLeaveOut() throws {
    try withFolder { folder in
      for (file, word) in [
        ("torch/kinds/foreign.pt", "'__main__.make'"),
        ("cases/pt_key_collision/dotted.pt", "['a.b'] and at ['a']['b']"),
        ("checkpoint/members.npz", "--skip-unreadable"),
      ] {
        let refused = try runTool(["convert", Fixtures.path(file), "no.safetensors"], in: folder)
        #expect(refused.status == 1 && refused.errors.contains(word), "\(refused.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/no.safetensors"))
      }
      let file = Fixtures.path("checkpoint/members.npz")
      let skipped = try runTool(["convert", file, "x.safetensors", "--skip-unreadable"], in: folder)
      #expect(skipped.status == 0 && skipped.output.contains("x.safetensors: 1 tensors\nbytes: left out\n"))
      for file in ["counter", "namespace", "numpy_scalar"] {
        let path = Fixtures.path("cases/pt_foreign_object/\(file).pt")
        let result = try runTool(["convert", path, "out.safetensors", "--inside", "state_dict"], in: folder)
        #expect(result.status == 0 && result.output == "out.safetensors: 2 tensors\n", "\(result.errors)")
      }
    }
  }

  @Test func convertReadsPyTorch() throws {
    try withFolder { folder in
      let result = try runTool(["convert", Fixtures.path("torch/state.pt"), "out.safetensors"], in: folder)
      #expect(result.status == 0 && result.output == "out.safetensors: 15 tensors\n", "\(result.errors)")
      let (a, b) = (
        try Checkpoint(contentsOf: folder.appending(path: "out.safetensors").path),
        try Checkpoint(contentsOf: Fixtures.path("torch/state.safetensors"))
      )
      for name in b.names { #expect(try a.tensor(name).sameBits(as: b.tensor(name))) }
      let refused = try runTool(["convert", Fixtures.path("torch/refused.ckpt"), "no.safetensors"], in: folder)
      #expect(refused.status == 1 && refused.errors.contains("nothing in a pickle is run"))
      let part = try runTool(
        ["convert", Fixtures.path("torch/nested.pth"), "part.npz", "--inside", "model.layers"], in: folder)
      #expect(part.status == 0 && part.output == "part.npz: 2 tensors\n", "\(part.errors)")
      #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "no.safetensors").path))
    }
  }
}
