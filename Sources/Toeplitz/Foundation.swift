#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

// What takes and gives Foundation's types. Here only, so that the layers below do without Foundation.

extension ToeplitzError: LocalizedError {
  /// The error's one line, so that `localizedDescription` is the text and not a number.
  public var errorDescription: String? { description }
}

extension Module {
  /// Sets all parameters and buffers from a checkpoint file, in any format that ``Checkpoint/init(contentsOf:)-(String)`` reads.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read or does not fit.
  @discardableResult
  public func load(contentsOf url: URL, strict: Bool = true) throws -> LoadReport {
    try load(contentsOf: url.localPath(), strict: strict)
  }

  /// Writes all parameters and buffers to a file (see `save(to:weightOrder:)` with a path).
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be written.
  public func save(to url: URL, weightOrder: WeightOrder = .pytorch) throws {
    try save(to: url.localPath(), weightOrder: weightOrder)
  }
}

extension Checkpoint {
  /// Reads a checkpoint file.
  ///
  /// - Throws: ``ToeplitzError`` if the file cannot be read.
  public init(contentsOf url: URL) throws { try self.init(contentsOf: url.localPath()) }
}

extension URL {
  /// The path of a file on this machine.
  fileprivate func localPath() throws -> String {
    guard isFileURL else {
      throw ToeplitzError(.file, absoluteString, expected: "the URL of a file on this machine", got: "another")
    }
    return path
  }
}

extension Tensor {
  /// The elements in row-major order, as this machine keeps them.
  ///
  /// - Throws: ``ToeplitzError`` in code that is traced.
  public func data() throws -> Data { try withBytes { Data($0) } }
}
