import ToeplitzTensor

/// Named tensors, seen from one place of a dotted hierarchy such as that of a PyTorch state dictionary.
///
/// A checkpoint knows which file it comes from and where in the hierarchy it stands. A model hands
/// ``inside(_:)-(String)`` to each of its parts, and a part asks for its tensors by their short names:
///
/// ```swift
/// let checkpoint = try Checkpoint(contentsOf: "generator.safetensors").inside("conv_pre")
/// let bias = try checkpoint.tensor("bias", shape: [256])  // the tensor conv_pre.bias
/// ```
///
/// Copies and descents share the tensors. The values are immutable and may be used from several threads.
public struct Checkpoint: Sendable {
  /// The file the tensors come from, or another description of their origin; errors start with it.
  public let source: String
  /// The dotted place in the hierarchy, empty at its top.
  public let path: String
  /// The text entries of the file, if its format has them (`__metadata__` in safetensors), by full names.
  public var metadata: [String: String] { all.metadata }
  /// All tensors, and what is to be said about them, under their full names.
  private let all: FoundTensors

  /// A checkpoint of the given tensors, whose keys are the full dotted names.
  public init(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], source: String = "checkpoint"
  ) {
    self.init(FoundTensors(tensors: tensors, metadata: metadata), source: source)
  }

  init(_ found: FoundTensors, source: String) { self.init(all: found, source: source, path: "") }

  private init(all: FoundTensors, source: String, path: String) {
    self.all = all
    self.source = source
    self.path = path
  }

  /// Reads a file of any of these formats, which its first bytes tell, whatever its name: safetensors, the index of
  /// a checkpoint in several parts (`model.safetensors.index.json`, `pytorch_model.bin.index.json`), `.npz`, `.npy` (the
  /// array is called `arr_0`), PyTorch's, TorchScript's and pickles of NumPy's arrays.
  ///
  /// The file is mapped and tensors may refer to it, so it must not be overwritten in place while they are alive.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it has another format or
  ///   breaks the rules of its own.
  public init(contentsOf path: String) throws {
    let file = try MappedFile(path: path)
    self = try withExtendedLifetime(file) {
      try CheckpointFormat(file.bytes).checkpoint(file.bytes, owner: file, source: path)
    }
  }

  /// Reads the bytes of a file, such as `[UInt8]` or `Data`, of any of the formats that ``init(contentsOf:)-(String)`` reads, but
  /// for an index, whose parts are other files.
  ///
  /// - Parameters:
  ///   - bytes: the whole file; it is copied.
  ///   - source: what errors call it.
  /// - Throws: ``ToeplitzError`` of kind `format` if it has another format or breaks the rules of its own, `unsupported` for
  ///   an index.
  public init<Bytes: Collection>(bytes: Bytes, source: String = "checkpoint") throws where Bytes.Element == UInt8 {
    let stored = bytes.withContiguousStorageIfAvailable { MappedFile(copying: UnsafeRawBufferPointer($0)) }
    let file = stored ?? Array(bytes).withUnsafeBytes { MappedFile(copying: $0) }
    let format = CheckpointFormat(file.bytes)
    // Bytes from elsewhere must not name files of this machine.
    guard format != .index else {
      throw ToeplitzError(
        .unsupported, source, expected: "a file that holds its tensors itself", got: "an index of other files")
    }
    self = try withExtendedLifetime(file) { try format.checkpoint(file.bytes, owner: file, source: source) }
  }

  /// The same tensors seen from `component`, a name or several joined by dots, below this place.
  public func inside(_ component: String) -> Checkpoint {
    Checkpoint(all: all, source: source, path: fullName(component))
  }

  /// The same tensors seen from the numbered part `index` below this place, as in a list of layers.
  public func inside(_ index: Int) -> Checkpoint { inside(String(index)) }

  /// The names of all tensors below this place, relative to it, in alphabetical order; without ``unreadable`` ones.
  public var names: [String] { relative(all.tensors).map(\.name).sorted() }

  /// All tensors below this place under their names relative to it; without ``unreadable`` ones.
  public var tensors: [String: Tensor] { below(all.tensors) }

  /// The tensors below this place that Toeplitz cannot hold or could make only by running code, with the reasons, under
  /// their names relative to it: arrays of text, what an unknown function makes of tensors, two tensors of one name.
  public var unreadable: [String: ToeplitzError] { below(all.unreadable) }

  /// In a few words what was done to those tensors below this place that are not as they were stored, such as sparse
  /// ones, under their names relative to it.
  public var remarks: [String: String] { below(all.remarks) }

  private func below<Value>(_ values: [String: Value]) -> [String: Value] {
    path.isEmpty ? values : Dictionary(relative(values).map { ($0.name, $0.value) }) { first, _ in first }
  }

  private func relative<Value>(_ values: [String: Value]) -> [(name: String, value: Value)] {
    guard !path.isEmpty else { return values.map { ($0.key, $0.value) } }
    let prefix = Array("\(path).".utf8)
    return values.compactMap { name, value in
      name.utf8.starts(with: prefix)
        ? (String(decoding: name.utf8.dropFirst(prefix.count), as: UTF8.self), value) : nil
    }
  }

  /// The tensor of that name below this place, or nil.
  public subscript(name: String) -> Tensor? { all.tensors[fullName(name)] }

  /// The tensor of that name below this place.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if there is none; it has the full name and lists
  ///   similar ones. The reason why it cannot be read, if it is one of ``unreadable``.
  public func tensor(_ name: String) throws -> Tensor {
    if let tensor = self[name] { return tensor }
    let full = fullName(name)
    if let error = all.unreadable[full] { throw error }
    let near = NameSearch.names(near: full, in: all.tensors.keys)
    let hint = near.isEmpty ? "" : "; similar names: " + near.map(\.oneLine).joined(separator: ", ")
    throw ToeplitzError(
      .checkpoint, FilePlace(file: source).file, expected: "a tensor of this name",
      got: "none among \(all.tensors.count)" + hint, path: full.oneLine)
  }

  /// The tensor of that name below this place, which has to have the given shape.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if there is none or it has another shape; it has the
  ///   full name.
  public func tensor(_ name: String, shape: TensorShape) throws -> Tensor {
    let tensor = try tensor(name)
    guard tensor.shape == shape else {
      throw ToeplitzError(
        .checkpoint, FilePlace(file: source).file, expected: "shape \(shape)", got: "shape \(tensor.shape)",
        path: fullName(name).oneLine)
    }
    return tensor
  }

  /// `name` with this place in front.
  public func fullName(_ name: String) -> String {
    if path.isEmpty { return name }
    return name.isEmpty ? path : "\(path).\(name)"
  }
}

extension Checkpoint {
  /// Where the constants of TorchScript's code stand, which belong to no state dictionary.
  package static let constantsPlace = "CONSTANTS"
}

extension Checkpoint: CustomStringConvertible {
  /// The origin, the place and the number of tensors below it.
  public var description: String {
    "Checkpoint(\(source.oneLine)\(path.isEmpty ? "" : ", \(path)"): \(names.count) tensors)"
  }
}
