import ToeplitzTensor

/// The format of `torch.save` before PyTorch 1.6, and bare pickles.
///
/// Five pickles stand one after another: a magic number, the format's version, facts about the machine, the value, and
/// the keys of the storages; then come the storages, each the number of its elements and the elements
/// (`torch/serialization.py`, `_legacy_save`). A pickle that does not begin so is the value itself.
extension PyTorch {
  /// The magic number as protocols 2 and later write it, and in decimal digits as protocols 0 and 1 do.
  static let magicBytes: [UInt8] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
  static let magicDigits = Array("119547037146038801333356".utf8)
  private static let version = 1001

  static func decodePickles(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    var unpickler = Unpickler(bytes, place)
    defer { unpickler.clear() }
    let first = try unpickler.value()
    var storages: [String: UnsafeRawBufferPointer] = [:]
    let maker = PickleTensorMaker(place) { storage in
      guard let contents = storages[storage.key] else {
        throw place.malformed("the storage \(storage.key.quoted)", got: "none of this name")
      }
      return PickleTensorMaker.Contents(bytes: contents, owner: owner)
    }
    var flattener = PickleFlattener(place: place, maker: maker)
    guard case .longInt(let number) = first,
      number.withBytes({ $0.elementsEqual(magicBytes) || $0.elementsEqual(magicDigits) })
    else {
      try flattener.add(first)
      return try checkpoint(flattener, source: source, place)
    }
    try checkPreamble(&unpickler, place)
    let value = try unpickler.value()
    storages = try readStorages(&unpickler, place)
    try flattener.add(value)
    return try checkpoint(flattener, source: source, place)
  }

  private static func checkPreamble(_ unpickler: inout Unpickler, _ place: FilePlace) throws {
    guard case .int(version) = try unpickler.value() else {
      throw place.malformed("version \(version) of PyTorch's old format", got: "another")
    }
    guard case .dictionary(let machine) = try unpickler.value() else {
      throw place.malformed("facts about the machine that wrote the file", got: "another value")
    }
    var characters = 0
    for (key, value) in try PickleKey.pairs(machine.items, &characters, place) where key?.name == "little_endian" {
      guard case .bool(true) = value else {
        throw place.malformed("numbers with their lowest byte first", got: "another order")
      }
    }
  }

  /// The storages behind the pickles, by key.
  private static func readStorages(
    _ unpickler: inout Unpickler, _ place: FilePlace
  ) throws -> [String: UnsafeRawBufferPointer] {
    guard case .list(let keys) = try unpickler.value() else {
      throw place.malformed("a list of the storages' keys", got: "another value")
    }
    let sizes = unpickler.storageElementSizes
    var storages: [String: UnsafeRawBufferPointer] = [:]
    for item in keys.items {
      guard case .string(let key) = item, let size = sizes[key] else {
        throw place.malformed("keys of storages that tensors use", got: "another")
      }
      let count = try unpickler.reader.size("the number of elements of storage \(key.quoted)")
      let (length, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw place.malformed("a storage of at most \(Int.max) bytes", got: "more") }
      storages[key] = try unpickler.reader.take(length, "storage \(key.quoted)")
    }
    return storages
  }
}
