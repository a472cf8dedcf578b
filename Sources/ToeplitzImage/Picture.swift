import ToeplitzCheckpoint
import ToeplitzTensor

/// A picture in red, green and blue, read from a PNG, JPEG, BMP or PNM file.
///
/// Files are untrusted: sizes are checked against the bytes that are there before anything is allocated.
public struct Picture: Sendable {
  /// The numbers of a picture, of 8 or 16 bits: red, green and blue of each pixel, row by row.
  package enum Samples: Sendable, Equatable {
    case bytes([UInt8])
    case words([UInt16])

    var count: Int {
      switch self {
      case .bytes(let samples): samples.count
      case .words(let samples): samples.count
      }
    }
  }

  /// Columns.
  public let width: Int
  /// Rows.
  public let height: Int
  package let samples: Samples

  /// 8 or 16: samples go from 0 to 255 or to 65535.
  public var bitsPerSample: Int {
    switch samples {
    case .bytes: 8
    case .words: 16
    }
  }

  /// More pixels than this are refused.
  static let mostPixels = 1 << 26

  init(width: Int, height: Int, samples: Samples) {
    self.width = width
    self.height = height
    self.samples = samples
  }

  /// Reads the picture at `path`, whose first bytes say what it is.
  ///
  /// - Parameters:
  ///   - path: a file. Transparency is dropped, as Pillow's `convert("RGB")` does.
  ///   - appliesOrientation: whether a picture that says how the camera was held (EXIF) is turned upright.
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a rule, of kind
  ///   `unsupported` if it is legal but of a kind that is not read, of kind `memory` if it has too many pixels.
  public init(contentsOf path: String, appliesOrientation: Bool = true) throws {
    let file = try MappedFile(path: path)
    self = try withExtendedLifetime(file) {
      try Picture(file.bytes, FilePlace(file: path), appliesOrientation: appliesOrientation)
    }
  }

  /// Reads the picture in the bytes of a file, the first of which say what it is.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - name: what errors call it.
  ///   - appliesOrientation: whether a picture that says how the camera was held (EXIF) is turned upright.
  /// - Throws: ``ToeplitzError`` as ``init(contentsOf:appliesOrientation:)`` does.
  public init(bytes: UnsafeRawBufferPointer, name: String = "picture", appliesOrientation: Bool = true) throws {
    self = try Picture(bytes, FilePlace(file: name), appliesOrientation: appliesOrientation)
  }

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace, appliesOrientation: Bool = true) throws {
    let picture: Picture
    var orientation: Orientation?
    switch PictureFormat(bytes) {
    case .png:
      var reader = PNGReader(bytes, place)
      picture = try reader.picture()
      orientation = reader.orientation
    case .jpeg:
      var reader = JPEGReader(bytes, place)
      picture = try reader.picture()
      orientation = reader.orientation
    case .bmp:
      var reader = try BMPReader(bytes, place)
      picture = try reader.picture()
    case .pnm:
      var reader = PNMReader(bytes, place)
      picture = try reader.picture()
    case .other(let name):
      throw ToeplitzError(
        name == nil ? .format : .unsupported, place.file, expected: "a PNG, JPEG, BMP or PNM file",
        got: name ?? (bytes.isEmpty ? "an empty file" : "other bytes"))
    }
    self = if appliesOrientation, let orientation { picture.oriented(orientation) } else { picture }
  }

  /// Throws unless a picture of that size may be read.
  ///
  /// - Parameter bytesPerPixel: what reading it takes.
  static func admit(_ width: Int, _ height: Int, bytesPerPixel: Int, _ place: FilePlace) throws {
    guard width > 0, height > 0, width <= mostPixels, height <= mostPixels / width else {
      throw place.malformed("1 to \(mostPixels) pixels", got: "\(width) x \(height)")
    }
    let bytes = width * height * bytesPerPixel
    guard bytes <= Platform.memoryLimit else {
      throw ToeplitzError(
        .memory, place.file, expected: Platform.memoryBound, got: "a picture of \(width) x \(height), \(bytes) bytes")
    }
  }
}

/// What the first bytes of a file say of its format.
package enum PictureFormat: Equatable {
  case png
  case jpeg
  case bmp
  case pnm
  /// One that is not read, by its name if it is known.
  case other(String?)

  /// The format of a file that begins with `bytes`.
  package init(_ bytes: UnsafeRawBufferPointer) {
    func begins(_ text: String, at offset: Int = 0) -> Bool {
      bytes.count >= offset && bytes[offset...].starts(with: Array(text.utf8))
    }
    func begins(_ numbers: [UInt8]) -> Bool { bytes.starts(with: numbers) }
    if begins(PNGReader.signature) {
      self = .png
    } else if begins([0xFF, 0xD8]) {
      self = .jpeg
    } else if begins("BM") {
      self = .bmp
    } else if bytes.count > 2, begins("P"), (0x31...0x36).contains(bytes[1]), PNMReader.isSpace(bytes[2]) {
      self = .pnm
    } else {
      let isBox = begins("ftyp", at: 4)
      let brand = isBox && bytes.count >= 12 ? String(decoding: bytes[8..<12], as: UTF8.self) : ""
      let known: [(Bool, String)] = [
        (begins("GIF8"), "a GIF file"), (begins("RIFF") && begins("WEBP", at: 8), "a WebP file"),
        (begins([0x49, 0x49, 0x2A, 0]) || begins([0x4D, 0x4D, 0, 0x2A]), "a TIFF file"),
        (begins("jP  ", at: 4) || begins([0xFF, 0x4F, 0xFF, 0x51]), "a JPEG 2000 file"),
        (["heic", "heix", "hevc", "mif1", "msf1"].contains(brand), "a HEIC file"),
        (["avif", "avis"].contains(brand), "an AVIF file"),
        (begins([0xFF, 0x0A]) || begins("JXL ", at: 4), "a JPEG XL file"),
        (begins("P7\n"), "a PAM file"), (begins("PF\n") || begins("Pf\n"), "a PFM file"),
        (begins([0x76, 0x2F, 0x31, 0x01]), "an OpenEXR file"), (begins("8BPS"), "a Photoshop file"),
      ]
      self = .other(known.first(where: \.0)?.1)
    }
  }
}
