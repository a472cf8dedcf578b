import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels
import ToeplitzTensor

/// How pictures become numbers.
struct ImageOptions: ParsableArguments {
  @Option(help: "What is subtracted from a picture's numbers, which go from 0 to 1: one number, or three with commas.")
  var imageMean = "0"

  @Option(help: "What they are divided by then: one number, or three with commas.")
  var imageStd = "1"

  var mean: [Double] { numbers(imageMean) }
  var standardDeviation: [Double] { numbers(imageStd) }

  private func numbers(_ text: String) -> [Double] {
    text.split(separator: ",", omittingEmptySubsequences: false).compactMap { Double($0) }
  }

  func validate() throws {
    for (name, text, values) in [("--image-mean", imageMean, mean), ("--image-std", imageStd, standardDeviation)] {
      let count = text.split(separator: ",", omittingEmptySubsequences: false).count
      guard values.count == count, values.count == 1 || values.count == 3, values.allSatisfy(\.isFinite) else {
        throw ValidationError("\(name) takes one number or three, not \(text)")
      }
    }
    guard !standardDeviation.contains(0) else { throw ValidationError("--image-std must not be 0") }
  }
}

/// A file that holds the input of a model.
struct InputFile {
  /// Where it is.
  let path: String
  private let member: String?

  /// - Parameter text: a path, for an archive with `:MEMBER`.
  init(_ text: String) {
    if let colon = text.range(of: ".npz:") {
      path = String(text[..<colon.upperBound].dropLast())
      member = String(text[colon.upperBound...])
    } else {
      path = StandardStreams.input(text)
      member = nil
    }
  }

  /// What a file holds, as its first bytes say.
  private enum Kind {
    case array, archive, sound
    /// Whatever else, which whoever reads pictures refuses if it is none.
    case picture

    init(_ bytes: UnsafeRawBufferPointer) {
      if bytes.starts(with: [0x93] + Array("NUMPY".utf8)) {
        self = .array
      } else if bytes.starts(with: Array("PK".utf8)) {
        self = .archive
      } else {
        self = AudioFile.isAudio(bytes) ? .sound : .picture
      }
    }
  }

  /// The tensor in the file, for the given input.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or its kind is not known.
  func tensor(for port: PortDescription?, _ images: ImageOptions, _ sounds: AudioOptions) throws -> Tensor {
    // It is kept, so that a pipe is not read a second time.
    let file = try MappedFile(path: path, isCounted: false)
    defer { withExtendedLifetime(file) {} }
    switch Kind(file.bytes) {
    case .array: return try NumPy.read(contentsOf: path)
    case .archive:
      let archive = try NumPy.readArchive(contentsOf: path)
      if let member { return try archive.tensor(member) }
      if let port, archive.names.contains(port.name) { return try archive.tensor(port.name) }
      guard archive.names.count == 1 else {
        throw ToeplitzError(
          .argument, path, expected: "a member, as \(path):NAME, of " + archive.names.joined(separator: ", "),
          got: "none")
      }
      return try archive.tensor(archive.names[0])
    case .sound: return try InputAudio(path).tensor(for: port, sounds)
    case .picture:
      // A model of one channel wants grey.
      var channels = 3
      if let dimensions = port?.dimensions, dimensions.count == 4, case .fixed(1) = dimensions[1] { channels = 1 }
      return try Picture(contentsOf: path).tensor(
        channels: channels, mean: images.mean, standardDeviation: images.standardDeviation)
    }
  }
}
