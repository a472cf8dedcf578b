import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How the outputs of one row group come from fewer multiplications (see ``Numerics/fast``).
///
/// Four outputs of a correlation with r taps need r + 3 products of transformed inputs and taps instead of 4 r (Toom
/// and Cook; in two dimensions, Winograd). For every one of these *points* the products are a convolution over tiles of
/// four outputs, which the direct kernels compute:
///
/// - taps of one axis, any number K > 4 in pieces of four: piece j reads the transformed inputs j tiles further on, and the
///   last one has a product less if it has fewer taps;
/// - dilation d: the outputs `d q + ρ` of each residue ρ are a correlation of their own;
/// - 3×3 taps, and 2×2 taps as in the phases of a transposed convolution: a *square*, the transform on both axes. Its
///   tiles may have other sizes, for which there are plans of their own.
struct ToomCookPlan {
  /// The transform.
  let kind: tz_toom
  /// Taps that one transform takes, on one axis.
  let taps: Int
  /// Outputs of a tile, on one axis.
  let tile: Int
  /// Transforms that lie behind one another on the w axis.
  let pieces: Int
  /// As many at the last point, infinity: its weight is the last tap of a piece, which a shorter piece does not have.
  private let lastPieces: Int
  /// Distance of neighbouring taps on the w axis.
  let dilation: Int
  /// Products of a tile, on one axis and altogether.
  let axisPoints: Int
  let points: Int
  /// Taps of the h and w axes in order of ascending offset: indices of the group's taps on these axes.
  let tapOrder: (h: [Int], w: [Int])

  /// Whether it is used wherever it can be, whatever the estimate says (for tests).
  @TaskLocal static var always = false
  /// Outputs on each axis of the tiles of squares, where not the estimate chooses (for tests).
  @TaskLocal static var squareTile: Int?

  /// What tests decide at the moment, which what is kept for a weight depends on.
  struct Forced: Equatable, Sendable {
    private var always = ToomCookPlan.always
    private var squareTile = ToomCookPlan.squareTile
  }

  /// Whether the transform is on both axes.
  let isSquare: Bool
  /// Rows of a tile on the h axis.
  var tileRows: Int { isSquare ? tile : 1 }
  /// Pieces whose products a point adds up.
  func pieces(at point: Int) -> Int { point < points - 1 ? pieces : lastPieces }
  /// Products of a tile for each channel.
  var steps: Int { (points - 1) * pieces + lastPieces }
  /// Outputs that the tiles of one column cover on the w axis.
  var tileColumns: Int { tile * dilation }

  /// The plans for a group: none, one, or some for tiles of different size.
  static func plans(stencil: ConvolutionStencil, group: RowGroup) -> [ToomCookPlan] {
    guard stencil.step == [1, 1, 1], stencil.channels >= 4, stencil.outputs * group.phaseCount >= 8 else { return [] }
    let counts = group.axes.map(\.offsets.count)
    guard counts[0] == 1, counts[2] >= 2, let h = progression(group.axes[1].offsets),
      let w = progression(group.axes[2].offsets)
    else { return [] }
    if counts[1] == 1 {
      guard w.distance == 1 || group.phaseCount == 1, w.distance <= widestDilation else { return [] }
      let kind = counts[2] == 2 ? TZ_TOOM_2 : counts[2] == 3 ? TZ_TOOM_3 : TZ_TOOM_4
      return [ToomCookPlan(kind, tile: 4, taps: min(counts[2], 4), of: counts[2], w.distance, (h.order, w.order))]
    }
    guard counts[1] == counts[2], h.distance == 1, w.distance == 1 else { return [] }
    let squares = counts[1] == 3 ? [(TZ_TOOM_4X3, 4), (TZ_TOOM_2X3, 2)] : counts[1] == 2 ? [(TZ_TOOM_3X2, 3)] : []
    return squares.filter { squareTile == nil || squares.count == 1 || $0.1 == squareTile }.map {
      ToomCookPlan($0.0, tile: $0.1, taps: counts[2], of: counts[2], 1, (h.order, w.order))
    }
  }

  private init(
    _ kind: tz_toom, tile: Int, taps: Int, of count: Int, _ dilation: Int, _ tapOrder: (h: [Int], w: [Int])
  ) {
    (self.kind, self.tile, self.taps, self.dilation, self.tapOrder) = (kind, tile, taps, dilation, tapOrder)
    isSquare = Int(kind.rawValue) >= Int(TZ_TOOM_LINES)
    pieces = (count + taps - 1) / taps
    lastPieces = count / taps
    axisPoints = tile + taps - 1
    points = isSquare ? axisPoints * axisPoints : axisPoints
  }

  /// Larger ones leave too few tiles in a residue.
  private static let widestDilation = 16

  /// The distance of offsets that follow one another evenly, in ascending or descending order, and their ascending order.
  private static func progression(_ offsets: [Int]) -> (distance: Int, order: [Int])? {
    let order = offsets.indices.sorted { offsets[$0] < offsets[$1] }
    let sorted = order.map { offsets[$0] }
    guard sorted.count > 1 else { return (1, order) }
    let distance = sorted[1] - sorted[0]
    let isEven = zip(sorted, sorted.dropFirst()).allSatisfy { $1 - $0 == distance }
    return isEven && distance > 0 ? (distance, order) : nil
  }
}
