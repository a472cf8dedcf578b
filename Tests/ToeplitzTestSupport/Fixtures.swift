import Foundation
import ToeplitzTensor

/// Files that tests read.
package enum Fixtures {
  private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

  /// A file under `Tests/Fixtures`.
  package static func path(_ name: String) -> String { tests.appending(path: "Fixtures/\(name)").path }

  /// A file of the bundled vocoder.
  package static func bundled(_ name: String) -> String {
    tests.deletingLastPathComponent().appending(path: "Sources/ToeplitzCommand/Resources/vocoder/\(name)").path
  }

  /// A new empty folder that the caller removes.
  package static func temporaryFolder() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appending(path: "toeplitz-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }
}
