import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels
import ToeplitzTensor

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

  /// What is in the file, for the given input: strings or a sequence where it takes these, else a tensor.
  ///
  /// - Throws: As ``tensor(for:_:_:)``.
  func value(for port: PortDescription?, _ images: ImageOptions, _ sounds: AudioOptions) throws -> ModelValue {
    switch port?.kind {
    case .strings:
      let (elements, shape) = try NumPy.readStrings(contentsOf: path)
      return .strings(try StringTensor(elements, shape: shape))
    case .sequence where member == nil:
      let archive = try NumPy.readArchive(contentsOf: path)
      // As `numpy.savez` numbers them: arr_2 stands before arr_10.
      let names = archive.names.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
      return .sequence(try names.map { try archive.tensor($0) })
    default:
      let tensor = try tensor(for: port, images, sounds)
      if let port, let dtype = port.dtype, dtype != tensor.dtype {
        let hint = dtype == .bfloat16 || !NumPy.canHold(dtype) ? "" : " (save array.astype(numpy.\(dtype)))"
        throw ToeplitzError(
          .dtype, path, expected: "\(dtype) elements for '\(port.name)'\(hint)", got: "\(tensor.dtype)")
      }
      // One number is written as `[16000]` as often as `16000`.
      return .tensor(port?.dimensions?.isEmpty == true && tensor.count == 1 ? try tensor.reshaped([]) : tensor)
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
    case .picture: return try InputPicture(path: path).tensor(for: port, images)
    }
  }
}
