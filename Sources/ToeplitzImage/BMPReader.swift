import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads Windows and OS/2 bitmaps of 1 to 32 bits a pixel, with palettes, run lengths or bit masks, bottom up or top down.
///
/// MS-WMF 2.2.2.3, headers from BITMAPCOREHEADER to BITMAPV5HEADER. Transparency is dropped.
struct BMPReader {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var width = 0
  private var height = 0
  private var isTopDown = false
  private var bits = 0
  private var compression: UInt32 = 0
  private var masks: [UInt32] = []
  /// Blue, green and red of each colour.
  private var palette: [(UInt8, UInt8, UInt8)] = []
  private let start: Int

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws {
    self.bytes = bytes
    self.place = place
    var reader = ByteReader(bytes, place)
    _ = try reader.take(10, "a file header")
    let offset = Int(try reader.integer(UInt32.self, "an offset"))
    let headerSize = Int(try reader.integer(UInt32.self, "a header's size"))
    guard headerSize == 12 || (16...1024).contains(headerSize) else {
      throw place.malformed("a header of 12, 40, 108 or 124 bytes", got: "\(headerSize)")
    }
    var header = ByteReader(try reader.take(headerSize - 4, "a header"), place)
    var colours = 0
    if headerSize == 12 {
      width = Int(try header.integer(UInt16.self, "width"))
      height = Int(try header.integer(UInt16.self, "height"))
      _ = try header.integer(UInt16.self, "planes")
      bits = Int(try header.integer(UInt16.self, "bits"))
    } else {
      width = Int(try header.integer(Int32.self, "width"))
      let rows = Int(try header.integer(Int32.self, "height"))
      (height, isTopDown) = (abs(rows), rows < 0)
      _ = try header.integer(UInt16.self, "planes")
      bits = Int(try header.integer(UInt16.self, "bits"))
      if headerSize >= 20 { compression = try header.integer(UInt32.self, "compression") }
      if headerSize >= 36 {
        _ = try header.take(12, "sizes")
        colours = Int(try header.integer(UInt32.self, "colours"))
        _ = try header.integer(UInt32.self, "colours")
      }
      // Of OS/2's larger headers what follows are no masks.
      if compression == 3 || compression == 6, headerSize != 64 {
        var source = headerSize >= 52 ? header : reader
        masks = try (0..<3).map { _ in try source.integer(UInt32.self, "a mask") }
        if headerSize < 52 { _ = try reader.take(compression == 3 ? 12 : 16, "masks") }
      }
    }
    try Self.check(bits, compression, headerSize, place)
    try Picture.admit(width, height, bytesPerPixel: compression == 1 || compression == 2 ? 4 : 3, place)
    if bits <= 8 {
      let entrySize = headerSize == 12 ? 3 : 4
      let count = colours == 0 ? 1 << bits : min(colours, 1 << bits)
      // Old writers leave out colours that no pixel has.
      let room = offset > reader.position ? (offset - reader.position) / entrySize : count
      palette = try (0..<min(count, room)).map { _ in
        let entry = try reader.take(entrySize, "a palette")
        return (entry[2], entry[1], entry[0])
      }
    }
    start = max(offset, reader.position)
    // Run lengths say at most 255 pixels in two bytes, unless they leave out most of the picture.
    guard start <= bytes.count, width * height / 1024 <= bytes.count - start else {
      throw place.malformed("data for \(width) x \(height) pixels at \(start)", got: "\(bytes.count) bytes")
    }
  }

  private static func check(_ bits: Int, _ compression: UInt32, _ headerSize: Int, _ place: FilePlace) throws {
    func refuse(_ got: String) -> ToeplitzError {
      ToeplitzError(
        .unsupported, place.file, expected: "a BMP that is plain or compressed by run lengths", got: got)
    }
    let names: [UInt32: String] = [4: "a JPEG inside", 5: "a PNG inside"]
    if headerSize == 64, compression == 3 || compression == 4 { throw refuse("one with OS/2's other codes") }
    let depths: [UInt32: [Int]] = [
      0: [1, 2, 4, 8, 16, 24, 32], 1: [8], 2: [4], 3: [16, 24, 32], 6: [16, 24, 32],
    ]
    guard let possible = depths[compression] else { throw refuse(names[compression] ?? "compression \(compression)") }
    guard possible.contains(bits) else {
      throw place.malformed("\(possible.map(String.init).joined(separator: ", ")) bits a pixel", got: "\(bits)")
    }
  }

  mutating func picture() throws -> Picture {
    var samples = [UInt8](repeating: 0, count: 3 * width * height)
    if compression == 1 || compression == 2 {
      let indices = try runLengths()
      for (pixel, index) in indices.enumerated() { try set(&samples, pixel, colour(Int(index))) }
    } else {
      let stride = (width * bits + 31) / 32 * 4
      guard bytes.count - start >= stride * (height - 1) + (width * bits + 7) / 8 else {
        throw place.malformed("\(stride * height) bytes of pixels", got: "\(bytes.count - start)")
      }
      let unpack = try unpacker()
      for row in 0..<height {
        let line = start + (isTopDown ? row : height - 1 - row) * stride
        for x in 0..<width { try set(&samples, row * width + x, unpack(line, x)) }
      }
    }
    return Picture(width: width, height: height, samples: .bytes(samples))
  }

  private func set(_ samples: inout [UInt8], _ pixel: Int, _ colour: (UInt8, UInt8, UInt8)) throws {
    (samples[3 * pixel], samples[3 * pixel + 1], samples[3 * pixel + 2]) = colour
  }

  private func colour(_ index: Int) throws -> (UInt8, UInt8, UInt8) {
    guard index < palette.count else { throw place.malformed("colours of the palette", got: "number \(index)") }
    return palette[index]
  }

  /// What gives the colour of a pixel of the row at an offset.
  private func unpacker() throws -> (_ line: Int, _ x: Int) throws -> (UInt8, UInt8, UInt8) {
    if bits <= 8 {
      return { line, x in
        let bit = x * bits
        return try colour(Int(bytes[line + bit / 8] >> UInt8(8 - bits - bit % 8)) & ((1 << bits) - 1))
      }
    }
    let size = bits / 8
    let plain: [UInt32] = bits == 16 ? [0x7C00, 0x3E0, 0x1F] : [0xFF0000, 0xFF00, 0xFF]
    let masks = masks.contains { $0 != 0 } ? masks : plain
    let fields = try masks.map { mask -> (mask: UInt32, shift: UInt32, most: UInt64) in
      let shift = UInt32(mask.trailingZeroBitCount)
      let most = UInt64(mask) >> UInt64(shift)
      guard mask != 0, most & (most + 1) == 0, bits == 32 || mask < 1 << UInt32(bits) else {
        throw place.malformed("masks of neighbouring bits", got: String(mask, radix: 16))
      }
      return (mask, shift, most)
    }
    return { line, x in
      var value: UInt32 = 0
      for index in 0..<size { value |= UInt32(bytes[line + x * size + index]) << UInt32(8 * index) }
      func level(_ field: (mask: UInt32, shift: UInt32, most: UInt64)) -> UInt8 {
        UInt8(truncatingIfNeeded: UInt64((value & field.mask) >> field.shift) * 255 / field.most)
      }
      return (level(fields[0]), level(fields[1]), level(fields[2]))
    }
  }

  /// The palette numbers of all pixels of a file compressed by run lengths, top down.
  private func runLengths() throws -> [UInt8] {
    var indices = [UInt8](repeating: 0, count: width * height)
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[start...]), place)
    var (x, y) = (0, 0)
    func put(_ index: UInt8) {
      // Runs may go beyond the row: nothing is there.
      if x < width, y < height { indices[(isTopDown ? y : height - 1 - y) * width + x] = index }
      x += 1
    }
    func half(_ byte: UInt8, _ index: Int) -> UInt8 { index % 2 == 0 ? byte >> 4 : byte & 15 }
    while y < height {
      let (count, code) = (Int(try reader.integer(UInt8.self, "a run")), try reader.integer(UInt8.self, "a run"))
      if count > 0 {
        for index in 0..<count { put(compression == 2 ? half(code, index) : code) }
        continue
      }
      switch code {
      case 0: (x, y) = (0, y + 1)
      case 1: return indices
      case 2:
        x += Int(try reader.integer(UInt8.self, "a step"))
        y += Int(try reader.integer(UInt8.self, "a step"))
      default:
        let length = compression == 2 ? (Int(code) + 1) / 2 : Int(code)
        let data = try reader.take(length, "pixels")
        for index in 0..<Int(code) { put(compression == 2 ? half(data[index / 2], index) : data[index]) }
        if length % 2 == 1 { _ = try reader.take(1, "pixels") }
      }
      // The last row needs no mark at its end.
      if y == height - 1, x >= width, reader.remaining == 0 { break }
    }
    return indices
  }
}
