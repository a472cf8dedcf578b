import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

/// Pages of files that are given back.
@Suite struct WeightTests {
  @Test func whatIsForgottenIsReadAgain() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "forget-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try Data(bytes).write(to: URL(filePath: path))
    let file = try MappedFile(path: path)
    for range in [0..<100_000, 5000..<5001, 99_999..<100_000, 10..<10] {
      file.forget(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
      #expect(file.bytes.elementsEqual(bytes))
    }
    // Memory of others is left alone.
    bytes.withUnsafeBytes { file.forget($0) }
    #expect(bytes[99_999] == UInt8(truncatingIfNeeded: 99_999 &* 7))
  }
}
