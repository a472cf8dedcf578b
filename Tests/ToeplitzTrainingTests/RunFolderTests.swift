import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Files of a run besides checkpoints and weights.
@Suite struct RunFolderTests {
  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  /// RFC 3720, B.4.
  @Test func checksumsAreThoseOfTheStandard() {
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.checksum((0..<32).map { UInt8($0) }) == 0x46DD_794E)
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
  }

  /// Records as TensorBoard reads them: length, its checksum, bytes, theirs.
  @Test func eventsAreRecords() throws {
    try withFolder { folder in
      let events = try EventFile(folder: folder.path, after: 3)
      try events.add(step: 4, ["loss": 0.5, "lr": 1e-3])
      let name = try #require(FileManager.default.contentsOfDirectory(atPath: folder.path).first)
      #expect(name.hasPrefix("events.out.tfevents."))
      var rest = [UInt8](try Data(contentsOf: folder.appending(path: name)))[...]
      func integer<T: FixedWidthInteger>(_ type: T.Type) -> T {
        let bytes = rest.prefix(MemoryLayout<T>.size)
        rest = rest.dropFirst(MemoryLayout<T>.size)
        return bytes.reversed().reduce(0) { $0 << 8 | T($1) }
      }
      var records: [[UInt8]] = []
      while !rest.isEmpty {
        let header = Array(rest.prefix(8))
        let count = Int(integer(UInt64.self))
        let rotated = integer(UInt32.self) &- 0xA282_EAD8
        #expect(rotated << 15 | rotated >> 17 == CRC32C.checksum(header))
        records.append(Array(rest.prefix(count)))
        rest = rest.dropFirst(count + 4)
      }
      #expect(records.count == 3)
      // The summary: tag and simple_value of "loss" in field 1 of field 5.
      let value: [UInt8] = [0x0A, 11, 0x0A, 4] + Array("loss".utf8) + [0x15, 0, 0, 0, 0x3F]
      #expect(Array(records[2]).firstRange(of: value) != nil)
      #expect(records[2].firstRange(of: [0x10, 4]) != nil)
    }
  }

  @Test func reportsNeedNoOtherFile() throws {
    try withFolder { url in
      let folder = try RunFolder(url.path)
      for step in 1...900 {
        try folder.append(step: step, ["loss": 1 / Double(step), "bad<name": step == 5 ? .nan : 1])
      }
      try folder.writeReport(title: "A & B", settings: ["seed": "<3>"])
      let page = try String(contentsOf: url.appending(path: "report.html"), encoding: .utf8)
      #expect(page.contains("A &amp; B") && page.contains("&lt;3&gt;") && page.contains("bad&lt;name"))
      #expect(!page.contains("src=") && !page.contains("href="))
      #expect(page.contains("first 1, last 0.0011111, least 0.0011111, most 1"))
      #expect(page.components(separatedBy: "<polyline").count == 3)
      #expect(FileManager.default.fileExists(atPath: url.appending(path: "curve-loss.png").path))
      #expect(FileManager.default.fileExists(atPath: url.appending(path: "curve-bad-name.png").path))
    }
  }

  @Test func emptyRunsHaveReportsToo() throws {
    try withFolder { url in
      let folder = try RunFolder(url.path)
      try folder.writeReport(title: "Nothing", settings: [:])
      #expect(FileManager.default.fileExists(atPath: url.appending(path: "report.html").path))
    }
  }
}
