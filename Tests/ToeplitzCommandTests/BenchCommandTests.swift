import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzONNX
import ToeplitzTestSupport

/// The contract of `toeplitz bench`, which scripts are written against.
@Suite(.serialized) struct BenchCommandTests {
  /// The objects of an output of one JSON object a line.
  private func objects(_ run: ToolRun) throws -> [[String: GoldenValue]] {
    #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
    return try run.output.split(separator: "\n").map {
      try #require(JSONDecoder().decode(GoldenValue.self, from: Data($0.utf8)).object)
    }
  }

  private func bench(
    _ arguments: String..., in folder: URL, environment: [String: String] = [:]
  ) throws -> [[String: GoldenValue]] {
    try objects(
      runTool(["bench", "--json", "--seconds", "0.001"] + arguments, in: folder, environment: environment))
  }

  private func expectRefusal(_ arguments: [String], in folder: URL, status: Int32 = 1, mentioning words: String...)
    throws
  {
    let result = try runTool(["bench", "--json", "--no-machine"] + arguments, in: folder)
    #expect(result.status == status, "\(arguments): \(result.errors)")
    #expect(result.output.isEmpty, "\(result.output)")
    if status == 1 {
      #expect(result.errors.hasPrefix("error: ") && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    }
    for word in words { #expect(result.errors.contains(word), "\(word) is not in: \(result.errors)") }
  }

  @Test func `the list names every case once`() throws {
    try withFolder { folder in
      let cases = try objects(runTool(["bench", "--list"], in: folder))
      let names = cases.compactMap { $0["name"]?.string }
      #expect(names.count == 37 && Set(names).count == 37)
      let convolutions = cases.filter { $0["network"] == nil }
      #expect(convolutions.count == 30)
      #expect(convolutions.allSatisfy { $0["rank"]?.int == $0["size"]?.ints?.count && $0["isTransposed"]?.bool != nil })
      let networks = cases.filter { $0["network"] != nil }
      #expect(
        networks.compactMap { $0["name"]?.string } == [
          "hifigan.v1.100", "hifigan.v1.800", "hifigan.v3.100", "hifigan.v3.800", "resnet50", "mobilenetv2", "unet",
        ])
      #expect(networks.allSatisfy { $0["inputShape"]?.ints?.count ?? 0 >= 3 })
    }
  }

  @Test func `each case is one object with time, rate and shares`() throws {
    try withFolder { folder in
      let results = try bench("--case", "vocos.dw7", "--case", "hifigan.post", "--threads", "1", in: folder)
      #expect(results.compactMap { $0["case"]?.string } == ["hifigan.post", "vocos.dw7"])
      for (result, gflop) in zip(results, [2.0 * 32 * 7 * 25600, 2.0 * 512 * 7 * 400]) {
        let milliseconds = try #require(result["ms"]?.double)
        let rate = try #require(result["gflops"]?.double)
        #expect(milliseconds > 0)
        #expect(abs(rate * milliseconds * 1e6 / gflop - 1) < 0.01)
        #expect(try #require(result["min_ms"]?.double) <= milliseconds)
        #expect(try #require(result["spread"]?.double) >= 0)
        #expect(try #require(result["peak_share"]?.double) > 0)
        #expect(try #require(result["bandwidth_share"]?.double) > 0)
        #expect(result["threads"]?.int == 1)
        #expect(result["numerics"]?.string == "invariant")
        #expect(InstructionSet.allCases.contains { $0.rawValue == result["isa"]?.string })
        #expect(try #require(result["buffers"]?.int) >= 2)
        #expect(result["fresh_blocks"]?.int == 0)
        #expect(result["times_ms"] == nil)
      }
    }
  }

  @Test func `options and environment choose how it runs`() throws {
    try withFolder { folder in
      func one(_ arguments: String..., environment: [String: String] = [:]) throws -> [String: GoldenValue] {
        let run = try runTool(
          ["bench", "--json", "--seconds", "0.001", "--no-machine", "--case", "vocos.dw7"] + arguments, in: folder,
          environment: environment)
        return try #require(objects(run).first)
      }
      #expect(try one()["storage"]?.string == "float32")
      for storage in ["float16", "bfloat16"] {
        #expect(try one("--storage", storage)["storage"]?.string == storage)
      }
      let times = try one("--times", "--buffers", "3", "--numerics", "fast")
      #expect(times["times_ms"]?.array?.count ?? 0 >= 3)
      #expect(times["buffers"]?.int == 3 && times["numerics"]?.string == "fast")
      #expect(times["peak_share"] == nil && times["bandwidth_share"] == nil)
      #expect(try one(environment: ["TOEPLITZ_NUMERICS": "fast"])["numerics"]?.string == "fast")
      #expect(
        try one("--numerics", "invariant", environment: ["TOEPLITZ_NUMERICS": "fast"])["numerics"]?.string
          == "invariant")
      #expect(try one(environment: ["TOEPLITZ_ISA": "baseline"])["isa"]?.string == "baseline")
      #expect(try one(environment: ["TOEPLITZ_NUM_THREADS": "1"])["threads"]?.int == 1)
    }
  }

  @Test func `the table has a line for each case`() throws {
    try withFolder { folder in
      let run = try runTool(["bench", "--case", "vocos.dw7", "--seconds", "0.001", "--threads", "1"], in: folder)
      let lines = run.output.split(separator: "\n")
      #expect(run.status == 0 && lines.count == 4, "\(run.output)")
      #expect(lines[0].contains("threads: 1") && lines[0].contains("invariant"))
      #expect(lines[1].contains("GFLOP/s") && lines[1].contains("GB/s"))
      #expect(lines[2].contains("peak") && lines[2].contains("memory"))
      #expect(lines[3].hasPrefix("vocos.dw7") && lines[3].contains("%"))
    }
  }

  @Test func `given data is computed with`() throws {
    try withFolder { folder in
      let source = Generator(seed: 4)
      let layer = try Conv1d(
        inChannels: 512, outChannels: 512, kernelSize: 7, padding: 3, groups: 512, generator: source)
      let x = try source.normal([1, 512, 400])
      let state = layer.stateDictionary()
      func path(_ name: String) -> String { folder.appending(path: name).path }
      try NumPy.write(x, to: path("x.npy"))
      try NumPy.write(try #require(state["weight"]), to: path("weight.npy"))
      try NumPy.write(try #require(state["bias"]), to: path("bias.npy"))
      _ = try bench("--case", "vocos.dw7", "--data", ".", "--buffers", "2", in: folder)
      #expect(try NumPy.read(contentsOf: path("y.npy")).sameBits(as: layer(x)))
      _ = try bench(
        "--case", "vocos.dw7", "--data", ".", "--buffers", "2", "--threads", "3", in: folder,
        environment: ["TOEPLITZ_PIN_THREADS": "1"])
      #expect(try NumPy.read(contentsOf: path("y.npy")).sameBits(as: layer(x)), "pinned")

      // A network takes a state dictionary.
      let model = try HiFiGANGenerator(.v3, generator: Generator(seed: 6)).eval()
      let mel = try source.normal([1, 80, 100])
      try Safetensors.write(model.stateDictionary(), to: path("weights.safetensors"))
      try NumPy.write(mel, to: path("x.npy"))
      _ = try bench("--case", "hifigan.v3.100", "--data", ".", "--no-machine", in: folder)
      #expect(try NumPy.read(contentsOf: path("y.npy")).sameBits(as: model(mel)))
      // Or is a model, which is compiled; the state dictionary does not count then.
      let other = try HiFiGANGenerator(.v3, generator: Generator(seed: 7)).eval()
      try other.exportONNX(to: path("model.onnx"), input: mel)
      _ = try bench("--case", "hifigan.v3.100", "--data", ".", "--no-machine", in: folder)
      #expect(try NumPy.read(contentsOf: path("y.npy")).distance(to: other(mel)).absolute < 1e-5)
      try expectRefusal(
        ["--case", "hifigan.v3.100", "--data", ".", "--storage", "float16"], in: folder, mentioning: "model.onnx",
        "float32")
      try FileManager.default.removeItem(atPath: path("model.onnx"))

      try expectRefusal(["--case", "vocos.dw7", "--data", "."], in: folder, mentioning: "x.npy", "[1, 512, 400]")
      try NumPy.write(x, to: path("x.npy"))
      try expectRefusal(["--case", "vocos.dw7", "--data", "."], in: folder, mentioning: "missing keys: weight, bias")
      try expectRefusal(["--case", "vocos.dw7", "--data", "nowhere"], in: folder, mentioning: "nowhere/x.npy")
    }
  }

  @Test func `a new length costs no new memory`() throws {
    try withFolder { folder in
      for name in ["vocos.dw7", "wav2vec.conv0"] {
        let result = try #require(bench("--lengths", "40", "--case", name, in: folder).first)
        let lengths = try #require(result["lengths"]?.ints)
        #expect(lengths.count == 40 && Set(lengths).count == 40 && lengths != lengths.sorted())
        let longest = name == "vocos.dw7" ? 400 : 16000
        #expect(lengths.allSatisfy { (longest / 8...longest).contains($0) })
        #expect(result["first_ms"]?.array?.count == 40 && result["second_ms"]?.array?.count == 40)
        #expect(result["fresh_blocks"]?.int == 0)
      }
      let text = try runTool(["bench", "--lengths", "3", "--case", "hifigan.pre"], in: folder)
      #expect(text.status == 0 && text.output.contains("3 lengths") && text.output.contains("fresh blocks"))
      let model = ["--model", Fixtures.path("onnx/residual.onnx")]
      let sizes = ["--size", "N=2", "--size", "H=64/8", "--size", "W=60"]
      let found = try objects(runTool(["bench", "--json", "--lengths", "9"] + model + sizes, in: folder))
      #expect(found[0]["first_ms"]?.array?.count == 9 && found[0]["sizes"]?.array?.count == 9)
      try expectRefusal(["--lengths", "3"] + model, in: folder, mentioning: "H, N, W")
      try expectRefusal(["--lengths", "3", "--size", "N=1"] + model, in: folder, mentioning: "H, N, W")
      let few = ["--size", "N=1", "--size", "H=1", "--size", "W=2"]
      try expectRefusal(["--lengths", "3"] + model + few, in: folder, mentioning: "at most 2")
      try expectRefusal(["--lengths", "3", "--case", "unet.up"], in: folder, mentioning: "one spatial axis")
      try expectRefusal(["--lengths", "1000", "--case", "hifigan.pre"], in: folder, mentioning: "--lengths in 1...")
      try expectRefusal(["--lengths", "0", "--case", "hifigan.pre"], in: folder, mentioning: "--lengths in 1...")
    }
  }

  @Test func `wrong names and usage are refused`() throws {
    try withFolder { folder in
      try expectRefusal(["--case", "nonsense"], in: folder, mentioning: "nonsense", "hifigan.pre", "unet")
      try expectRefusal(
        ["--case", "unet.256", "--buffers", "100000"], in: folder, mentioning: "--buffers", "unet.256")
      for arguments in [
        ["--numerics", "quick"], ["--threads", "0"], ["--seconds", "0"], ["--seconds", "nan"], ["--buffers", "0"],
        ["--lengths", "5"], ["--data", "."], ["--case", "a", "--case", "b", "--data", "."],
        ["--case", "hifigan.pre", "--lengths", "5", "--data", "."],
      ] {
        try expectRefusal(arguments, in: folder, status: 64)
      }
    }
  }
}
