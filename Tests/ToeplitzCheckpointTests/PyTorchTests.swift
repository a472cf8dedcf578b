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

  /// The values of a pickle that holds no tensors, by dotted names.
  private func plainValues(_ text: String) throws -> [String: String] {
    let bytes = Block(latin1(text))
    var unpickler = Unpickler(bytes.bytes, FilePlace(file: "test"))
    defer { unpickler.clear() }
    let maker = PickleTensorMaker(FilePlace(file: "test")) { _ in .init(bytes: bytes.bytes, owner: bytes) }
    var flattener = PickleFlattener(place: FilePlace(file: "test"), maker: maker)
    try withExtendedLifetime(bytes) { try flattener.add(unpickler.value()) }
    return flattener.found.metadata
  }

  /// What `pickletools` says that each opcode does.
  @Test func opcodesOfAllProtocols() throws {
    let cases: [(String, [String: String])] = [
      ("(dp0\nS'a'\np1\nF1.5\nsg1\nI7\ns.", ["a": "7"]),
      ("(lp0\nI01\naI00\naL-12L\na.", ["0": "True", "1": "False", "2": "-12"]),
      ("(S'a\\x41\\n\\''\nV\\u00e9\\U0001F600\u{E9}\nt.", ["0": "aA\n'", "1": "é\u{1F600}é"]),
      ("(I1\nI2\nl.", ["0": "1", "1": "2"]),
      ("(S'k'\nI3\nd.", ["k": "3"]), ("]2(I1\ne0K\u{5}.", ["": "5"]), ("(K\u{1}(K\u{2}K\u{3}1t.", ["0": "1"]),
      ("]q\u{3}(K\u{1}Nh\u{3}0t.", ["0": "1"]), ("]r\u{4}\u{1}\0\0(M\u{1}\u{2}ej\u{4}\u{1}\0\0.", ["0": "513"]),
      (
        "\u{80}\u{2}(J\u{FF}\u{FF}\u{FF}\u{FF}\u{8A}\u{2}\u{0}\u{80}\u{8B}\u{1}\0\0\0\u{7}t.",
        ["0": "-1", "1": "-32768", "2": "7"]
      ),
      ("\u{80}\u{2}\u{88}\u{89}\u{86}.", ["0": "True", "1": "False"]),
      ("(U\u{1}aT\u{2}\0\0\0bct.", ["0": "a", "1": "bc"]),
      ("\u{80}\u{3}(C\u{1}aB\u{1}\0\0\0bG?\u{E0}\0\0\0\0\0\0t.", ["2": "0.5"]),
      ("\u{80}\u{4}\u{95}\u{9}\0\0\0\0\0\0\0\u{8C}\u{1}a\u{94}h\0\u{86}.", ["0": "a", "1": "a"]),
      ("\u{80}\u{4}\u{8D}\u{2}\0\0\0\0\0\0\0ab.", ["": "ab"]),
      ("\u{80}\u{4}\u{8E}\u{1}\0\0\0\0\0\0\0aK\u{1}\u{86}.", ["1": "1"]),
      ("\u{80}\u{5}\u{96}\u{1}\0\0\0\0\0\0\0aK\u{1}\u{86}.", ["1": "1"]),
      ("\u{80}\u{4}\u{8F}(K\u{1}\u{90}K\u{2}\u{86}.", ["1": "2"]),
      ("\u{80}\u{4}(K\u{1}\u{91}K\u{2}\u{86}.", ["1": "2"]), ("(ia\nb\n}U\u{1}xK\u{4}sb.", ["x": "4"]),
      ("(ca\nb\noN}U\u{1}xK\u{4}s\u{86}b.", ["x": "4"]), ("ca\nb\n)}\u{92}}U\u{1}xK\u{4}sb.", ["x": "4"]),
      ("ca\nb\n)RK\u{3}aU\u{1}xK\u{4}s.", ["0": "3", "x": "4"]), ("\u{82}\u{1})\u{81}}U\u{1}xK\u{4}sb.", ["x": "4"]),
      ("\u{83}\u{1}\u{1})\u{81}}U\u{1}xK\u{4}sb.", ["x": "4"]),
      ("\u{84}\u{1}\0\0\0)\u{81}}U\u{1}xK\u{4}sb.", ["x": "4"]),
      ("c__builtin__\ndict\n(]U\u{1}xK\u{4}\u{86}atR.", ["x": "4"]),
      ("ccollections\ndeque\n]K\u{1}aK\u{5}\u{86}R.", ["0": "1"]),
      ("}K\u{1}K\u{2}s\u{88}K\u{3}sG?\u{F0}\0\0\0\0\0\0K\u{4}s.", ["1": "4"]),
    ]
    for (pickle, values) in cases { #expect(try plainValues(pickle) == values, "\(pickle)") }
  }

  @Test func tensorsInASetAreNoTensorsOfAName() throws {
    let view =
      "ctorch._utils\n_rebuild_tensor\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQI0\n(I1\nt(I1\nttR"
    let block = Block(latin1("\u{80}\u{4}}(U\u{1}a\u{8F}(\(view)\u{90}u."))
    let checkpoint = try PyTorch.decode(block.bytes, owner: block, source: "test")
    #expect(checkpoint.names.isEmpty && checkpoint.unreadable["a"]?.got == "tensors in a set")
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
