import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads PNG files of all colour types and depths, interlaced too (W3C Recommendation, second edition, 2003).
///
/// Transparency is dropped, and depths of 16 bits are cut to 8. Chunk checksums are not looked at: a damaged picture is
/// still a picture, and nothing depends on them.
struct PNGReader {
  static let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var width = 0
  private var height = 0
  private var depth = 0
  private var colour = 0
  private var isInterlaced = false
  private var palette: [UInt8] = []
  private var data: [UInt8] = []

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  /// One pass of an interlaced picture: where it begins and how far its pixels are apart.
  private static let passes = [
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
  ]

  private var samplesPerPixel: Int { [0: 1, 2: 3, 3: 1, 4: 2, 6: 4][colour] ?? 1 }

  private func rowBytes(_ width: Int) -> Int { (width * samplesPerPixel * depth + 7) / 8 }

  mutating func picture() throws -> Picture {
    try readChunks()
    let passes = isInterlaced ? Self.passes : [(0, 0, 1, 1)]
    let sizes = passes.map { x, y, dx, dy in
      (columns: x < width ? (width - x + dx - 1) / dx : 0, rows: y < height ? (height - y + dy - 1) / dy : 0)
    }
    let total = sizes.reduce(0) { $0 + ($1.columns == 0 ? 0 : $1.rows * (rowBytes($1.columns) + 1)) }
    var raw = try inflated(total)
    var samples = [UInt8](repeating: 0, count: 3 * width * height)
    var start = 0
    for (pass, size) in zip(passes, sizes) where size.columns > 0 && size.rows > 0 {
      let length = rowBytes(size.columns)
      for row in 0..<size.rows {
        let line = start + row * (length + 1)
        try unfilter(&raw, line, length, hasAbove: row > 0)
        for column in 0..<size.columns {
          let pixel = try colour(raw, line + 1, column)
          let at = 3 * ((pass.1 + row * pass.3) * width + pass.0 + column * pass.2)
          (samples[at], samples[at + 1], samples[at + 2]) = pixel
        }
      }
      start += size.rows * (length + 1)
    }
    return Picture(width: width, height: height, samples: samples)
  }

  private mutating func readChunks() throws {
    var reader = ByteReader(bytes, place)
    _ = try reader.take(8, "signature")
    while true {
      let length = Int(try reader.integer(UInt32.self, "a chunk's length").byteSwapped)
      let name = String(decoding: try reader.take(4, "a chunk's name"), as: UTF8.self)
      let body = try reader.take(length, "a chunk")
      _ = try reader.take(4, "a checksum")
      switch name {
      case "IHDR": try readHeader(body)
      case "PLTE": palette = Array(body)
      case "IDAT":
        guard width > 0 else { throw place.malformed("a header before the pixels", got: "none") }
        data += body
      case "IEND":
        guard width > 0 else { throw place.malformed("a header", got: "none") }
        return
      default: break
      }
    }
  }

  private mutating func readHeader(_ body: UnsafeRawBufferPointer) throws {
    var reader = ByteReader(body, place)
    let columns = Int(try reader.integer(UInt32.self, "width").byteSwapped)
    let rows = Int(try reader.integer(UInt32.self, "height").byteSwapped)
    depth = Int(try reader.integer(UInt8.self, "depth"))
    colour = Int(try reader.integer(UInt8.self, "colour type"))
    let methods = (try reader.integer(UInt8.self, "method"), try reader.integer(UInt8.self, "method"))
    let interlace = try reader.integer(UInt8.self, "interlace method")
    let depths = [0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]]
    guard depths[colour]?.contains(depth) ?? false, methods == (0, 0), interlace <= 1 else {
      throw place.malformed(
        "a legal colour type, depth and method", got: "\(colour), \(depth), \(methods), \(interlace)")
    }
    guard columns > 0, rows > 0, columns <= Picture.mostPixels, rows <= Picture.mostPixels / columns else {
      throw place.malformed("1 to \(Picture.mostPixels) pixels", got: "\(columns) x \(rows)")
    }
    (width, height, isInterlaced) = (columns, rows, interlace == 1)
  }

  /// The pixels' bytes: a zlib stream (RFC 1950) over all data chunks.
  private func inflated(_ count: Int) throws -> [UInt8] {
    // DEFLATE codes at most 258 bytes in two bits.
    guard data.count >= 6, count / 1032 <= data.count else {
      throw place.malformed("the \(count) bytes of the pixels", got: "\(data.count) compressed ones")
    }
    guard data[0] & 0x0F == 8, (Int(data[0]) << 8 | Int(data[1])) % 31 == 0, data[1] & 0x20 == 0 else {
      throw place.malformed("a zlib stream", got: "other bytes")
    }
    var raw = [UInt8](repeating: 0, count: count)
    try raw.withUnsafeMutableBytes { target in
      try data.withUnsafeBytes { source in
        try Inflate.decompress(UnsafeRawBufferPointer(rebasing: source[2..<(data.count - 4)]), into: target, place)
      }
    }
    return raw
  }

  /// Undoes the filter of the row at `line`, whose first byte says which (section 9).
  private func unfilter(_ raw: inout [UInt8], _ line: Int, _ length: Int, hasAbove: Bool) throws {
    let step = max(1, samplesPerPixel * depth / 8)
    let (row, above) = (line + 1, line - length)
    func left(_ i: Int) -> Int { i >= step ? Int(raw[row + i - step]) : 0 }
    func up(_ i: Int) -> Int { hasAbove ? Int(raw[above + i]) : 0 }
    func corner(_ i: Int) -> Int { hasAbove && i >= step ? Int(raw[above + i - step]) : 0 }
    func change(_ predicted: (Int) -> Int) {
      for i in 0..<length { raw[row + i] &+= UInt8(truncatingIfNeeded: predicted(i)) }
    }
    switch raw[line] {
    case 0: break
    case 1: change(left)
    case 2: change(up)
    case 3: change { (left($0) + up($0)) / 2 }
    case 4:
      change { i in
        let (a, b, c) = (left(i), up(i), corner(i))
        let p = a + b - c
        let (pa, pb, pc) = (abs(p - a), abs(p - b), abs(p - c))
        return pa <= pb && pa <= pc ? a : pb <= pc ? b : c
      }
    default: throw place.malformed("a filter from 0 to 4", got: "\(raw[line])")
    }
  }

  /// The colour of one pixel of the row that begins at `row`.
  private func colour(_ raw: [UInt8], _ row: Int, _ column: Int) throws -> (UInt8, UInt8, UInt8) {
    func sample(_ index: Int) -> Int {
      let bit = (column * samplesPerPixel + index) * depth
      // Of 16 bits the upper 8.
      if depth >= 8 { return Int(raw[row + bit / 8]) }
      return Int(raw[row + bit / 8] >> UInt8(8 - depth - bit % 8)) & ((1 << depth) - 1)
    }
    switch colour {
    case 2, 6: return (UInt8(sample(0)), UInt8(sample(1)), UInt8(sample(2)))
    case 3:
      let at = 3 * sample(0)
      guard at + 2 < palette.count else { throw place.malformed("colours of the palette", got: "number \(at / 3)") }
      return (palette[at], palette[at + 1], palette[at + 2])
    default:
      let grey = depth >= 8 ? sample(0) : sample(0) * 255 / ((1 << depth) - 1)
      return (UInt8(grey), UInt8(grey), UInt8(grey))
    }
  }
}
