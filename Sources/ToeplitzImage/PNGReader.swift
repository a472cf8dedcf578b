import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads PNG files of all colour types and depths, interlaced too (W3C Recommendation, third edition, 2025).
///
/// Transparency is dropped and gamma not applied; of animations the still picture is read. Chunks with a wrong checksum are
/// refused, except for those that a decoder may pass over.
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
  /// How the picture is to be turned.
  private(set) var orientation: Picture.Orientation?

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  /// One pass of an interlaced picture: where it begins, how far its pixels are apart, and how many there are.
  private struct Pass {
    var x: Int
    var y: Int
    var dx: Int
    var dy: Int
    var columns = 0
    var rows = 0
  }

  private var passes: [Pass] {
    let whole = [(0, 0, 1, 1)]
    let parts = [
      (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ]
    return (isInterlaced ? parts : whole).map { x, y, dx, dy in
      Pass(
        x: x, y: y, dx: dx, dy: dy, columns: x < width ? (width - x + dx - 1) / dx : 0,
        rows: y < height ? (height - y + dy - 1) / dy : 0)
    }.filter { $0.columns > 0 && $0.rows > 0 }
  }

  private var samplesPerPixel: Int { [0: 1, 2: 3, 3: 1, 4: 2, 6: 4][colour] ?? 1 }

  private func rowBytes(_ width: Int) -> Int { (width * samplesPerPixel * depth + 7) / 8 }

  mutating func picture() throws -> Picture {
    try readChunks()
    let passes = passes
    var raw = try inflated(passes.reduce(0) { $0 + $1.rows * (rowBytes($1.columns) + 1) })
    data = []
    if depth == 16 {
      var samples = [UInt16](repeating: 0, count: 3 * width * height)
      try fill(&samples, &raw, passes) { UInt16(truncatingIfNeeded: $0) }
      return Picture(width: width, height: height, samples: .words(samples))
    }
    var samples = [UInt8](repeating: 0, count: 3 * width * height)
    // Grey of fewer bits is spread over all levels.
    let factor = colour == 3 ? 1 : 255 / ((1 << depth) - 1)
    try fill(&samples, &raw, passes) { UInt8(truncatingIfNeeded: $0 &* factor) }
    return Picture(width: width, height: height, samples: .bytes(samples))
  }

  private func fill<S>(
    _ samples: inout [S], _ raw: inout [UInt8], _ passes: [Pass], _ converted: (Int) -> S
  ) throws {
    var start = 0
    let colours = colour == 2 || colour == 6
    for pass in passes {
      let length = rowBytes(pass.columns)
      // A piece of a row, which may be as long as the picture.
      let piece = min(pass.columns, 1024)
      var numbers = [Int](repeating: 0, count: piece * samplesPerPixel)
      for row in 0..<pass.rows {
        let line = start + row * (length + 1)
        try unfilter(&raw, line, length, hasAbove: row > 0)
        for column in 0..<pass.columns {
          if column % piece == 0 { unpack(raw, line + 1, from: column * samplesPerPixel, length, &numbers) }
          let at = 3 * ((pass.y + row * pass.dy) * width + pass.x + column * pass.dx)
          let first = column % piece * samplesPerPixel
          if colour == 3 {
            let entry = 3 * numbers[first]
            guard entry + 2 < palette.count else {
              throw place.malformed("colours of the palette", got: "number \(entry / 3)")
            }
            for channel in 0..<3 { samples[at + channel] = converted(Int(palette[entry + channel])) }
          } else {
            for channel in 0..<3 { samples[at + channel] = converted(numbers[first + (colours ? channel : 0)]) }
          }
        }
      }
      start += pass.rows * (length + 1)
    }
  }

  /// The numbers from the given one on, as far as there are any, of the row of `length` bytes that begins at `start`.
  private func unpack(_ raw: [UInt8], _ start: Int, from first: Int, _ length: Int, _ numbers: inout [Int]) {
    let count = min(numbers.count, length * 8 / depth - first)
    switch depth {
    case 8: for index in 0..<count { numbers[index] = Int(raw[start + first + index]) }
    case 16:
      for index in 0..<count {
        let at = start + 2 * (first + index)
        numbers[index] = Int(raw[at]) << 8 | Int(raw[at + 1])
      }
    default:
      for index in 0..<count {
        let bit = (first + index) * depth
        numbers[index] = Int(raw[start + bit / 8] >> UInt8(8 - depth - bit % 8)) & ((1 << depth) - 1)
      }
    }
  }

  // MARK: - Chunks

  private mutating func readChunks() throws {
    var reader = ByteReader(bytes, place)
    _ = try reader.take(8, "signature")
    while true {
      let length = Int(try reader.integer(UInt32.self, "a chunk's length").byteSwapped)
      let start = reader.position
      let name = String(decoding: try reader.take(4, "a chunk's name"), as: UTF8.self)
      let body = try reader.take(length, "a chunk")
      let checked = UnsafeRawBufferPointer(rebasing: bytes[start..<reader.position])
      let isRight = try reader.integer(UInt32.self, "a checksum").byteSwapped == CRC32.checksum(checked)
      // A capital letter says that there is no picture without the chunk.
      let isCritical = checked[0] & 0x20 == 0
      guard isRight || !isCritical else {
        throw place.malformed("the checksum of chunk \(name.quoted)", got: "another: the file is damaged")
      }
      guard width > 0 || name == "IHDR" || !isCritical else {
        throw place.malformed("a header before anything else", got: "chunk \(name.quoted)")
      }
      switch name {
      case "IHDR":
        guard width == 0 else { throw place.malformed("one header", got: "another") }
        try readHeader(body)
      case "PLTE":
        guard palette.isEmpty, length > 0, length % 3 == 0, length <= 768 else {
          throw place.malformed("one palette of 1 to 256 colours", got: "\(length) bytes")
        }
        palette = Array(body)
      case "IDAT":
        guard colour != 3 || !palette.isEmpty else { throw place.malformed("a palette before the pixels", got: "none") }
        data += body
      case "IEND": return
      case "eXIf": if isRight, orientation == nil { orientation = Picture.Orientation(exif: body) }
      default:
        guard !isCritical else {
          throw ToeplitzError(.unsupported, place.file, expected: "chunks of PNG", got: "chunk \(name.quoted)")
        }
      }
    }
  }

  private mutating func readHeader(_ body: UnsafeRawBufferPointer) throws {
    guard body.count == 13 else { throw place.malformed("a header of 13 bytes", got: "\(body.count)") }
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
    // Filtered rows and samples.
    let bytesPerPixel = (samplesPerPixel * depth + 7) / 8 + (depth == 16 ? 6 : 3)
    try Picture.admit(columns, rows, bytesPerPixel: bytesPerPixel, place)
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
    let filter = raw[line]
    guard filter <= 4 else { throw place.malformed("a filter from 0 to 4", got: "\(filter)") }
    let (row, above) = (line + 1, line - length)
    raw.withUnsafeMutableBufferPointer { raw in
      func left(_ i: Int) -> Int { i >= step ? Int(raw[row &+ i &- step]) : 0 }
      func up(_ i: Int) -> Int { hasAbove ? Int(raw[above &+ i]) : 0 }
      func corner(_ i: Int) -> Int { hasAbove && i >= step ? Int(raw[above &+ i &- step]) : 0 }
      func change(_ predicted: (Int) -> Int) {
        for i in 0..<length { raw[row &+ i] &+= UInt8(truncatingIfNeeded: predicted(i)) }
      }
      switch filter {
      case 1: change(left)
      case 2: change(up)
      case 3: change { (left($0) &+ up($0)) / 2 }
      case 4:
        change { i in
          let (a, b, c) = (left(i), up(i), corner(i))
          let p = a &+ b &- c
          let (pa, pb, pc) = (abs(p &- a), abs(p &- b), abs(p &- c))
          return pa <= pb && pa <= pc ? a : pb <= pc ? b : c
        }
      default: break
      }
    }
  }
}
