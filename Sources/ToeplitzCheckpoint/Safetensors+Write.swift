import ToeplitzTensor

extension Safetensors {
  /// Writes tensors to a file at `path`, which appears when it is complete.
  ///
  /// The same tensors and metadata always give the same bytes. Tensors are aligned to their elements, as the
  /// reference implementation does it: larger elements first, then by name.
  ///
  /// - Parameters:
  ///   - tensors: The tensors under their names, of any element type that the format has.
  ///   - metadata: Text entries, which the file keeps as `__metadata__`.
  ///   - path: The file to create or replace.
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written, of kind `argument` if a tensor
  ///   is called `__metadata__` or the format cannot hold them all.
  public static func write(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
  ) throws {
    let (header, sorted) = try laidOut(tensors, metadata, FilePlace(file: path))
    try AtomicFile.write(to: path) { file in
      try file.write(header)
      for tensor in sorted { try tensor.withBytes { try file.write($0) } }
    }
  }

  /// The bytes of a file with the given tensors and text entries, as ``write(_:metadata:to:)`` writes it.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if a tensor is called `__metadata__` or the format cannot hold them all.
  public static func bytes(of tensors: [String: Tensor], metadata: [String: String] = [:]) throws -> [UInt8] {
    var (bytes, sorted) = try laidOut(tensors, metadata, FilePlace(file: "safetensors"))
    for tensor in sorted { try tensor.withBytes { bytes += $0 } }
    return bytes
  }

  /// The header, and the tensors in the order of their bytes.
  private static func laidOut(
    _ tensors: [String: Tensor], _ metadata: [String: String], _ place: FilePlace
  ) throws -> (header: [UInt8], tensors: [Tensor]) {
    guard tensors[metadataKey] == nil else {
      throw place.refused("tensor names other than \(metadataKey)", got: "a tensor of this name")
    }
    let sorted = tensors.sorted { ($1.value.dtype.byteSize, $0.key) < ($0.value.dtype.byteSize, $1.key) }
    return (try header(sorted.map { ($0.key, $0.value) }, metadata, place), sorted.map(\.value))
  }

  /// The length and the JSON text, padded so that the data starts on a multiple of eight bytes.
  private static func header(
    _ tensors: [(name: String, tensor: Tensor)], _ metadata: [String: String], _ place: FilePlace
  ) throws -> [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let entries = metadata.sorted { $0.key < $1.key }.map { "\(json($0.key)):\(json($0.value))" }
      members.append("\"\(metadataKey)\":{\(entries.joined(separator: ","))}")
    }
    var end = 0
    for (name, tensor) in tensors {
      guard tensor.rank <= ElementBytes.maximumRank else {
        throw place.inside(name).refused(
          "at most \(ElementBytes.maximumRank) dimensions", got: "\(tensor.rank)")
      }
      let begin = end
      let (bytes, tooMany) = tensor.count.multipliedReportingOverflow(by: tensor.dtype.byteSize)
      let (sum, tooFar) = begin.addingReportingOverflow(bytes)
      guard !tooMany, !tooFar else {
        throw place.inside(name).refused("tensors of at most \(Int.max) bytes together", got: "more")
      }
      end = sum
      guard let type = tensor.dtype.safetensorsName else {
        throw place.inside(name).refused("an element type that safetensors has", got: "\(tensor.dtype)")
      }
      let sizes = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(json(name)):{\"dtype\":\"\(type)\",\"shape\":[\(sizes)],"
          + "\"data_offsets\":[\(begin),\(end)]}")
    }
    var text = Array("{\(members.joined(separator: ","))}".utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    guard text.count <= maximumHeaderLength else {
      throw place.refused("a header of at most \(maximumHeaderLength) bytes", got: "\(text.count)")
    }
    var header: [UInt8] = []
    header.append(littleEndian: UInt64(text.count))
    return header + text
  }

  /// The text as a JSON string.
  private static func json(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
