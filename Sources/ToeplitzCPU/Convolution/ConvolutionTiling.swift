import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How one row group's output positions are cut into tiles, and what input panel a tile needs.
///
/// A tile is a range of rows h and columns w of one plane d, flattened: column `(h, w)` of the tile lies at
/// `h × pitch + w`, and tap t reads the panel at that column plus `tapOffset[t]`. Where a tile has several rows the
/// few columns between them are computed and dropped.
final class ConvolutionTiling: Sendable {
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
  /// How far the taps of each three that follow one another lie apart, if all threes are alike; 0 if not.
  let tapSpacing: Int
  /// Channels of a panel that are read together.
  let channelBlock: Int
  /// How kernel calls cut a tile's columns, and whether row by row.
  let chunking: ColumnChunking
  let cutsRows: Bool
  /// Which taps each call computes, where some lie in the padding and are left out.
  let padded: PaddedTaps?
  /// Tiles along h and w, and all of them.
  let tilesHigh: Int
  let tilesWide: Int
  let tiles: Int

  /// - Parameters:
  ///   - positions: what the row group's outputs are.
  ///   - columns: about how many columns a tile should have.
  ///   - skipped: if set, the size of the input, whose padding wide kernels leave out.
  /// - Throws: ``ToeplitzError`` of kind `memory` if the taps lie too far apart for a panel.
  init(
    stencil: ConvolutionStencil, group: RowGroup, positions: PositionGrid, chunking: ColumnChunking, columns: Int,
    elementSize: Int, skipped inputSize: SIMD3<Int>? = nil, name: String
  ) throws {
    self.chunking = chunking
    first = positions.first
    count = positions.count
    phases = positions.phases
    lowest = positions.lowest
    let span = positions.span
    (tileHeight, tileWidth) = positions.tileSize(columns: columns, chunking: chunking)
    tilesHigh = (count[1] + tileHeight - 1) / tileHeight
    tilesWide = (count[2] + tileWidth - 1) / tileWidth
    tiles = count[0] * tilesHigh * tilesWide
    let width = tileHeight > 1 ? tileWidth : (tileWidth + chunking.unit - 1) / chunking.unit * chunking.unit
    pitch = width + span[2]
    panelCount = [span[0] + 1, tileHeight + span[1], pitch]
    let channel = positions.phaseCount * panelCount[0] * panelCount[1] * pitch
    panelChannel = spreadPitch(channel, elementSize: elementSize)
    guard panelChannel < Int(Int32.max) / 2 else {
      throw ToeplitzError(
        .memory, name, expected: "taps that lie within \(Int32.max / 2) positions of each other",
        got: "a window of \(panelChannel) positions")
    }
    tapOffsets = Self.tapOffsets(positions, panelCount)
    tapSpacing = Self.spacing(tapOffsets)
    cutsRows =
      inputSize != nil
      || chunking.cutsRows(height: tileHeight, width: tileWidth, pitch: pitch, steps: stencil.channels * group.tapCount)
    padded = inputSize.flatMap { [tileWidth, pitch, tapOffsets] inputSize in
      let pieces = chunking.count(height: 1, width: tileWidth, pitch: pitch, cutsRows: true)
      return PaddedTaps(
        stencil: stencil, group: group, positions: positions, inputSize: inputSize, offsets: tapOffsets,
        rows: chunking.kind.blockRows(stencil.outputs * group.phaseCount),
        pieces: (0..<pieces).map {
          chunking.columns($0, of: pieces, height: 1, width: tileWidth, pitch: pitch, cutsRows: true)
        })
    }
    let calls = chunking.count(height: tileHeight, width: tileWidth, pitch: pitch, cutsRows: cutsRows)
    channelBlock =
      chunking.kind == .wide
      ? Self.wideChannelBlock(stencil.channels, group.tapCount, calls, elementSize)
      : Self.channelBlock(
        stencil: stencil, group: group, positions: positions, pitch: pitch, chunking: chunking,
        elementSize: elementSize)
  }

  /// Where each tap of a panel of the given sizes reads column 0.
  private static func tapOffsets(_ positions: PositionGrid, _ panel: [Int]) -> [Int32] {
    let (places, phases) = (positions.places, positions.phases)
    return places[0].flatMap { d in
      places[1].flatMap { h in
        places[2].map { w in
          let plane = (d.phase * panel[0] + d.whole) * phases[1].count + h.phase
          let row = (plane * phases[2].count + w.phase) * panel[1] + h.whole
          return Int32(row * panel[2] + w.whole)
        }
      }
    }
  }

  /// See ``tapSpacing``.
  private static func spacing(_ offsets: [Int32]) -> Int {
    guard offsets.count >= 3 else { return 0 }
    let step = offsets[1] - offsets[0]
    let isEven = stride(from: 0, to: offsets.count - 2, by: 3).allSatisfy {
      offsets[$0 + 1] - offsets[$0] == step && offsets[$0 + 2] - offsets[$0 + 1] == step
    }
    return isEven ? Int(step) : 0
  }

  /// The window of one kernel call should fit the first-level cache beside the weights that stream through it.
  private static func firstLevel(lanes: Int) -> Int { lanes >= 16 ? 24 * 1024 : 16 * 1024 }
  /// Multiply-adds of each sum in a kernel call at least.
  private static let fewestSteps = 96

  /// Channels whose window of one kernel call fits the first-level cache, without cutting the sum into pieces so
  /// small that saving and loading them shows.
  private static func channelBlock(
    stencil: ConvolutionStencil, group: RowGroup, positions: PositionGrid, pitch: Int, chunking: ColumnChunking,
    elementSize: Int
  ) -> Int {
    let chunk = chunking.most
    let span = positions.span
    let line = 64 / elementSize
    let taps = max(1, group.tapCount)
    // Rows that lie close together overlap in a window.
    let rows = min((span[1] + 1) * (chunk + min(span[2], chunk) + line), chunk + span[1] * pitch + span[2] + line)
    let planes = (span[0] + 1) * positions.phaseCount
    let window = min(planes * rows, taps * (chunk + line)) * elementSize
    let block = max(8, firstLevel(lanes: chunking.unit) / window, (fewestSteps + taps - 1) / taps)
    return block * 4 >= stencil.channels * 3 ? stencil.channels : block
  }

  /// Bytes of a wide block's weights that all kernel calls of a tile but the first should find in the cache: measured,
  /// 96 KiB from the second level beat 16 to 48 KiB from the first, whose sums are saved and loaded more often.
  private static let wideWeights = 96 * 1024

  /// Channels whose weights in one wide block stay below that; all where they are used only once.
  private static func wideChannelBlock(_ channels: Int, _ taps: Int, _ calls: Int, _ elementSize: Int) -> Int {
    guard calls > 1 else { return channels }
    let block = max(8, wideWeights / (max(1, taps) * 32 * elementSize))
    return block * 4 >= channels * 3 ? channels : block
  }
}

/// The distance at which rows of `count` elements do not fall on the same sets of the caches: an odd number of lines.
func spreadPitch(_ count: Int, elementSize: Int) -> Int {
  let line = 64 / elementSize
  return ((count + line - 1) / line | 1) * line
}

/// How the columns of a tile are cut for single kernel calls.
struct ColumnChunking: Sendable {
  let kind: BlockKind
  /// Columns that a kernel computes together at least: a vector, or one.
  let unit: Int
  /// Most columns of a kernel call.
  let most: Int
  /// Elements of a vector.
  let lanes: Int
  /// Whether there is a single row, as in depthwise convolutions.
  let isLight: Bool

  init(_ kind: BlockKind, blockRows: Int, table: UnsafePointer<tz_conv_table>) {
    self.kind = kind
    isLight = blockRows == 1
    lanes = Int(table.pointee.lanes)
    switch kind {
    case .narrow:
      unit = lanes
      let vectors =
        blockRows == 8
        ? table.pointee.max_vectors8 : blockRows == 4 ? table.pointee.max_vectors4 : table.pointee.max_vectors1
      most = Int(vectors) * unit
    case .wide:
      unit = 1
      most = 14
    }
  }

  /// Whether the rows of a tile are cut one by one, skipping the columns between them.
  ///
  /// Single columns need not be computed where they are dropped; but calls of very few columns keep the multipliers
  /// waiting for each other. Vectors that begin with a row are written by the kernel itself, which shows where it does
  /// little else.
  ///
  /// - Parameter steps: channels times taps.
  func cutsRows(height: Int, width: Int, pitch: Int, steps: Int) -> Bool {
    guard height > 1, pitch > width else { return false }
    let flat = (height - 1) * pitch + width
    if kind == .narrow {
      return steps < Self.fewSteps && height * ((width + unit - 1) / unit) <= (flat + unit - 1) / unit
    }
    let pieces = (width + most - 1) / most
    return height * pieces * max((width + pieces - 1) / pieces, 5) <= max(flat, 5)
  }

  /// A kernel call of fewer steps is not much longer than the store of its sums.
  private static let fewSteps = 192

  /// Kernel calls for a tile.
  func count(height: Int, width: Int, pitch: Int, cutsRows: Bool) -> Int {
    if cutsRows { return height * ((width + most - 1) / most) }
    return ((height - 1) * pitch + width + most - 1) / most
  }

  /// The columns of kernel call `index`, all about equally many; whole vectors, so the last may reach past the tile.
  @inline(__always)
  func columns(_ index: Int, of count: Int, height: Int, width: Int, pitch: Int, cutsRows: Bool) -> (
    first: Int, count: Int
  ) {
    if cutsRows {
      let pieces = count / height
      let (row, piece) = index.quotientAndRemainder(dividingBy: pieces)
      let units = (width + unit - 1) / unit
      let first = piece * units / pieces
      return (row * pitch + first * unit, ((piece + 1) * units / pieces - first) * unit)
    }
    let units = ((height - 1) * pitch + width + unit - 1) / unit
    let first = index * units / count
    return (first * unit, ((index + 1) * units / count - first) * unit)
  }

  /// The pieces that narrow kernels compute of some columns.
  ///
  /// - Parameters:
  ///   - memory: where they are written, of ``pieceBytes(_:)`` bytes.
  ///   - complete: fills in where outputs and sums of piece `index` go.
  func pieces(
    height: Int = 1, width: Int, pitch: Int = 0, cutsRows: Bool = false, in memory: UnsafeMutableRawPointer,
    complete: (_ piece: inout tz_conv_piece, _ index: Int) -> Void
  ) -> UnsafeBufferPointer<tz_conv_piece> {
    let count = count(height: height, width: width, pitch: pitch, cutsRows: cutsRows)
    let pieces = memory.bindMemory(to: tz_conv_piece.self, capacity: count)
    for index in 0..<count {
      let (column, columns) = columns(
        index, of: count, height: height, width: width, pitch: pitch, cutsRows: cutsRows)
      var piece = tz_conv_piece()
      piece.column = column
      piece.count = columns
      piece.vectors = Int32(columns / unit)
      complete(&piece, index)
      (pieces + index).initialize(to: piece)
    }
    return UnsafeBufferPointer(start: pieces, count: count)
  }

  /// Calls `body` with the pieces of a row of columns.
  func withPieces(
    width: Int, complete: (_ piece: inout tz_conv_piece, _ index: Int) -> Void,
    _ body: (_ pieces: UnsafeBufferPointer<tz_conv_piece>) -> Void
  ) {
    let bytes = Self.pieceBytes(count(height: 1, width: width, pitch: 0, cutsRows: false))
    withUnsafeTemporaryAllocation(byteCount: bytes, alignment: 64) { memory in
      guard let base = memory.baseAddress else { return }
      body(pieces(width: width, in: base, complete: complete))
    }
  }

  /// Bytes that so many pieces take, in lines of the cache.
  static func pieceBytes(_ count: Int) -> Int { (count * MemoryLayout<tz_conv_piece>.stride + 63) / 64 * 64 }
}

/// The output positions of a row group and the reach of its taps, before they are cut into tiles.
struct PositionGrid {
  /// First position and number of positions on d, h, w.
  let first: [Int]
  let count: [Int]
  /// Input phases that taps read, on d, h, w.
  let phases: [[Int]]
  /// Smallest whole-step offset of any tap, and the distance to the largest.
  let lowest: [Int]
  let span: [Int]
  /// For each axis and tap, its phase (an index into `phases`) and how many whole steps above the lowest it lies.
  let places: [[(phase: Int, whole: Int)]]

  /// For each axis, the input position that the lowest tap of the first position reads, in whole steps.
  var origin: [Int] { zip(first, lowest).map { $0 + $1 } }
  /// Input phases of all axes together.
  var phaseCount: Int { phases.reduce(1) { $0 * $1.count } }
  /// All positions.
  var total: Int { count[0] * count[1] * count[2] }
  /// Columns of tiles that hold all positions, those between the rows of images included.
  var columns: Int { count[0] * count[1] * (count[2] + (count[1] > 1 ? span[2] : 0)) }

  /// Positions whose output `m × outStep + phase − outShift` lies inside `outputSize`, for some phase.
  ///
  /// - Parameter isSpread: every tap of the w axis gets a phase, that is a copy of the row, of its own. Rows then hold no
  ///   columns for the neighbours of others, which in small images are many.
  init(stencil: ConvolutionStencil, group: RowGroup, outputSize: SIMD3<Int>, isSpread: Bool = false) {
    var first = [0, 0, 0]
    var count = [0, 0, 0]
    var phases: [[Int]] = []
    var lowest = [0, 0, 0]
    var span = [0, 0, 0]
    var places: [[(phase: Int, whole: Int)]] = []
    for axis in 0..<3 {
      let (step, shift) = (stencil.outStep[axis], stencil.outShift[axis])
      let own = group.axes[axis].phases
      first[axis] = ceilDivide(shift - (own.last ?? 0), step)
      count[axis] = max(0, floorDivide(outputSize[axis] - 1 + shift - (own.first ?? 0), step) + 1 - first[axis])
      let offsets = group.axes[axis].offsets
      let inputStep = stencil.step[axis]
      let wholes = offsets.map { isSpread && axis == 2 ? 0 : floorDivide($0, inputStep) }
      let parts = zip(offsets, wholes).map { $0 - $1 * inputStep }
      let used = parts.isEmpty ? [0] : Set(parts).sorted()
      phases.append(used)
      lowest[axis] = wholes.min() ?? 0
      span[axis] = (wholes.max() ?? 0) - lowest[axis]
      places.append(zip(parts, wholes).map { (used.firstIndex(of: $0) ?? 0, $1 - lowest[axis]) })
    }
    self.places = places
    (self.first, self.count, self.phases, self.lowest, self.span) = (first, count, phases, lowest, span)
  }

  /// Rows and columns of tiles of about `columns` columns, all about equally large.
  ///
  /// Where rows are short a tile takes several whole ones; else it is a piece of one row, whole vectors long, or whole
  /// kernel widths where there are many tiles. Threads then write to lines of the cache of their own.
  func tileSize(columns: Int, chunking: ColumnChunking) -> (height: Int, width: Int) {
    let chunk = chunking.most
    if count[1] > 1, count[2] <= columns || count[2] <= 4 * chunk {
      let width = max(1, count[2])
      let most = max(1, (columns + span[2]) / (width + span[2]))
      let tiles = max(1, (count[1] + most - 1) / most)
      let height = (max(1, count[1]) + tiles - 1) / tiles
      // One row more, where tiles then begin at lines of the cache and a row is little work.
      let isBetter = chunking.isLight && tiles > 1 && height * width % chunking.lanes != 0
      return (isBetter && (height + 1) * width % chunking.lanes == 0 ? height + 1 : height, width)
    }
    let tiles = max(1, (count[2] + columns - 1) / columns)
    let each = (count[2] + tiles - 1) / tiles
    var step = tiles >= 16 ? max(chunk, chunking.lanes) : chunking.lanes
    // Where that would leave the last tile much smaller, single columns are shared evenly.
    if chunking.unit == 1, (each + step - 1) / step * step * 20 > each * 21 { step = 1 }
    return (1, max(1, (each + step - 1) / step * step))
  }
}
