import ToeplitzTensor

extension Picture {
  /// The picture in another size, by bilinear interpolation that averages where it shrinks.
  ///
  /// A triangle of as many pixels as become one in each direction, columns first, weights with 22 binary places and
  /// results rounded after each direction: Pillow's `resize` with `BILINEAR`, which torchvision's `Resize` calls.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a size of no or too many pixels, of kind `memory` if it takes more
  ///   than all tensors may.
  public func resized(width: Int, height: Int) throws -> Picture {
    guard width != self.width || height != self.height else { return self }
    try Self.checkSize(width, height, bits: bitsPerSample)
    // Between the two directions.
    try Self.checkSize(width, self.height, bits: bitsPerSample)
    func resized<S: FixedWidthInteger & UnsignedInteger>(_ samples: [S]) -> [S] {
      let (old, new) = ((self.width, self.height), (width, height))
      let wide = old.0 == new.0 ? samples : Self.resampledColumns(samples, rows: old.1, from: old.0, to: new.0)
      return old.1 == new.1 ? wide : Self.resampledRows(wide, rowLength: 3 * new.0, from: old.1, to: new.1)
    }
    let resized: Samples =
      switch samples {
      case .bytes(let samples): .bytes(resized(samples))
      case .words(let samples): .words(resized(samples))
      }
    return Picture(width: width, height: height, samples: resized)
  }

  /// The direction along which a picture is resized.
  private struct Axis {
    let old: Int
    let new: Int
    private let scale: Double
    /// As many pixels as become one, but at least one.
    private let reach: Double

    init(from old: Int, to new: Int) {
      (self.old, self.new) = (old, new)
      scale = Double(old) / Double(new)
      reach = max(scale, 1)
    }

    /// The first pixel that a pixel of the result is made of, and the weights of that one and those behind it.
    func taps(_ position: Int) -> (start: Int, weights: [Int]) {
      let center = (Double(position) + 0.5) * scale
      let start = max(0, Int(center - reach + 0.5))
      let end = min(old, Int(center + reach + 0.5))
      let inverse = 1 / reach
      let weights = (start..<max(start, end)).map { index in
        max(0, 1 - abs((Double(index) - center + 0.5) * inverse))
      }
      let sum = weights.reduce(0, +)
      return (start, weights.map { Int((sum == 0 ? 0 : $0 / sum) * Double(1 << Picture.places) + 0.5) })
    }
  }

  /// Binary places of weights.
  private static let places = 22
  /// How much is computed at a time: rows may be as long as the picture.
  private static let piece = 4096

  private static func rounded<S: FixedWidthInteger>(_ sum: Int) -> S {
    S(clamping: (sum &+ 1 << (places - 1)) >> places)
  }

  private static func resampledColumns<S: FixedWidthInteger & UnsignedInteger>(
    _ samples: [S], rows: Int, from old: Int, to new: Int
  ) -> [S] {
    let axis = Axis(from: old, to: new)
    var result = [S](repeating: 0, count: 3 * rows * new)
    samples.withUnsafeBufferPointer { samples in
      for first in stride(from: 0, to: new, by: piece) {
        let taps = (first..<min(new, first + piece)).map(axis.taps)
        for y in 0..<rows {
          for (index, tap) in taps.enumerated() {
            var sums = (0, 0, 0)
            var at = 3 &* (y &* old &+ tap.start)
            for weight in tap.weights {
              sums.0 &+= weight &* Int(samples[at])
              sums.1 &+= weight &* Int(samples[at &+ 1])
              sums.2 &+= weight &* Int(samples[at &+ 2])
              at &+= 3
            }
            let to = 3 &* (y &* new &+ first &+ index)
            (result[to], result[to &+ 1], result[to &+ 2]) = (rounded(sums.0), rounded(sums.1), rounded(sums.2))
          }
        }
      }
    }
    return result
  }

  private static func resampledRows<S: FixedWidthInteger & UnsignedInteger>(
    _ samples: [S], rowLength: Int, from old: Int, to new: Int
  ) -> [S] {
    let axis = Axis(from: old, to: new)
    var result = [S](repeating: 0, count: rowLength * new)
    var sums = [Int](repeating: 0, count: min(piece, rowLength))
    samples.withUnsafeBufferPointer { samples in
      for y in 0..<new {
        let tap = axis.taps(y)
        for first in stride(from: 0, to: rowLength, by: piece) {
          let count = min(piece, rowLength - first)
          for index in 0..<count { sums[index] = 0 }
          for (row, weight) in tap.weights.enumerated() {
            let from = (tap.start &+ row) &* rowLength &+ first
            for index in 0..<count { sums[index] &+= weight &* Int(samples[from &+ index]) }
          }
          for index in 0..<count { result[y &* rowLength &+ first &+ index] = rounded(sums[index]) }
        }
      }
    }
    return result
  }
}
