import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

@Suite struct AtomicFileTests {
  private struct Interrupted: Error {}

  @Test func writesAndReplaces() throws {
    try withDirectory { directory in
      let path = directory + "/out.txt"
      for text in ["first", "the second"] {
        try AtomicFile.write(to: path) { file in
          try file.write(text)
          try file.write([UInt8]())
          try file.write([33])
          #expect(file.count == text.utf8.count + 1)
          // Nothing is to be seen under the name before the end.
          if text == "first" { #expect(!FileManager.default.fileExists(atPath: path)) }
        }
        #expect(try readFile(path) == Array("\(text)!".utf8))
      }
      #expect(try fileNames(directory) == ["out.txt"])
    }
  }

  @Test func leavesNothingWhenTheWriterFails() throws {
    try withDirectory { directory in
      let path = directory + "/out.txt"
      try writeFile([1], to: path)
      #expect(throws: Interrupted.self) {
        try AtomicFile.write(to: path) { file in
          try file.write([1, 2, 3])
          throw Interrupted()
        }
      }
      #expect(try fileNames(directory) == ["out.txt"])
      #expect(try readFile(path) == [1])
    }
  }

  @Test func refusesPathsThatCannotBeFiles() throws {
    try withDirectory { directory in
      try FileManager.default.createDirectory(atPath: directory + "/sub", withIntermediateDirectories: false)
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/dangling", withDestinationPath: directory + "/none")
      try writeFile([], to: directory + "/file")
      for path in [
        "", directory + "/", directory + "/sub", directory + "/none/x", directory + "/file/x",
        directory + "/dangling",
        directory + "/a\0b", directory + "/" + String(repeating: "n", count: 300),
      ] {
        let error = #expect(throws: ToeplitzError.self) {
          try AtomicFile.write(to: path) { try $0.write([1]) }
        }
        #expect(error?.kind == .file)
      }
      #expect(try fileNames(directory) == ["dangling", "file", "sub"])
    }
  }

  @Test func followsLinksAndKeepsPermissions() throws {
    try withDirectory { directory in
      let path = directory + "/real"
      try writeFile([1], to: path)
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
      try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: path)
      try AtomicFile.write(to: directory + "/link") { try $0.write([2]) }
      #expect(try readFile(path) == [2])
      #expect(try fileNames(directory) == ["link", "real"])
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect(attributes[.posixPermissions] as? Int == 0o600)
      let link = try FileManager.default.attributesOfItem(atPath: directory + "/link")
      #expect(link[.type] as? FileAttributeType == .typeSymbolicLink)
    }
  }
}
