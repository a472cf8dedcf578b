import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

@Suite struct CheckpointTests {
  private func checkpoint() throws -> Checkpoint {
    Checkpoint(
      [
        "ups.0.weight": try Tensor([1, 2], shape: [2]), "ups.0.bias": try Tensor([3]),
        "ups.1.weight": try Tensor([4]), "upsample": try Tensor([5]), "conv_pre.weight_v": try Tensor([6]),
      ], metadata: ["k": "v"], source: "model.safetensors")
  }

  @Test func descends() throws {
    let top = try checkpoint()
    let part = top.inside("ups").inside(0)
    #expect(part.path == "ups.0" && top.inside("ups.0").path == part.path)
    #expect(part.names == ["bias", "weight"])
    #expect(part.metadata == ["k": "v"])
    #expect(part["weight"]?.shape == [2] && part["upsample"] == nil)
    #expect(try part.tensor("weight", shape: [2]).scalars(Float.self) == [1, 2])
    #expect(Set(top.inside("ups").tensors.keys) == ["0.weight", "0.bias", "1.weight"])
    #expect(top.names.count == 5 && top.inside("none").names.isEmpty)
    #expect(part.description == "Checkpoint(model.safetensors, ups.0: 2 tensors)")
  }

  @Test func missingNamesListSimilarOnes() throws {
    let top = try checkpoint()
    let error = #expect(throws: ToeplitzError.self) { try top.inside("ups.0").tensor("wieght") }
    #expect(error?.kind == .checkpoint && error?.operation == "model.safetensors")
    #expect(error?.path == "ups.0.wieght")
    #expect(error?.got.contains("similar names: ups.0.weight") == true)
    let suffix = #expect(throws: ToeplitzError.self) { try top.tensor("conv_pre.weight") }
    #expect(suffix?.got.contains("conv_pre.weight_v") == true)
    let prefix = #expect(throws: ToeplitzError.self) { try top.inside("generator").tensor("upsample") }
    #expect(prefix?.got.hasSuffix("similar names: upsample") == true)
    let nothing = #expect(throws: ToeplitzError.self) { try top.tensor("entirely.different") }
    #expect(nothing?.got == "none among 5")
    let empty = #expect(throws: ToeplitzError.self) { try Checkpoint([:]).tensor("") }
    #expect(empty?.got == "none among 0")
  }

  @Test func wrongShapesAreNamed() throws {
    let error = #expect(throws: ToeplitzError.self) {
      try checkpoint().inside("ups.0").tensor("weight", shape: [3])
    }
    #expect(error?.description == "model.safetensors (ups.0.weight): expected shape [3], got shape [2]")
  }

  @Test func hostileNamesKeepErrorsShort() throws {
    var tensors: [String: Tensor] = [:]
    let tensor = try Tensor([1])
    for index in 0..<6000 {
      tensors["layer.\(index)\n" + String(repeating: "x", count: index % 300)] = tensor
    }
    let error = #expect(throws: ToeplitzError.self) { try Checkpoint(tensors).tensor("layer.17\nxx") }
    #expect(error.map { !$0.description.contains("\n") && $0.description.utf8.count < 1500 } == true)
  }

  @Test func filesThatCannotBeRead() throws {
    for path in ["/nonexistent/a.safetensors", "/nonexistent/a.npz", "/nonexistent/a.json", "/a.txt", ""] {
      let error = #expect(throws: ToeplitzError.self) { try Checkpoint(contentsOf: path) }
      #expect(error?.kind == .file && error?.operation == path)
    }
    try withDirectory { directory in
      for call in [NumPy.read, { try NumPy.readArchive(contentsOf: $0).tensor("") }]
        as [(String) throws -> Tensor]
      {
        let error = #expect(throws: ToeplitzError.self) { try call(directory) }
        #expect(error?.kind == .file)
      }
    }
  }
}
