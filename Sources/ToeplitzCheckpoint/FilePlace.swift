import ToeplitzTensor

#if _endian(big)
  #error("Elements are written as they lie in memory, which the formats define for little-endian machines.")
#endif

/// What errors name: a file and, inside it, a tensor or an archive's entry.
package struct FilePlace: Sendable {
  /// The path the caller gave, on one line.
  package let file: String
  /// The tensor or entry, on one line; empty for the file as a whole.
  package private(set) var entry = ""

  package init(file: String) { self.file = file.onOneLine(atMost: 4096) }

  /// The same file at the tensor or entry `name`.
  package func inside(_ name: String) -> FilePlace {
    var place = self
    place.entry = name.oneLine
    return place
  }

  /// An error that says which rule of the format is broken.
  package func malformed(_ expected: String, got: String) -> ToeplitzError {
    ToeplitzError(.format, file, expected: expected, got: got, path: entry)
  }

  /// An error about an argument of a writer.
  package func refused(_ expected: String, got: String) -> ToeplitzError {
    ToeplitzError(.argument, file, expected: expected, got: got, path: entry)
  }
}

extension String {
  /// The text without anything that breaks a log line, cut after 200 characters.
  package var oneLine: String { onOneLine(atMost: 200) }

  /// The text without anything that breaks a log line, cut after `limit` characters.
  ///
  /// Names come out of files, so they may hold line breaks, terminal controls or megabytes.
  func onOneLine(atMost limit: Int) -> String {
    var result = ""
    for (index, scalar) in unicodeScalars.enumerated() {
      if index == limit { return result + "…" }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned:
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      default:
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// The text on one line in quotation marks.
  package var quoted: String { "'\(oneLine)'" }
}

/// Reads little-endian numbers one after another; running off the end is an error, never a bad access.
package struct ByteReader {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  /// The offset of the next byte.
  package private(set) var position = 0

  package init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  /// Bytes not read yet.
  package var remaining: Int { bytes.count - position }

  /// The next `count` bytes, which the error calls `what`.
  package mutating func take(_ count: Int, _ what: String) throws -> UnsafeRawBufferPointer {
    guard count >= 0, count <= remaining else {
      throw place.malformed("\(count) bytes of \(what)", got: "\(remaining) bytes to the end")
    }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  /// The bytes up to the end of the line, which the error calls `what`; the end itself is read too.
  package mutating func line(_ what: String) throws -> UnsafeRawBufferPointer {
    guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else {
      throw place.malformed("the end of \(what)", got: "\(remaining) bytes without one")
    }
    defer { position = end + 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<end])
  }

  /// The next number.
  package mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, _ what: String
  ) throws -> T {
    let field = try take(MemoryLayout<T>.size, what)
    return T(littleEndian: field.loadUnaligned(as: T.self))
  }

  /// The next unsigned 64-bit number, if it is a possible size.
  package mutating func size(_ what: String) throws -> Int {
    let value = try integer(UInt64.self, what)
    guard let size = Int(exactly: value) else {
      throw place.malformed("\(what) of at most \(Int.max)", got: "\(value)")
    }
    return size
  }
}
