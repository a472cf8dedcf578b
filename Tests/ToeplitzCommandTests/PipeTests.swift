import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzModels
import ToeplitzTensor
import ToeplitzTestSupport

/// `-`, `/dev/stdin`, `/dev/stdout` and pipes with names, wherever files are read and written.
@Suite struct PipeTests {
  private let stream = Fixtures.path("cases/pipes/stream.wav")

  private func data(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  @Test func soundComesAndGoesThroughPipes() throws {
    try withFolder { folder in
      let file = try runTool(["vocode", stream, "-o", "out.wav"], in: folder)
      #expect(file.status == 0 && file.output.hasPrefix("out.wav: 0.27 s of audio"), "\(file.errors)")
      let expected = try data(folder.appending(path: "out.wav").path)
      for name in ["-", "/dev/stdin", "/dev/fd/0"] {
        let run = try runTool(["vocode", name, "-o", "piped.wav"], in: folder, input: data(stream))
        #expect(run.status == 0, "\(run.errors)")
        #expect(try data(folder.appending(path: "piped.wav").path) == expected)
      }
      for name in ["-", "/dev/stdout"] {
        let run = try runTool(["vocode", "-", "-o", name], in: folder, input: data(stream))
        #expect(run.status == 0 && run.bytes == expected)
        #expect(run.errors.contains("0.27 s of audio") && run.errors.split(separator: "\n").count == 1, "\(run.errors)")
      }
      #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "-").path))
      // A shell's redirections are files.
      let tool = try tool().path
      let script = "\(tool) vocode - -q -o - < \(stream) >> log; \(tool) vocode - -q < \(stream) -o - >> log"
      #expect(try runTool(["-c", script], in: folder, program: "/bin/sh").status == 0)
      #expect(try data(folder.appending(path: "log").path) == expected + expected)
    }
  }

  @Test func pipesWithNames() throws {
    try withFolder { folder in
      _ = try runTool(["vocode", stream, "-o", "out.wav"], in: folder)
      let tool = try tool().path
      let script = """
        mkfifo in out; cat \(stream) > in & cat out > got & \(tool) vocode in -o out -q && wait
        """
      let run = try runTool(["-c", script], in: folder, program: "/bin/sh")
      #expect(run.status == 0, "\(run.errors)")
      #expect(
        try data(folder.appending(path: "got").path) == data(folder.appending(path: "out.wav").path))
      #expect(try runTool(["vocode", stream, "-o", "/dev/null", "-q"], in: folder).status == 0)
    }
  }

  @Test func modelsAndTensorsThroughPipes() throws {
    try withFolder { folder in
      let model = Fixtures.path("onnx/residual.onnx")
      let archive = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/residual.npz"))
      let x = folder.appending(path: "x.npy").path
      try NumPy.write(archive.tensor("input_0"), to: x)
      let run = try runTool(["run", model, "--input", "x=-", "--output", "y=-"], in: folder, input: data(x))
      #expect(run.status == 0 && run.errors.hasPrefix("y: float32["), "\(run.errors)")
      try run.bytes.write(to: folder.appending(path: "got.npy"))
      let got = try NumPy.read(contentsOf: folder.appending(path: "got.npy").path)
      #expect(try got.distance(to: archive.tensor("output_0")).absolute < 1e-5)
      let piped = try runTool(
        ["run", "-", "--input", "x=x.npy", "--output", "y=y.npy"], in: folder, input: data(model))
      #expect(piped.status == 0 && piped.output.hasPrefix("y: float32["), "\(piped.errors)")
      #expect(try data(folder.appending(path: "y.npy").path) == run.bytes)
      // Two inputs cannot both be what comes once; here one thing serves as both.
      let script = "\(try tool().path) run \(model) --input x=<(cat x.npy) --output y=- 2> /dev/null"
      #expect(try runTool(["-c", script], in: folder, program: "/bin/bash").bytes == run.bytes)
      let inspected = try runTool(["inspect", "-"], in: folder, input: data(model))
      #expect(try inspected.status == 0 && inspected.output == runTool(["inspect", model], in: folder).output)
      for (arguments, words) in [
        (["--output", "q=-"], "one of y"), (["--output", "y=no/such/folder/y.npy"], "no/such/folder"),
      ] {
        let bad = try runTool(["run", model, "--input", "x=x.npy"] + arguments, in: folder)
        #expect(bad.status == 1 && bad.errors.contains(words) && bad.errors.split(separator: "\n").count == 1)
      }
      #expect(try runTool(["run", model, "--output", "y"], in: folder).status == 64)
    }
  }

  @Test func convertAndExportToStandardOutput() throws {
    try withFolder { folder in
      let checkpoint = Fixtures.path("torch/nested.pth")
      for format in ["safetensors", "npz"] {
        _ = try runTool(["convert", checkpoint, "out.\(format)", "--inside", "model.layers"], in: folder)
        let piped = try runTool(
          ["convert", checkpoint, "-", "--format", format, "--inside", "model.layers"], in: folder)
        #expect(piped.status == 0 && piped.errors.contains("2 tensors"), "\(piped.errors)")
        #expect(try piped.bytes == data(folder.appending(path: "out.\(format)").path))
      }
      let named = try runTool(
        ["convert", checkpoint, "tensors", "--format", "npz", "--inside", "model.layers"], in: folder)
      #expect(named.status == 0)
      for output in ["-", "tensors"] {
        let bad = try runTool(["convert", checkpoint, output], in: folder)
        #expect(bad.status == 1 && bad.bytes.isEmpty && bad.errors.contains("--format"), "\(bad.errors)")
      }
      let file = try runTool(["export", "out.onnx", "--frames", "3"], in: folder)
      let piped = try runTool(["export", "-", "--frames", "3"], in: folder)
      #expect(file.status == 0 && piped.status == 0, "\(file.errors) \(piped.errors)")
      #expect(try piped.bytes == data(folder.appending(path: "out.onnx").path))
    }
  }

  @Test func aPipeThatIsClosedEndsCleanly() throws {
    try withFolder { folder in
      let tool = try tool().path
      for command in [
        "vocode -o - -q", "export -", "inspect vocoder",
        "convert \(Fixtures.bundled("generator.safetensors")) - --format npz",
      ] {
        let script = "\(tool) \(command) | head -c 10 | wc -c"
        let run = try runTool(["-c", script], in: folder, program: "/bin/sh")
        #expect(run.output.trimmingCharacters(in: .whitespacesAndNewlines) == "10", "\(run.errors)")
        let isQuiet =
          run.errors.isEmpty
          || run.errors.split(separator: "\n").allSatisfy { !$0.hasPrefix("error") && !$0.contains("Fatal") }
        #expect(isQuiet, "\(run.errors)")
      }
      // Where the signal is ignored it is an error like others.
      let script = "trap '' PIPE; \(tool) vocode -o - -q | true; exit 0"
      let run = try runTool(["-c", script], in: folder, program: "/bin/bash")
      #expect(
        run.errors.split(separator: "\n").count == 1 && run.errors.hasPrefix("error: /dev/stdout: "), "\(run.errors)")
    }
  }

  @Test func terminalsAndEndlessDevicesAreRefused() throws {
    try withFolder { folder in
      // `script` of util-linux gives a program a terminal.
      let tool = try tool().path
      for arguments in ["vocode -o -", "export -", "vocode - -o out.wav"] {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/script") else { break }
        let command = "\(tool) \(arguments) 2> errors; test $? = 1"
        let run = try runTool(["-q", "-e", "-c", command, "/dev/null"], in: folder, program: "/usr/bin/script")
        let text = try String(contentsOf: folder.appending(path: "errors"), encoding: .utf8)
        #expect(run.status == 0 && text.hasPrefix("error: /dev/std") && text.contains("got a terminal"), "\(text)")
      }
      let endless = try runTool(
        ["run", Fixtures.path("audio/takes-t.onnx"), "--input", "x=/dev/zero", "--memory", "50"], in: folder)
      #expect(endless.status == 1 && endless.errors.contains("/dev/zero"), "\(endless.errors)")
      let empty = try runTool(["vocode", "-", "-o", "out.wav"], in: folder, input: Data())
      #expect(empty.status == 1 && empty.errors.contains("an empty file"), "\(empty.errors)")
    }
  }

  @Test(arguments: [
    ("TOEPLITZ_ISA", "foo", "baseline, avx2 or avx512"), ("TOEPLITZ_NUM_THREADS", "0", "threads"),
    ("TOEPLITZ_NUM_THREADS", "two", "threads"), ("TOEPLITZ_PIN_THREADS", "yes", "0 or 1"),
    ("TOEPLITZ_NUMERICS", "quick", "invariant or fast"), ("TOEPLITZ_MEMORY_LIMIT", "1GB", "megabytes"),
  ])
  func wrongVariablesAreErrors(name: String, value: String, expected: String) throws {
    try withFolder { folder in
      for command in [["inspect", "vocoder"], ["vocode"], ["convert", "a.pt", "b.npz"], ["bench", "--list"]] {
        let run = try runTool(command, in: folder, environment: [name: value])
        #expect(run.status == 1 && run.output.isEmpty && run.errors.split(separator: "\n").count == 1)
        for word in [name, "'\(value)'", expected] { #expect(run.errors.contains(word), "\(run.errors)") }
      }
      let empty = try runTool(["inspect", "vocoder"], in: folder, environment: [name: ""])
      #expect(empty.status == 0 && empty.errors.isEmpty)
    }
  }

  @Test func misspeltVariablesAreTold() throws {
    try withFolder { folder in
      let run = try runTool(["inspect", "vocoder"], in: folder, environment: ["TOEPLITZ_THREADS": "1"])
      #expect(run.status == 0 && run.errors.hasPrefix("warning: ") && run.errors.contains("TOEPLITZ_NUM_THREADS"))
    }
  }
}
