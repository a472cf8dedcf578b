extension Picture {
  /// How a picture is stored, as the EXIF tag Orientation says (CIPA DC-008, 4.6.5.1.F): where its first row and first
  /// column are.
  public enum Orientation: Int, Sendable, Hashable, CaseIterable {
    /// Upright.
    case up = 1
    /// Mirrored, left and right changed.
    case upMirrored
    /// Turned by 180°.
    case down
    /// Mirrored, top and bottom changed.
    case downMirrored
    /// Rows and columns changed.
    case leftMirrored
    /// To be turned by 90° clockwise.
    case right
    /// Rows and columns changed, and turned by 180°.
    case rightMirrored
    /// To be turned by 90° counterclockwise.
    case left
  }

  /// The picture upright, if it was stored in the given orientation.
  public func oriented(_ orientation: Orientation) -> Picture {
    guard orientation != .up else { return self }
    let (w, h) = (width, height)
    let isTransposed = orientation.rawValue >= 5
    return rearranged(width: isTransposed ? h : w, height: isTransposed ? w : h) { x, y in
      switch orientation {
      case .up: (x, y)
      case .upMirrored: (w - 1 - x, y)
      case .down: (w - 1 - x, h - 1 - y)
      case .downMirrored: (x, h - 1 - y)
      case .leftMirrored: (y, x)
      case .right: (y, h - 1 - x)
      case .rightMirrored: (w - 1 - y, h - 1 - x)
      case .left: (w - 1 - y, x)
      }
    }
  }
}

extension Picture.Orientation {
  /// What the EXIF data of a picture say, which are a TIFF file; nil if nothing, or if they are damaged.
  init?(exif bytes: UnsafeRawBufferPointer) {
    let isBig: Bool
    switch bytes.prefix(2).map({ $0 }) {
    case [0x49, 0x49]: isBig = false
    case [0x4D, 0x4D]: isBig = true
    default: return nil
    }
    func number(_ offset: Int, _ count: Int) -> Int? {
      guard offset >= 0, offset <= bytes.count - count else { return nil }
      let digits = bytes[offset..<(offset + count)].map(Int.init)
      return (isBig ? digits : digits.reversed()).reduce(0) { $0 << 8 | $1 }
    }
    guard number(2, 2) == 42, let directory = number(4, 4), let count = number(directory, 2) else { return nil }
    for entry in 0..<count {
      let at = directory + 2 + 12 * entry
      guard let tag = number(at, 2), let type = number(at + 2, 2) else { return nil }
      guard tag == 0x0112 else { continue }
      // A short, as it should be, or a long.
      guard let value = number(at + 8, type == 4 ? 4 : 2), type == 3 || type == 4 else { return nil }
      self.init(rawValue: value)
      return
    }
    return nil
  }
}
