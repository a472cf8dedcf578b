import CToeplitzKernels
import ToeplitzOps
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
final class ConvolutionSchedule: Sendable {
  /// The kernels to use.
  let kind: BlockKind
  let tiling: ConvolutionTiling
  /// Parts into which the row blocks are cut.
  let splits: Int
  /// Estimated nanoseconds.
  let cost: Double
  /// Whether panels may be the input itself.
  let readsInPlace: Bool

  /// Offsets inside a channel of a panel are 32-bit numbers.
  private static let widestWindow = 0x1p29
  /// Widest rows that are copied for each tap.
  private static let widestSpread = 64

  init(
    stencil: ConvolutionStencil, group: RowGroup, outputSize: SIMD3<Int>, samples: Int, threads: Int,
    table: UnsafePointer<tz_conv_table>, elementSize: Int, wideWeightSize: Int,
    mostBands: Int? = nil, skipped inputSize: SIMD3<Int>? = nil, name: String,
    readsInPlace: (PositionGrid) -> Bool
  ) throws {
    let rows = stencil.outputs * group.phaseCount
    var best: (cost: Double, kind: BlockKind, layout: RowLayout, grid: PositionGrid, columns: Int, splits: Int)?
    let preferred = RowLayout.preferred
    // Only rows of images have neighbours and others above them.
    var isImage = true
    for layout in RowLayout.allCases where layout == .joined || isImage {
      let grid = PositionGrid(stencil: stencil, group: group, outputSize: outputSize, isSpread: layout == .spread)
      // Also bounds the products below.
      let window = grid.span.reduce(Double(grid.phaseCount)) { $0 * (Double($1) + 1) }
      guard window < Self.widestWindow else {
        throw ToeplitzError(
          .memory, name, expected: "taps that lie within \(Int(Self.widestWindow)) positions of each other",
          got: "a window of \(window) positions")
      }
      isImage = grid.count[1] > 1
      // Only in small ones the columns between them are many.
      if layout == .spread, grid.count[2] > Self.widestSpread || group.axes[2].offsets.count == 1 { continue }
      let inside = layout == .single ? inputSize.map { grid.inside(stencil, group, inputSize: $0) } : nil
      if layout == .single, inside.map({ $0.rows == 1 && $0.columns == 0 }) ?? true { continue }
      let packs = !readsInPlace(grid)
      for kind in BlockKind.allCases where kind == .narrow ? layout != .single : rows >= 24 {
        let estimate = CostEstimate(
          grid: grid, kind: kind, rows: rows, channels: stencil.channels, taps: group.tapCount, samples: samples,
          pairs: samples * stencil.groups,
          threads: threads, elementSize: elementSize, weightSize: kind == .wide ? wideWeightSize : elementSize,
          table: table, packs: packs, inside: inside)
        var splits = 1
        // What is computed for a tile should not be computed for several parts of the rows.
        let mostSplits = mostBands == nil ? estimate.blocks : 1
        while splits <= mostSplits {
          // The largest tiles that the caches allow, and smaller ones that give every thread some.
          let most = estimate.mostColumns(splits: splits)
          for tiles in [1, threads, 2 * threads, 4 * threads, 8 * threads] {
            // As many tiles for each thread.
            let least = (grid.columns + most - 1) / most
            let wanted = max(tiles, least <= 1 ? 1 : (least + threads - 1) / threads * threads)
            let count = mostBands.map { least <= $0 ? min(wanted, $0) : wanted } ?? wanted
            let columns = max(estimate.chunking.most, (grid.columns + count - 1) / count)
            // Taps of parts of rows would differ from tile to tile.
            if layout == .single, grid.tileSize(columns: columns, chunking: estimate.chunking).width < grid.count[2] {
              continue
            }
            let cost = estimate.cost(columns: columns, splits: splits) * (layout == preferred ? 1e-9 : 1)
            if best.map({ cost < $0.cost * 0.999 }) ?? true {
              best = (cost, kind, layout, grid, columns, splits)
            }
          }
          splits *= 2
        }
      }
    }
    guard let best else { throw ToeplitzError(.memory, name, expected: "a way to cut the work", got: "none") }
    kind = best.kind
    splits = best.splits
    cost = best.cost
    self.readsInPlace = readsInPlace(best.grid)
    let chunking = ColumnChunking(kind, blockRows: kind.blockRows(rows), table: table)
    tiling = try ConvolutionTiling(
      stencil: stencil, group: group, positions: best.grid, chunking: chunking, columns: best.columns,
      elementSize: elementSize, skipped: best.layout == .single ? inputSize : nil, name: name)
  }
}

/// How the rows of a tile are computed: together with the columns between them; together, without such columns, since each
/// tap has a copy of the rows; or one after the other, without the taps that lie in the padding.
enum RowLayout: CaseIterable, Sendable {
  case joined, spread, single

  /// The one to use wherever it can be, whatever the estimate says (for tests).
  @TaskLocal static var preferred: RowLayout?
}

/// The estimated time of one way to cut the work.
struct CostEstimate {
  let grid: PositionGrid
  let kind: BlockKind
  let chunking: ColumnChunking
  let blocks: Int
  let blockRows: Int
  let lanes: Int
  let channels: Int
  let taps: Int
  let samples: Int
  let pairs: Int
  let threads: Int
  private let stepTime = StepTime()
  let elementSize: Int
  /// Bytes of a weight.
  let weightSize: Int
  /// Whether panels are packed, not the input itself.
  let packs: Bool
  /// Where rows are computed one after the other, what is left of the arithmetic without the padding.
  let inside: (rows: Double, columns: Double)?

  /// Partial sums of one item should fit the second-level cache beside weights and panel.
  private static let partialBudget = 256 * 1024
  /// Panels of one item likewise.
  private static let panelBudget = 384 * 1024
  /// Panels that all blocks read from the first-level cache.
  private static let lightPanelBudget = 24 * 1024
  /// Nanoseconds for a byte of weights from cache or memory, for a byte of panel, and for an element of a wide block's sums
  /// turned round for the store.
  private static let cachedWeightTime = 0.03
  private static let memoryWeightTime = 0.09
  private static let panelTime = 0.06
  private static let turnTime = 0.3
  /// Nanoseconds for a kernel call besides its arithmetic.
  static let callTime = 12.0
  private static let cacheSize = 8 << 20
  /// Nanoseconds for a byte that another core has in its cache.
  private static let remoteTime = 0.12
  /// Bytes that come near in vain past the end of a tile's part of a row: prefetching does not know where it ends.
  private static let borderBytes = 2048.0

  /// Nanoseconds for a byte of weights of which there are so many.
  static func weightTime(bytes: Double) -> Double { bytes > Double(cacheSize) ? memoryWeightTime : cachedWeightTime }

  init(
    grid: PositionGrid, kind: BlockKind, rows: Int, channels: Int, taps: Int, samples: Int, pairs: Int, threads: Int,
    elementSize: Int, weightSize: Int, table: UnsafePointer<tz_conv_table>, packs: Bool,
    inside: (rows: Double, columns: Double)? = nil
  ) {
    self.grid = grid
    self.inside = inside
    self.packs = packs
    self.kind = kind
    blockRows = kind.blockRows(rows)
    blocks = (rows + blockRows - 1) / blockRows
    chunking = ColumnChunking(kind, blockRows: blockRows, table: table)
    lanes = Int(table.pointee.lanes)
    self.channels = channels
    self.taps = taps
    self.samples = samples
    self.pairs = pairs
    self.threads = threads
    self.elementSize = elementSize
    self.weightSize = weightSize
  }

  /// Columns of a tile whose sums and panel fit the caches.
  func mostColumns(splits: Int) -> Int {
    let own = (blocks + splits - 1) / splits
    let chunk = chunking.most
    var sums = max(1, Self.partialBudget / (own * blockRows * chunk * elementSize)) * chunk
    let column = elementSize * min(channels, 64) * grid.phaseCount * (grid.span[0] + 1)
    // There are no partial sums then, and long rows are written faster.
    if Self.isLight(steps: channels * taps) { sums = max(sums, Self.lightPanelBudget / column) }
    return max(chunk, min(sums, Self.panelBudget / column))
  }

  /// Whether a kernel call has so few channels and taps that writing its outputs takes longer than the products.
  static func isLight(steps: Int) -> Bool { steps < Int(TZ_LIGHT_STEPS) }

  /// How many kernel calls one tile takes in one pass over its channels, and their nanoseconds for each channel and tap.
  private func tileTime(height: Int, width: Int, pitch: Int) -> (calls: Int, step: Double) {
    let cutsRows =
      inside != nil || chunking.cutsRows(height: height, width: width, pitch: pitch, steps: channels * taps)
    let calls = chunking.count(height: height, width: width, pitch: pitch, cutsRows: cutsRows)
    switch kind {
    case .narrow:
      let vectors =
        cutsRows ? height * ((width + lanes - 1) / lanes) : ((height - 1) * pitch + width + lanes - 1) / lanes
      return (calls, stepTime.narrow(vectors: vectors, blockRows: blockRows, calls: calls))
    case .wide:
      var columns = Double(cutsRows ? height * width : (height - 1) * pitch + width)
      if let inside { columns -= Double(height) * inside.columns }
      let step = stepTime.wide(columns: columns, blockRows: blockRows, calls: calls, lanes: lanes)
      return (calls, step * (inside?.rows ?? 1))
    }
  }

  /// Estimated nanoseconds for all of the work on all threads.
  func cost(columns: Int, splits: Int) -> Double {
    let (height, width) = grid.tileSize(columns: columns, chunking: chunking)
    let tilesHigh = (grid.count[1] + height - 1) / height
    let tilesWide = (grid.count[2] + width - 1) / width
    let tiles = grid.count[0] * tilesHigh * tilesWide
    let pitch = height > 1 ? width + grid.span[2] : width
    let lastWidth = height > 1 ? width : grid.count[2] - (tilesWide - 1) * width
    // All tiles are alike but the last of each row of tiles.
    let inner = tileTime(height: height, width: max(1, min(width, grid.count[2])), pitch: pitch)
    let edge = tileTime(height: height, width: lastWidth, pitch: pitch)
    let rows = Double(grid.count[0] * tilesHigh)
    func sum(_ inner: Double, _ edge: Double) -> Double {
      rows * (Double(tilesWide - 1) * inner + edge) * Double(blocks)
    }
    let step = sum(inner.step, edge.step)
    let calls = sum(Double(inner.calls), Double(edge.calls))
    let arithmetic = step * Double(channels * taps)
    let turning = kind == .wide ? Double(grid.total * blocks * blockRows) * Self.turnTime : 0
    let weights = Double(blocks * blockRows) * Double(channels * taps * weightSize)
    let streaming = weights * Double(tiles) * Self.weightTime(bytes: weights)
    let panel = Double(
      channels * grid.phaseCount * (grid.span[0] + 1) * (height + grid.span[1]) * (width + grid.span[2]) * elementSize)
    let packing = !packs ? 0 : panel * Double(tiles * splits) * Self.panelTime
    let items = pairs * tiles * splits
    let rounds = (items + threads - 1) / threads
    // Parts of the rows may differ by a block, which shows where a thread has few of them.
    let part = Double(blocks) / Double(splits)
    let longest = Double(rounds - 1) * part + part.rounded(.up)
    // A few items more than threads lets a slow thread fall behind without stopping the others.
    var uneven = longest * Double(threads) / (part * Double(items)) * (threads > 1 && items < 3 * threads ? 1.05 : 1)
    // The whole tiles take longest; where there are few nothing makes up for that.
    if tilesWide <= 2 * threads {
      uneven *= Double(tilesWide) * inner.step * rows * Double(blocks) / max(step, .leastNormalMagnitude)
    }
    return (arithmetic + turning + streaming + packing + calls * Self.callTime) * uneven + distance(tiles: tiles)
      + borders(tiles: tiles)
  }

  /// Nanoseconds that threads take lines from each other at the borders of tiles, where there is little else to do.
  private func borders(tiles: Int) -> Double {
    guard threads > 1, Self.isLight(steps: channels * taps) else { return 0 }
    return Double(blocks * blockRows * (tiles - 1)) * Self.borderBytes * Self.remoteTime
  }

  /// Nanoseconds for getting values from other threads' caches.
  ///
  /// Operations share their positions among the threads alike, so that what a thread wrote is what it reads next. Where the
  /// threads take rows instead, each reads all of the input, and writes what others will read.
  private func distance(tiles: Int) -> Double {
    guard samples * tiles < threads else { return 0 }
    let bytes = Double(grid.total) * Double(channels + blocks * blockRows) * Double(elementSize)
    return bytes * (1 - Double(samples * tiles) / Double(threads)) * Self.remoteTime
  }
}
