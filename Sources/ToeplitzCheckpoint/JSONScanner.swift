import ToeplitzTensor

/// A strict reader of JSON (RFC 8259) that walks through the text once.
///
/// Foundation's parser keeps one of two members with equal names without a word, which would let a file show
/// different tensors to different programs; this one refuses them. It builds no tree, so the text decides
/// about memory only through what the caller keeps.
struct JSONScanner {
  /// Deeper nesting is refused, as every level takes stack.
  static let maximumDepth = 32

  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var position = 0
  private var depth = 0

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  /// Reads an object; `member` is called behind each name and has to read the value.
  mutating func object(_ member: (inout JSONScanner, String) throws -> Void) throws {
    try enter("{")
    var names: Set<String> = []
    if !leave("}") {
      repeat {
        let name = try string()
        guard names.insert(name).inserted else {
          throw place.malformed("names that occur once in a JSON object", got: "\(name.quoted) twice")
        }
        try expect(":")
        try member(&self, name)
      } while try more("}")
    }
    depth -= 1
  }

  /// Reads an array; `element` is called before each element and has to read it.
  mutating func array(_ element: (inout JSONScanner) throws -> Void) throws {
    try enter("[")
    if !leave("]") {
      repeat { try element(&self) } while try more("]")
    }
    depth -= 1
  }

  /// Reads a whole number without sign, fraction and exponent that fits an `Int`.
  mutating func size() throws -> Int {
    let start = try next("a whole number of at least 0")
    var value = 0
    var digits = 0
    while let digit = peek().flatMap(Self.digit) {
      let (tens, over) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(digit)
      guard !over, !carry else {
        throw place.malformed(
          "numbers of at most \(Int.max) in the JSON text", got: "a larger one at byte \(start)")
      }
      // A number has no leading zeros.
      guard digits == 0 || value > 0 else { throw unexpected("a number without leading zeros") }
      value = sum
      digits += 1
      position += 1
    }
    guard digits > 0, !(peek().map { Array(".eE".utf8).contains($0) } ?? false) else {
      throw unexpected("a whole number of at least 0")
    }
    return value
  }

  /// Reads a string.
  mutating func string() throws -> String {
    try expect("\"")
    var units: [UInt8] = []
    var plainStart = position
    while let byte = peek() {
      if byte == UInt8(ascii: "\"") {
        units += bytes[plainStart..<position]
        position += 1
        guard let text = String(validating: units, as: UTF8.self) else {
          throw place.malformed("strings in UTF-8", got: "other bytes before byte \(position)")
        }
        return text
      }
      guard byte >= 0x20 else { throw unexpected("a string without control characters") }
      if byte == UInt8(ascii: "\\") {
        units += bytes[plainStart..<position]
        position += 1
        units += String(try escape()).utf8
        plainStart = position
      } else {
        position += 1
      }
    }
    throw unexpected("the end of a string")
  }

  /// Reads any value and forgets it.
  mutating func skip() throws {
    _ = try next("a value")
    switch peek().map({ Unicode.Scalar($0) }) {
    case "{": try object { scanner, _ in try scanner.skip() }
    case "[": try array { scanner in try scanner.skip() }
    case "\"": _ = try string()
    case "t": try word("true")
    case "f": try word("false")
    case "n": try word("null")
    default: try skipNumber()
    }
  }

  /// Refuses anything but blanks to the end.
  mutating func end() throws {
    skipBlanks()
    guard position == bytes.count else { throw unexpected("the end of the text") }
  }

  // MARK: - Parts

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private static func digit(_ byte: UInt8) -> Int? {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) ? Int(byte) - 48 : nil
  }

  private mutating func skipBlanks() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  /// Moves to the next token and returns its position.
  private mutating func next(_ what: String) throws -> Int {
    skipBlanks()
    guard position < bytes.count else { throw unexpected(what) }
    return position
  }

  private mutating func expect(_ character: Unicode.Scalar) throws {
    skipBlanks()
    guard let byte = peek(), Unicode.Scalar(byte) == character else { throw unexpected("'\(character)'") }
    position += 1
  }

  private mutating func enter(_ bracket: Unicode.Scalar) throws {
    try expect(bracket)
    depth += 1
    guard depth <= Self.maximumDepth else {
      throw place.malformed("JSON nested at most \(Self.maximumDepth) deep", got: "deeper nesting")
    }
  }

  private mutating func leave(_ bracket: Unicode.Scalar) -> Bool {
    skipBlanks()
    guard let byte = peek(), Unicode.Scalar(byte) == bracket else { return false }
    position += 1
    return true
  }

  /// Reads a comma, or the closing bracket and returns false.
  private mutating func more(_ bracket: Unicode.Scalar) throws -> Bool {
    if leave(bracket) { return false }
    skipBlanks()
    guard peek() == UInt8(ascii: ",") else { throw unexpected("',' or '\(bracket)'") }
    position += 1
    return true
  }

  private mutating func word(_ word: String) throws {
    for byte in word.utf8 {
      guard peek() == byte else { throw unexpected("a value") }
      position += 1
    }
  }

  private mutating func skipNumber() throws {
    func isOneOf(_ set: String) -> Bool { peek().map { set.utf8.contains($0) } ?? false }
    if isOneOf("-") { position += 1 }
    let zero = isOneOf("0")
    let digits = try skipDigits()
    guard !zero || digits == 1 else { throw unexpected("a number without leading zeros") }
    if isOneOf(".") {
      position += 1
      _ = try skipDigits()
    }
    if isOneOf("eE") {
      position += 1
      if isOneOf("+-") { position += 1 }
      _ = try skipDigits()
    }
  }

  private mutating func skipDigits() throws -> Int {
    let start = position
    while peek().flatMap(Self.digit) != nil { position += 1 }
    guard position > start else { throw unexpected("a value") }
    return position - start
  }

  /// Reads what follows a backslash.
  private mutating func escape() throws -> Unicode.Scalar {
    guard let byte = peek() else { throw unexpected("the end of a string") }
    position += 1
    switch Unicode.Scalar(byte) {
    case "\"", "\\", "/": return Unicode.Scalar(byte)
    case "b": return "\u{8}"
    case "f": return "\u{C}"
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "u": return try unicodeEscape()
    default:
      position -= 1
      throw unexpected("one of the characters \"\\/bfnrtu behind a backslash")
    }
  }

  /// Reads the digits of a `\u` escape, and the second escape of a surrogate pair.
  private mutating func unicodeEscape() throws -> Unicode.Scalar {
    var value = try hexadecimal()
    if (0xD800..<0xDC00).contains(value), peek() == UInt8(ascii: "\\") {
      try word("\\u")
      let low = try hexadecimal()
      guard (0xDC00..<0xE000).contains(low) else { throw unexpected("the second half of a surrogate pair") }
      value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(value) else { throw unexpected("a whole surrogate pair") }
    return scalar
  }

  private mutating func hexadecimal() throws -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = peek().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
        throw unexpected("four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private func unexpected(_ what: String) -> ToeplitzError {
    guard let byte = peek() else { return place.malformed(what, got: "the end of the JSON text") }
    let shown = (0x20..<0x7F).contains(byte) ? "'\(Unicode.Scalar(byte))'" : "byte \(byte)"
    return place.malformed(what, got: "\(shown) at byte \(position) of the JSON text")
  }
}
