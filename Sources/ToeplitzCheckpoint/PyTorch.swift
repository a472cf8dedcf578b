import ToeplitzTensor

/// PyTorch's checkpoints: a ZIP archive with a pickle and the storages of its tensors, or, as before PyTorch 1.6, the
/// pickle and the storages one after another.
///
/// The pickle is read by an unpickler that runs no code: it makes a tree of values, in which calls of unknown functions
/// stay descriptions. Dictionaries, lists, plain values, NumPy's arrays and the functions that rebuild tensors are known.
/// What else there is is left out; only a tensor that depends on it cannot be read.
public enum PyTorch {
  /// Reads the tensors in the file at `path`.
  ///
  /// Nested dictionaries, lists and attributes of objects give dotted names, such as `model.conv.weight`; a whole module
  /// gives the names of its state dictionary. TorchScript's constants are `CONSTANTS.c0` and so on, as its code calls
  /// them. Numbers and texts beside the tensors are ``Checkpoint/metadata``. Complex numbers get a last axis of their two
  /// parts, sparse tensors become dense and quantised ones float32; ``Checkpoint/remarks`` says so.
  ///
  /// The file is mapped and tensors refer to it, so it must not be overwritten in place while they are alive.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a rule or holds
  ///   no tensors but objects that only code could make.
  public static func read(contentsOf path: String) throws -> Checkpoint {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) { try decode(file.bytes, owner: file, source: path) }
  }

  /// Reads the tensors out of the bytes of a file, which `owner` keeps alive.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    CheckpointFormat(bytes) == .pickle
      ? try decodePickles(bytes, owner: owner, source: source)
      : try decodeArchive(bytes, owner: owner, source: source)
  }

  /// Whether an archive is one of PyTorch's.
  static func isCheckpoint(_ archive: ZipArchive) -> Bool { archive.entries.contains { isPickle($0.name) } }

  private static func isPickle(_ name: String) -> Bool { name == pickleName || name.hasSuffix("/" + pickleName) }
  private static let pickleName = "data.pkl"

  private static func decodeArchive(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    let archive = try ZipArchive(bytes, place)
    try archive.checkSizes(maximumBytes: Platform.physicalMemory / 2)
    guard let pickle = archive.entries.first(where: { isPickle($0.name) }) else {
      throw place.malformed("a PyTorch checkpoint with an entry data.pkl", got: "none")
    }
    let prefix = String(pickle.name.dropLast(pickleName.count))
    let entries = Dictionary(archive.entries.map { ($0.name, $0) }) { first, _ in first }
    if let order = entries[prefix + "byteorder"] {
      let contents = try archive.contents(of: order)
      guard withExtendedLifetime(contents, { String(decoding: contents.bytes, as: UTF8.self) }) == "little" else {
        throw place.malformed("numbers with their lowest byte first", got: "another order")
      }
    }
    var storages: [String: PickleTensorMaker.Contents] = [:]
    let maker = PickleTensorMaker(place) { storage in
      let name = prefix + storage.folder + storage.key
      if let known = storages[name] { return known }
      guard let entry = entries[name] else { throw place.malformed("an entry \(name.quoted)", got: "none") }
      let unpacked = try archive.contents(of: entry)
      let found = PickleTensorMaker.Contents(bytes: unpacked.bytes, owner: unpacked.storage ?? owner)
      storages[name] = found
      return found
    }
    var flattener = PickleFlattener(place: place, maker: maker)
    func read(_ entry: ZipArchive.Entry, folder: String, _ add: (PickleValue) throws -> Void) throws {
      let contents = try archive.contents(of: entry)
      try withExtendedLifetime(contents) {
        var unpickler = Unpickler(contents.bytes, place.inside(entry.name), folder: folder)
        defer { unpickler.clear() }
        try add(unpickler.value())
      }
    }
    try read(pickle, folder: "data/") { try flattener.add($0) }
    if let constants = entries[prefix + "constants.pkl"] {
      try read(constants, folder: "constants/") { value in
        guard case .tuple(let box) = value else { throw place.malformed("a tuple of constants", got: "another value") }
        for (index, item) in box.items.enumerated() {
          try flattener.add(item, "\(Checkpoint.constantsPlace).c\(index)")
        }
      }
    }
    return try checkpoint(flattener, source: source, place)
  }

  /// What was found, unless it is nothing but objects that only code could make.
  static func checkpoint(
    _ flattener: PickleFlattener, source: String, _ place: FilePlace
  ) throws -> Checkpoint {
    let found = flattener.found
    if found.tensors.isEmpty, found.unreadable.isEmpty, !flattener.foreign.isEmpty {
      throw place.malformed(
        "tensors (nothing in a pickle is run); save a state dictionary: torch.save(model.state_dict(), …)",
        got: "only " + flattener.foreign.map(\.quoted).joined(separator: ", "))
    }
    return Checkpoint(found, source: source)
  }
}
