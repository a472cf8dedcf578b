import ToeplitzTensor

/// PyTorch's checkpoints, `.pt`, `.pth` and `.ckpt`: a ZIP archive with a pickle and the storages of its tensors.
///
/// The layout is that of `torch.save` since PyTorch 1.6. The pickle is read by an unpickler that runs no code: it
/// knows dictionaries, lists, plain values and the functions that rebuild tensors, and refuses everything else.
public enum PyTorch {
  /// Reads the state dictionary in the file at `path`.
  ///
  /// Nested dictionaries and lists give dotted names, such as `model.conv.weight`; numbers and texts beside the tensors
  /// are ``Checkpoint/metadata``. The file is mapped and tensors refer to it, so it must not be overwritten in place
  /// while they are alive.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a rule or holds
  ///   something other than tensors and plain values.
  public static func read(contentsOf path: String) throws -> Checkpoint {
    let file = try MappedFile(path: path)
    return try withExtendedLifetime(file) { try decode(file.bytes, owner: file, source: path) }
  }

  /// Reads the state dictionary out of the bytes of a file, which `owner` keeps alive.
  static func decode(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    let archive = try ZipArchive(bytes, place)
    try archive.checkSizes(maximumBytes: Platform.physicalMemory / 2)
    guard let pickle = archive.entries.first(where: { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }) else {
      throw place.malformed("a PyTorch checkpoint with an entry data.pkl", got: "none")
    }
    let prefix = String(pickle.name.dropLast("data.pkl".count))
    let entries = Dictionary(archive.entries.map { ($0.name, $0) }) { first, _ in first }
    if let order = entries[prefix + "byteorder"] {
      let contents = try archive.contents(of: order)
      guard withExtendedLifetime(contents, { String(decoding: contents.bytes, as: UTF8.self) }) == "little" else {
        throw place.malformed("numbers with their lowest byte first", got: "another order")
      }
    }
    var storages: [String: Contents] = [:]
    let contents = try archive.contents(of: pickle)
    return try withExtendedLifetime(contents) {
      var unpickler = Unpickler(contents.bytes, place.inside(pickle.name)) { storage, offset, sizes, strides, dtype in
        let name = prefix + "data/" + storage.key
        let found: Contents
        if let known = storages[name] {
          found = known
        } else {
          guard let entry = entries[name] else { throw place.malformed("an entry \(name.quoted)", got: "none") }
          let unpacked = try archive.contents(of: entry)
          found = Contents(bytes: unpacked.bytes, owner: unpacked.storage ?? owner)
          storages[name] = found
        }
        guard let type = dtype ?? storage.dtype else {
          throw place.malformed("a tensor with an element type", got: "none")
        }
        return try view(found, type, offset, sizes, strides, place.inside(name))
      }
      let state = try unpickler.stateDictionary()
      return Checkpoint(state.tensors, metadata: state.metadata, source: source)
    }
  }

  /// The bytes of a storage and what keeps them alive.
  private struct Contents {
    var bytes: UnsafeRawBufferPointer
    var owner: any AnyObject & Sendable
  }

  /// A view of a storage, whose sizes and strides come from the pickle.
  private static func view(
    _ contents: Contents, _ dtype: DType, _ offset: Int, _ sizes: [Int], _ strides: [Int], _ place: FilePlace
  ) throws -> Tensor {
    guard sizes.count == strides.count, offset >= 0, strides.allSatisfy({ $0 >= 0 }) else {
      throw place.malformed("as many strides as sizes, and none below 0", got: "\(sizes), \(strides), offset \(offset)")
    }
    // Also refuses sizes whose product does not fit, so that nothing below can overflow but the strides.
    _ = try ElementBytes.byteCount(sizes, itemSize: dtype.byteSize, place)
    let count = contents.bytes.count / dtype.byteSize
    var last = offset
    for (size, stride) in zip(sizes, strides) where size > 1 {
      let (step, over) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflow) = last.addingReportingOverflow(step)
      guard !over, !overflow else { throw place.malformed("a view within its storage", got: "strides \(strides)") }
      last = sum
    }
    guard sizes.contains(0) || last < count else {
      throw place.malformed("a view within the \(count) elements of its storage", got: "element \(last)")
    }
    if sizes.contains(0) { return try Tensor.zeros(Shape(sizes), dtype: dtype) }
    let whole = UnsafeRawBufferPointer(rebasing: contents.bytes[..<(count * dtype.byteSize)])
    let flat = try ElementBytes.tensor(whole, dtype, [count], owner: contents.owner, place)
    return flat.view(shape: Shape(sizes), strides: strides, offset: flat.offset + offset)
  }
}
