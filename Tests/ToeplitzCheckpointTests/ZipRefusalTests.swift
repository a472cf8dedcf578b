import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

/// A ZIP archive with one or more entries whose fields can be set to lies.
struct CraftedZip {
  struct Entry {
    var name = "x.npy"
    var data: [UInt8] = []
    var method: UInt16 = 0
    var flags: UInt16 = 0
    var checksum: UInt32?
    var size: UInt32?
    var compressedSize: UInt32?
    var offset: UInt32?
    var localName: String?
    var extra: [UInt8] = []
  }

  var entries: [Entry] = []
  var count: UInt16?
  var directorySize: UInt32?
  var directoryOffset: UInt32?
  var disk: UInt16 = 0
  var comment: [UInt8] = []

  var bytes: [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for entry in entries {
      let offset = UInt32(file.count)
      let checksum = entry.checksum ?? entry.data.withUnsafeBytes { CRC32.checksum($0) }
      let compressed = entry.compressedSize ?? UInt32(entry.data.count)
      var common: [UInt8] = []
      for field in [20, entry.flags, entry.method, 0, 0x21] { common.append(littleEndian: UInt16(field)) }
      for field in [checksum, compressed, entry.size ?? compressed] { common.append(littleEndian: field) }
      let localName = entry.localName ?? entry.name
      file.append(littleEndian: ZipArchive.localSignature)
      file += common
      file.append(littleEndian: UInt16(localName.utf8.count))
      file.append(littleEndian: UInt16(0))
      file += Array(localName.utf8) + entry.data
      directory.append(littleEndian: ZipArchive.centralSignature)
      directory += [20, 0] + common
      directory.append(littleEndian: UInt16(entry.name.utf8.count))
      directory.append(littleEndian: UInt16(entry.extra.count))
      directory += [UInt8](repeating: 0, count: 10)
      directory.append(littleEndian: entry.offset ?? offset)
      directory += Array(entry.name.utf8) + entry.extra
    }
    let offset = UInt32(file.count)
    file += directory
    file.append(littleEndian: ZipDirectory.endSignature)
    let total = count ?? UInt16(entries.count)
    for field in [disk, 0, total, total] {
      file.append(littleEndian: field)
    }
    file.append(littleEndian: directorySize ?? UInt32(directory.count))
    file.append(littleEndian: directoryOffset ?? offset)
    file.append(littleEndian: UInt16(comment.count))
    return file + comment
  }
}

/// Malformed `.npz` files: each breaks one rule and is refused for it.
@Suite struct ZipRefusalTests {
  private let array = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", [1, 2])

  private func refuse(
    _ text: String, location: SourceLocation = #_sourceLocation, _ edit: (inout CraftedZip) -> Void
  ) {
    var zip = CraftedZip(entries: [CraftedZip.Entry(data: array)])
    edit(&zip)
    Parser.npz.expectRefusal(zip.bytes, text, location: location)
  }

  @Test func theUnbrokenArchiveIsAccepted() throws {
    var zip = CraftedZip(entries: [.init(data: array), .init(name: "y.npy", data: array)])
    try Parser.npz.parse(zip.bytes)
    zip.comment = [1, 2, 3]
    try Parser.npz.parse(zip.bytes)
  }

  @Test func endRecords() {
    Parser.npz.expectRefusal([], "end record")
    Parser.npz.expectRefusal([UInt8](repeating: 0x50, count: 100_000), "end record")
    refuse("a directory within") { $0.directoryOffset = 1 << 31 }
    refuse("a directory within") { $0.directorySize = 1 << 31 }
    refuse("a directory within") { $0.count = 60000 }
    refuse("bytes more") { $0.count = 0 }
    refuse("a directory within") { $0.count = 2 }
    refuse("directory entry") { $0.directoryOffset = 0 }
    refuse("one part") { $0.disk = 1 }
    refuse("Zip64 locator") { $0.count = 0xFFFF }
    refuse("Zip64 locator") { $0.directorySize = .max }
    refuse("Zip64 locator") { $0.directoryOffset = .max }
    let whole = CraftedZip(entries: [.init(data: array)]).bytes
    for length in 0..<whole.count { Parser.npz.expectRefusal(Array(whole[..<length]), "end record") }
  }

  @Test func entries() {
    refuse("checksum") { $0.entries[0].checksum = 1 }
    refuse("without encryption") { $0.entries[0].flags = 1 }
    refuse("method 0 (stored) or 8") { $0.entries[0].method = 12 }
    refuse("ends in .npy") { $0.entries[0].name = "x.txt" }
    refuse("ends in .npy") { $0.entries[0].name = "" }
    refuse("the same name") { $0.entries[0].localName = "z.npy" }
    refuse("signature of a local header") { $0.entries[0].offset = 1 }
    refuse("entries before this one") { $0.entries[0].offset = 1 << 30 }
    refuse("bytes of data") { $0.entries[0].compressedSize = 1 << 30 }
    refuse("1 times") { $0.entries[0].size = 1 << 30 }
    refuse("stored bytes, got 3") { $0.entries[0].size = 3 }
    refuse("64-bit size") { $0.entries[0].size = .max }
    refuse("64-bit offset") { $0.entries[0].offset = .max }
    refuse("an extra field") { $0.entries[0].extra = [1, 0, 99, 0] }
    refuse("of at most") {
      $0.entries[0].size = .max
      $0.entries[0].extra = [1, 0, 8, 0] + [UInt8](repeating: 0xFF, count: 8)
    }
    refuse("1 times") {
      $0.entries[0].size = .max
      $0.entries[0].extra = [1, 0, 8, 0] + [UInt8](repeating: 0xFF, count: 7) + [0x7F]
    }
    refuse("names that occur once") { $0.entries.append($0.entries[0]) }
    refuse("do not overlap") {
      $0.entries.append($0.entries[0])
      $0.entries[1].offset = 0
    }
    refuse("begins with") { $0.entries[0].data = [UInt8](repeating: 7, count: 20) }
    // A name in an archive may be any bytes.
    let latin = CraftedZip(entries: [.init(name: "?.npy", data: array)]).bytes
    Parser.npz.expectRefusal(latin.map { $0 == UInt8(ascii: "?") ? 0xFF : $0 }, "in UTF-8")
  }

  @Test func overlappingPartsOfADirectoryBomb() {
    // The data of the first entry holds a whole second local header, which the directory points to as well.
    var inner = CraftedZip(entries: [.init(name: "y.npy", data: array)])
    let nested = Array(inner.bytes[..<(30 + 5 + array.count)])
    inner = CraftedZip(entries: [.init(data: nested), .init(name: "y.npy", data: array, offset: 35)])
    Parser.npz.expectRefusal(inner.bytes, "do not overlap")
  }

  @Test func bombs() {
    // A few bytes that claim to be gigabytes, within and beyond what DEFLATE can do.
    refuse("1032 times") {
      $0.entries[0] = .init(data: [3, 0], method: 8, size: 1 << 30)
    }
    refuse("16777216 bytes together") {
      $0.entries[0] = .init(data: [UInt8](repeating: 0, count: 60000), method: 8, size: 60000 * 1000)
    }
    refuse("16777216 bytes together") { zip in
      zip.entries = (0..<20).map {
        .init(name: "\($0).npy", data: [UInt8](repeating: 0, count: 1000), method: 8, size: 1_000_000)
      }
    }
  }
}
