import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint

/// PyTorch's checkpoints, read without running code.
@Suite struct PyTorchTests {
  @Test func everyTensorIsThatOfPyTorch() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("torch/state.pt"))
    let expected = try Checkpoint(contentsOf: Fixtures.path("torch/state.safetensors"))
    #expect(checkpoint.names == expected.names && checkpoint.names.count == 15)
    for name in expected.names {
      let tensor = try checkpoint.tensor(name)
      #expect(try tensor.contiguous().sameBits(as: expected.tensor(name)), "\(name)")
    }
    #expect(try !checkpoint.tensor("transposed").isContiguous)
  }

  @Test func nestedValuesGetDottedNames() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("torch/nested.pth"))
    #expect(checkpoint.names == ["model.layers.0", "model.layers.1.x"])
    #expect(checkpoint.metadata == ["epoch": "12", "rate": "0.5", "name": "test"])
    #expect(try checkpoint.inside("model").tensor("layers.1.x").scalars(Int64.self) == [-3, -2, -1, 0, 1, 2])
  }

  @Test func functionsAreRefused() throws {
    let error = #expect(throws: ToeplitzError.self) {
      try Checkpoint(contentsOf: Fixtures.path("torch/refused.ckpt"))
    }
    #expect(error?.kind == .format && error?.got.contains(".print'") == true, "\(error?.description ?? "")")
  }

  /// Unpickles a program whose storages have 4096 bytes.
  private func unpickle(_ parts: [UInt8]...) throws -> [String: Tensor] {
    let bytes = Block(parts.flatMap { $0 })
    let storage = Block([UInt8](repeating: 0, count: 4096))
    let place = FilePlace(file: "test")
    return try withExtendedLifetime((bytes, storage)) {
      var unpickler = Unpickler(bytes.bytes, place)
      defer { unpickler.clear() }
      let maker = PickleTensorMaker(place) { _ in .init(bytes: storage.bytes, owner: storage) }
      var flattener = PickleFlattener(place: place, maker: maker)
      try flattener.add(unpickler.value())
      return flattener.found.tensors
    }
  }

  private func text(_ string: String) -> [UInt8] { Array(string.utf8) }

  @Test func damagedPicklesAreRefused() {
    let start: [UInt8] = [0x80, 2]
    let cases: [[UInt8]] = [
      [], start, start + text("."), start + text("0."), start + text("h\u{5}."), start + text("t."),
      start + text("N(a."), start + text("X") + [0xFF, 0xFF, 0xFF, 0xFF] + text("abc"), start + text("(K\u{1}d."),
      start + text("Q."), start + text("NR."), start + text("K\u{1})R."),
      start + text("ctorch._utils\n_rebuild_tensor_v2\n)R."), [0x80, 9] + text("N."), start + text("i"),
      start + text("otest\n"), text("Ix\n."), text("L12xL\n."), text("Fone\n."), text("Stext\n."), text("S'a\\\n."),
      text("S'\\xg0'\n."), text("V\\u12\n."), text("gx\n."), text("Npx\n."), text("P1\n."), start + [0x97] + text("."),
      [0x80, 5, 0x8E] + [UInt8](repeating: 0xFF, count: 8), start + [0x8F] + text("N") + [0x90] + text("."),
      start + text("ccopyreg\n__newobj__\n(ccopyreg\n__newobj__\nNtR."), start + [0xFF] + text("."),
    ]
    for bytes in cases {
      #expect(throws: ToeplitzError.self, "\(String(decoding: bytes, as: UTF8.self))") { try unpickle(bytes) }
    }
  }

  /// Calls become descriptions, so that all there is to refuse is that no tensor is left.
  @Test func callsAreNotRun() {
    let calls = [
      "cos\nsystem\n(S'touch hacked'\ntR.", "(S'touch hacked'\nios\nsystem\n.", "(cos\nsystem\nS'touch hacked'\no.",
      "cos\nsystem\n)\u{81}.", "cbuiltins\neval\n(S'1'\ntR}b.", "ccopyreg\n_reconstructor\n(cos\nsystem\nNNtR.",
    ]
    for call in calls {
      let block = Block([0x80, 2] + latin1(call))
      let error = #expect(throws: ToeplitzError.self, "\(call)") {
        try PyTorch.decode(block.bytes, owner: block, source: "test")
      }
      #expect(error?.kind == .format && error?.expected.contains("state_dict()") == true)
      #expect(error?.got.contains("'os.system'") == true || error?.got.contains("'builtins.eval'") == true)
    }
    #expect(!FileManager.default.fileExists(atPath: "hacked"))
  }

  @Test func deepNestingIsRefusedWithoutDeepRecursion() {
    let depth = 200_000
    let bytes =
      [0x80, 2] + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
      + [UInt8](repeating: UInt8(ascii: "a"), count: depth - 1) + [UInt8(ascii: ".")]
    let error = #expect(throws: ToeplitzError.self) { try unpickle(bytes) }
    #expect(error?.description.contains("nested") == true)
  }

  @Test func exponentialReferencesAreRefused() {
    var bytes: [UInt8] = [0x80, 2, UInt8(ascii: "]"), UInt8(ascii: "q"), 0]
    for level in 0..<UInt8(40) {
      bytes += [UInt8(ascii: "]"), UInt8(ascii: "q"), level + 1, UInt8(ascii: "(")]
      bytes += [UInt8(ascii: "h"), level, UInt8(ascii: "h"), level, UInt8(ascii: "e")]
    }
    #expect(throws: ToeplitzError.self) { try unpickle(bytes, [UInt8(ascii: ".")]) }
  }

  /// The pickles of archives, with storages of 4096 bytes whatever they name.
  @Test(arguments: [
    "torch/state.pt", "torch/kinds/quantized.pt", "torch/kinds/sparse.pt", "torch/kinds/complex.pt",
    "torch/kinds/numpy.pt", "torch/kinds/objects.pt", "torch/kinds/module.pt", "torch/kinds/protocol5.bin",
  ])
  func mutatedCheckpointsNeverCrash(_ name: String) throws {
    var random = RandomSource(seed: 1)
    let archive = Block(try readFile(Fixtures.path(name)))
    let entries = try ZipArchive(archive.bytes, FilePlace(file: "test")).entries
    let pickle = try #require(entries.first { $0.name.hasSuffix("data.pkl") })
    let contents = Array(archive.bytes[pickle.data])
    var (results, errors) = (0, 0)
    for _ in 0..<3000 {
      var bytes = contents
      for _ in 0...Int(random.nextUnit() * 4) {
        bytes[Int(random.nextUnit() * Double(bytes.count))] = UInt8(random.nextUnit() * 256)
      }
      do {
        for tensor in try unpickle(bytes).values where tensor.count < 1 << 16 { _ = try tensor.bytes() }
        results += 1
      } catch is ToeplitzError {
        errors += 1
      }
    }
    #expect(results > 10 && errors > 300, "\(results) results, \(errors) errors")
  }
}
