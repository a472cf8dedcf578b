import ToeplitzCheckpoint
import ToeplitzTensor

/// Reads portable bitmaps, graymaps and pixmaps, plain and raw (Netpbm's pbm, pgm and ppm: P1 to P6).
///
/// Numbers go from 0 to a maximum that the file says, and are spread over 8 bits if it is below 256, else over 16. Of a file
/// of several pictures the first is read.
struct PNMReader {
  private let bytes: UnsafeRawBufferPointer
  private let place: FilePlace
  private var position = 2

  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) {
    self.bytes = bytes
    self.place = place
  }

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  mutating func picture() throws -> Picture {
    let kind = Int(bytes[1]) - 0x30
    let (isPlain, isBitmap, channels) = (kind <= 3, kind % 3 == 1, kind % 3 == 0 ? 3 : 1)
    let (width, height) = (try number("width"), try number("height"))
    let most = isBitmap ? 1 : try number("maximum")
    guard (1...65535).contains(most) else { throw place.malformed("a maximum of 1 to 65535", got: "\(most)") }
    try Picture.admit(width, height, bytesPerPixel: most < 256 ? 3 : 6, place)
    let count = width * height * channels
    let rawBytes = isBitmap ? (width + 7) / 8 * height : count * (most < 256 ? 1 : 2)
    // Plain numbers take a digit each at least, and a space unless they are bits.
    let least = isPlain ? (isBitmap ? count : 2 * count - 1) : rawBytes
    // A single space ends the header of raw files.
    let start = position + 1
    guard bytes.count - (isPlain ? position : start) >= least else {
      throw place.malformed("\(least) bytes of pixels", got: "\(max(0, bytes.count - start))")
    }
    let scale = most < 256 ? 255.0 : 65535.0
    // Black is 1 in bitmaps.
    let levels = (0...most).map {
      isBitmap ? 255 * (1 - $0) : Int((Double($0) / Double(most) * scale).rounded(.toNearestOrEven))
    }
    func level(_ index: Int) throws -> Int {
      if isPlain {
        let value = isBitmap ? try bit() : try number("a sample")
        guard value <= most else { throw place.malformed("samples up to \(most)", got: "\(value)") }
        return levels[value]
      }
      if isBitmap {
        let (row, column) = (index / width, index % width)
        return levels[Int(bytes[start + row * ((width + 7) / 8) + column / 8] >> UInt8(7 - column % 8)) & 1]
      }
      let value =
        most < 256 ? Int(bytes[start + index]) : Int(bytes[start + 2 * index]) << 8 | Int(bytes[start + 2 * index + 1])
      return levels[min(value, most)]
    }
    func samples<S: FixedWidthInteger>(_ type: S.Type) throws -> [S] {
      var samples = [S](repeating: 0, count: 3 * width * height)
      for index in 0..<count {
        let value = S(truncatingIfNeeded: try level(index))
        if channels == 3 {
          samples[index] = value
        } else {
          (samples[3 * index], samples[3 * index + 1], samples[3 * index + 2]) = (value, value, value)
        }
      }
      return samples
    }
    return Picture(
      width: width, height: height,
      samples: most < 256 ? .bytes(try samples(UInt8.self)) : .words(try samples(UInt16.self)))
  }

  /// Passes over spaces and comments, which go to the end of their line.
  private mutating func skipSpace() {
    while position < bytes.count {
      if bytes[position] == 0x23 {
        while position < bytes.count, bytes[position] != 0x0A, bytes[position] != 0x0D { position += 1 }
      } else if !Self.isSpace(bytes[position]) {
        return
      } else {
        position += 1
      }
    }
  }

  private mutating func number(_ what: String) throws -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.count, (0x30...0x39).contains(bytes[position]), position - start < 10 {
      value = 10 * value + Int(bytes[position] - 0x30)
      position += 1
    }
    guard position > start, position == bytes.count || Self.isSpace(bytes[position]) || bytes[position] == 0x23 else {
      throw place.malformed("a number as \(what)", got: position < bytes.count ? "other bytes" : "the end of the file")
    }
    return value
  }

  private mutating func bit() throws -> Int {
    skipSpace()
    guard position < bytes.count, bytes[position] == 0x30 || bytes[position] == 0x31 else {
      throw place.malformed("0 or 1", got: position < bytes.count ? "other bytes" : "the end of the file")
    }
    defer { position += 1 }
    return Int(bytes[position] - 0x30)
  }
}
