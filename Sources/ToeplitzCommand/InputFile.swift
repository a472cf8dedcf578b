import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels

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

  /// What is in the file, for the given input: strings where it takes these, else a tensor.
  ///
  /// - Throws: As ``tensor(for:_:)``.
  func value(for port: PortDescription?, _ images: ImageOptions) throws -> ModelValue {
    guard port?.kind == .strings else { return .tensor(try tensor(for: port, images)) }
    guard (path as NSString).pathExtension.lowercased() == "npy" else {
      throw ToeplitzError(.argument, path, expected: "a .npy file of strings", got: "another name")
    }
    let (elements, shape) = try NumPy.readStrings(contentsOf: path)
    return .strings(try StringTensor(elements, shape: shape))
  }

  /// The tensor in the file, for the given input.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or its kind is not known.
  func tensor(for port: PortDescription?, _ images: ImageOptions) throws -> Tensor {
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
    case "png", "jpg", "jpeg":
      // A model of one channel wants grey.
      var channels = 3
      if let dimensions = port?.dimensions, dimensions.count == 4, case .fixed(1) = dimensions[1] { channels = 1 }
      return try Picture(contentsOf: path).tensor(
        channels: channels, mean: images.mean, standardDeviation: images.standardDeviation)
    default:
      throw ToeplitzError(.argument, path, expected: "a .npy, .npz, .wav, .png or .jpg file", got: "another name")
    }
  }
}
