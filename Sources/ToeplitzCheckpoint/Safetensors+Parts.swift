import ToeplitzTensor

extension Safetensors {
  /// Reads a checkpoint in several files through its index, `model.safetensors.index.json` or
  /// `pytorch_model.bin.index.json`.
  ///
  /// The index is the one of the `transformers` library: a JSON object whose `weight_map` says for each
  /// tensor in which file of the same directory it is. Tensors that the map does not list are left out. The parts may
  /// have any format but that of an index.
  ///
  /// - Returns: The tensors of all parts, and the metadata of the parts (the first part's value, in
  ///   alphabetical order, where two have the same key).
  /// - Throws: ``ToeplitzError`` of kind `file` if a file cannot be read, of kind `format` if one breaks its
  ///   rules, names a file outside of the directory or lacks a tensor.
  public static func read(partsOf indexPath: String) throws -> Checkpoint {
    let index = try MappedFile(path: indexPath)
    return try withExtendedLifetime(index) { try decode(partsOf: index.bytes, source: indexPath) }
  }

  /// Reads the parts that the bytes of an index name, which lie beside `source`.
  static func decode(partsOf bytes: UnsafeRawBufferPointer, source: String) throws -> Checkpoint {
    let place = FilePlace(file: source)
    let parts = try parseIndex(bytes, place)
    let directory = source.lastIndex(of: "/").map { String(source[...$0]) } ?? ""
    var found = FoundTensors()
    for (file, names) in parts.sorted(by: { $0.key < $1.key }) {
      let part = try read(part: directory + file)
      found.metadata.merge(part.metadata) { first, _ in first }
      let (tensors, unreadable, remarks) = (part.tensors, part.unreadable, part.remarks)
      for name in names {
        if let error = unreadable[name] {
          found.unreadable[name] = error
          continue
        }
        guard let tensor = tensors[name] else {
          throw place.inside(name).malformed("this tensor in \(file.quoted)", got: "a file without it")
        }
        found.tensors[name] = tensor
        found.remarks[name] = remarks[name]
      }
    }
    return Checkpoint(found, source: source)
  }

  private static func read(part path: String) throws -> Checkpoint {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) {
      let format = CheckpointFormat(file.bytes)
      // An index that names itself would never end.
      guard format != .index else {
        throw FilePlace(file: path).malformed("a part with tensors", got: "another index")
      }
      return try format.checkpoint(file.bytes, owner: file, source: path)
    }
  }

  /// The names of the tensors in each file.
  static func parseIndex(
    _ bytes: UnsafeRawBufferPointer, _ place: FilePlace
  ) throws -> [String: [String]] {
    guard bytes.count <= maximumHeaderLength else {
      throw place.malformed("an index of at most \(maximumHeaderLength) bytes", got: "\(bytes.count)")
    }
    var parts: [String: [String]]?
    var scanner = JSONScanner(bytes, place)
    try scanner.object { scanner, key in
      guard key == "weight_map" else { return try scanner.skip() }
      var map: [String: [String]] = [:]
      try scanner.object { scanner, name in
        let file = try scanner.string()
        let isPlain = !file.isEmpty && !file.utf8.contains { $0 < 0x20 || $0 == 0x2F || $0 == 0x5C }
        guard isPlain, !file.contains("..") else {
          throw place.inside(name).malformed(
            "a file name without separators, controls and '..'", got: file.quoted)
        }
        map[file, default: []].append(name)
      }
      parts = map
    }
    try scanner.end()
    guard let parts else { throw place.malformed("a member weight_map", got: "none") }
    return parts
  }
}
