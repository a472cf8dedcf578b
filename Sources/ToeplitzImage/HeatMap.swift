import ToeplitzTensor

extension Picture {
  /// Draws numbers as colours, from dark blue for the lowest over green to yellow for the highest.
  ///
  /// - Parameters:
  ///   - values: rows of numbers; all rows are of one length.
  ///   - range: what the ends of the colours stand for; by default the least and the greatest of the values that are finite. Others
  ///     are drawn grey.
  ///   - cell: how many pixels wide and high a number is.
  /// - Throws: ``ToeplitzError`` of kind `argument` if there are no values, rows differ in length, or the picture would be too
  ///   large.
  public init(heatMap values: [[Double]], range: ClosedRange<Double>? = nil, cell: (width: Int, height: Int) = (1, 1))
    throws
  {
    let columns = values.first?.count ?? 0
    guard columns > 0, values.allSatisfy({ $0.count == columns }) else {
      throw ToeplitzError(
        .argument, "heat map", expected: "rows of one length",
        got: values.isEmpty || columns == 0 ? "no values" : "rows of \(Set(values.map(\.count)).sorted()) values")
    }
    guard cell.width > 0, cell.height > 0 else {
      throw ToeplitzError(.argument, "heat map", expected: "cells of at least one pixel", got: "\(cell)")
    }
    // Divided, since products of sizes may be too large for a number.
    guard cell.width <= Self.mostPixels / columns,
      cell.height <= Self.mostPixels / (columns * cell.width) / values.count
    else {
      throw ToeplitzError(
        .argument, "heat map", expected: "at most \(Self.mostPixels) pixels",
        got: "\(columns) by \(values.count) cells of \(cell.width) by \(cell.height) pixels")
    }
    let finite = values.joined().filter(\.isFinite)
    let range = range ?? (finite.min() ?? 0)...(finite.max() ?? 1)
    var bytes: [UInt8] = []
    for row in values {
      let line = row.flatMap { value in
        Array(repeating: Self.colour(value, in: range), count: cell.width).flatMap { $0 }
      }
      for _ in 0..<cell.height { bytes += line }
    }
    self.init(width: columns * cell.width, height: values.count * cell.height, samples: .bytes(bytes))
  }

  /// Colours at even distances, of which brightness and hue both tell the value (after Smith and van der Walt's viridis, 2015).
  private static let colours: [(Double, Double, Double)] = [
    (68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37),
  ]

  private static func colour(_ value: Double, in range: ClosedRange<Double>) -> [UInt8] {
    guard value.isFinite else { return [128, 128, 128] }
    let width = range.upperBound - range.lowerBound
    let share = width > 0 ? min(1, max(0, (value - range.lowerBound) / width)) : 0
    let place = share * Double(colours.count - 1)
    let index = min(colours.count - 2, Int(place))
    let (a, b, part) = (colours[index], colours[index + 1], place - Double(index))
    return [(a.0, b.0), (a.1, b.1), (a.2, b.2)].map { UInt8(($0.0 + ($0.1 - $0.0) * part).rounded()) }
  }
}
