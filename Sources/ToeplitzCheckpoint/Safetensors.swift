import ToeplitzTensor

/// The safetensors format: a JSON header with names, shapes and offsets, then the bytes of all tensors.
///
/// The rules are those of the README and the reference implementation at
/// <https://github.com/huggingface/safetensors>. A file is untrusted: everything it says is checked before it
/// is used, and what breaks a rule is refused with a ``ToeplitzError``.
///
/// | Format | Toeplitz |
/// |---|---|
/// | F32, F64, F16, BF16 | `float32`, `float64`, `float16`, `bfloat16` |
/// | I8, I16, I32, I64 | `int8`, `int16`, `int32`, `int64` |
/// | U8, U16, U32, U64 | `uint8`, `uint16`, `uint32`, `uint64` |
/// | BOOL | `bool` |
/// | F8_E4M3, F8_E5M2, F8_E8M0 | `float8E4M3FN`, `float8E5M2`, `float8E8M0` |
///
/// A tensor of another type (F4, C64, …) cannot be read; the others of its file can.
public enum Safetensors {
  /// The reference implementation's limit for the header.
  static let maximumHeaderLength = 100_000_000
  static let metadataKey = "__metadata__"

  /// Reads the file at `path`.
  ///
  /// The file is mapped into memory, and tensors refer to the mapping where the file aligns them: reading is
  /// quick and uses no memory of its own, but the file must not be shortened or overwritten in place while
  /// tensors of it are alive. (Files that Toeplitz writes replace old ones without touching their bytes.)
  ///
  /// - Returns: All tensors, with the file's `__metadata__` entries as ``Checkpoint/metadata``; those of a type that
  ///   Toeplitz does not have are ``Checkpoint/unreadable``.
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a
  ///   rule.
  public static func read(contentsOf path: String) throws -> Checkpoint {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) { try decode(file.bytes, owner: file, source: path) }
  }

  /// Reads the bytes of a file.
  ///
  /// - Returns: As ``read(contentsOf:)``.
  /// - Throws: ``ToeplitzError`` of kind `format` if they break a rule.
  public static func read(bytes: [UInt8]) throws -> Checkpoint {
    let owner = try Tensor(bytes: bytes, shape: [bytes.count], dtype: .uint8)
    return try owner.withBytes { try decode($0, owner: owner.storage, source: "safetensors") }
  }

  /// Reads the tensors out of the bytes of a file, which `owner` keeps alive.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    var reader = ByteReader(bytes, place)
    let length = try reader.integer(UInt64.self, "the header's length")
    guard length <= maximumHeaderLength else {
      throw place.malformed("a header of at most \(maximumHeaderLength) bytes", got: "\(length) bytes")
    }
    let header = try parseHeader(try reader.take(Int(length), "the header"), place)
    let data = try reader.take(reader.remaining, "data")
    try checkLayout(header.tensors, dataLength: data.count, place)
    var found = FoundTensors(metadata: header.metadata)
    for entry in header.tensors {
      let inner = place.inside(entry.name)
      guard let dtype = entry.dtype else {
        let known = DType.allCases.compactMap(\.safetensorsName).joined(separator: ", ")
        found.unreadable[entry.name] = ToeplitzError(
          .unsupported, place.file, expected: "dtype \(known)", got: entry.typeName.quoted, path: inner.entry)
        continue
      }
      let part = UnsafeRawBufferPointer(rebasing: data[entry.begin..<entry.end])
      found.tensors[entry.name] = try ElementBytes.tensor(part, dtype, entry.shape, owner: owner, inner)
    }
    return Checkpoint(found, source: source)
  }

  // MARK: - Header

  private struct Entry {
    var name: String
    var typeName: String
    /// nil for a type that Toeplitz does not have.
    var dtype: DType?
    var shape: [Int]
    var begin: Int
    var end: Int
  }

  private static func parseHeader(
    _ bytes: UnsafeRawBufferPointer, _ place: FilePlace
  ) throws -> (tensors: [Entry], metadata: [String: String]) {
    guard bytes.first == UInt8(ascii: "{") else {
      throw place.malformed("a header that starts with '{'", got: bytes.isEmpty ? "none" : "another byte")
    }
    var tensors: [Entry] = []
    var metadata: [String: String] = [:]
    var scanner = JSONScanner(bytes, place)
    try scanner.object { scanner, name in
      if name == metadataKey {
        try scanner.object { scanner, key in metadata[key] = try scanner.string() }
      } else {
        tensors.append(try parseEntry(name, &scanner, place.inside(name)))
      }
    }
    try scanner.end()
    return (tensors, metadata)
  }

  private static func parseEntry(
    _ name: String, _ scanner: inout JSONScanner, _ place: FilePlace
  ) throws -> Entry {
    var typeName: String?
    var shape: [Int]?
    var offsets: [Int]?
    try scanner.object { scanner, key in
      switch key {
      case "dtype": typeName = try scanner.string()
      case "shape": shape = try sizes(&scanner, atMost: ElementBytes.maximumRank, "dimensions", place)
      case "data_offsets": offsets = try sizes(&scanner, atMost: 2, "data_offsets", place)
      // The reference implementation ignores members it does not know, so files may have them.
      default: try scanner.skip()
      }
    }
    guard let typeName, let shape, let offsets else {
      throw place.malformed("members dtype, shape and data_offsets", got: "not all of them")
    }
    let dtype = DType(safetensorsName: typeName)
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw place.malformed("data_offsets [begin, end] with begin <= end", got: "\(offsets)")
    }
    // Of an unknown type not even the width is known.
    let byteCount = try ElementBytes.byteCount(shape, itemSize: dtype?.byteSize ?? 1, place)
    guard dtype == nil || offsets[1] - offsets[0] == byteCount else {
      throw place.malformed(
        "\(byteCount) bytes for \(typeName)\(TensorShape(shape))", got: "data_offsets \(offsets)")
    }
    return Entry(
      name: name, typeName: typeName, dtype: dtype, shape: shape, begin: offsets[0], end: offsets[1])
  }

  private static func sizes(
    _ scanner: inout JSONScanner, atMost limit: Int, _ what: String, _ place: FilePlace
  ) throws -> [Int] {
    var result: [Int] = []
    try scanner.array { scanner in
      guard result.count < limit else { throw place.malformed("at most \(limit) \(what)", got: "more") }
      result.append(try scanner.size())
    }
    return result
  }

  /// Checks that the tensors lie end to end and fill the data, so that no byte has two meanings or none.
  private static func checkLayout(_ entries: [Entry], dataLength: Int, _ place: FilePlace) throws {
    var end = 0
    for entry in entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      guard entry.begin == end else {
        let finding = entry.begin < end ? "an overlap" : "a gap"
        throw place.inside(entry.name).malformed(
          "data that begins at byte \(end), where the tensor before ends",
          got: "\(finding), at byte \(entry.begin)")
      }
      end = entry.end
    }
    guard end == dataLength else {
      throw place.malformed("\(end) bytes of data, as the header says", got: "\(dataLength)")
    }
  }
}

extension DType {
  /// The name of the type in safetensors headers; nil if the format has no such type.
  var safetensorsName: String? {
    switch self {
    case .float32: "F32"
    case .float64: "F64"
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .int8: "I8"
    case .uint8: "U8"
    case .int16: "I16"
    case .uint16: "U16"
    case .int32: "I32"
    case .uint32: "U32"
    case .int64: "I64"
    case .uint64: "U64"
    case .bool: "BOOL"
    case .float8E4M3FN: "F8_E4M3"
    case .float8E5M2: "F8_E5M2"
    case .float8E8M0: "F8_E8M0"
    default: nil
    }
  }

  /// The type with this name in safetensors headers.
  init?(safetensorsName name: String) {
    guard let dtype = DType.allCases.first(where: { $0.safetensorsName == name }) else { return nil }
    self = dtype
  }
}
