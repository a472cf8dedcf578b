import Foundation
import Testing
import ToeplitzCheckpoint
@testable import ToeplitzGraph
import ToeplitzONNX
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

@Suite struct RefusalTests {
  private func port(_ name: String) -> Message {
    Message().with(1, name).with(2, Message().with(1, Message().with(1, 1)))
  }

  private func node(_ operation: String, _ inputs: [String], _ outputs: [String], domain: String = "") -> Message {
    var node = Message().with(4, operation).with(7, domain)
    for input in inputs { node = node.with(1, input) }
    for output in outputs { node = node.with(2, output) }
    return node
  }

  private func model(_ nodes: [Message], tensors: [Message] = [], irVersion: UInt64 = 8, opset: UInt64 = 17) -> [UInt8]
  {
    var graph = Message().with(2, "g")
    for node in nodes { graph = graph.with(1, node) }
    for tensor in tensors { graph = graph.with(5, tensor) }
    graph = graph.with(11, port("x")).with(12, port("y"))
    return Message().with(1, irVersion).with(7, graph).with(8, Message().with(2, opset)).bytes
  }

  private func refuse(_ bytes: [UInt8], _ kind: ToeplitzError.Kind, _ words: String...) {
    let error = #expect(throws: ToeplitzError.self) { try Executable(onnx: bytes) }
    #expect(error?.kind == kind, "\(error?.description ?? "")")
    for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
  }

  @Test func aModelMadeHereRuns() throws {
    let model = try Executable(onnx: model([node("Neg", ["x"], ["y"])]))
    #expect(try model(["x": Tensor([1, -2])])["y"]?.scalars(Float.self) == [-1, 2])
  }

  @Test func inputsOfOneNameAreRefused() {
    var graph = Message().with(2, "g").with(1, node("Neg", ["x"], ["y"]))
    graph = graph.with(11, port("x")).with(11, port("x")).with(12, port("y"))
    refuse(Message().with(1, 8).with(7, graph).with(8, Message().with(2, 17)).bytes, .format, "one value of each name")
  }

  /// Two `...` in one operand once read beyond the operand's axes.
  @Test(arguments: ["...a...->a", "......", "a......,a->"])
  func oneEllipsisAnOperand(equation: String) {
    let attribute = Message().with(1, "equation").with(4, equation).with(20, 3)
    refuse(model([node("Einsum", ["x"], ["y"]).with(5, attribute)]), .argument, "at most one ...")
  }

  @Test func allUnsupportedOperatorsAreNamedAtOnce() {
    refuse(
      model([
        node("Foo", ["x"], ["a"]), node("Relu", ["a"], ["b"]), node("Bar", ["b"], ["y"], domain: "com.example"),
      ]), .unsupported, "Foo (domain ai.onnx, opset 17, node 'a')", "Bar (domain com.example, no opset, node 'y')")
  }

  @Test func brokenStructureIsRefused() {
    refuse([], .format, "an empty file")
    refuse(Array("just text, no model at all".utf8), .format)
    refuse(model([node("Neg", ["x"], ["y"])], irVersion: 2), .format, "IR version")
    refuse(model([node("Neg", ["z"], ["y"])]), .format, "'z'")
    refuse(model([node("Neg", ["x"], ["z"])]), .format, "y")
    refuse(model([node("Neg", ["y"], ["y"])]), .format, "'y'")
    refuse(model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), .format, "'y'")
  }

  @Test func tensorsMustHaveTheirBytes() {
    func refuse(_ tensor: Message, _ kind: ToeplitzError.Kind, _ words: String...) {
      let error = #expect(throws: ToeplitzError.self) {
        try Executable(onnx: model([node("Add", ["x", "w"], ["y"])], tensors: [tensor.with(8, "w")]))
      }
      #expect(error?.kind == kind && error?.path == "w", "\(error?.description ?? "")")
      for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
    }
    refuse(Message().with(1, 3).with(2, 1).with(9, [0, 0, 0, 0]), .format, "12 bytes", "got 4")
    refuse(Message().with(1, 3).with(2, 1), .format, "3 elements", "got 0")
    refuse(Message().with(1, 1 << 62).with(1, 1 << 62).with(2, 1), .format)
    refuse(Message().with(1, UInt64.max).with(2, 1), .format, "at least 0")
    refuse(Message().with(1, 2).with(2, 8).with(6, "a"), .format, "2 strings", "got 1")
    refuse(Message().with(1, 1).with(2, 8).with(6, [0xC3]), .format, "UTF-8")
    refuse(Message().with(1, 1 << 40).with(1, 1 << 40).with(2, 8).with(6, "a"), .format)
    refuse(Message().with(1, 1).with(2, 99), .format, "number 99")
    refuse(Message().with(1, 1).with(2, 9).with(9, [2]), .format, "0 or 1")
  }

  @Test func externalDataStaysInTheFolder() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let inner = folder.appending(path: "inner")
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    try Data(count: 64).write(to: folder.appending(path: "secret.bin"))
    try Data(count: 64).write(to: inner.appending(path: "data.bin"))
    try FileManager.default.createSymbolicLink(
      at: inner.appending(path: "link.bin"), withDestinationURL: folder.appending(path: "secret.bin"))
    func load(_ entries: [String: String]) throws -> Executable {
      var tensor = Message().with(1, 4).with(2, 1).with(8, "w").with(14, 1)
      for (key, value) in entries { tensor = tensor.with(13, Message().with(1, key).with(2, value)) }
      let path = inner.appending(path: "m.onnx")
      try Data(model([node("Add", ["x", "w"], ["y"])], tensors: [tensor])).write(to: path)
      return try Executable(contentsOf: path.path)
    }
    _ = try load(["location": "data.bin"])
    _ = try load(["location": "data.bin", "offset": "48", "length": "16"])
    for location in ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin", "", "missing.bin", "."] {
      #expect(throws: ToeplitzError.self) { try load(["location": location]) }
    }
    for (offset, length) in [("49", "16"), ("-4", "16"), ("x", "16"), ("0", "15"), ("9223372036854775807", "16")] {
      #expect(throws: ToeplitzError.self) { try load(["location": "data.bin", "offset": offset, "length": length]) }
    }
  }

  /// The cache of the Hugging Face hub: `snapshots/a` has links into `blobs`.
  @Test func dataMayBeBesideTheFileThatALinkLeadsTo() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = FileManager.default
    func link(_ place: String, to target: String) throws {
      let path = folder.appending(path: place)
      try files.createDirectory(at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
      try files.createSymbolicLink(atPath: path.path, withDestinationPath: target)
    }
    try files.copyItem(
      atPath: Fixtures.path("cases/hf_cache_symlinks/blobs"), toPath: folder.appending(path: "blobs").path)
    try link("snapshots/a/model.onnx", to: "../../blobs/aaa")
    try link("snapshots/a/model.onnx_data", to: "../../blobs/bbb")
    let x = try NumPy.read(contentsOf: Fixtures.path("cases/hf_cache_symlinks/x.npy"))
    func run(_ place: String) throws -> [Float] {
      try Executable(contentsOf: folder.appending(path: place).path)(x).scalars(Float.self)
    }
    let expected = try run("snapshots/a/model.onnx")
    #expect(expected.count == 9 && expected[..<3] == [15, 15, 15])
    // A link to a link, and a folder that is one.
    try link("snapshots/b/model.onnx", to: "../a/model.onnx")
    try link("snapshots/b/model.onnx_data", to: "../a/model.onnx_data")
    #expect(try run("snapshots/b/model.onnx") == expected)
    try link("main", to: "snapshots/a")
    #expect(try run("main/model.onnx") == expected)
    // Data that is only beside the file itself, under the name that the model gives.
    try files.copyItem(
      at: folder.appending(path: "blobs/bbb"), to: folder.appending(path: "blobs/model.onnx_data"))
    try link("elsewhere/model.onnx", to: "../blobs/aaa")
    #expect(try run("elsewhere/model.onnx") == expected)
    // A link out of both folders is refused, and so is a model that is a file itself beside a link out of its folder.
    try files.copyItem(at: folder.appending(path: "blobs/bbb"), to: folder.appending(path: "secret"))
    try link("snapshots/c/model.onnx", to: "../../blobs/aaa")
    try link("snapshots/c/model.onnx_data", to: "../../secret")
    let out = #expect(throws: ToeplitzError.self) { try run("snapshots/c/model.onnx") }
    #expect(out?.got.contains("a link out of it") == true)
    try files.createDirectory(at: folder.appending(path: "plain"), withIntermediateDirectories: true)
    try files.copyItem(at: folder.appending(path: "blobs/aaa"), to: folder.appending(path: "plain/model.onnx"))
    try link("plain/model.onnx_data", to: "../blobs/bbb")
    #expect(throws: ToeplitzError.self) { try run("plain/model.onnx") }
  }

  /// A model whose shapes depend on elements runs on computed tensors also while something else is traced.
  @Test func modelsWithCutsRunWithinTracedCode() throws {
    let inner = try Executable(onnx: model([node("NonZero", ["x"], ["z"]), node("Gather", ["x", "z"], ["y"])]))
    let table = try Tensor([0, 2, 0, 3])
    nonisolated(unsafe) let source = FunctionSource(inputs: [PortDescription(name: "x")], outputs: ["y"]) { x, _ in
      [try x[0] + inner(table)]
    }
    let outer = Executable(source)
    #expect(try outer(Tensor([10, 20])).scalars(Float.self) == [12, 23])
    // On traced tensors it has no shape.
    nonisolated(unsafe) let other = FunctionSource(inputs: [PortDescription(name: "x")], outputs: ["y"]) { x, _ in
      [try inner(x[0])]
    }
    let error = #expect(throws: ToeplitzError.self) { try Executable(other)(table) }
    #expect(error?.description.contains("NonZero") == true)
  }

  /// Damaged models give a result or an error, never a crash.
  @Test(arguments: 1...4)
  func mutatedModelsNeverCrash(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    func pick(_ count: Int) -> Int { Int(random.nextUnit() * Double(count)) }
    var (results, errors) = (0, 0)
    for name in ModelTests.names where name != "external" {
      let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("onnx/\(name).onnx"))))
      for _ in 0..<20 {
        var bytes = original
        for _ in 0...pick(3) {
          let at = pick(bytes.count)
          switch pick(20) {
          case 0: bytes.remove(at: at)
          case 1: bytes.insert(UInt8(pick(256)), at: at)
          case 2...10: bytes[at] ^= 1 << UInt8(pick(8))
          default: bytes[at] = UInt8(pick(256))
          }
          if bytes.isEmpty { bytes = [0] }
        }
        do {
          let model = try Executable(onnx: bytes)
          var inputs: [String: Tensor] = [:]
          for port in model.inputs {
            let sizes = (port.dimensions ?? []).map { if case .fixed(let size) = $0 { min(size, 8) } else { 3 } }
            inputs[port.name] = try Tensor.full(TensorShape(sizes), 1, dtype: port.dtype ?? .float32)
          }
          _ = try model.run(inputs)
          results += 1
        } catch is ToeplitzError {
          errors += 1
        }
      }
    }
    #expect(results > 20 && errors > 100, "\(results) results, \(errors) errors")
  }
}
