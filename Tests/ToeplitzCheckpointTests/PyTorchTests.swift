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

  /// Unpickles a program whose storages have 16 bytes.
  private func unpickle(_ parts: [UInt8]...) throws -> [String: Tensor] {
    let bytes = Block(parts.flatMap { $0 })
    var reader = Unpickler(bytes.bytes, FilePlace(file: "test")) { _, _, sizes, _, _ in try .zeros(Shape(sizes)) }
    return try reader.stateDictionary().tensors
  }

  @Test func hostilePicklesAreRefused() {
    func text(_ string: String) -> [UInt8] { Array(string.utf8) }
    let start: [UInt8] = [0x80, 2]
    let cases: [[UInt8]] = [
      [], start, start + text("."), start + text("0."), start + text("h\u{5}."), start + text("t."),
      start + text("cos\nsystem\n)R."), start + text("cbuiltins\neval\n)R."), start + text("N(a."),
      [0x80, 4] + [0x8C, 2] + text("os") + [0x8C, 6] + text("system") + [0x93] + text("."),
      start + text("X") + [0xFF, 0xFF, 0xFF, 0xFF] + text("abc"), start + text("(K\u{1}d."), start + text("Q."),
      start + text("ctorch\nFloatStorage\n)R."), start + text("]q") + [0] + text("h") + [0] + text("a."),
      start + text("ctorch._utils\n_rebuild_tensor_v2\n)R."), [0x80, 1] + text("N."), [0x80, 9] + text("N."),
      start + text("i"), start + text("otest\n"),
    ]
    for bytes in cases {
      #expect(throws: ToeplitzError.self, "\(bytes)") { try unpickle(bytes) }
    }
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

  @Test(arguments: 1...4)
  func mutatedCheckpointsNeverCrash(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("torch/state.pt"))))
    let archive = Block(original)
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
        _ = try unpickle(bytes)
        results += 1
      } catch is ToeplitzError {
        errors += 1
      }
    }
    #expect(results > 10 && errors > 1000, "\(results) results, \(errors) errors")
  }
}
