import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint

/// A file is known by its first bytes, whatever its name.
@Suite struct CheckpointFormatTests {
  @Test(arguments: ["g_02500000", "MODEL.PT"])
  func namesDoNotMatter(_ name: String) throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("cases/checkpoint_names/\(name)"))
    #expect(checkpoint.names == ["generator.bias", "generator.weight"])
    #expect(try checkpoint.tensor("generator.weight").shape == [3, 2, 3])
  }

  @Test(arguments: [
    ("checkpoint/reference.safetensors", "model.pth.tar"), ("checkpoint/stored.npz", "weights"),
    ("checkpoint/fortran.npy", "array.safetensors"), ("torch/state.pt", "pytorch_model.bin"),
    ("torch/kinds/legacy_state.pt", "a.npz"), ("torch/kinds/arrays2.pkl", "model.ckpt.safetensors"),
  ])
  func filesAreReadUnderOtherNames(_ file: String, _ name: String) throws {
    try withDirectory { directory in
      try FileManager.default.copyItem(atPath: Fixtures.path(file), toPath: "\(directory)/\(name)")
      let (renamed, original) = try (
        Checkpoint(contentsOf: "\(directory)/\(name)"), Checkpoint(contentsOf: Fixtures.path(file))
      )
      #expect(renamed.names == original.names && !renamed.names.isEmpty)
    }
  }

  @Test func aHeaderMayBeginLikeAPickle() throws {
    // A header of 0x0280 bytes: the file begins with the bytes of pickle protocol 2.
    try withDirectory { directory in
      let path = directory + "/a"
      let name = String(repeating: "n", count: 585)
      try Safetensors.write([name: Tensor([1])], to: path)
      #expect(try readFile(path).starts(with: [0x80, 2]))
      #expect(try Checkpoint(contentsOf: path).names == [name])
    }
  }

  @Test func otherFormatsAreNamed() throws {
    func refuse(_ bytes: [UInt8], _ text: String, location: SourceLocation = #_sourceLocation) throws {
      try withDirectory { directory in
        try writeFile(bytes, to: directory + "/model.pt")
        let error = #expect(throws: ToeplitzError.self, sourceLocation: location) {
          try Checkpoint(contentsOf: directory + "/model.pt")
        }
        #expect(error?.kind == .format, sourceLocation: location)
        #expect(error?.got.contains(text) == true, "\(error?.description ?? "")", sourceLocation: location)
      }
    }
    try refuse([], "an empty file")
    try refuse([1, 2, 3], "bytes of another format")
    try refuse([UInt8](repeating: 0, count: 257) + Array("ustar".utf8), "a tar archive, the format of PyTorch before")
    try refuse([0x1F, 0x8B, 8], "gunzip")
    try refuse(Array("version https://git-lfs.github.com/spec/v1\noid".utf8), "git lfs pull")
    try refuse(Array("<!DOCTYPE html>".utf8), "a web page")
    try refuse([0x89] + Array("HDF\r\n".utf8), "HDF5")
    try refuse(Array("GGUF".utf8), "GGUF")
  }

  @Test func textInAnArchiveLocksNoOtherMember() throws {
    let archive = try Checkpoint(contentsOf: Fixtures.path("cases/npz_string_member/data.npz"))
    #expect(archive.names == ["x"] && Array(archive.unreadable.keys) == ["names"])
    #expect(try archive.tensor("x").shape == [2, 3])
    let error = #expect(throws: ToeplitzError.self) { try archive.tensor("names") }
    #expect(error?.path == "names.npy" && error?.got == "'<U1' (text, which no tensor holds)")
    // Members of other kinds: bytes, objects, complex numbers, dates, structures, and no array at all.
    let others = try Checkpoint(contentsOf: fixture("members.npz"))
    #expect(others.names == ["x"])
    #expect(others.unreadable.keys.sorted() == ["bytes", "complex", "dates", "objects", "readme.txt", "structure"])
  }

  @Test func partsMayBePyTorchFiles() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("torch/kinds/pytorch_model.bin.index.json"))
    #expect(checkpoint.names == ["a", "b.c"])
    try withDirectory { directory in
      let index = directory + "/index.json"
      try writeFile(Array(#"{"weight_map":{"a":"index.json"}}"#.utf8), to: index)
      let error = #expect(throws: ToeplitzError.self) { try Checkpoint(contentsOf: index) }
      #expect(error?.got == "another index")
    }
  }
}
