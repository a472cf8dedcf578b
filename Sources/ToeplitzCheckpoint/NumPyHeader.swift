import ToeplitzTensor

/// What stands in front of the data of a `.npy` file.
///
/// `\x93NUMPY`, two version bytes, the header's length (two bytes in version 1, four in 2 and 3), and a
/// Python dictionary with the keys `descr`, `fortran_order` and `shape` (NEP 1).
struct NumPyHeader {
  /// NumPy's own headers have at most a few hundred bytes; only structured types need more.
  private static let maximumLength = 1 << 16
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  var type: NumPyType
  var isFortranOrder: Bool
  var shape: [Int]

  /// Reads what the header says and leaves `reader` at the data.
  static func members(
    _ reader: inout ByteReader, _ place: FilePlace
  ) throws -> (descr: String, fortranOrder: Bool, shape: [Int]) {
    guard try reader.take(Self.magic.count, "magic text").elementsEqual(Self.magic) else {
      throw place.malformed("a NumPy file, which begins with \\x93NUMPY", got: "other bytes")
    }
    let version = try reader.integer(UInt8.self, "version")
    let minor = try reader.integer(UInt8.self, "version")
    guard (1...3).contains(version), minor == 0 else {
      throw place.malformed("NumPy format version 1.0, 2.0 or 3.0", got: "\(version).\(minor)")
    }
    let length =
      version == 1
      ? Int(try reader.integer(UInt16.self, "header length"))
      : Int(try reader.integer(UInt32.self, "header length"))
    guard length <= Self.maximumLength else {
      throw place.malformed("a header of at most \(Self.maximumLength) bytes", got: "\(length)")
    }
    var scanner = PythonScanner(try reader.take(length, "header"), place)
    return try scanner.header()
  }

  /// Reads the header of an array of numbers and leaves `reader` at the data.
  init(_ reader: inout ByteReader, _ place: FilePlace) throws {
    let members = try Self.members(&reader, place)
    guard let type = NumPyType(members.descr) else { throw NumPyType.refusal(members.descr, place) }
    self.type = type
    isFortranOrder = members.fortranOrder
    shape = members.shape
  }

  /// The header of version 1.0 for a tensor, padded so that the data starts on a multiple of 64 bytes.
  static func bytes(for tensor: Tensor, _ place: FilePlace) throws -> [UInt8] {
    guard let descr = NumPyType.description(of: tensor.dtype) else {
      throw ToeplitzError(
        .dtype, place.file, expected: "an element type that NumPy has", got: "\(tensor.dtype)",
        path: place.entry)
    }
    return try bytes(descr, tensor.shape, place)
  }

  /// The header of version 1.0 for elements of a type and a shape.
  static func bytes(_ descr: String, _ shape: TensorShape, _ place: FilePlace) throws -> [UInt8] {
    guard shape.rank <= ElementBytes.maximumRank else {
      throw place.refused("at most \(ElementBytes.maximumRank) dimensions", got: "\(shape.rank)")
    }
    let sizes = shape.dimensions.map(String.init).joined(separator: ", ")
    let tuple = shape.rank == 1 ? "(\(sizes),)" : "(\(sizes))"
    var text = Array("{'descr': '\(descr)', 'fortran_order': False, 'shape': \(tuple), }".utf8)
    while (magic.count + 4 + text.count + 1) % 64 != 0 { text.append(UInt8(ascii: " ")) }
    text.append(UInt8(ascii: "\n"))
    var header = magic + [1, 0]
    // 64 sizes of 19 digits stay far below the 65535 bytes that version 1.0 can count.
    header.append(littleEndian: UInt16(truncatingIfNeeded: text.count))
    return header + text
  }
}

/// A reader of the one Python dictionary that `.npy` headers hold, and of nothing else of Python.
private struct PythonScanner {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  mutating func header() throws -> (descr: String, fortranOrder: Bool, shape: [Int]) {
    var descr: String?
    var fortranOrder: Bool?
    var shape: [Int]?
    try expect("{")
    while !accept("}") {
      let key = try string()
      try expect(":")
      switch key {
      case "descr" where descr == nil: descr = try startsList() ? list() : string()
      case "fortran_order" where fortranOrder == nil: fortranOrder = try boolean()
      case "shape" where shape == nil: shape = try tuple()
      default:
        throw place.malformed("each of the keys descr, fortran_order and shape once", got: key.quoted)
      }
      if !accept(",") {
        try expect("}")
        break
      }
    }
    skipBlanks()
    guard position == bytes.count else { throw unexpected("the end of the header") }
    guard let descr, let fortranOrder, let shape else {
      throw place.malformed("the keys descr, fortran_order and shape", got: "not all of them")
    }
    return (descr, fortranOrder, shape)
  }

  private mutating func string() throws -> String {
    skipBlanks()
    guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      throw unexpected("a plain string")
    }
    position += 1
    let start = position
    while let byte = peek(), byte != quote {
      guard (0x20..<0x7F).contains(byte), byte != UInt8(ascii: "\\") else {
        throw unexpected("a string of plain ASCII characters")
      }
      position += 1
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard peek() == quote else { throw unexpected("the end of a string") }
    position += 1
    return text
  }

  private mutating func startsList() -> Bool {
    skipBlanks()
    return peek() == UInt8(ascii: "[")
  }

  /// The fields of a structure as they are written; they are only shown.
  private mutating func list() throws -> String {
    skipBlanks()
    let start = position
    var depth = 0
    var quote: UInt8?
    while let byte = peek() {
      guard (0x20..<0x7F).contains(byte) else { throw unexpected("a list of plain ASCII characters") }
      position += 1
      if let open = quote {
        if byte == open { quote = nil }
        continue
      }
      switch byte {
      case UInt8(ascii: "'"), UInt8(ascii: "\""): quote = byte
      case UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 { return String(decoding: bytes[start..<position], as: UTF8.self) }
      default: break
      }
    }
    throw unexpected("the end of a list")
  }

  private mutating func boolean() throws -> Bool {
    skipBlanks()
    for (word, value) in [("True", true), ("False", false)]
    where bytes.dropFirst(position).starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw unexpected("True or False")
  }

  /// A tuple of sizes; one of a single size has a comma behind it.
  private mutating func tuple() throws -> [Int] {
    var sizes: [Int] = []
    try expect("(")
    while !accept(")") {
      guard sizes.count < ElementBytes.maximumRank else {
        throw place.malformed("at most \(ElementBytes.maximumRank) dimensions", got: "more")
      }
      sizes.append(try size())
      if !accept(",") {
        guard sizes.count > 1 else { throw unexpected("a comma behind a single size") }
        try expect(")")
        break
      }
    }
    return sizes
  }

  private mutating func size() throws -> Int {
    skipBlanks()
    var value = 0
    let start = position
    while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
      let (tens, over) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Int(byte) - 48)
      guard !over, !carry else {
        throw place.malformed(
          "sizes of at most \(Int.max)", got: "a larger one at byte \(start) of the header")
      }
      value = sum
      position += 1
    }
    guard position > start else { throw unexpected("a size of at least 0") }
    // Python 2 wrote long integers with an L.
    if peek() == UInt8(ascii: "L") { position += 1 }
    return value
  }

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipBlanks() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    skipBlanks()
    guard let byte = peek(), Unicode.Scalar(byte) == character else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws {
    guard accept(character) else { throw unexpected("'\(character)'") }
  }

  private func unexpected(_ what: String) -> ToeplitzError {
    guard let byte = peek() else { return place.malformed(what, got: "the end of the header") }
    let shown = (0x20..<0x7F).contains(byte) ? "'\(Unicode.Scalar(byte))'" : "byte \(byte)"
    return place.malformed(what, got: "\(shown) at byte \(position) of the header")
  }
}
