import Foundation
import Testing
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint
@testable import ToeplitzTensor

/// Files that `torch.load` reads are read back here; that PyTorch reads them too was checked with PyTorch 2.9.
@Suite struct PyTorchWriteTests {
  private func written(_ value: PyTorchValue) throws -> Checkpoint {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "file.pt").path
    try PyTorch.write(value, to: path)
    return try Checkpoint(contentsOf: path)
  }

  @Test func tensorsOfEveryTypeComeBack() throws {
    let tensors: [String: Tensor] = [
      "f32": try Tensor([1, -2.5, .infinity] as [Float]), "f64": try Tensor([0.1, -7], shape: [2, 1], device: .cpu),
      "f16": try Tensor([Float16(1.5)]), "bf16": try Tensor([BFloat16(3)]), "i64": try Tensor([Int64.min, 3]),
      "i32": try Tensor([Int32(-4)]), "i16": try Tensor([Int16(-300)]), "i8": try Tensor([Int8(-5)]),
      "u8": try Tensor([UInt8(250)]), "bool": try Tensor([true, false]), "empty": try Tensor([Float](), shape: [0, 3]),
      "scalar": try Tensor(scalar: 2.5),
    ]
    let found = try written(.tensors(tensors))
    #expect(Set(found.names) == Set(tensors.keys))
    for (name, tensor) in tensors { #expect(try found.tensor(name).sameBits(as: tensor), "\(name)") }
  }

  @Test func structuresComeBack() throws {
    let view = try Tensor((0..<6).map(Float.init), shape: [2, 3]).transposedForTest()
    let found = try written(
      .dictionary([
        (.text("state"), .dictionary([(.int(7), .dictionary([(.text("x"), .tensor(view))]))])),
        (.text("rate"), .double(-1e-300)), (.text("count"), .int(1 << 40)), (.text("small"), .int(-3)),
        (.text("flags"), .list([.bool(true), .bool(false), .none])), (.text("betas"), .tuple([.double(0.5), .int(1)])),
        (.text("name"), .text("ü'\n")), (.text("nothing"), .list([])), (.text("void"), .dictionary([])),
      ]))
    #expect(try found.tensor("state.7.x").sameBits(as: view.contiguous()))
    let texts = [
      "rate": "-1e-300", "count": "\(1 << 40)", "small": "-3", "flags.0": "True", "flags.1": "False", "betas.0": "0.5",
      "betas.1": "1", "name": "ü'\n",
    ]
    for (name, text) in texts { #expect(found.metadata[name] == text, "\(name)") }
    #expect(found.metadata.count == texts.count)
  }

  @Test func typesThatPyTorchLacksAreRefused() throws {
    let tensor = try Tensor([UInt64(1)])
    #expect(throws: ToeplitzError.self) { try written(.tensor(tensor)) }
  }
}

extension Tensor {
  /// A view with other strides: the last two axes exchanged.
  fileprivate func transposedForTest() -> Tensor {
    Tensor(
      storage: storage, shape: [shape[1], shape[0]], strides: [strides[1], strides[0]], offset: offset, dtype: dtype)
  }
}
