import CToeplitzKernels
import ToeplitzTensor

/// How a row group's work is cut: tiles of columns, parts of rows, and items for the threads.
///
/// The choice is by estimated cost, never by trial, so the same sizes always give the same cut (and the cut never
/// changes a result). The estimate adds, for one convolution group of one sample,
///
/// - arithmetic: multiply-adds over whole vectors, so that columns wasted at tile ends count;
/// - weights, which every tile reads again from the shared cache, or from memory if they are larger than it;
/// - packing, which every part of the rows does again for its tiles;
///
/// and multiplies by how unevenly the items fall on the threads. docs/performance.md gives the constants.
struct ConvolutionSchedule {
  let tiling: ConvolutionTiling
  /// Parts into which the row blocks are cut.
  let splits: Int

  /// Partial sums of one item should fit the second-level cache beside weights and panel.
  private static let partialBudget = 256 * 1024
  /// Panels of one item likewise.
  private static let panelBudget = 384 * 1024
  /// Offsets inside a channel of a panel are 32-bit numbers.
  private static let widestWindow = 0x1p29
  /// Nanoseconds for a vector multiply-add, and for a byte of weights from cache or memory, and of panel.
  private static let vectorTime = 0.13
  private static let cachedWeightTime = 0.04
  private static let weightTime = 0.09
  private static let panelTime = 0.06
  private static let cacheSize = 8 << 20

  init(
    stencil: ConvolutionStencil, group: RowGroup, section: PackedWeights.Section, outputSize: [Int], pairs: Int,
    threads: Int, table: tz_conv_table, elementSize: Int, name: String
  ) throws {
    let grid = PositionGrid(stencil: stencil, group: group, outputSize: outputSize)
    // Also bounds the products below.
    let window = grid.span.reduce(Double(grid.phaseCount)) { $0 * (Double($1) + 1) }
    guard window < Self.widestWindow else {
      throw ToeplitzError(
        .memory, name, expected: "taps that lie within \(Int(Self.widestWindow)) positions of each other",
        got: "a window of \(window) positions")
    }
    let chunk = ConvolutionTiling.vectors(section.blockRows, table) * Int(table.lanes)
    let estimate = Estimate(
      grid: grid, chunk: chunk, lanes: Int(table.lanes), blocks: section.blocks, blockRows: section.blockRows,
      channels: stencil.channels, taps: group.tapCount, pairs: pairs, threads: threads, elementSize: elementSize)
    var best: (cost: Double, columns: Int, splits: Int) = (.infinity, chunk, 1)
    var splits = 1
    while splits <= section.blocks {
      let most = estimate.mostColumns(splits: splits)
      // The largest tiles that the caches allow, and smaller ones that give every thread some.
      for tiles in [1, 2 * threads, 4 * threads, 8 * threads] {
        let wanted = (grid.total + tiles - 1) / tiles
        let columns = max(chunk, min(most, wanted))
        let cost = estimate.cost(columns: columns, splits: splits)
        if cost < best.cost * 0.999 { best = (cost, columns, splits) }
        if most <= wanted && tiles > 1 { continue }
      }
      splits *= 2
    }
    self.splits = best.splits
    tiling = try ConvolutionTiling(
      stencil: stencil, group: group, positions: grid, blockRows: section.blockRows, columns: best.columns,
      table: table, elementSize: elementSize, name: name)
  }

  private struct Estimate {
    let grid: PositionGrid
    let chunk: Int
    let lanes: Int
    let blocks: Int
    let blockRows: Int
    let channels: Int
    let taps: Int
    let pairs: Int
    let threads: Int
    let elementSize: Int

    func mostColumns(splits: Int) -> Int {
      let own = (blocks + splits - 1) / splits
      let sums = max(1, partialBudget / (own * blockRows * chunk * elementSize)) * chunk
      let panel = panelBudget / (elementSize * min(channels, 64) * grid.phaseCount * (grid.span[0] + 1))
      return max(chunk, min(sums, panel))
    }

    /// Estimated nanoseconds for all of the work on all threads.
    func cost(columns: Int, splits: Int) -> Double {
      let (height, width) = grid.tileSize(columns: columns, chunk: chunk)
      let tilesHigh = (grid.count[1] + height - 1) / height
      let tilesWide = (grid.count[2] + width - 1) / width
      let tiles = grid.count[0] * tilesHigh * tilesWide
      let rowWidth = height > 1 ? width + grid.span[2] : width
      let lastWidth = height > 1 ? width : grid.count[2] - (tilesWide - 1) * width
      func vectors(_ columns: Int) -> Int { (columns + lanes - 1) / lanes }
      // All tiles are alike but the last of each row of tiles.
      let inner = vectors((height - 1) * rowWidth + width)
      let edge = height > 1 ? inner : vectors(lastWidth)
      let total = grid.count[0] * tilesHigh * ((tilesWide - 1) * inner + edge)
      let arithmetic = Double(total) * Double(blocks * blockRows) * Double(channels * taps) * vectorTime
      let weights = Double(blocks * blockRows) * Double(channels * taps * elementSize)
      let streaming = weights * Double(tiles) * (weights > Double(cacheSize) ? weightTime : cachedWeightTime)
      // In floating point: with taps far apart the product of all sizes could exceed 64 bits.
      let area = Double(grid.span[0] + 1) * Double(height + grid.span[1]) * Double(width + grid.span[2])
      let panel = Double(channels * grid.phaseCount * elementSize) * area
      let packing = panel * Double(tiles * splits) * panelTime
      let items = pairs * tiles * splits
      let rounds = (items + threads - 1) / threads
      // A few items more than threads lets a slow thread fall behind without stopping the others.
      let uneven = Double(rounds * threads) / Double(items) * (items < 3 * threads ? 1.05 : 1)
      return (arithmetic + streaming + packing) * uneven
    }
  }
}
