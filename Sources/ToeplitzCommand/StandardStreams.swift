import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTensor

/// `-` on the command line: standard input where a file is read, standard output where one is written.
enum StandardStreams {
  /// The path of a file to read.
  static func input(_ argument: String) -> String { argument == "-" ? Streams.standardInput : argument }

  /// The path of a file to write.
  static func output(_ argument: String) -> String { argument == "-" ? Streams.standardOutput : argument }

  /// Whether a file to write is standard output, where no report may come between.
  static func isOutput(_ path: String) -> Bool { ["-", Streams.standardOutput, "/dev/fd/1"].contains(path) }

  /// Reads what comes out of pipes, before a command bounds the time that it takes.
  ///
  /// - Returns: What keeps it.
  static func read(_ paths: [String]) throws -> [MappedFile] {
    try paths.compactMap { path in
      let kind = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType
      let isStream = path.hasPrefix("/dev/") || kind.map { $0 != .typeRegular && $0 != .typeDirectory } ?? false
      return isStream ? try MappedFile(path: path, isCounted: false) : nil
    }
  }

  /// Prints a line that is not the output itself: on standard error if standard output has that.
  static func report(_ line: String, outputs: [String]) {
    if outputs.contains(where: isOutput) {
      FileHandle.standardError.write(Data("\(line)\n".utf8))
    } else {
      print(line)
    }
  }

  /// Tells why the command cannot go on.
  static func fail(_ text: String) {
    // Names of a file may hold anything, also what a terminal obeys.
    let line = String(text.map { $0.unicodeScalars.allSatisfy { $0.value >= 32 && $0.value != 127 } ? $0 : " " })
    FileHandle.standardError.write(Data("error: \(line)\n".utf8))
  }

  /// Tells what may be wrong though the command goes on.
  static func warn(_ text: String) {
    FileHandle.standardError.write(Data("warning: \(text)\n".utf8))
  }
}
