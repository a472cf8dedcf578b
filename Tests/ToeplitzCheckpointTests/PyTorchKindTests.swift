import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint

/// Checkpoints of many kinds against what PyTorch loads from them; `kinds.py` wrote them.
@Suite struct PyTorchKindTests {
  private static func path(_ name: String) -> String { Fixtures.path("torch/kinds/\(name)") }
  /// The names of the tensors in each file that cannot be read.
  private static let files: [String: [String]] = {
    let json = try? Data(contentsOf: URL(fileURLWithPath: path("unreadable.json")))
    return json.flatMap { try? JSONDecoder().decode([String: [String]].self, from: $0) } ?? [:]
  }()

  @Test(arguments: files.keys.sorted())
  func everyTensorIsThatOfPyTorch(_ file: String) throws {
    let expected = try Checkpoint(contentsOf: Self.path("expected.safetensors"))
    let checkpoint = try Checkpoint(contentsOf: Self.path(file))
    let prefix = file + ":"
    let names = expected.names.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    let own = checkpoint.names.filter { !$0.hasPrefix("CONSTANTS") || names.contains($0) }
    #expect(own == names.sorted() && !names.isEmpty)
    for name in names {
      let tensor = try checkpoint.tensor(name)
      #expect(try tensor.spec == expected.tensor(prefix + name).spec, "\(name)")
      #expect(try tensor.contiguous().sameBits(as: expected.tensor(prefix + name)), "\(name)")
    }
    #expect(checkpoint.unreadable.keys.sorted() == Self.files[file])
    for name in checkpoint.unreadable.keys {
      let error = #expect(throws: ToeplitzError.self) { try checkpoint.tensor(name) }
      #expect(error?.kind == .unsupported && error?.path == name)
    }
  }

  @Test func allKindsAreThere() { #expect(Self.files.count == 40) }

  @Test func plainValuesAreMetadata() throws {
    let metadata = try Checkpoint(contentsOf: Self.path("objects.pt")).metadata
    let expected = [
      "counts.2": "1", "path": "/a/b", "day": "2020-01-02", "time": "2020-01-02T03:04:05.000006", "args.lr": "0.5",
      "args.names.0": "x", "scalar": "0.25", "number": "-4", "flag": "True", "type": "torch.float16",
      "device": "cuda:0", "size.0": "1", "size.1": "2", "settings.rate": "2",
    ]
    for (name, value) in expected { #expect(metadata[name] == value, "\(name)") }
  }

  @Test func whatWasDoneIsSaid() throws {
    let complex = try Checkpoint(contentsOf: Self.path("complex.pt"))
    #expect(complex.remarks["z"]?.contains("imaginary") == true && complex.remarks["neg"] == nil)
    #expect(try Checkpoint(contentsOf: Self.path("quantized.pt")).remarks["i8"] == "dequantised")
    #expect(try Checkpoint(contentsOf: Self.path("sparse.pt")).remarks["csr"] == "sparse in the file")
  }

  @Test func collisionsNameBothKeys() throws {
    for (file, name, keys) in [
      ("torch/kinds/collision_list.pt", "a.0", ["['a'][0]", "['a.0']"]),
      ("torch/kinds/collision_deep.pt", "a.b.c", ["['a.b']['c']", "['a']['b.c']"]),
      ("torch/kinds/collision_none.pt", "None", ["[None]", "['None']"]),
      ("cases/pt_key_collision/dotted.pt", "a.b", ["['a.b']", "['a']['b']"]),
      ("cases/pt_key_collision/int_and_text.pt", "1", ["[1]", "['1']"]),
    ] {
      let checkpoint = try Checkpoint(contentsOf: Fixtures.path(file))
      #expect(checkpoint[name] == nil)
      let error = #expect(throws: ToeplitzError.self) { try checkpoint.tensor(name) }
      for key in keys { #expect(error?.got.contains(key) == true, "\(error?.description ?? "")") }
    }
  }

  @Test func foreignFunctionsAreNamedWhereTensorsDependOnThem() throws {
    let error = #expect(throws: ToeplitzError.self) {
      try Checkpoint(contentsOf: Self.path("foreign.pt")).tensor("made")
    }
    #expect(error?.got.contains("'__main__.make'") == true && error?.expected.contains("state_dict") == true)
  }

  @Test(arguments: ["counter.pt", "namespace.pt", "numpy_scalar.pt"])
  func foreignValuesLockNothing(_ name: String) throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("cases/pt_foreign_object/\(name)"))
    #expect(checkpoint.unreadable.isEmpty)
    let inside = checkpoint.inside("state_dict")
    #expect(inside.names == ["bias", "weight"])
    #expect(try inside.tensor("weight").shape == [3, 2, 3] && inside.tensor("bias").shape == [3])
  }
}
