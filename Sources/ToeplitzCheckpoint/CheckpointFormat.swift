import ToeplitzTensor

/// The format of a checkpoint, as the first bytes of the file tell it.
package enum CheckpointFormat: Equatable {
  case safetensors, index, npy, zip, pickle
  /// A format that is not read, with what to do.
  case other(String)

  /// The format of a file with these bytes.
  package init(_ bytes: UnsafeRawBufferPointer) {
    func begins(_ start: [UInt8], at offset: Int = 0) -> Bool {
      bytes.count >= offset + start.count && bytes[offset..<offset + start.count].elementsEqual(start)
    }
    func begins(_ text: String, at offset: Int = 0) -> Bool { begins(Array(text.utf8), at: offset) }
    if begins("PK\u{3}\u{4}") || begins("PK\u{5}\u{6}") {
      self = .zip
    } else if begins([0x93] + Array("NUMPY".utf8)) {
      self = .npy
    } else if bytes.count > 8, bytes[8] == UInt8(ascii: "{"), bytes[4...7].allSatisfy({ $0 == 0 }) {
      // The length of the header in eight bytes, of which the highest are 0 below 4 GiB. Its lowest may be those that
      // pickles begin with.
      self = .safetensors
    } else if Self.isPickle(begins, bytes) {
      self = .pickle
    } else if bytes.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) == UInt8(ascii: "{") {
      self = .index
    } else {
      let known = Self.others.first { begins($0.start, at: $0.offset) }
      self = .other(known?.what ?? (bytes.isEmpty ? Self.nothing : "bytes of another format"))
    }
  }

  /// What such a file is, for who wanted a model; nil if the bytes do not tell.
  package var asNoModel: String? {
    let export = "export the network it belongs to, as torch.onnx.export does"
    switch self {
    case .safetensors, .index: return "a checkpoint (\(export))"
    case .npy: return "an array of NumPy's"
    case .zip, .pickle: return "an archive or a pickle, as PyTorch's checkpoints are (\(export))"
    case .other(let what): return Self.others.contains { $0.what == what } || what == Self.nothing ? what : nil
    }
  }

  /// Whether files of this format hold tensors themselves.
  package var isTensors: Bool {
    switch self {
    case .safetensors, .npy, .zip, .pickle: true
    case .index, .other: false
    }
  }

  /// Pickles since protocol 2 say so; of older ones those that PyTorch writes, and dictionaries.
  private static func isPickle(_ begins: ([UInt8], Int) -> Bool, _ bytes: UnsafeRawBufferPointer) -> Bool {
    if bytes.count > 2, bytes[0] == 0x80, bytes[1] <= 5 { return true }
    let starts = [
      [UInt8(ascii: "L")] + PyTorch.magicDigits, Array("(dp".utf8), Array("(lp".utf8), Array("}q".utf8),
      Array("ccollections\nOrderedDict\n".utf8), Array("(dq".utf8),
    ]
    return starts.contains { begins($0, 0) }
  }

  private static let others: [(start: [UInt8], offset: Int, what: String)] = [
    (
      Array("ustar".utf8), 257,
      "a tar archive, the format of PyTorch before 0.1.10 among others; unpack it, or load it with PyTorch and save its "
        + "state dictionary again"
    ),
    ([0x1F, 0x8B], 0, "a gzip file; unpack it with gunzip first"),
    ([0x28, 0xB5, 0x2F, 0xFD], 0, "a zstd file; unpack it with unzstd first"),
    ([0xFD] + Array("7zXZ".utf8), 0, "an xz file; unpack it with unxz first"),
    (Array("BZh".utf8), 0, "a bzip2 file; unpack it with bunzip2 first"),
    (Array("\u{89}HDF".unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }), 0, hdf),
    (Array("GGUF".utf8), 0, "a GGUF file, the format of llama.cpp; use the safetensors that it was made from"),
    (
      Array("version https://git-lfs".utf8), 0,
      "a pointer of Git LFS instead of the file; fetch the file with git lfs pull"
    ),
    (Array("<!DOCTYPE".utf8), 0, "a web page; download the file itself"),
    (Array("<!doctype".utf8), 0, "a web page; download the file itself"),
    (Array("<html".utf8), 0, "a web page; download the file itself"),
    (Array("ORTM".utf8), 4, "a model in the format ORT; take the ONNX file that it was made from"),
    (Array("TFL3".utf8), 4, "a TensorFlow Lite model; convert it to ONNX with tf2onnx"),
    ([0x89] + Array("PNG".utf8), 0, "a picture"),
    ([0xFF, 0xD8, 0xFF], 0, "a picture"),
    (Array("RIFF".utf8), 0, "a sound file or a picture"),
    (Array("fLaC".utf8), 0, "a sound file"),
  ]
  private static let nothing = "an empty file"
  private static let hdf = "an HDF5 file, as Keras writes; save its arrays with numpy.savez"

  /// Reads the checkpoint in the bytes, which `owner` keeps alive.
  func checkpoint(
    _ bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable, source: String
  ) throws -> Checkpoint {
    let place = FilePlace(file: source)
    switch self {
    case .safetensors: return try Safetensors.decode(bytes, owner: owner, source: source)
    case .index: return try Safetensors.decode(partsOf: bytes, source: source)
    case .npy: return Checkpoint(["arr_0": try NumPy.decode(bytes, owner: owner, place)], source: source)
    case .pickle: return try PyTorch.decode(bytes, owner: owner, source: source)
    case .zip:
      let archive = try ZipArchive(bytes, place)
      if PyTorch.isCheckpoint(archive) { return try PyTorch.decode(bytes, owner: owner, source: source) }
      let names = archive.entries.map(\.name)
      guard names.isEmpty || names.contains(where: { $0.hasSuffix(".npy") }) else {
        throw place.malformed("an archive of NumPy's arrays or a checkpoint of PyTorch's", got: Self.archive(names))
      }
      return try NumPy.decodeArchive(bytes, source: source, maximumBytes: Platform.physicalMemory / 2)
    case .other(let what):
      throw place.malformed("a checkpoint: safetensors or its index, npz, npy or PyTorch's", got: what)
    }
  }

  /// What an archive is that holds no tensors under the names that are looked for.
  private static func archive(_ names: [String]) -> String {
    if names.contains(where: { $0.hasSuffix("model.json") }), names.contains(where: { $0.contains("tensors/") }) {
      return "TorchScript of PyTorch before 1.3; load it with PyTorch and save its state dictionary"
    }
    if names.contains(where: { $0.hasSuffix(".h5") }) { return "a Keras model; save its arrays with numpy.savez" }
    return "an archive of \(names.prefix(3).map(\.quoted).joined(separator: ", ")); unpack it first"
  }
}
