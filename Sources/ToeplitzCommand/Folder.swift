import Foundation
import Toeplitz

/// Folders that commands read or make, with errors that say which and why.
enum Folder {
  /// The names in a folder, sorted.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be read.
  static func names(in path: String) throws -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    } catch {
      throw ToeplitzError(.file, path, expected: "a folder that can be read", got: found(at: path))
    }
  }

  /// Makes a folder and those around it, where they are not there yet.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if that is not possible.
  static func make(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw ToeplitzError(.file, path, expected: "a folder, or a place where one can be made", got: found(at: path))
    }
  }

  private static func found(at path: String) -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return "nothing there" }
    return isFolder.boolValue ? "a folder without permission" : "a file"
  }
}
