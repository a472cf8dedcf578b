import CToeplitzKernels
import ToeplitzTensor

/// How one row group's output positions are cut into tiles, and what input panel a tile needs.
///
/// A tile is a range of rows h and columns w of one plane d, flattened: column `(h, w)` of the tile lies at
/// `h × pitch + w`, and tap t reads the panel at that column plus `tapOffset[t]`. Where a tile has several rows the
/// few columns between them are computed and dropped.
struct ConvolutionTiling {
  /// First position and number of positions on d, h, w.
  let first: [Int]
  let count: [Int]
  /// Positions of a tile on h and w (a tile has one position on d).
  let tileHeight: Int
  let tileWidth: Int
  /// Columns between two rows of a tile.
  let pitch: Int
  /// Input phases that taps read, on d, h, w (one unless the convolution has a stride).
  let phases: [[Int]]
  /// Smallest whole-step offset of any tap, on d, h, w.
  let lowest: [Int]
  /// Panel positions of a tile, on d, h, w.
  let panelCount: [Int]
  /// Elements from one channel of a panel to the next.
  let panelChannel: Int
  /// For each tap, its place in the panel.
  let tapOffsets: [Int32]
  /// Channels of a panel that are read together.
  let channelBlock: Int
  /// Most vectors of a kernel call.
  let vectors: Int
  /// Elements of a vector.
  let lanes: Int

  var tilesHigh: Int { (count[1] + tileHeight - 1) / tileHeight }
  var tilesWide: Int { (count[2] + tileWidth - 1) / tileWidth }
  var tiles: Int { count[0] * tilesHigh * tilesWide }

  /// The budgets behind the blocking, in bytes.
  private static let firstLevel = 24 * 1024
  private static let secondLevel = 256 * 1024
  /// Offsets inside a channel of a panel are 32-bit numbers.
  private static let widestWindow = 0x1p29

  /// - Parameters:
  ///   - outputSize: output positions on d, h, w.
  ///   - blocks: row blocks of the section; a tile keeps partial sums for all of them.
  /// - Throws: ``ToeplitzError`` of kind `memory` if the taps lie too far apart for a panel.
  init(
    stencil: ConvolutionStencil, group: RowGroup, outputSize: [Int], blockRows: Int, blocks: Int,
    table: tz_conv_table, elementSize: Int, wantedTiles: Int, name: String
  ) throws {
    lanes = Int(table.lanes)
    vectors = Int(blockRows == 8 ? table.max_vectors8 : blockRows == 4 ? table.max_vectors4 : table.max_vectors1)
    // Positions whose output m * outStep + phase - outShift lies inside, for some phase.
    var first = [0, 0, 0]
    var count = [0, 0, 0]
    var phases: [[Int]] = []
    var lowest: [Int] = []
    var span: [Int] = []
    for axis in 0..<3 {
      let (step, shift) = (stencil.outStep[axis], stencil.outShift[axis])
      let own = group.axes[axis].phases
      first[axis] = ceilDivide(shift - (own.last ?? 0), step)
      count[axis] = max(0, floorDivide(outputSize[axis] - 1 + shift - (own.first ?? 0), step) + 1 - first[axis])
      let inputStep = stencil.step[axis]
      let wholes = group.axes[axis].offsets.map { floorDivide($0, inputStep) }
      let used = Set(group.axes[axis].offsets.map { $0 - floorDivide($0, inputStep) * inputStep })
      phases.append(used.isEmpty ? [0] : used.sorted())
      lowest.append(wholes.min() ?? 0)
      span.append((wholes.max() ?? 0) - (wholes.min() ?? 0))
    }
    self.first = first
    self.count = count
    self.phases = phases
    self.lowest = lowest
    let chunk = vectors * lanes
    let phaseCount = phases.reduce(1) { $0 * $1.count }
    // Also bounds all products below.
    let window = span.reduce(Double(phaseCount)) { $0 * (Double($1) + 1) }
    guard window < Self.widestWindow else {
      throw ToeplitzError(
        .memory, name, expected: "taps that lie within \(Int(Self.widestWindow)) positions of each other",
        got: "a window of \(window) positions")
    }
    // Columns of a tile: as many as keep the partial sums of all its blocks in the second-level cache, but no more
    // than leaves every thread some tiles.
    let budget = max(1, Self.secondLevel / (max(1, blocks) * blockRows * chunk * elementSize)) * chunk
    let rowPanel = max(1, Self.secondLevel / (elementSize * stencil.channels * phaseCount * (span[0] + 1)))
    let positions = count[0] * count[1] * count[2]
    let share = max(chunk, positions / max(1, wantedTiles))
    let columns = max(chunk, min(min(budget, rowPanel), share))
    if count[1] > 1, count[2] <= columns || count[2] <= 4 * chunk {
      tileWidth = max(1, count[2])
      tileHeight = min(count[1], max(1, columns / max(1, count[2] + span[2])))
    } else {
      tileHeight = 1
      // Whole kernel widths, evenly spread, so that no tile ends in a stump.
      let tiles = max(1, (count[2] + columns - 1) / columns)
      let each = (count[2] + tiles - 1) / tiles
      tileWidth = max(1, (each + chunk - 1) / chunk * chunk)
    }
    let width = tileHeight > 1 ? tileWidth : (tileWidth + lanes - 1) / lanes * lanes
    pitch = width + span[2]
    panelCount = [span[0] + 1, tileHeight + span[1], pitch]
    let channel = phaseCount * panelCount[0] * panelCount[1] * pitch
    // An odd number of cache lines between channels, so that they do not fall on the same cache sets.
    let line = 64 / elementSize
    let lines = (channel + line - 1) / line
    panelChannel = (lines % 2 == 0 ? lines + 1 : lines) * line
    guard panelChannel < Int(Int32.max) / 2 else {
      throw ToeplitzError(
        .memory, name, expected: "taps that lie within \(Int32.max / 2) positions of each other",
        got: "a window of \(panelChannel) positions")
    }
    tapOffsets = Self.tapOffsets(stencil, group, phases, lowest, panelCount)
    channelBlock = Self.channelBlock(
      stencil: stencil, group: group, phaseCount: phaseCount, span: span, chunk: chunk, elementSize: elementSize)
  }

  private static func tapOffsets(
    _ stencil: ConvolutionStencil, _ group: RowGroup, _ phases: [[Int]], _ lowest: [Int], _ panel: [Int]
  ) -> [Int32] {
    func place(_ axis: Int) -> [(phase: Int, whole: Int)] {
      group.axes[axis].offsets.map { offset in
        let whole = floorDivide(offset, stencil.step[axis])
        let phase = offset - whole * stencil.step[axis]
        return (phases[axis].firstIndex(of: phase) ?? 0, whole - lowest[axis])
      }
    }
    let (d, h, w) = (place(0), place(1), place(2))
    return d.flatMap { d in
      h.flatMap { h in
        w.map { w in
          let plane = (d.phase * panel[0] + d.whole) * phases[1].count + h.phase
          let row = (plane * phases[2].count + w.phase) * panel[1] + h.whole
          return Int32(row * panel[2] + w.whole)
        }
      }
    }
  }

  /// Channels whose window of one kernel call fits the first-level cache, without cutting the sum into pieces so
  /// small that saving and loading them shows.
  private static func channelBlock(
    stencil: ConvolutionStencil, group: RowGroup, phaseCount: Int, span: [Int], chunk: Int, elementSize: Int
  ) -> Int {
    let rows = (span[0] + 1) * (span[1] + 1) * phaseCount
    let window = min(rows, max(1, group.tapCount)) * (chunk + span[2] + 64 / elementSize) * elementSize
    var block = max(8, firstLevel / window)
    block = max(block, (96 + group.tapCount - 1) / max(1, group.tapCount))
    return block * 4 >= stencil.channels * 3 ? stencil.channels : block
  }
}
