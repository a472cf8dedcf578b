import ToeplitzCheckpoint
import ToeplitzTensor

/// A picture in red, green and blue, read from a PNG or JPEG file.
///
/// Files are untrusted: sizes are checked against the bytes that are there before anything is allocated.
public struct Picture: Sendable {
  /// Columns.
  public let width: Int
  /// Rows.
  public let height: Int
  /// Red, green and blue of each pixel, from 0 to 255, row by row.
  package let samples: [UInt8]

  /// More pixels than this are refused.
  static let mostPixels = 1 << 26

  init(width: Int, height: Int, samples: [UInt8]) {
    self.width = width
    self.height = height
    self.samples = samples
  }

  /// Reads the picture at `path`, whose first bytes say what it is.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the file cannot be read, of kind `format` if it breaks a rule, of kind
  ///   `unsupported` if it is legal but of a kind that is not read.
  public init(contentsOf path: String) throws {
    let file = try MappedFile(path: path)
    self = try withExtendedLifetime(file) { try Picture(file.bytes, FilePlace(file: path)) }
  }

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws {
    if bytes.starts(with: PNGReader.signature) {
      var reader = PNGReader(bytes, place)
      self = try reader.picture()
    } else if bytes.starts(with: [0xFF, 0xD8]) {
      var reader = JPEGReader(bytes, place)
      self = try reader.picture()
    } else {
      throw place.malformed("a PNG or JPEG file", got: "other bytes")
    }
  }

  /// The picture as `[1, channels, height, width]`: numbers from 0 to 1 less `mean`, divided by `standardDeviation`.
  ///
  /// - Parameters:
  ///   - channels: 3 for red, green and blue, 1 for their luma (ITU-R BT.601).
  ///   - mean: one number, or one a channel.
  ///   - standardDeviation: one number, or one a channel.
  /// - Throws: ``ToeplitzError`` of kind `argument` for other numbers of channels or factors.
  public func tensor(channels: Int = 3, mean: [Double] = [0], standardDeviation: [Double] = [1]) throws -> Tensor {
    guard channels == 1 || channels == 3, [1, channels].contains(mean.count),
      [1, channels].contains(standardDeviation.count), !standardDeviation.contains(0)
    else {
      throw ToeplitzError(
        .argument, "Picture", expected: "1 or 3 channels, and one factor for each or for all",
        got: "\(channels) channels, \(mean), \(standardDeviation)")
    }
    let pixels = width * height
    var result = try Tensor.zeros([1, channels, height, width])
    try result.withMutableElements(Float.self) { elements in
      for channel in 0..<channels {
        let shift = mean[mean.count == 1 ? 0 : channel]
        let scale = standardDeviation[standardDeviation.count == 1 ? 0 : channel]
        for pixel in 0..<pixels {
          let value: Double
          if channels == 3 {
            value = Double(samples[3 * pixel + channel])
          } else {
            let (red, green, blue) = (samples[3 * pixel], samples[3 * pixel + 1], samples[3 * pixel + 2])
            value = 0.299 * Double(red) + 0.587 * Double(green) + 0.114 * Double(blue)
          }
          elements[channel * pixels + pixel] = Float((value / 255 - shift) / scale)
        }
      }
    }
    return result
  }
}
