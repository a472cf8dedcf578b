import ToeplitzOps
import CToeplitzKernels

/// How the tiles of a ``ToomCookPlan`` are cut into units of work, and what that is estimated to cost.
///
/// A unit transforms the inputs of some tiles for all channels, multiplies point by point, and transforms back. The
/// estimate is in the nanoseconds of ``ConvolutionSchedule``, with which it is compared.
struct ToomCookSchedule {
  let plan: ToomCookPlan
  /// The kernels of the products.
  let kind: BlockKind
  let positions: PositionGrid
  /// Tiles of a unit on h and w; on w for each residue of the dilation.
  let tilesHigh: Int
  let tilesWide: Int
  /// Units on h and w of one plane d.
  let unitsHigh: Int
  let unitsWide: Int
  /// Parts into which the row blocks are cut.
  let splits: Int
  /// Columns from one residue to the next.
  let residueColumns: Int
  /// Columns that kernels compute: whole vectors for narrow ones.
  let columns: Int
  /// Estimated nanoseconds.
  let cost: Double

  /// Units of one sample and convolution group, row blocks not split.
  var units: Int { positions.count[0] * unitsHigh * unitsWide }

  /// Nanoseconds for a value of a point: to pack and transform inputs, and to transform outputs back and store them;
  /// then the same for squares.
  private static let inputTime = 0.2
  private static let outputTime = 0.2
  private static let squareInputTime = 0.2
  private static let squareOutputTime = 0.3
  /// Nanoseconds for packing a channel of a unit, and for storing a row whose residues lie apart, besides their values.
  private static let rowTime = 150.0
  /// Bytes of transformed values that stay in the second-level cache, and nanoseconds for a byte that does not.
  private static let cachedBytes = 768.0 * 1024
  private static let spillTime = 0.06
  /// Most bytes of transformed values of a unit.
  private static let mostBytes = 8.0 * 1024 * 1024

  /// The cheapest cut of the plan that costs least for a single thread and sample, or nil if there is none.
  static func best(
    stencil: ConvolutionStencil, group: RowGroup, outputSize: SIMD3<Int>, table: UnsafePointer<tz_conv_table>
  ) -> ToomCookSchedule? {
    ToomCookPlan.plans(stencil: stencil, group: group).compactMap {
      ToomCookSchedule(
        $0, stencil: stencil, group: group, outputSize: outputSize, pairs: 1, threads: 1, table: table)
    }.min { $0.cost < $1.cost }
  }

  /// The cheapest cut, or nil if units would be too large or there are no outputs.
  init?(
    _ plan: ToomCookPlan, stencil: ConvolutionStencil, group: RowGroup, outputSize: SIMD3<Int>, pairs: Int,
    threads: Int, table: UnsafePointer<tz_conv_table>
  ) {
    let positions = PositionGrid(stencil: stencil, group: group, outputSize: outputSize)
    // Phases of a short output may have none.
    guard positions.count.allSatisfy({ $0 > 0 }) else { return nil }
    let rows = stencil.outputs * group.phaseCount
    var best: ToomCookSchedule?
    for kind in BlockKind.allCases where kind == .narrow || (plan.isSquare && rows >= 24) {
      let blockRows = ToomCookWeights.blockRows(kind)
      let blocks = (rows + blockRows - 1) / blockRows
      let chunking = ColumnChunking(kind, blockRows: blockRows, table: table)
      var splits = 1
      while splits <= blocks {
        for chunks in [1, 2, 3, 4, 6, 8, 12] {
          let next = ToomCookSchedule(
            plan, positions, wanted: chunks * chunking.most, splits: splits, pairs: pairs, threads: threads,
            blocks: blocks, blockRows: blockRows, channels: stencil.channels, chunking: chunking)
          if next.cost < (best?.cost ?? .infinity) { best = next }
        }
        splits *= 2
      }
    }
    guard let best else { return nil }
    self = best
  }

  private init(
    _ plan: ToomCookPlan, _ positions: PositionGrid, wanted: Int, splits: Int, pairs: Int, threads: Int, blocks: Int,
    blockRows: Int, channels: Int, chunking: ColumnChunking
  ) {
    func divide(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
    self.plan = plan
    self.positions = positions
    self.splits = splits
    kind = chunking.kind
    let high = divide(positions.count[1], plan.tileRows)
    let wide = divide(positions.count[2], plan.tileColumns)
    let residues = plan.dilation
    // Neighbouring residues are apart by the tiles that pieces read further on.
    let extra = plan.isSquare ? 0 : plan.pieces
    let mostWide = max(1, wanted / residues - (residues > 1 ? extra : 0))
    unitsWide = divide(wide, mostWide)
    tilesWide = divide(wide, unitsWide)
    let mostHigh = plan.isSquare && unitsWide == 1 ? max(1, wanted / tilesWide) : 1
    unitsHigh = divide(high, mostHigh)
    tilesHigh = divide(high, unitsHigh)
    residueColumns = plan.isSquare ? tilesWide : tilesWide + extra
    let used = plan.isSquare ? tilesHigh * tilesWide : residues * residueColumns - extra
    columns = divide(used, chunking.unit) * chunking.unit
    let units = Double(positions.count[0] * unitsHigh * unitsWide)
    let points = Double(plan.points)
    let rows = Double(blocks * blockRows)
    let steps = Double(channels * plan.steps)
    let calls = divide(columns, chunking.most)
    let stepTime = StepTime()
    let step =
      kind == .wide
      ? stepTime.wide(columns: Double(columns), blockRows: blockRows, calls: calls, lanes: chunking.lanes)
      : stepTime.narrow(
        vectors: columns / chunking.unit, blockRows: blockRows, calls: plan.isSquare ? calls : 0)
    let products = Double(blocks) * steps * step
    let weightBytes = rows * steps * 4
    let reading = weightBytes * CostEstimate.weightTime(bytes: weightBytes)
    let ends = plan.isSquare ? (Self.squareInputTime, Self.squareOutputTime) : (Self.inputTime, Self.outputTime)
    let input = points * Double(channels * columns) * ends.0 * Double(splits)
    let output = points * rows * Double(columns) * ends.1
    let calling = points * Double(calls * blocks) * CostEstimate.callTime
    let bytes = points * (Double(channels) + rows / Double(splits)) * Double(columns) * 4
    let spill = bytes > Self.cachedBytes ? bytes * Double(splits) * Self.spillTime : 0
    let items = Double(pairs * splits) * units
    let uneven = (items / Double(threads)).rounded(.up) * Double(threads) / items
    // Wide kernels fetch the next block's weights while they compute. Several units read all of them again, which would
    // seem to cost nothing.
    let multiplying = kind == .wide && units == 1 ? max(products, reading) : products + reading
    let beside = (Double(channels * splits) + (residues > 1 ? rows : 0)) * Self.rowTime
    let one = multiplying + input + output + calling + spill + beside
    cost =
      bytes > Self.mostBytes
      ? .infinity : one * units * uneven * (threads > 1 && items < Double(3 * threads) ? 1.05 : 1)
  }
}
