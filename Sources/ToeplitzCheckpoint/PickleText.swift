import ToeplitzTensor

/// The texts in pickles: those of Python 2, which may be bytes, and the escapes of protocol 0.
enum PickleText {
  /// Text if it is UTF-8, otherwise bytes.
  static func textOrBytes(_ bytes: UnsafeRawBufferPointer) -> PickleValue {
    String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(PickleBytes(bytes))
  }

  /// A whole number in decimal digits.
  static func number(_ line: String, _ place: FilePlace) throws -> PickleValue {
    if let value = Int(line) { return .int(value) }
    let digits = line.utf8.first == UInt8(ascii: "-") ? line.utf8.dropFirst() : line.utf8[...]
    guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else {
      throw place.malformed("a whole number", got: line.quoted)
    }
    return .longInt(PickleBytes(Array(line.utf8)))
  }

  /// Text or bytes between quotes, with Python's escapes.
  static func quoted(_ line: UnsafeRawBufferPointer, _ place: FilePlace) throws -> PickleValue {
    guard line.count >= 2, let quote = line.first, quote == line.last, quote == 0x27 || quote == 0x22 else {
      throw place.malformed("text in quotes", got: "other bytes")
    }
    var bytes: [UInt8] = []
    var rest = line.dropFirst().dropLast()
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      guard let escape = rest.popFirst() else { throw place.malformed("an escape", got: "the end of the text") }
      switch escape {
      case UInt8(ascii: "n"): bytes.append(0x0A)
      case UInt8(ascii: "r"): bytes.append(0x0D)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "\\"), 0x27, 0x22: bytes.append(escape)
      case UInt8(ascii: "x"):
        guard let value = hexadecimal(&rest, 2) else { throw place.malformed("two digits", got: "other bytes") }
        bytes.append(UInt8(value))
      default: bytes += [byte, escape]
      }
    }
    return String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(PickleBytes(bytes))
  }

  /// Text in Latin-1 with escapes `\u` and `\U` for what else there is.
  static func unicode(_ line: UnsafeRawBufferPointer, _ place: FilePlace) throws -> String {
    var units: [UInt16] = []
    var rest = line[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let kind = rest.first, kind == 0x75 || kind == 0x55 else {
        units.append(UInt16(byte))
        continue
      }
      rest.removeFirst()
      guard let value = hexadecimal(&rest, kind == 0x75 ? 4 : 8) else {
        throw place.malformed("an escape of 4 or 8 digits", got: "other bytes")
      }
      if let unit = UInt16(exactly: value) {
        units.append(unit)
      } else {
        guard let scalar = Unicode.Scalar(value) else { throw place.malformed("a character", got: "\(value)") }
        units += Array(String(scalar).utf16)
      }
    }
    return String(decoding: units, as: UTF16.self)
  }

  /// The bytes of characters below 256, as Python's codec `latin1` encodes them.
  static func latin1(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.unicodeScalars.count)
    for scalar in text.unicodeScalars {
      guard let byte = UInt8(exactly: scalar.value) else { return nil }
      bytes.append(byte)
    }
    return bytes
  }

  private static func hexadecimal(_ rest: inout UnsafeRawBufferPointer.SubSequence, _ count: Int) -> UInt32? {
    guard rest.count >= count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return UInt32(String(decoding: rest.prefix(count), as: UTF8.self), radix: 16)
  }
}

extension PickleText {
  /// A path, date or device as text, if the object is one.
  static func plain(_ object: PickleObject) -> String? {
    switch object.name.full {
    case "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.Path", "pathlib.PurePath", "pathlib.WindowsPath",
      "pathlib.PureWindowsPath":
      let parts = object.arguments.compactMap { if case .string(let part) = $0 { part } else { nil } }
      guard parts.count == object.arguments.count else { return nil }
      let joined = parts.joined(separator: "/")
      return joined.hasPrefix("//") ? String(joined.dropFirst()) : joined
    case "torch.device":
      guard case .string(let kind)? = object.arguments.first else { return nil }
      if object.arguments.count > 1, case .int(let index) = object.arguments[1] { return "\(kind):\(index)" }
      return kind
    case "numpy.dtype":
      guard case .string(let name)? = object.arguments.first else { return nil }
      return name
    case "datetime.date", "datetime.datetime": return date(object)
    default: return nil
    }
  }

  /// The ISO form of a date or time, whose fields are bytes: the year in two, then a byte each, microseconds in three.
  private static func date(_ object: PickleObject) -> String? {
    let bytes: [UInt8]
    switch object.arguments.first {
    case .bytes(let stored): bytes = stored.withBytes { Array($0) }
    // What Python 2 pickled, if its bytes happen to be UTF-8.
    case .string(let text): bytes = Array(text.utf8)
    default: return nil
    }
    guard bytes.count == 4 || bytes.count == 10 else { return nil }
    func digits(_ value: Int, _ count: Int = 2) -> String {
      let text = "\(value)"
      return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    let fields = bytes.map { Int($0) }
    let day = [digits(fields[0] << 8 | fields[1], 4), digits(fields[2] & 0x7F), digits(fields[3])].joined(
      separator: "-")
    guard bytes.count == 10 else { return day }
    let time = fields[4...6].map { digits($0) }.joined(separator: ":")
    let micro = fields[7] << 16 | fields[8] << 8 | fields[9]
    return "\(day)T\(time)" + (micro == 0 ? "" : ".\(digits(micro, 6))")
  }
}
