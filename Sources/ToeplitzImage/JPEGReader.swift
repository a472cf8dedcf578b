import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads sequential and progressive JPEG files with Huffman codes and 8 bits (ITU-T T.81): grey, RGB, YCbCr (JFIF 1.02),
/// CMYK and YCCK (Adobe Technical Note 5116).
///
/// Pixels are those of libjpeg with its default options. The blocks of a progressive file that ends before its last
/// refinement are not smoothed, as libjpeg does.
struct JPEGReader {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var reader: ByteReader
  private var frame: JPEGFrame?
  private var quantizers = [[Int]?](repeating: nil, count: 4)
  private var directCodes = [JPEGCode?](repeating: nil, count: 4)
  private var otherCodes = [JPEGCode?](repeating: nil, count: 4)
  private var restartInterval = 0
  private var isJFIF = false
  /// What Adobe's marker says of the colours: 0 for none, 1 for YCbCr, 2 for YCCK.
  private var adobeTransform: UInt8?
  /// How the picture is to be turned.
  private(set) var orientation: Picture.Orientation?

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
    reader = ByteReader(bytes, place)
  }

  mutating func picture() throws -> Picture {
    _ = try reader.take(2, "signature")
    while true {
      let marker = try nextMarker()
      switch marker {
      case 0x01, 0xD0...0xD7: break
      case 0xC0, 0xC1, 0xC2: try readFrame(segment(), isProgressive: marker == 0xC2)
      case 0xC3, 0xC5...0xC7,
        0xC9...0xCF where marker != 0xCC:
        throw Self.refusal(marker, place)
      case 0xCC: throw Self.refusal(0xC9, place)
      case 0xC4: try readCodes(segment())
      case 0xDB: try readQuantizers(segment())
      case 0xDD:
        var body = try segment()
        restartInterval = Int(try body.integer(UInt16.self, "interval").byteSwapped)
      case 0xDA:
        try readScan(segment())
        if let frame, !frame.isProgressive, frame.components.allSatisfy({ $0.quantizer != nil }) {
          return try assembled()
        }
      case 0xD9: return try assembled()
      case 0xE0, 0xE1, 0xEE: try readApplicationData(segment(), marker)
      default: _ = try segment()
      }
    }
  }

  /// What is said of the kinds of frames that are not read (T.81, table B.1).
  private static func refusal(_ marker: UInt8, _ place: FilePlace) -> ToeplitzError {
    let kinds: [UInt8: String] = [
      0xC3: "a lossless one", 0xC5: "a hierarchical one", 0xC6: "a hierarchical one",
      0xC7: "a hierarchical lossless one",
      0xCB: "a lossless one with arithmetic codes",
    ]
    return ToeplitzError(
      .unsupported, place.file, expected: "a sequential or progressive JPEG with Huffman codes",
      got: kinds[marker] ?? "one with arithmetic codes")
  }

  private mutating func nextMarker() throws -> UInt8 {
    // Other decoders pass over what stands between segments, too.
    var marker: UInt8 = 0
    while true {
      while try reader.integer(UInt8.self, "a marker") != 0xFF {}
      repeat { marker = try reader.integer(UInt8.self, "a marker") } while marker == 0xFF
      if marker != 0 { return marker }
    }
  }

  private mutating func segment() throws -> ByteReader {
    let length = Int(try reader.integer(UInt16.self, "a length").byteSwapped)
    guard length >= 2 else { throw place.malformed("a length of at least 2", got: "\(length)") }
    return ByteReader(try reader.take(length - 2, "a segment"), place)
  }

  private mutating func readApplicationData(_ segment: ByteReader, _ marker: UInt8) throws {
    var body = segment
    let data = try body.take(body.remaining, "data")
    switch marker {
    case 0xE0: isJFIF = isJFIF || data.count >= 14 && data.starts(with: Array("JFIF\0".utf8))
    case 0xEE:
      if data.count >= 12, data.starts(with: Array("Adobe".utf8)) { adobeTransform = data[11] }
    default:
      let name = Array("Exif\0\0".utf8)
      if orientation == nil, data.starts(with: name) {
        orientation = Picture.Orientation(exif: UnsafeRawBufferPointer(rebasing: data[name.count...]))
      }
    }
  }

  private mutating func readFrame(_ segment: ByteReader, isProgressive: Bool) throws {
    guard frame == nil else { throw place.malformed("one frame", got: "another") }
    frame = try JPEGFrame(segment, isProgressive: isProgressive, remaining: reader.remaining, place)
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
      var table = [Int](repeating: 0, count: 64)
      for k in 0..<64 {
        table[JPEGTransform.order[k]] =
          kind >> 4 == 0
          ? Int(try body.integer(UInt8.self, "a factor")) : Int(try body.integer(UInt16.self, "a factor").byteSwapped)
      }
      quantizers[Int(kind & 15)] = table
    }
  }

  private mutating func readScan(_ segment: ByteReader) throws {
    guard var frame else { throw place.malformed("a frame before its scans", got: "a scan") }
    // The only reference, so that nothing is copied below.
    self.frame = nil
    let header = try scanHeader(segment, &frame)
    var decoder = JPEGScanDecoder(
      header, isProgressive: frame.isProgressive, JPEGBits(bytes, from: reader.position, place), place)
    try frame.decode(header, &decoder, restartInterval: restartInterval)
    _ = try reader.take(decoder.bits.position - reader.position, "pixels")
    self.frame = frame
  }

  private func scanHeader(_ segment: ByteReader, _ frame: inout JPEGFrame) throws -> JPEGScanHeader {
    var body = segment
    let count = Int(try body.integer(UInt8.self, "components"))
    guard (1...4).contains(count) else { throw place.malformed("1 to 4 components in a scan", got: "\(count)") }
    var parts: [JPEGScanHeader.Part] = []
    for _ in 0..<count {
      let identifier = try body.integer(UInt8.self, "a component")
      let tables = try body.integer(UInt8.self, "tables")
      guard let index = frame.components.firstIndex(where: { $0.identifier == identifier }), tables >> 4 < 4,
        tables & 15 < 4, !parts.contains(where: { $0.index == index })
      else { throw place.malformed("the components of the frame", got: "\(identifier)") }
      parts.append(
        .init(index: index, directCode: directCodes[Int(tables >> 4)], otherCode: otherCodes[Int(tables & 15)]))
    }
    let band = (Int(try body.integer(UInt8.self, "a band")), Int(try body.integer(UInt8.self, "a band")))
    let places = try body.integer(UInt8.self, "places")
    var header = JPEGScanHeader(parts: parts, band: 0...63, high: 0, low: 0)
    if frame.isProgressive {
      guard band.0 <= band.1, band.1 <= 63, band.0 == 0 ? band.1 == 0 : count == 1, places & 15 <= 13 else {
        throw place.malformed("a band of coefficients", got: "\(band.0) to \(band.1) of \(count) components")
      }
      header.band = band.0...band.1
      (header.high, header.low) = (Int(places >> 4), Int(places & 15))
    }
    for part in parts { try frame.components[part.index].begin(header, frame.isProgressive, quantizers, place) }
    return header
  }

  private mutating func assembled() throws -> Picture {
    guard var frame else { throw place.malformed("a picture", got: "the end of the file") }
    self.frame = nil
    if let index = frame.components.firstIndex(where: { $0.quantizer == nil }) {
      throw place.malformed("a scan of component \(index + 1)", got: "the end of the picture")
    }
    frame.finish()
    let pixels = JPEGColours(frame: frame, space: space(frame)).pixels()
    return Picture(width: frame.width, height: frame.height, samples: .bytes(pixels))
  }

  /// What the components mean: JFIF knows YCbCr only, Adobe's marker says it, and else their names do.
  private func space(_ frame: JPEGFrame) -> JPEGColours.Space {
    let names = frame.components.map(\.identifier)
    switch frame.components.count {
    case 1: return .grey
    case 4: return adobeTransform ?? 0 == 0 ? .cmyk : .ycck
    default:
      if isJFIF { return .yCbCr }
      if let adobeTransform { return adobeTransform == 0 ? .rgb : .yCbCr }
      return names == Array("RGB".utf8) ? .rgb : .yCbCr
    }
  }
}

extension JPEGFrame.Component {
  /// Notes a scan, which has to say something new of the component.
  ///
  /// So no file can make a decoder pass over its picture more often than coefficients have bits.
  mutating func begin(
    _ header: JPEGScanHeader, _ isProgressive: Bool, _ quantizers: [[Int]?], _ place: FilePlace
  ) throws {
    for k in header.band {
      guard header.high == 0 ? missingPlaces[k] < 0 : missingPlaces[k] == header.high && header.low == header.high - 1
      else {
        throw place.malformed("scans that bring one more binary place each", got: "another scan of the same")
      }
      missingPlaces[k] = header.low
    }
    guard missingPlaces[0] >= 0 else {
      throw place.malformed("the mean coefficients first", got: "others")
    }
    guard quantizer == nil else { return }
    guard let table = quantizers[table] else {
      throw place.malformed("quantization table \(table)", got: "none")
    }
    quantizer = table
  }
}
