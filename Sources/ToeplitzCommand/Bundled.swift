import Foundation
import Toeplitz

/// The model and recording that come with the tool.
enum Bundled {
  /// The folder, which lies beside the program or in its package's build folder.
  ///
  /// SwiftPM's own accessor stops the process where the folder is missing, as when the program alone was copied.
  ///
  /// - Throws: ``ToeplitzError`` that says how to do without.
  static func folder() throws -> String {
    let name = "Toeplitz_ToeplitzCommand"
    let program = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    let places = [Bundle.main.bundleURL, program.deletingLastPathComponent()]
    for place in places {
      for ending in ["resources", "bundle"] {
        let folder = place.appending(path: "\(name).\(ending)").appending(path: "vocoder")
        if FileManager.default.fileExists(atPath: folder.path) { return folder.path }
      }
    }
    throw ToeplitzError(
      .file, "vocode", expected: "the bundled model beside the program (or a recording and --model)",
      got: "no \(name).resources in \(places[0].path)")
  }

  static func path(_ file: String) throws -> String { try folder() + "/" + file }
}
