import ToeplitzTensor

extension Picture {
  /// A picture whose pixel at (x, y) is that of this one at `place(x, y)`.
  func rearranged(width: Int, height: Int, _ place: (Int, Int) -> (Int, Int)) -> Picture {
    func moved<S>(_ samples: [S], _ none: S) -> [S] {
      var result = [S](repeating: none, count: 3 * width * height)
      for y in 0..<height {
        for x in 0..<width {
          let (column, row) = place(x, y)
          let (from, to) = (3 * (row * self.width + column), 3 * (y * width + x))
          (result[to], result[to + 1], result[to + 2]) = (samples[from], samples[from + 1], samples[from + 2])
        }
      }
      return result
    }
    let moved: Samples =
      switch samples {
      case .bytes(let samples): .bytes(moved(samples, 0))
      case .words(let samples): .words(moved(samples, 0))
      }
    return Picture(width: width, height: height, samples: moved)
  }

  /// The part of the picture whose upper left pixel is (`x`, `y`).
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if it is empty or not inside the picture.
  public func cropped(x: Int, y: Int, width: Int, height: Int) throws -> Picture {
    guard x >= 0, y >= 0, width > 0, height > 0, width <= self.width, height <= self.height, x <= self.width - width,
      y <= self.height - height
    else {
      throw ToeplitzError(
        .argument, "Picture", expected: "a part of \(self.width) x \(self.height) pixels",
        got: "\(width) x \(height) at (\(x), \(y))")
    }
    return rearranged(width: width, height: height) { ($0 + x, $1 + y) }
  }

  /// The middle of the picture, as torchvision's `CenterCrop` takes it.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the picture is smaller.
  public func centerCropped(width: Int, height: Int) throws -> Picture {
    // Halves go to even numbers there.
    func start(_ whole: Int, _ part: Int) -> Int { Int((Double(whole - part) / 2).rounded(.toNearestOrEven)) }
    guard width <= self.width, height <= self.height else {
      throw ToeplitzError(
        .argument, "Picture", expected: "a part of \(self.width) x \(self.height) pixels", got: "\(width) x \(height)")
    }
    return try cropped(x: start(self.width, width), y: start(self.height, height), width: width, height: height)
  }

  /// The picture with its shorter side resized to `side` pixels, as torchvision's `Resize(side)` does.
  ///
  /// - Throws: ``ToeplitzError`` as ``resized(width:height:)`` does.
  public func resized(shorterSide side: Int) throws -> Picture {
    let (short, long) = (min(width, height), max(width, height))
    guard (1...Self.mostPixels).contains(side) else { throw Self.refusedSize(side, side) }
    let other = side * long / short
    return try width <= height ? resized(width: side, height: other) : resized(width: other, height: side)
  }

  /// The middle of the picture, resized so that it just covers the given size: nothing is distorted, edges are lost.
  ///
  /// - Throws: ``ToeplitzError`` as ``resized(width:height:)`` does.
  public func resizedToFill(width: Int, height: Int) throws -> Picture {
    guard width > 0, height > 0 else { throw Self.refusedSize(width, height) }
    let ratio = max(Double(width) / Double(self.width), Double(height) / Double(self.height))
    return try scaled(ratio) { (max(width, $0), max(height, $1)) }.centerCropped(width: width, height: height)
  }

  /// The whole picture, resized so that it just fits into the given size, in the middle of a plain frame.
  ///
  /// - Parameter level: red, green and blue of the frame, from 0 to 255.
  /// - Throws: ``ToeplitzError`` as ``resized(width:height:)`` does.
  public func letterboxed(width: Int, height: Int, level: UInt8 = 114) throws -> Picture {
    guard width > 0, height > 0 else { throw Self.refusedSize(width, height) }
    let ratio = min(Double(width) / Double(self.width), Double(height) / Double(self.height))
    let inner = try scaled(ratio) { (min(width, $0), min(height, $1)) }
    try Self.checkSize(width, height, bits: bitsPerSample)
    // The odd row or column of the frame is the last one.
    let (left, top) = ((width - inner.width) / 2, (height - inner.height) / 2)
    func framed<S: FixedWidthInteger>(_ samples: [S], _ level: S) -> [S] {
      var result = [S](repeating: level, count: 3 * width * height)
      for y in 0..<inner.height {
        let (from, to) = (3 * y * inner.width, 3 * ((y + top) * width + left))
        for index in 0..<(3 * inner.width) { result[to + index] = samples[from + index] }
      }
      return result
    }
    let framed: Samples =
      switch inner.samples {
      case .bytes(let samples): .bytes(framed(samples, level))
      case .words(let samples): .words(framed(samples, 257 * UInt16(level)))
      }
    return Picture(width: width, height: height, samples: framed)
  }

  /// Resized in one ratio, with sides that `bound` has the last word on.
  private func scaled(_ ratio: Double, _ bound: (Int, Int) -> (Int, Int)) throws -> Picture {
    // A ratio of one pixel to very many may overflow any integer.
    func side(_ length: Int) -> Int { Int(min((Double(length) * ratio).rounded(.toNearestOrEven), 0x1p40)) }
    let (width, height) = bound(max(1, side(self.width)), max(1, side(self.height)))
    return try resized(width: width, height: height)
  }

  static func refusedSize(_ width: Int, _ height: Int) -> ToeplitzError {
    ToeplitzError(.argument, "Picture", expected: "a size of 1 to \(mostPixels) pixels", got: "\(width) x \(height)")
  }

  /// Throws unless a picture of that size may be made.
  static func checkSize(_ width: Int, _ height: Int, bits: Int) throws {
    guard width > 0, height > 0, width <= mostPixels, height <= mostPixels / width else {
      throw refusedSize(width, height)
    }
    let bytes = 3 * width * height * bits / 8
    guard bytes <= Platform.memoryLimit else {
      throw ToeplitzError(
        .memory, "Picture", expected: Platform.memoryBound, got: "a picture of \(width) x \(height), \(bytes) bytes")
    }
  }
}
