import CToeplitzKernels

/// How the tiles of a ``ToomCookPlan`` are cut into units of work, and what that is estimated to cost.
///
/// A unit transforms the inputs of some tiles for all channels, multiplies point by point, and transforms back. The
/// estimate is in the nanoseconds of ``ConvolutionSchedule``, with which it is compared.
struct ToomCookSchedule {
  let plan: ToomCookPlan
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
  /// Columns that kernels compute: whole vectors.
  let columns: Int
  /// Estimated nanoseconds.
  let cost: Double

  /// Units of one sample and convolution group, row blocks not split.
  var units: Int { positions.count[0] * unitsHigh * unitsWide }

  /// Nanoseconds for a value of a point: to pack and transform inputs, and to transform outputs back and store them.
  private static let inputTime = 0.45
  private static let outputTime = 0.35
  /// Bytes of transformed values that stay in the second-level cache, and nanoseconds for a byte that does not.
  private static let cachedBytes = 768.0 * 1024
  private static let spillTime = 0.06
  /// Most bytes of transformed values of a unit.
  private static let mostBytes = 8.0 * 1024 * 1024

  /// The cheapest cut, or nil if units would be too large.
  init?(
    _ plan: ToomCookPlan, stencil: ConvolutionStencil, group: RowGroup, outputSize: SIMD3<Int>, pairs: Int,
    threads: Int,
    table: UnsafePointer<tz_conv_table>
  ) {
    let positions = PositionGrid(stencil: stencil, group: group, outputSize: outputSize)
    let rows = stencil.outputs * group.phaseCount
    let blocks = (rows + ToomCookWeights.blockRows - 1) / ToomCookWeights.blockRows
    let chunk = Int(table.pointee.max_vectors8 * table.pointee.lanes)
    var best: ToomCookSchedule?
    var splits = 1
    while splits <= blocks {
      for chunks in [1, 2, 3, 4, 6, 8, 12] {
        let next = ToomCookSchedule(
          plan, positions, wanted: chunks * chunk, splits: splits, pairs: pairs, threads: threads, blocks: blocks,
          channels: stencil.channels, lanes: Int(table.pointee.lanes), chunk: chunk)
        if next.cost < (best?.cost ?? .infinity) { best = next }
      }
      splits *= 2
    }
    guard let best else { return nil }
    self = best
  }

  private init(
    _ plan: ToomCookPlan, _ positions: PositionGrid, wanted: Int, splits: Int, pairs: Int, threads: Int, blocks: Int,
    channels: Int, lanes: Int, chunk: Int
  ) {
    func divide(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
    self.plan = plan
    self.positions = positions
    self.splits = splits
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
    columns = divide(used, lanes) * lanes
    let units = Double(positions.count[0] * unitsHigh * unitsWide)
    let points = Double(plan.points)
    let rows = Double(blocks * ToomCookWeights.blockRows)
    let taps = Double(channels * plan.pieces)
    let products = points * Double(columns / lanes) * rows * taps * CostEstimate.vectorTime
    let weightBytes = points * rows * taps * 4
    let reading = weightBytes * CostEstimate.weightTime(bytes: weightBytes)
    let input = points * Double(channels * columns) * Self.inputTime * Double(splits)
    let output = points * rows * Double(columns) * Self.outputTime
    let calls = points * Double(divide(columns, chunk) * blocks) * CostEstimate.callTime
    let bytes = points * (Double(channels) + rows / Double(splits)) * Double(columns) * 4
    let spill = bytes > Self.cachedBytes ? bytes * Double(splits) * Self.spillTime : 0
    let items = Double(pairs * splits) * units
    let uneven = (items / Double(threads)).rounded(.up) * Double(threads) / items
    let one = products + reading + input + output + calls + spill
    cost = bytes > Self.mostBytes ? .infinity : one * units * uneven * (items < Double(3 * threads) ? 1.05 : 1)
  }
}
