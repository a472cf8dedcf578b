import ToeplitzTensor

/// Named tensors, seen from one place of a dotted hierarchy such as that of a PyTorch state dictionary.
///
/// A checkpoint knows which file it comes from and where in the hierarchy it stands. A model hands
/// ``inside(_:)`` to each of its parts, and a part asks for its tensors by their short names:
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
  /// The text entries of the file, if its format has them (`__metadata__` in safetensors).
  public let metadata: [String: String]
  /// All tensors under their full names.
  private let all: [String: Tensor]

  /// A checkpoint of the given tensors, whose keys are the full dotted names.
  public init(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], source: String = "checkpoint"
  ) {
    self.init(all: tensors, metadata: metadata, source: source, path: "")
  }

  private init(all: [String: Tensor], metadata: [String: String], source: String, path: String) {
    self.all = all
    self.metadata = metadata
    self.source = source
    self.path = path
  }

  /// Reads a file in the format that its name says: `.safetensors`, `.json` (the index of a safetensors file
  /// in several parts), `.npz`, or `.pt`, `.pth` and `.ckpt` (PyTorch).
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read or has another name, of kind
  ///   `format` if its contents break the format's rules.
  public init(contentsOf path: String) throws {
    if path.hasSuffix(".safetensors") {
      self = try Safetensors.read(contentsOf: path)
    } else if path.hasSuffix(".json") {
      self = try Safetensors.read(partsOf: path)
    } else if path.hasSuffix(".npz") {
      self = try NumPy.readArchive(contentsOf: path)
    } else if [".pt", ".pth", ".ckpt"].contains(where: path.hasSuffix) {
      self = try PyTorch.read(contentsOf: path)
    } else {
      throw ToeplitzError(
        .file, FilePlace(file: path).file,
        expected: "a file name that ends in .safetensors, .safetensors.index.json, .npz, .pt, .pth or .ckpt",
        got: "another name")
    }
  }

  /// The same tensors seen from `component`, a name or several joined by dots, below this place.
  public func inside(_ component: String) -> Checkpoint {
    Checkpoint(all: all, metadata: metadata, source: source, path: fullName(component))
  }

  /// The same tensors seen from the numbered part `index` below this place, as in a list of layers.
  public func inside(_ index: Int) -> Checkpoint { inside(String(index)) }

  /// The names of all tensors below this place, relative to it, in alphabetical order.
  public var names: [String] {
    guard !path.isEmpty else { return all.keys.sorted() }
    let prefix = Array("\(path).".utf8)
    return all.keys.compactMap { name in
      name.utf8.starts(with: prefix)
        ? String(decoding: name.utf8.dropFirst(prefix.count), as: UTF8.self) : nil
    }.sorted()
  }

  /// All tensors below this place under their names relative to it.
  public var tensors: [String: Tensor] {
    guard !path.isEmpty else { return all }
    var result: [String: Tensor] = [:]
    for name in names { result[name] = self[name] }
    return result
  }

  /// The tensor of that name below this place, or nil.
  public subscript(name: String) -> Tensor? { all[fullName(name)] }

  /// The tensor of that name below this place.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if there is none; it has the full name and lists
  ///   similar ones.
  public func tensor(_ name: String) throws -> Tensor {
    if let tensor = self[name] { return tensor }
    let full = fullName(name)
    let near = NameSearch.names(near: full, in: all.keys)
    let hint = near.isEmpty ? "" : "; similar names: " + near.map(\.oneLine).joined(separator: ", ")
    throw ToeplitzError(
      .checkpoint, FilePlace(file: source).file, expected: "a tensor of this name",
      got: "none among \(all.count)" + hint, path: full.oneLine)
  }

  /// The tensor of that name below this place, which has to have the given shape.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` if there is none or it has another shape; it has the
  ///   full name.
  public func tensor(_ name: String, shape: Shape) throws -> Tensor {
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

extension Checkpoint: CustomStringConvertible {
  /// The origin, the place and the number of tensors below it.
  public var description: String {
    "Checkpoint(\(source.oneLine)\(path.isEmpty ? "" : ", \(path)"): \(names.count) tensors)"
  }
}
