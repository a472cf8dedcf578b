import ToeplitzTensor

/// A value in a file of PyTorch's: what `torch.save` is given and `torch.load` returns.
public indirect enum PyTorchValue: Sendable {
  /// `None`.
  case none
  /// `True` or `False`.
  case bool(Bool)
  /// A whole number.
  case int(Int)
  /// A floating-point number.
  case double(Double)
  /// A `str`.
  case text(String)
  /// A tensor.
  case tensor(Tensor)
  /// A `list`.
  case list([PyTorchValue])
  /// A `tuple`.
  case tuple([PyTorchValue])
  /// A `dict` in the order of its entries.
  case dictionary([(key: Key, value: PyTorchValue)])

  /// A key of a `dict`.
  public enum Key: Sendable, Hashable {
    /// A `str`.
    case text(String)
    /// A whole number, as those of parameters in an optimiser's state.
    case int(Int)
  }

  /// A `dict` of named tensors, such as a state dictionary, in alphabetical order.
  public static func tensors(_ tensors: [String: Tensor]) -> PyTorchValue {
    .dictionary(tensors.sorted { $0.key < $1.key }.map { (.text($0.key), .tensor($0.value)) })
  }
}

extension PyTorch {
  /// Writes a file that `torch.load` reads, also with `weights_only=True`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written, of kind `argument` if PyTorch has no such tensors, or texts
  ///   are too long.
  public static func write(_ value: PyTorchValue, to path: String) throws {
    let place = FilePlace(file: path)
    var pickler = Pickler(place)
    try pickler.add(value)
    let bytes = pickler.finished()
    try AtomicFile.write(to: path) { file in
      var archive = ZipWriter(place)
      func add(_ name: String, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try archive.add("archive/" + name, [$0], to: file) }
      }
      try add("data.pkl", bytes)
      try add("byteorder", Array("little".utf8))
      for (index, tensor) in pickler.tensors.enumerated() {
        try tensor.withBytes { try archive.add("archive/data/\(index)", [$0], to: file) }
      }
      try add("version", Array("3\n".utf8))
      try archive.finish(file)
    }
  }
}

/// Writes values in Python's pickle protocol 2, tensors as PyTorch's persistent storages.
private struct Pickler {
  private(set) var tensors: [Tensor] = []
  private let place: FilePlace
  private var bytes: [UInt8] = [0x80, 2]

  init(_ place: FilePlace) { self.place = place }

  private mutating func put(_ letters: String) { bytes += Array(letters.utf8) }

  mutating func finished() -> [UInt8] {
    put(".")
    return bytes
  }

  mutating func add(_ value: PyTorchValue) throws {
    switch value {
    case .none: put("N")
    case .bool(let flag): bytes.append(flag ? 0x88 : 0x89)
    case .int(let number): add(number)
    case .double(let number):
      put("G")
      withUnsafeBytes(of: number.bitPattern.bigEndian) { bytes += Array($0) }
    case .text(let text): try add(text)
    case .tensor(let tensor): try add(tensor)
    case .list(let items):
      put("](")
      for item in items { try add(item) }
      put("e")
    case .tuple(let items):
      put("(")
      for item in items { try add(item) }
      put("t")
    case .dictionary(let entries):
      put("}(")
      for (key, value) in entries {
        switch key {
        case .text(let text): try add(text)
        case .int(let number): add(number)
        }
        try add(value)
      }
      put("u")
    }
  }

  private mutating func add(_ number: Int) {
    if let small = Int32(exactly: number) {
      put("J")
      bytes.append(littleEndian: small)
    } else {
      bytes += [0x8A, 8]
      bytes.append(littleEndian: Int64(number))
    }
  }

  private mutating func add(_ text: String) throws {
    let letters = Array(text.utf8)
    guard let count = UInt32(exactly: letters.count) else {
      throw place.refused("texts of at most \(UInt32.max) bytes", got: "\(letters.count)")
    }
    put("X")
    bytes.append(littleEndian: count)
    bytes += letters
  }

  /// `torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks)`.
  private mutating func add(_ tensor: Tensor) throws {
    guard let storage = Self.storage(of: tensor.dtype) else {
      throw place.refused("an element type that PyTorch's files have", got: "\(tensor.dtype)")
    }
    put("ctorch._utils\n_rebuild_tensor_v2\n((")
    try add("storage")
    put("ctorch\n\(storage)\n")
    try add("\(tensors.count)")
    try add("cpu")
    add(tensor.count)
    put("tQ")
    add(0)
    for numbers in [Array(tensor.shape), tensor.shape.contiguousStrides] {
      put("(")
      for number in numbers { add(number) }
      put("t")
    }
    bytes.append(0x89)
    put("ccollections\nOrderedDict\n)RtR")
    tensors.append(tensor)
  }

  private static func storage(of dtype: DType) -> String? {
    switch dtype {
    case .float32: "FloatStorage"
    case .float64: "DoubleStorage"
    case .float16: "HalfStorage"
    case .bfloat16: "BFloat16Storage"
    case .int64: "LongStorage"
    case .int32: "IntStorage"
    case .int16: "ShortStorage"
    case .int8: "CharStorage"
    case .uint8: "ByteStorage"
    case .bool: "BoolStorage"
    default: nil
    }
  }
}
