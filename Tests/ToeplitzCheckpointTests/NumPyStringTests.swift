import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

/// Arrays of strings in `.npy` files.
@Suite struct NumPyStringTests {
  private func file(_ descr: String, _ shape: String, _ data: [UInt8], order: String = "False") throws -> String {
    var text = "{'descr': '\(descr)', 'fortran_order': \(order), 'shape': \(shape), }"
    while (10 + text.utf8.count + 1) % 64 != 0 { text += " " }
    text += "\n"
    let length = UInt16(text.utf8.count)
    let bytes =
      [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8) + data
    let path = try Fixtures.temporaryFolder().appending(path: "s.npy").path
    try Data(bytes).write(to: URL(filePath: path))
    return path
  }

  @Test func stringsComeBack() throws {
    let path = try Fixtures.temporaryFolder().appending(path: "s.npy").path
    let elements = ["", "a", "größer", "日本", "👍🏽", "x y"]
    try NumPy.writeStrings(elements, shape: [2, 3], to: path)
    let read = try NumPy.readStrings(contentsOf: path)
    #expect(read.elements == elements && read.shape == [2, 3])
    #expect(throws: ToeplitzError.self) { try NumPy.read(contentsOf: path) }
    #expect(throws: ToeplitzError.self) { try NumPy.writeStrings(elements, shape: [7], to: path) }
  }

  @Test func bothKindsAndOrdersAreRead() throws {
    #expect(try NumPy.readStrings(contentsOf: file("|S3", "(2,)", Array("ab\0cde".utf8))).elements == ["ab", "cde"])
    #expect(try NumPy.readStrings(contentsOf: file(">U2", "(1,)", [0, 0, 0, 65, 0, 0, 0, 0xE9])).elements == ["Aé"])
    #expect(try NumPy.readStrings(contentsOf: file("<U1", "()", [65, 0, 0, 0])).shape == [])
    #expect(try NumPy.readStrings(contentsOf: file("<U0", "(3,)", [])).elements == ["", "", ""])
  }

  @Test func brokenFilesAreRefused() throws {
    for path in [
      try file("<U1", "(2,)", [65, 0, 0, 0]), try file("<U1", "(1,)", [0, 0, 0x11, 0]), try file("|S1", "(1,)", [0xFF]),
      try file("<f4", "(1,)", [0, 0, 0, 0]), try file("<U", "(1,)", []), try file("<U-1", "(1,)", []),
      try file("<U99999999999", "(1,)", []), try file("<U0", "(99999999999,)", []),
      try file("<U4", "(4611686018427387904, 4611686018427387904)", []),
      try file("<U1", "(1, 2)", Array(repeating: 0, count: 8), order: "True"),
    ] {
      #expect(throws: ToeplitzError.self) { try NumPy.readStrings(contentsOf: path) }
    }
  }
}
