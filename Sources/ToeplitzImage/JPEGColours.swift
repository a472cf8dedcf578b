/// Spreads subsampled components over the picture and turns colours into red, green and blue.
///
/// Chroma is interpolated by a triangle where it has half the columns, half the rows or both, and repeated where it has
/// fewer, in the integers of JFIF 1.02's matrix with 16 binary places: what other decoders do unless told otherwise.
struct JPEGColours {
  /// What the components mean.
  enum Space {
    case grey
    case rgb
    case yCbCr
    /// Cyan, magenta, yellow and black, inverted as Adobe writes them.
    case cmyk
    /// The same with its first three as luma and chroma of their inverse.
    case ycck
  }

  let frame: JPEGFrame
  let space: Space

  /// The colours of the picture, three bytes a pixel.
  func pixels() -> [UInt8] {
    let (width, height) = (frame.width, frame.height)
    var result = [UInt8](repeating: 0, count: 3 * width * height)
    // Two columns more than the picture may have are computed in pairs.
    var lines = [[UInt8]](repeating: [UInt8](repeating: 0, count: width + 2), count: frame.components.count)
    var sums = [Int32](repeating: 0, count: width + 2)
    result.withUnsafeMutableBufferPointer { result in
      for y in 0..<height {
        for (index, component) in frame.components.enumerated() {
          lines[index].withUnsafeMutableBufferPointer { line in
            sums.withUnsafeMutableBufferPointer { spread(component, y, into: line, $0) }
          }
        }
        let target = UnsafeMutableBufferPointer(rebasing: result[(3 * width * y)..<(3 * width * (y + 1))])
        convert(lines, into: target)
      }
    }
    return result
  }

  // MARK: - Sampling

  /// Row `y` of the picture of a component.
  private func spread(
    _ component: JPEGFrame.Component, _ y: Int, into line: UnsafeMutableBufferPointer<UInt8>,
    _ sums: UnsafeMutableBufferPointer<Int32>
  ) {
    let (mostAcross, mostDown) = (frame.mostAcross, frame.mostDown)
    let (columns, rows, stride) = (component.columns, component.rows, component.stride)
    let hasHalfColumns = component.across * 2 == mostAcross && columns > 2
    let hasHalfRows = component.down * 2 == mostDown
    component.samples.withUnsafeBufferPointer { samples in
      if hasHalfColumns, component.down == mostDown {
        for x in 0..<columns { sums[x] = Int32(samples[y * stride + x]) }
        // A half is rounded down at even places and up at odd ones.
        interpolate(sums, columns, into: line, shift: 2, even: 1, odd: 2)
      } else if hasHalfRows, component.across == mostAcross || hasHalfColumns {
        // Three quarters of the nearer row and one of the other; there is none beyond the edge.
        let near = (y / 2) * stride
        let far = min(max(y % 2 == 0 ? y / 2 - 1 : y / 2 + 1, 0), rows - 1) * stride
        for x in 0..<columns { sums[x] = 3 * Int32(samples[near + x]) + Int32(samples[far + x]) }
        if hasHalfColumns {
          interpolate(sums, columns, into: line, shift: 4, even: 8, odd: 7)
        } else {
          let half: Int32 = y % 2 == 0 ? 1 : 2
          for x in 0..<columns { line[x] = UInt8(truncatingIfNeeded: (sums[x] &+ half) >> 2) }
        }
      } else {
        let row = y * component.down / mostDown * stride
        for x in 0..<frame.width { line[x] = samples[row + x * component.across / mostAcross] }
      }
    }
  }

  /// Twice as many columns: three quarters of the nearer number and one of the other.
  private func interpolate(
    _ sums: UnsafeMutableBufferPointer<Int32>, _ columns: Int, into line: UnsafeMutableBufferPointer<UInt8>,
    shift: Int32, even: Int32, odd: Int32
  ) {
    for x in 0..<columns {
      let value = 3 &* sums[x]
      let left = x > 0 ? value &+ sums[x &- 1] : value &+ sums[x]
      let right = x &+ 1 < columns ? value &+ sums[x &+ 1] : value &+ sums[x]
      line[2 &* x] = UInt8(truncatingIfNeeded: (left &+ even) >> shift)
      if 2 &* x &+ 1 < line.count { line[2 &* x &+ 1] = UInt8(truncatingIfNeeded: (right &+ odd) >> shift) }
    }
  }

  // MARK: - Colours

  private func convert(_ lines: [[UInt8]], into target: UnsafeMutableBufferPointer<UInt8>) {
    func each(_ colour: (Int) -> (UInt8, UInt8, UInt8)) {
      for x in 0..<frame.width { (target[3 &* x], target[3 &* x &+ 1], target[3 &* x &+ 2]) = colour(x) }
    }
    func line(_ index: Int) -> [UInt8] { lines[min(index, lines.count - 1)] }
    let (a, b, c, d) = (line(0), line(1), line(2), line(3))
    switch space {
    case .grey: each { (a[$0], a[$0], a[$0]) }
    case .rgb: each { (a[$0], b[$0], c[$0]) }
    case .yCbCr: each { rgb(a[$0], b[$0], c[$0]) }
    case .cmyk: each { Self.inked((a[$0], b[$0], c[$0]), d[$0]) }
    case .ycck:
      each { x in
        let (red, green, blue) = rgb(a[x], b[x], c[x])
        return Self.inked((255 - red, 255 - green, 255 - blue), d[x])
      }
    }
  }

  private static func fixed(_ value: Double) -> Int { Int(value * 65536 + 0.5) }
  private static let redOfCr = fixed(1.402)
  private static let greenOfCb = fixed(0.34414)
  private static let greenOfCr = fixed(0.71414)
  private static let blueOfCb = fixed(1.772)

  private func rgb(_ luma: UInt8, _ cb: UInt8, _ cr: UInt8) -> (UInt8, UInt8, UInt8) {
    let (y, b, r) = (Int(luma), Int(cb) &- 128, Int(cr) &- 128)
    let red = y &+ (Self.redOfCr &* r &+ 32768) >> 16
    let green = y &+ (32768 &- Self.greenOfCb &* b &- Self.greenOfCr &* r) >> 16
    let blue = y &+ (Self.blueOfCb &* b &+ 32768) >> 16
    return (UInt8(clamping: red), UInt8(clamping: green), UInt8(clamping: blue))
  }

  /// Colours of light for inverted inks: what the black lets through, less the share that each ink takes.
  private static func inked(_ inks: (UInt8, UInt8, UInt8), _ black: UInt8) -> (UInt8, UInt8, UInt8) {
    let light = Int(black)
    func rest(_ inverted: UInt8) -> UInt8 {
      // The ink times the light, divided by 255 and rounded.
      let product = Int(255 &- inverted) &* light &+ 128
      return UInt8(clamping: light &- (product >> 8 &+ product) >> 8)
    }
    return (rest(inks.0), rest(inks.1), rest(inks.2))
  }
}
