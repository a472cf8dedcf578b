import ToeplitzTensor

extension NumPy {
  /// Reads an array of strings (`<U…` or `|S…`) in the `.npy` file at `path`: elements in row-major order, and the shape.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a rule, has other elements or
  ///   bytes that are no text.
  public static func readStrings(contentsOf path: String) throws -> (elements: [String], shape: TensorShape) {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) {
      let place = FilePlace(file: path)
      var reader = ByteReader(file.bytes, place)
      let members = try NumPyHeader.members(&reader, place)
      guard let order = members.descr.first, let kind = members.descr.dropFirst().first, "US".contains(kind),
        "<>|".contains(order), let width = Int(members.descr.dropFirst(2)), width >= 0, width <= 1 << 24,
        !members.fortranOrder || members.shape.count < 2
      else {
        throw place.malformed(
          "row-major elements of type U or S",
          got: members.descr.quoted + (members.fortranOrder ? ", Fortran order" : ""))
      }
      let itemSize = kind == "U" ? 4 * width : width
      let byteCount = try ElementBytes.byteCount(members.shape, itemSize: itemSize, place)
      let count = try TensorShape(members.shape).elementCount(path)
      guard reader.remaining == byteCount, count <= 1 << 22 else {
        throw place.malformed(
          "\(byteCount) bytes of data for at most \(1 << 22) strings", got: "\(reader.remaining) bytes for \(count)")
      }
      let data = try reader.take(byteCount, "data")
      let elements = try (0..<count).map { index in
        try text(
          UnsafeRawBufferPointer(rebasing: data[(index * itemSize)..<((index + 1) * itemSize)]), kind, order, place)
      }
      return (elements, TensorShape(members.shape))
    }
  }

  /// One string without the zeros that fill its place.
  private static func text(
    _ bytes: UnsafeRawBufferPointer, _ kind: Character, _ order: Character, _ place: FilePlace
  ) throws -> String {
    if kind == "S" {
      let end = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
      guard let text = String(validating: UnsafeRawBufferPointer(rebasing: bytes[..<end]), as: UTF8.self) else {
        throw place.malformed("strings in UTF-8", got: "other bytes")
      }
      return text
    }
    var text = String.UnicodeScalarView()
    for offset in stride(from: 0, to: bytes.count, by: 4) {
      let raw = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
      guard let scalar = Unicode.Scalar(order == ">" ? UInt32(bigEndian: raw) : UInt32(littleEndian: raw)) else {
        throw place.malformed("Unicode scalars", got: "another number")
      }
      text.append(scalar)
    }
    while text.last?.value == 0 { text.removeLast() }
    return String(text)
  }

  /// Writes strings to a `.npy` file at `path` as `<U…`, which appears when it is complete.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written, of kind `shape` if there are more or fewer elements than
  ///   the shape has.
  public static func writeStrings(_ elements: [String], shape: TensorShape, to path: String) throws {
    guard try shape.elementCount(path) == elements.count else {
      throw ToeplitzError(.shape, path, expected: "as many strings as shape \(shape) has", got: "\(elements.count)")
    }
    let width = max(1, elements.map(\.unicodeScalars.count).max() ?? 0)
    let header = try NumPyHeader.bytes("<U\(width)", shape, FilePlace(file: path))
    try AtomicFile.write(to: path) { file in
      try file.write(header)
      for element in elements {
        var bytes: [UInt8] = []
        for scalar in element.unicodeScalars { bytes.append(littleEndian: scalar.value) }
        try file.write(bytes + Array(repeating: 0, count: 4 * width - bytes.count))
      }
    }
  }
}
