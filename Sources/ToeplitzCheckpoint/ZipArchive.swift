import ToeplitzTensor

/// The entries of a ZIP archive, as far as `.npz` files need them: stored and deflated, also beyond 4 GiB.
///
/// The format is that of PKWARE's APPNOTE.TXT 6.3.10; section numbers below are of it. Sizes are those of
/// the central directory, and nothing else in the file is believed where it says otherwise.
struct ZipArchive {
  struct Entry {
    var name = ""
    var flags: UInt16 = 0
    var method: UInt16 = 0
    var checksum: UInt32 = 0
    var compressedSize = 0
    var size = 0
    var headerOffset = 0
    var data = 0..<0
  }

  /// The bytes of an entry and, if they were decompressed, what owns them.
  struct Contents {
    var bytes: UnsafeRawBufferPointer
    var storage: Storage?
  }

  /// DEFLATE codes at most 258 bytes in two bits, so no stream can expand more than this.
  private static let maximumRatio = 1032
  static let centralSignature: UInt32 = 0x0201_4B50
  static let localSignature: UInt32 = 0x0403_4B50

  let entries: [Entry]
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace

  /// Reads the central directory and checks where the entries lie.
  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws {
    self.bytes = bytes
    self.place = place
    let directory = try ZipDirectory(bytes, place)
    var entries: [Entry] = []
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[directory.range]), place)
    for _ in 0..<directory.count {
      entries.append(try Self.centralEntry(&reader, place))
    }
    guard reader.remaining == 0 else {
      throw place.malformed(
        "a directory of \(directory.count) entries", got: "\(reader.remaining) bytes more")
    }
    for index in entries.indices {
      entries[index].data = try Self.dataRange(
        entries[index], UnsafeRawBufferPointer(rebasing: bytes[..<directory.range.lowerBound]), place)
    }
    // Entries that share bytes are how a small archive can unpack to more than its own size times the ratio.
    var end = 0
    for entry in entries.sorted(by: { $0.headerOffset < $1.headerOffset }) {
      guard entry.headerOffset >= end else {
        throw place.inside(entry.name).malformed("entries that do not overlap", got: "an overlap")
      }
      end = entry.data.upperBound
    }
    self.entries = entries
  }

  /// Refuses sizes that cannot be true or that are too much together.
  func checkSizes(maximumBytes: Int) throws {
    var total = 0
    for entry in entries {
      let limit = entry.method == 0 ? entry.compressedSize : Int.max
      guard entry.size <= limit, entry.size / Self.maximumRatio <= entry.compressedSize else {
        throw place.inside(entry.name).malformed(
          "at most \(entry.method == 0 ? 1 : Self.maximumRatio) times the \(entry.compressedSize) stored bytes",
          got: "a size of \(entry.size)")
      }
      let (sum, overflow) = total.addingReportingOverflow(entry.size)
      guard !overflow, sum <= maximumBytes else {
        throw ToeplitzError(
          .memory, place.file, expected: "arrays of at most \(maximumBytes) bytes together", got: "more",
          path: place.inside(entry.name).entry)
      }
      total = sum
    }
  }

  /// The bytes of an entry, decompressed and with the right checksum; call ``checkSizes`` before.
  func contents(of entry: Entry) throws -> Contents {
    let place = place.inside(entry.name)
    let stored = UnsafeRawBufferPointer(rebasing: bytes[entry.data])
    var contents = Contents(bytes: stored, storage: nil)
    if entry.method == 8 {
      let storage = try Storage(byteCount: entry.size, operation: place.file)
      let block = UnsafeMutableRawBufferPointer(start: storage.base, count: entry.size)
      try Inflate.decompress(stored, into: block, place)
      contents = Contents(bytes: UnsafeRawBufferPointer(block), storage: storage)
    } else if entry.size != entry.compressedSize {
      throw place.malformed("a size of \(entry.compressedSize), the stored bytes", got: "\(entry.size)")
    }
    let checksum = CRC32.checksum(contents.bytes)
    guard checksum == entry.checksum else {
      throw place.malformed(
        "checksum \(String(entry.checksum, radix: 16))", got: String(checksum, radix: 16))
    }
    return contents
  }

  // MARK: - Records

  /// Reads a file header of the central directory (4.3.12).
  private static func centralEntry(_ reader: inout ByteReader, _ place: FilePlace) throws -> Entry {
    guard try reader.integer(UInt32.self, "a directory entry") == centralSignature else {
      throw place.malformed("the signature of a directory entry", got: "other bytes")
    }
    var entry = Entry()
    _ = try reader.take(4, "versions")
    entry.flags = try reader.integer(UInt16.self, "flags")
    entry.method = try reader.integer(UInt16.self, "method")
    _ = try reader.take(4, "time")
    entry.checksum = try reader.integer(UInt32.self, "checksum")
    let compressedSize = try reader.integer(UInt32.self, "compressed size")
    let size = try reader.integer(UInt32.self, "size")
    let nameLength = Int(try reader.integer(UInt16.self, "name length"))
    let extraLength = Int(try reader.integer(UInt16.self, "extra length"))
    let commentLength = Int(try reader.integer(UInt16.self, "comment length"))
    _ = try reader.take(8, "attributes")
    let headerOffset = try reader.integer(UInt32.self, "offset")
    guard let name = String(validating: try reader.take(nameLength, "name"), as: UTF8.self) else {
      throw place.malformed("entry names in UTF-8", got: "other bytes")
    }
    entry.name = name
    let place = place.inside(name)
    let extra = try reader.take(extraLength, "extra field")
    _ = try reader.take(commentLength, "comment")
    guard entry.flags & 0x2041 == 0 else {
      throw place.malformed("an entry without encryption", got: "one with")
    }
    guard entry.method == 0 || entry.method == 8 else {
      throw place.malformed("method 0 (stored) or 8 (deflate)", got: "\(entry.method)")
    }
    var large = try largeFields(extra, place)
    func field(_ value: UInt32, _ what: String) throws -> Int {
      value == .max ? try large.size(what) : Int(value)
    }
    entry.size = try field(size, "a 64-bit size")
    entry.compressedSize = try field(compressedSize, "a 64-bit compressed size")
    entry.headerOffset = try field(headerOffset, "a 64-bit offset")
    return entry
  }

  /// The contents of the Zip64 extra field (4.5.3), or nothing.
  private static func largeFields(_ extra: UnsafeRawBufferPointer, _ place: FilePlace) throws -> ByteReader {
    var reader = ByteReader(extra, place)
    // Some programs pad with up to three bytes, which are no field.
    while reader.remaining >= 4 {
      let identifier = try reader.integer(UInt16.self, "an extra field")
      let length = Int(try reader.integer(UInt16.self, "an extra field"))
      let field = try reader.take(length, "an extra field")
      if identifier == 1 { return ByteReader(field, place) }
    }
    return ByteReader(UnsafeRawBufferPointer(start: nil, count: 0), place)
  }

  /// Where the data of an entry lies behind its local header (4.3.7), within `area`.
  private static func dataRange(
    _ entry: Entry, _ area: UnsafeRawBufferPointer, _ place: FilePlace
  ) throws -> Range<Int> {
    let place = place.inside(entry.name)
    var reader = ByteReader(area, place)
    _ = try reader.take(entry.headerOffset, "entries before this one")
    guard try reader.integer(UInt32.self, "a local header") == localSignature else {
      throw place.malformed("the signature of a local header", got: "other bytes")
    }
    _ = try reader.take(22, "a local header")
    let nameLength = Int(try reader.integer(UInt16.self, "name length"))
    let extraLength = Int(try reader.integer(UInt16.self, "extra length"))
    let name = try reader.take(nameLength, "name")
    guard name.elementsEqual(entry.name.utf8) else {
      throw place.malformed("the same name in the local header", got: "another")
    }
    _ = try reader.take(extraLength, "extra field")
    let start = reader.position
    _ = try reader.take(entry.compressedSize, "data")
    return start..<reader.position
  }
}

/// Where the central directory of an archive lies and how many entries it has.
struct ZipDirectory {
  static let endSignature: UInt32 = 0x0605_4B50
  static let largeEndSignature: UInt32 = 0x0606_4B50
  static let largeLocatorSignature: UInt32 = 0x0706_4B50
  private static let endLength = 22
  private static let locatorLength = 20
  private static let entryLength = 46

  var range: Range<Int>
  var count: Int

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws {
    let end = try Self.findEnd(bytes, place)
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[end...]), place)
    _ = try reader.take(4, "signature")
    let disks = try reader.integer(UInt32.self, "disk numbers")
    _ = try reader.integer(UInt16.self, "entry count")
    var count = Int(try reader.integer(UInt16.self, "entry count"))
    var size = Int(try reader.integer(UInt32.self, "directory size"))
    var offset = Int(try reader.integer(UInt32.self, "directory offset"))
    var limit = end
    if count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
      (count, size, offset, limit) = try Self.largeEnd(bytes, end: end, place)
    } else {
      guard disks == 0 else { throw place.malformed("an archive in one part", got: "one of several") }
    }
    guard offset <= limit, size <= limit - offset, count <= size / Self.entryLength else {
      throw place.malformed(
        "a directory within the \(limit) bytes before its end record",
        got: "\(count) entries in \(size) bytes at byte \(offset)")
    }
    range = offset..<offset + size
    self.count = count
  }

  /// Finds the end record (4.3.16), which a comment of up to 65535 bytes may follow.
  private static func findEnd(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws -> Int {
    var position = bytes.count - endLength
    while position >= 0, bytes.count - position - endLength <= 0xFFFF {
      let signature = bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)
      let comment = bytes.loadUnaligned(fromByteOffset: position + 20, as: UInt16.self)
      if signature == endSignature, Int(comment) == bytes.count - position - endLength { return position }
      position -= 1
    }
    throw place.malformed("a ZIP archive with an end record", got: "none")
  }

  /// Reads the Zip64 end record (4.3.14), which its locator (4.3.15) in front of the end record points to.
  private static func largeEnd(
    _ bytes: UnsafeRawBufferPointer, end: Int, _ place: FilePlace
  ) throws -> (count: Int, size: Int, offset: Int, limit: Int) {
    guard end >= locatorLength else { throw place.malformed("a Zip64 locator", got: "none") }
    let start = end - locatorLength
    var locator = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), place)
    guard try locator.integer(UInt32.self, "locator") == largeLocatorSignature else {
      throw place.malformed("a Zip64 locator", got: "other bytes")
    }
    _ = try locator.take(4, "disk number")
    let position = try locator.size("the Zip64 end record's offset")
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[..<start]), place)
    _ = try reader.take(position, "the archive before its Zip64 end record")
    guard try reader.integer(UInt32.self, "Zip64 end record") == largeEndSignature else {
      throw place.malformed("a Zip64 end record", got: "other bytes")
    }
    _ = try reader.take(12, "record length and versions")
    guard try reader.integer(UInt64.self, "disk numbers") == 0 else {
      throw place.malformed("an archive in one part", got: "one of several")
    }
    _ = try reader.take(8, "entry count")
    let count = try reader.size("entry count")
    let size = try reader.size("directory size")
    return (count, size, try reader.size("directory offset"), position)
  }
}
