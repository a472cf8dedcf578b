import ToeplitzCheckpoint
import ToeplitzTensor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The bytes behind a model's tensors: the model's file and the files beside it that hold large tensors.
final class ONNXData: Sendable {
  /// For errors.
  let place: FilePlace
  /// What keeps the model's bytes alive; nil where tensors have to copy them.
  let file: (any AnyObject & Sendable)?
  /// The folders that external files are looked for and must lie in, all links followed.
  ///
  /// They are that of the model's path and that of the file which it leads to; none if there may be no such files.
  private let folders: [String]
  private let opened = Lock<[String: MappedFile]>([:])

  /// - Parameter model: the path of the model's file, in whose folder external files lie; nil if there may be none.
  init(place: FilePlace, file: (any AnyObject & Sendable)?, model: String?) {
    self.place = place
    self.file = file
    folders =
      model.map { [Self.resolved(Self.folder($0)), Self.resolved($0).map(Self.folder)].compactMap(\.self) } ?? []
  }

  /// The folder of a file.
  private static func folder(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// The bytes that the entries of `external_data` name, and what keeps them alive.
  ///
  /// The rules are those of ONNX's ExternalData document. A path that leaves the model's folder, by itself or through
  /// a link, is refused. If the model is itself a link, as in the cache of the Hugging Face hub, the folder of the file
  /// that it leads to counts as well.
  func external(
    _ entries: [String: String], byteCount: Int, _ place: FilePlace
  ) throws -> (UnsafeRawBufferPointer, any AnyObject & Sendable) {
    guard let location = entries["location"], !location.isEmpty else {
      throw place.malformed("a location of external data", got: "none")
    }
    func number(_ key: String, default value: Int) throws -> Int {
      guard let text = entries[key] else { return value }
      guard let number = Int(text), number >= 0 else {
        throw place.malformed("a whole number of at least 0 as \(key)", got: text.quoted)
      }
      return number
    }
    let offset = try number("offset", default: 0)
    let length = try number("length", default: byteCount)
    let file = try open(location, place)
    guard offset <= file.count, length <= file.count - offset else {
      throw place.malformed(
        "external data within the \(file.count) bytes of \(location.quoted)", got: "\(length) bytes at byte \(offset)")
    }
    return (UnsafeRawBufferPointer(rebasing: file.bytes[offset..<offset + length]), file)
  }

  private func open(_ location: String, _ place: FilePlace) throws -> MappedFile {
    try opened.withLock { opened in
      if let known = opened[location] { return known }
      let file = try MappedFile(path: try confined(location, place), onlyRegular: true)
      opened[location] = file
      return file
    }
  }

  /// The path of an external file, which lies inside one of the folders also when all links are followed.
  private func confined(_ location: String, _ place: FilePlace) throws -> String {
    func refuse(_ got: String) -> ToeplitzError {
      place.malformed("external data inside the model's folder", got: got)
    }
    guard !folders.isEmpty else { throw refuse("a model without a folder") }
    let parts = location.split(separator: "/", omittingEmptySubsequences: false)
    guard !location.hasPrefix("/"), !parts.contains(".."), !location.utf8.contains(0), !location.contains("\\") else {
      throw refuse(location.quoted)
    }
    guard let target = folders.lazy.compactMap({ Self.resolved($0 + "/" + location) }).first else {
      throw ToeplitzError(
        .file, place.file, expected: "the external data \(location.quoted) beside the model", got: "no such file",
        path: place.entry)
    }
    guard folders.contains(where: { target.hasPrefix($0 == "/" ? $0 : $0 + "/") }) else {
      throw refuse("a link out of it, \(location.quoted)")
    }
    return target
  }

  private static func resolved(_ path: String) -> String? {
    guard let name = realpath(path, nil) else { return nil }
    defer { free(name) }
    return String(cString: name)
  }
}
