import ToeplitzTensor

/// NumPy's array files: `.npy` holds one array, `.npz` several in a ZIP archive.
///
/// The format is that of NEP 1 and the documentation of `numpy.lib.format`, versions 1.0, 2.0 and 3.0. A file
/// is untrusted: everything it says is checked before it is used, its header is parsed and never evaluated,
/// pickled objects are never loaded.
///
/// | NumPy | Toeplitz |
/// |---|---|
/// | f2, f4, f8 | `float16`, `float32`, `float64` |
/// | i1, i2, i4, i8 | `int8`, `int16`, `int32`, `int64` |
/// | u1, u2, u4, u8 | `uint8`, `uint16`, `uint32`, `uint64` |
/// | b1 | `bool` |
///
/// Other types, such as text and complex numbers, are refused; the other members of an archive can be read. NumPy has no bfloat16 and nothing narrower.
public enum NumPy {
  /// Reads the array in the `.npy` file at `path`.
  ///
  /// Big-endian and Fortran-ordered arrays are accepted; the result is native and row-major.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a
  ///   rule, of kind `unsupported` if it has elements of a type that Toeplitz does not have.
  public static func read(contentsOf path: String) throws -> Tensor {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) { try decode(file.bytes, owner: nil, FilePlace(file: path)) }
  }

  /// Whether NumPy has elements of the given type.
  public static func canHold(_ dtype: DType) -> Bool { NumPyType.description(of: dtype) != nil }

  /// Refuses what ``write(_:to:)`` would refuse to write at `path`.
  package static func check(_ tensor: Tensor, for path: String) throws {
    _ = try NumPyHeader.bytes(for: tensor, FilePlace(file: path))
  }

  /// Writes `tensor` to a `.npy` file at `path` (version 1.0, row-major), which appears when it is complete.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written, of kind `dtype` for bfloat16,
  ///   of kind `argument` for more than 64 dimensions.
  public static func write(_ tensor: Tensor, to path: String) throws {
    let header = try NumPyHeader.bytes(for: tensor, FilePlace(file: path))
    try AtomicFile.write(to: path) { file in
      try file.write(header)
      try tensor.withBytes { try file.write($0) }
    }
  }

  /// Reads all arrays in the `.npz` archive at `path`, compressed or not.
  ///
  /// - Parameters:
  ///   - path: The archive.
  ///   - maximumBytes: How many bytes the arrays may take together, against archives that unpack to more
  ///     than the machine can hold; without it, half of the machine's memory.
  /// - Returns: The arrays under their names without `.npy`; those of a type that Toeplitz does not have, such as text,
  ///   are ``Checkpoint/unreadable``.
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a
  ///   rule, of kind `memory` if the arrays take more than `maximumBytes`.
  public static func readArchive(contentsOf path: String, maximumBytes: Int? = nil) throws -> Checkpoint {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) {
      try decodeArchive(file.bytes, source: path, maximumBytes: maximumBytes ?? Platform.physicalMemory / 2)
    }
  }

  /// Writes tensors to an uncompressed `.npz` archive at `path`, which appears when it is complete.
  ///
  /// The same tensors always give the same bytes.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be written, of kind `dtype` for bfloat16,
  ///   of kind `argument` for a name or a shape that the format cannot hold.
  public static func writeArchive(_ tensors: [String: Tensor], to path: String) throws {
    let place = FilePlace(file: path)
    try AtomicFile.write(to: path) { file in
      var archive = ZipWriter(place)
      for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
        let header = try NumPyHeader.bytes(for: tensor, place.inside(name))
        try header.withUnsafeBytes { header in
          try tensor.withBytes { try archive.add(name + fileSuffix, [header, $0], to: file) }
        }
      }
      try archive.finish(file)
    }
  }

  private static let fileSuffix = ".npy"

  /// Reads the arrays out of the bytes of an archive.
  static func decodeArchive(
    _ bytes: UnsafeRawBufferPointer, source: String, maximumBytes: Int
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    let archive = try ZipArchive(bytes, place)
    try archive.checkSizes(maximumBytes: maximumBytes)
    var found = FoundTensors()
    for entry in archive.entries {
      let inner = place.inside(entry.name)
      let isArray = entry.name.hasSuffix(fileSuffix)
      let name = isArray ? String(entry.name.dropLast(fileSuffix.count)) : entry.name
      guard found.tensors[name] == nil, found.unreadable[name] == nil else {
        throw inner.malformed("names that occur once", got: "this one twice")
      }
      guard isArray else {
        found.unreadable[name] = ToeplitzError(
          .unsupported, place.file, expected: "an entry whose name ends in \(fileSuffix)", got: entry.name.quoted,
          path: inner.entry)
        continue
      }
      let contents = try archive.contents(of: entry)
      do {
        found.tensors[name] = try withExtendedLifetime(contents) {
          try decode(contents.bytes, owner: contents.storage, inner)
        }
      } catch let error as ToeplitzError where error.kind == .unsupported {
        // NumPy reads members one by one.
        found.unreadable[name] = error
      }
    }
    return Checkpoint(found, source: source)
  }

  /// Reads the array out of the bytes of a `.npy` file; it may refer to them if there is an `owner`.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, owner: (any AnyObject & Sendable)?, _ place: FilePlace
  ) throws -> Tensor {
    var reader = ByteReader(bytes, place)
    let header = try NumPyHeader(&reader, place)
    let data = try reader.take(reader.remaining, "data")
    return try header.type.array(data, header.shape, isFortranOrder: header.isFortranOrder, owner: owner, place)
  }
}
