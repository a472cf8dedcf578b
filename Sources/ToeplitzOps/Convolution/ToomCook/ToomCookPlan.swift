import CToeplitzKernels
import ToeplitzTensor

/// How the outputs of one row group come from fewer multiplications (see ``Numerics/fast``).
///
/// Four outputs of a correlation with r taps need r + 3 products of transformed inputs and taps instead of 4 r (Toom and
/// Cook; in two dimensions, Winograd). For every one of these *points* the products are a convolution over tiles of four
/// outputs, which the direct kernels compute:
///
/// - taps of one axis, any number K > 4 in pieces of four: piece j reads the transformed inputs j tiles further on;
/// - dilation d: the outputs `d q + ρ` of each residue ρ are a correlation of their own;
/// - 3×3 taps: the transform on both axes, 36 points.
struct ToomCookPlan {
  /// The transform.
  let kind: tz_toom
  /// Taps that one transform takes.
  let taps: Int
  /// Transforms that lie behind one another on the w axis.
  let pieces: Int
  /// Distance of neighbouring taps on the w axis.
  let dilation: Int
  /// Products of a tile, on one axis and altogether.
  let axisPoints: Int
  let points: Int
  /// Taps of the w axis in order of ascending offset: the indices of the group's taps.
  let tapOrder: [Int]

  /// Whether it is used wherever it can be, whatever the estimate says (for tests).
  @TaskLocal static var always = false

  var isSquare: Bool { kind == TZ_TOOM_SQUARE }
  /// Rows of a tile on the h axis.
  var tileRows: Int { isSquare ? 4 : 1 }
  /// Outputs that four times a column covers on the w axis.
  var tileColumns: Int { 4 * dilation }

  /// The plan for a group, or nil where none applies.
  init?(stencil: ConvolutionStencil, group: RowGroup) {
    guard stencil.step == [1, 1, 1], stencil.channels >= 4, stencil.outputs * group.phaseCount >= 8 else { return nil }
    let counts = group.axes.map(\.offsets.count)
    guard counts[0] == 1, counts[2] >= 2, let w = Self.progression(group.axes[2].offsets) else { return nil }
    dilation = w.distance
    tapOrder = w.order
    if counts[1] == 3 {
      guard counts[2] == 3, dilation == 1, group.phaseCount == 1, let h = Self.progression(group.axes[1].offsets),
        h.distance == 1, h.order == [0, 1, 2], w.order == [0, 1, 2]
      else { return nil }
      kind = TZ_TOOM_SQUARE
    } else {
      guard counts[1] == 1, dilation == 1 || group.phaseCount == 1, dilation <= Self.widestDilation else { return nil }
      kind = counts[2] == 2 ? TZ_TOOM_2 : counts[2] == 3 ? TZ_TOOM_3 : TZ_TOOM_4
    }
    taps = kind == TZ_TOOM_2 ? 2 : kind == TZ_TOOM_4 ? 4 : 3
    pieces = (counts[2] + taps - 1) / taps
    axisPoints = taps + 3
    points = kind == TZ_TOOM_SQUARE ? axisPoints * axisPoints : axisPoints
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
