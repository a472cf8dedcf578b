import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads sequential JPEG files with Huffman codes and 8 bits (ITU-T T.81), grey or in YCbCr (JFIF 1.02).
///
/// Chroma is spread by repetition, so results may differ by some levels from decoders that interpolate it.
struct JPEGReader {
  /// A colour component.
  struct Component {
    var identifier: UInt8
    var across: Int
    var down: Int
    var table: Int
    var directCode = 0
    var otherCode = 0
    var last = 0
    /// Samples of whole blocks, `stride` a row.
    var samples: [UInt8] = []
    var stride = 0
  }

  let place: FilePlace
  var reader: ByteReader
  var width = 0
  var height = 0
  var components: [Component] = []
  private var quantizers = [[Int]?](repeating: nil, count: 4)
  private var directCodes = [JPEGCode?](repeating: nil, count: 4)
  private var otherCodes = [JPEGCode?](repeating: nil, count: 4)
  private var restartInterval = 0

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.place = place
    reader = ByteReader(bytes, place)
  }

  mutating func picture() throws -> Picture {
    _ = try reader.take(2, "signature")
    while true {
      let marker = try nextMarker()
      switch marker {
      case 0xC0, 0xC1: try readFrame(segment())
      case 0xC2, 0xC3, 0xC5...0xC7, 0xC9...0xCB, 0xCD...0xCF:
        throw ToeplitzError(
          .unsupported, place.file, expected: "a sequential JPEG with Huffman codes",
          got: marker == 0xC2 ? "a progressive one" : "another")
      case 0xC4: try readCodes(segment())
      case 0xDB: try readQuantizers(segment())
      case 0xDD:
        var body = try segment()
        restartInterval = Int(try body.integer(UInt16.self, "interval").byteSwapped)
      case 0xDA:
        try readScan(segment())
        return try assembled()
      case 0xD9: throw place.malformed("a picture", got: "the end of the file")
      default: _ = try segment()
      }
    }
  }

  private mutating func nextMarker() throws -> UInt8 {
    guard try reader.integer(UInt8.self, "a marker") == 0xFF else {
      throw place.malformed("a marker", got: "other bytes")
    }
    var marker = try reader.integer(UInt8.self, "a marker")
    while marker == 0xFF { marker = try reader.integer(UInt8.self, "a marker") }
    return marker
  }

  private mutating func segment() throws -> ByteReader {
    let length = Int(try reader.integer(UInt16.self, "a length").byteSwapped)
    guard length >= 2 else { throw place.malformed("a length of at least 2", got: "\(length)") }
    return ByteReader(try reader.take(length - 2, "a segment"), place)
  }

  private mutating func readFrame(_ segment: ByteReader) throws {
    var body = segment
    guard components.isEmpty, try body.integer(UInt8.self, "precision") == 8 else {
      throw place.malformed("one frame of 8 bits", got: "another")
    }
    height = Int(try body.integer(UInt16.self, "height").byteSwapped)
    width = Int(try body.integer(UInt16.self, "width").byteSwapped)
    let count = Int(try body.integer(UInt8.self, "components"))
    guard width > 0, height > 0, width * height <= Picture.mostPixels, count == 1 || count == 3 else {
      throw place.malformed(
        "1 to \(Picture.mostPixels) pixels of 1 or 3 components", got: "\(width) x \(height) of \(count)")
    }
    // A block takes at least some bits; what a header alone claims is not allocated.
    guard width * height / 64 <= 16 * reader.remaining else {
      throw place.malformed("data for \(width) x \(height) pixels", got: "\(reader.remaining) bytes")
    }
    for _ in 0..<count {
      let identifier = try body.integer(UInt8.self, "a component")
      let sampling = try body.integer(UInt8.self, "sampling")
      let table = Int(try body.integer(UInt8.self, "a table"))
      let (across, down) = (Int(sampling >> 4), Int(sampling & 15))
      guard (1...4).contains(across), (1...4).contains(down), table < 4 else {
        throw place.malformed("sampling factors of 1 to 4", got: "\(across) and \(down)")
      }
      components.append(Component(identifier: identifier, across: across, down: down, table: table))
    }
    // A single component is not interleaved: its factors mean nothing.
    if count == 1 { (components[0].across, components[0].down) = (1, 1) }
  }

  private mutating func readCodes(_ segment: ByteReader) throws {
    var body = segment
    while body.remaining > 0 {
      let kind = try body.integer(UInt8.self, "a table")
      let counts = try body.take(16, "code lengths").map(Int.init)
      let symbols = Array(try body.take(counts.reduce(0, +), "symbols"))
      guard kind & 15 < 4, kind >> 4 < 2, let code = JPEGCode(counts, symbols) else {
        throw place.malformed("a Huffman code", got: "an impossible one")
      }
      if kind >> 4 == 0 { directCodes[Int(kind & 15)] = code } else { otherCodes[Int(kind & 15)] = code }
    }
  }

  private mutating func readQuantizers(_ segment: ByteReader) throws {
    var body = segment
    while body.remaining > 0 {
      let kind = try body.integer(UInt8.self, "a table")
      guard kind & 15 < 4, kind >> 4 < 2 else { throw place.malformed("a quantization table", got: "\(kind)") }
      quantizers[Int(kind & 15)] = try (0..<64).map { _ in
        kind >> 4 == 0
          ? Int(try body.integer(UInt8.self, "a factor")) : Int(try body.integer(UInt16.self, "a factor").byteSwapped)
      }
    }
  }

  private mutating func readScan(_ segment: ByteReader) throws {
    var body = segment
    let count = Int(try body.integer(UInt8.self, "components"))
    guard count == components.count, count > 0 else {
      throw ToeplitzError(
        .unsupported, place.file, expected: "all components in one scan", got: "\(count) of \(components.count)")
    }
    for index in components.indices {
      let identifier = try body.integer(UInt8.self, "a component")
      let tables = try body.integer(UInt8.self, "tables")
      guard identifier == components[index].identifier, tables >> 4 < 4, tables & 15 < 4 else {
        throw place.malformed("the components of the frame", got: "\(identifier)")
      }
      (components[index].directCode, components[index].otherCode) = (Int(tables >> 4), Int(tables & 15))
    }
    let (across, down) = (components.map(\.across).max() ?? 1, components.map(\.down).max() ?? 1)
    let unitsAcross = (width + 8 * across - 1) / (8 * across)
    let unitsDown = (height + 8 * down - 1) / (8 * down)
    for index in components.indices {
      components[index].stride = unitsAcross * components[index].across * 8
      let rows = unitsDown * components[index].down * 8
      components[index].samples = [UInt8](repeating: 0, count: components[index].stride * rows)
    }
    var bits = JPEGBits(try reader.take(reader.remaining, "pixels"), place)
    for unit in 0..<(unitsAcross * unitsDown) {
      if restartInterval > 0, unit > 0, unit % restartInterval == 0 {
        try bits.restart()
        for index in components.indices { components[index].last = 0 }
      }
      for index in components.indices {
        for row in 0..<components[index].down {
          for column in 0..<components[index].across {
            let x = (unit % unitsAcross * components[index].across + column) * 8
            let y = (unit / unitsAcross * components[index].down + row) * 8
            try readBlock(&bits, index, x, y)
          }
        }
      }
    }
  }

  private mutating func readBlock(_ bits: inout JPEGBits, _ index: Int, _ x: Int, _ y: Int) throws {
    guard let quantizer = quantizers[components[index].table], let direct = directCodes[components[index].directCode],
      let other = otherCodes[components[index].otherCode]
    else { throw place.malformed("the tables of component \(index + 1)", got: "none") }
    var block = [Float](repeating: 0, count: 64)
    let size = Int(try bits.symbol(direct))
    guard size <= 11 else { throw place.malformed("a difference of at most 11 bits", got: "\(size)") }
    components[index].last = (components[index].last + (try bits.number(size))) & 0xFFFF
    block[0] = Float(Int(Int16(truncatingIfNeeded: components[index].last)) * quantizer[0])
    var k = 1
    while k < 64 {
      let symbol = Int(try bits.symbol(other))
      let (zeros, size) = (symbol >> 4, symbol & 15)
      if size == 0 {
        guard zeros == 15 else { break }
        k += 16
        continue
      }
      k += zeros
      guard k < 64 else { throw place.malformed("64 coefficients", got: "more") }
      block[JPEGTransform.order[k]] = Float((try bits.number(size)) * quantizer[k])
      k += 1
    }
    JPEGTransform.inverse(&block)
    let stride = components[index].stride
    for row in 0..<8 {
      for column in 0..<8 {
        let value = (block[8 * row + column] + 128).rounded()
        components[index].samples[(y + row) * stride + x + column] = UInt8(min(max(value, 0), 255))
      }
    }
  }

  private func assembled() throws -> Picture {
    let (across, down) = (components.map(\.across).max() ?? 1, components.map(\.down).max() ?? 1)
    var samples = [UInt8](repeating: 0, count: 3 * width * height)
    func sample(_ component: Component, _ x: Int, _ y: Int) -> Float {
      Float(component.samples[y * component.down / down * component.stride + x * component.across / across])
    }
    func level(_ value: Float) -> UInt8 { UInt8(min(max(value.rounded(), 0), 255)) }
    for y in 0..<height {
      for x in 0..<width {
        let at = 3 * (y * width + x)
        let luma = sample(components[0], x, y)
        guard components.count == 3 else {
          for channel in 0..<3 { samples[at + channel] = level(luma) }
          continue
        }
        let (cb, cr) = (sample(components[1], x, y) - 128, sample(components[2], x, y) - 128)
        samples[at] = level(luma + 1.402 * cr)
        samples[at + 1] = level(luma - 0.344136 * cb - 0.714136 * cr)
        samples[at + 2] = level(luma + 1.772 * cb)
      }
    }
    return Picture(width: width, height: height, samples: samples)
  }
}
