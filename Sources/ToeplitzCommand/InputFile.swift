import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels

/// A file that holds the input of a model.
struct InputFile {
  private let path: String
  private let member: String?

  /// - Parameter text: a path, for an archive with `:MEMBER`.
  init(_ text: String) {
    if let colon = text.range(of: ".npz:") {
      path = String(text[..<colon.upperBound].dropLast())
      member = String(text[colon.upperBound...])
    } else {
      path = text
      member = nil
    }
  }

  /// The tensor in the file, for the given input.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or its kind is not known.
  func tensor(for port: PortDescription?, _ images: ImageOptions) throws -> Tensor {
    if InputPicture.isPicture(path) { return try InputPicture(path: path).tensor(for: port, images) }
    switch (path as NSString).pathExtension.lowercased() {
    case "npy": return try NumPy.read(contentsOf: path)
    case "npz":
      let archive = try NumPy.readArchive(contentsOf: path)
      if let member { return try archive.tensor(member) }
      if let port, archive.names.contains(port.name) { return try archive.tensor(port.name) }
      guard archive.names.count == 1 else {
        throw ToeplitzError(
          .argument, path, expected: "a member, as \(path):NAME, of " + archive.names.joined(separator: ", "),
          got: "none")
      }
      return try archive.tensor(archive.names[0])
    case "wav":
      let samples = try WAVFile(path: path).readMono()
      let rank = port?.dimensions?.count ?? 3
      guard (1...3).contains(rank) else {
        throw ToeplitzError(.shape, path, expected: "an input of 1 to 3 dimensions for sound", got: "\(rank)")
      }
      return try Tensor(samples).reshaped(Shape(Array(repeating: 1, count: rank - 1) + [samples.count]))
    default:
      throw ToeplitzError(.argument, path, expected: "a .npy, .npz or .wav file, or a picture", got: "another name")
    }
  }
}
