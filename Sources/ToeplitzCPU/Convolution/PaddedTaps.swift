import ToeplitzOps
import CToeplitzKernels

/// Which taps the kernel calls for a row of an image, or a part of one, need: those that read padding only are left out, and
/// of others the columns at the ends that do.
///
/// Small images have so much padding that this saves a tenth and more of the arithmetic: of 7×7 pixels and 3×3 taps 18 %.
/// Results are the same to the bit, since what is left out would add zeros; weights that are not finite make NaN of those,
/// and need all taps.
final class PaddedTaps: Sendable {
  /// What the calls read, as long as the object lives: threads would fight for the reference counts of arrays.
  struct Lists: @unchecked Sendable {
    // Written in `init` only.
    fileprivate let taps: UnsafeMutableBufferPointer<tz_conv_tap>
    /// Where each list begins in `taps`, and where the last ends.
    fileprivate let starts: UnsafeMutableBufferPointer<Int>
    /// For each position on d and on h, which of the lists are its own.
    fileprivate let planes: UnsafeMutableBufferPointer<Int>
    fileprivate let rows: UnsafeMutableBufferPointer<Int>

    /// The taps of a call.
    ///
    /// - Parameters:
    ///   - plane, row: the position on d and h, from the first on.
    ///   - piece: which part of the row.
    @inline(__always)
    func taps(plane: Int, row: Int, piece: Int) -> UnsafeBufferPointer<tz_conv_tap> {
      let list = planes[plane] + rows[row] + piece
      return UnsafeBufferPointer(rebasing: taps[starts[list]..<starts[list + 1]])
    }
  }
  let lists: Lists

  /// With more taps, rows or lists there is either little padding or much to compare and keep.
  private static let mostTaps = 128
  private static let mostPositions = 1 << 11
  private static let mostListed = 1 << 14

  /// - Parameters:
  ///   - offsets: for each tap where its column 0 lies in the panel.
  ///   - rows: how many rows of weights a block has.
  ///   - pieces: the first position and the number of positions of each part of a row.
  init?(
    stencil: ConvolutionStencil, group: RowGroup, positions: PositionGrid, inputSize: SIMD3<Int>, offsets: [Int32],
    rows: Int, pieces: [(first: Int, count: Int)]
  ) {
    guard offsets.count <= Self.mostTaps, positions.count[0] + positions.count[1] <= Self.mostPositions else {
      return nil
    }
    let inside = (0..<3).map { axis in
      group.axes[axis].offsets.map { positions.inside(stencil, axis, offset: $0, inputSize: inputSize) }
    }
    let used = (0..<2).map { axis in
      (0..<positions.count[axis]).map { position in inside[axis].map { $0.contains(position) } }
    }
    let kinds = used.map { Self.different($0) }
    guard kinds[0].count * kinds[1].count * pieces.count * offsets.count <= Self.mostListed else { return nil }
    var taps: [tz_conv_tap] = []
    var starts = [0]
    for d in kinds[0] {
      for h in kinds[1] {
        for piece in pieces {
          let columns = inside[2].map { $0.clamped(to: piece.first..<(piece.first + piece.count)) }
          for (index, offset) in offsets.enumerated() {
            let (rest, w) = index.quotientAndRemainder(dividingBy: columns.count)
            guard d[rest / h.count], h[rest % h.count], !columns[w].isEmpty else { continue }
            let edge: Int32 = columns[w].lowerBound > piece.first ? 1 : columns[w].count < piece.count ? 2 : 0
            taps.append(tz_conv_tap(x: offset, w: Int32(index * rows), edge: edge))
          }
          starts.append(taps.count)
        }
      }
    }
    func kept<Element>(_ elements: [Element]) -> UnsafeMutableBufferPointer<Element> {
      let memory = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
      _ = memory.initialize(from: elements)
      return memory
    }
    func numbers(_ axis: Int, times factor: Int) -> [Int] {
      used[axis].map { (kinds[axis].firstIndex(of: $0) ?? 0) * factor }
    }
    lists = Lists(
      taps: kept(taps), starts: kept(starts), planes: kept(numbers(0, times: kinds[1].count * pieces.count)),
      rows: kept(numbers(1, times: pieces.count)))
  }

  deinit {
    lists.taps.deallocate()
    lists.starts.deallocate()
    lists.planes.deallocate()
    lists.rows.deallocate()
  }

  private static func different(_ values: [[Bool]]) -> [[Bool]] {
    values.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}

extension PositionGrid {
  /// The positions of an axis, counted from the first on, at which a tap reads the input and not the padding.
  fileprivate func inside(
    _ stencil: ConvolutionStencil, _ axis: Int, offset: Int, inputSize: SIMD3<Int>
  ) -> Range<Int> {
    let from = ceilDivide(-offset, stencil.step[axis]) - first[axis]
    let to = ceilDivide(inputSize[axis] - offset, stencil.step[axis]) - first[axis]
    let low = min(max(0, from), count[axis])
    return low..<max(low, min(to, count[axis]))
  }

  /// How much of the arithmetic is left where taps in padding are left out.
  ///
  /// - Returns: the share of the taps of whole rows, and of the columns of a row how many each tap leaves out.
  func inside(_ stencil: ConvolutionStencil, _ group: RowGroup, inputSize: SIMD3<Int>) -> (
    rows: Double, columns: Double
  ) {
    let ranges = (0..<3).map { axis in
      group.axes[axis].offsets.map { inside(stencil, axis, offset: $0, inputSize: inputSize) }
    }
    func share(_ axis: Int) -> Double {
      Double(ranges[axis].reduce(0) { $0 + $1.count }) / Double(max(1, count[axis] * ranges[axis].count))
    }
    let atEnds = ranges[2].reduce(0) { $0 + ($1.lowerBound > 0 ? 1 : 0) + ($1.upperBound < count[2] ? 1 : 0) }
    return (share(0) * share(1), Double(atEnds) / Double(max(1, ranges[2].count)))
  }
}
