import ToeplitzTensor

/// Writes a ZIP archive of stored entries (APPNOTE.TXT 6.3.10).
struct ZipWriter {
  private let place: FilePlace
  /// Sizes and offsets from here on go to Zip64 fields; tests lower it.
  private let large: Int
  private var directory: [UInt8] = []
  private var count = 0

  /// Version 4.5 of the format, the first with Zip64.
  private static let version: UInt16 = 45
  /// 1 January 1980, the first day the format knows, so that equal tensors give equal files.
  private static let date: UInt16 = 0x21
  /// Names are in UTF-8 (4.4.4, bit 11).
  private static let flags: UInt16 = 1 << 11

  init(_ place: FilePlace, large: Int = 0xFFFF_FFFF) {
    self.place = place
    self.large = large
  }

  /// Appends an entry whose contents are `parts`, one after another.
  mutating func add(_ name: String, _ parts: [UnsafeRawBufferPointer], to file: AtomicFile) throws {
    let nameBytes = Array(name.utf8)
    guard nameBytes.count <= 0xFFFF else {
      throw place.inside(name).refused("a name of at most 65535 bytes", got: "\(nameBytes.count)")
    }
    var checksum = CRC32()
    var size = 0
    for part in parts {
      checksum.update(part)
      size += part.count
    }
    let offset = file.count
    let sizes: [UInt8] = extra(size >= large ? [size, size] : [])
    let narrowSize = size >= large ? UInt32.max : UInt32(truncatingIfNeeded: size)
    var common: [UInt8] = []
    common.append(littleEndian: Self.version)
    common.append(littleEndian: Self.flags)
    common.append(littleEndian: UInt16(0))
    common.append(littleEndian: UInt16(0))
    common.append(littleEndian: Self.date)
    common.append(littleEndian: checksum.value)
    common.append(littleEndian: narrowSize)
    common.append(littleEndian: narrowSize)
    common.append(littleEndian: UInt16(truncatingIfNeeded: nameBytes.count))

    var header: [UInt8] = []
    header.append(littleEndian: ZipArchive.localSignature)
    header += common
    header.append(littleEndian: UInt16(truncatingIfNeeded: sizes.count))
    try file.write(header + nameBytes + sizes)
    for part in parts { try file.write(part) }

    let fields = extra((size >= large ? [size, size] : []) + (offset >= large ? [offset] : []))
    directory.append(littleEndian: ZipArchive.centralSignature)
    directory.append(littleEndian: Self.version)
    directory += common
    directory.append(littleEndian: UInt16(truncatingIfNeeded: fields.count))
    // No comment, disk 0, no attributes.
    directory += [UInt8](repeating: 0, count: 10)
    directory.append(littleEndian: offset >= large ? UInt32.max : UInt32(truncatingIfNeeded: offset))
    directory += nameBytes + fields
    count += 1
  }

  /// Appends the central directory and the end records.
  func finish(_ file: AtomicFile) throws {
    let offset = file.count
    var end: [UInt8] = []
    let isLarge = offset >= large || directory.count >= large || count >= 0xFFFF
    if isLarge {
      end.append(littleEndian: ZipDirectory.largeEndSignature)
      end.append(littleEndian: UInt64(44))
      end.append(littleEndian: Self.version)
      end.append(littleEndian: Self.version)
      end.append(littleEndian: UInt64(0))
      for value in [count, count, directory.count, offset] { end.append(littleEndian: value) }
      end.append(littleEndian: ZipDirectory.largeLocatorSignature)
      end.append(littleEndian: UInt32(0))
      end.append(littleEndian: offset + directory.count)
      end.append(littleEndian: UInt32(1))
    }
    end.append(littleEndian: ZipDirectory.endSignature)
    end.append(littleEndian: UInt32(0))
    let narrowCount = isLarge ? UInt16.max : UInt16(truncatingIfNeeded: count)
    end.append(littleEndian: narrowCount)
    end.append(littleEndian: narrowCount)
    end.append(littleEndian: isLarge ? UInt32.max : UInt32(truncatingIfNeeded: directory.count))
    end.append(littleEndian: isLarge ? UInt32.max : UInt32(truncatingIfNeeded: offset))
    end.append(littleEndian: UInt16(0))
    try file.write(directory + end)
  }

  /// The Zip64 extra field (4.5.3) with the given 64-bit values, or nothing.
  private func extra(_ values: [Int]) -> [UInt8] {
    guard !values.isEmpty else { return [] }
    var field: [UInt8] = []
    field.append(littleEndian: UInt16(1))
    field.append(littleEndian: UInt16(truncatingIfNeeded: values.count * 8))
    for value in values { field.append(littleEndian: value) }
    return field
  }
}
