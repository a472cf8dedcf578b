import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint

/// The format of `torch.save` before PyTorch 1.6.
@Suite struct LegacyPyTorchTests {
  private func bytes(_ name: String) throws -> [UInt8] { try readFile(Fixtures.path(name)) }

  @Test func theOldFormatIsRead() throws {
    let checkpoint = try Checkpoint(contentsOf: Fixtures.path("cases/legacy_pt/legacy.pt"))
    #expect(checkpoint.names == ["bias", "weight"])
    #expect(try checkpoint.tensor("weight").shape == [3, 2, 3] && checkpoint.tensor("bias").shape == [3])
  }

  @Test func everyPrefixIsRefused() throws {
    let whole = try bytes("torch/kinds/legacy_python2.pt")
    for length in 0..<whole.count {
      let block = Block(Array(whole[..<length]))
      #expect(throws: ToeplitzError.self, "\(length)") {
        try CheckpointFormat(block.bytes).checkpoint(block.bytes, owner: block, source: "test")
      }
    }
  }

  private static let preamble: [UInt8] =
    [0x80, 2, 0x8A, 10] + PyTorch.magicBytes + Array(".".utf8) + [0x80, 2, 0x4D, 0xE9, 3] + Array(".}.".utf8)

  /// A file with one tensor of two floats, and the given changes.
  private func file(
    key: String = "0", keys: String = "]X\u{1}\0\0\00a.", view: String = "N", sizes: String = "K\u{2}\u{85}",
    offset: UInt8 = 0, count: UInt64 = 2, data: Int = 8
  ) -> [UInt8] {
    var bytes = Self.preamble
    bytes += latin1("}X\u{1}\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\u{7}\0\0\0storagectorch\nFloatStorage\n")
    bytes += latin1("X\u{1}\0\0\0\(key)X\u{3}\0\0\0cpuK\u{2}\(view)tQK") + [offset]
    bytes += latin1("\(sizes)K\u{1}\u{85}\u{89}NtRs.\(keys)")
    bytes.append(littleEndian: count)
    return bytes + [UInt8](repeating: 0x40, count: data)
  }

  private func names(_ bytes: [UInt8]) throws -> [String] {
    let block = Block(bytes)
    return try PyTorch.decode(block.bytes, owner: block, source: "test").names
  }

  @Test func storagesStayInsideTheFile() throws {
    #expect(try names(file()) == ["w"])
    Parser.torch.expectRefusal(file(data: 7), "8 bytes of storage '0'")
    Parser.torch.expectRefusal(file(count: 1 << 60), "bytes of storage")
    Parser.torch.expectRefusal(file(count: .max), "number of elements")
    Parser.torch.expectRefusal(file(count: 1 << 62), "at most")
    Parser.torch.expectRefusal(file(key: "1"), "keys of storages that tensors use")
    Parser.torch.expectRefusal(file(keys: "]."), "the storage '0'")
    Parser.torch.expectRefusal(file(keys: "}."), "a list of the storages' keys")
    Parser.torch.expectRefusal(file(sizes: "K\u{3}\u{85}"), "within the 2 elements")
    Parser.torch.expectRefusal(file(offset: 1), "within the 2 elements")
    Parser.torch.expectRefusal(file(sizes: "J\u{FF}\u{FF}\u{FF}\u{FF}\u{85}"), "sizes of at least 0")
    Parser.torch.expectRefusal(file(view: "(NK\u{1}K\u{2}t"), "2 elements at 1")
    Parser.torch.expectRefusal(file(view: "(NK\u{1}K\u{1}t"), "within the 1 elements")
    Parser.torch.expectRefusal(file(view: "(NK\u{1}t"), "a key, an offset and a length")
  }

  @Test func otherVersionsAndMachinesAreRefused() throws {
    var version = file()
    version[18] = 0xE8
    Parser.torch.expectRefusal(version, "version 1001")
    let machine = Self.preamble.dropLast(2) + Array("}X\u{D}\0\0\0little_endianI00\ns.}.].".utf8)
    Parser.torch.expectRefusal(Array(machine), "lowest byte first")
  }
}
