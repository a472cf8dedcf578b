import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// One of the two convolutions of a residual unit as the narrow kernels see it: rows by columns of a panel whose
/// channels hold neighbouring positions.
struct ResidualStage {
  let layout: PackedLayout
  let section: PackedLayout.Section
  let channels: Int
  let taps: Int
  /// For each tap, how far above the lowest it lies, and the distance from the lowest to the highest.
  let tapOffsets: [Int32]
  let span: Int
  /// How far the taps of each three lie apart, if all threes are alike; 0 if not.
  let tapSpacing: Int
  /// Input position of the lowest tap for output 0.
  let lowest: Int
  /// Parts into which the channels are cut, so that the window of a kernel call stays in the first-level cache.
  let channelBlocks: Int
  let chunking: ColumnChunking
  let elementSize: Int

  /// - Parameter tiling: of the only row group, for about as many columns as a tile has.
  init(_ packed: PackedWeights, _ tiling: ConvolutionTiling, span: Int, elementSize: Int) throws {
    let stencil = packed.stencil
    layout = try packed.layout(.narrow)
    section = layout.sections[0][0]
    channels = stencil.channels
    taps = stencil.rowGroups[0].tapCount
    tapOffsets = tiling.tapOffsets
    tapSpacing = tiling.tapSpacing
    self.span = span
    lowest = tiling.lowest[2]
    channelBlocks = (channels + tiling.channelBlock - 1) / tiling.channelBlock
    chunking = tiling.chunking
    self.elementSize = elementSize
  }

  /// The channels of a part.
  func channelRange(_ part: Int) -> Range<Int> {
    (part * channels / channelBlocks)..<((part + 1) * channels / channelBlocks)
  }

  /// Most channels of a part.
  var mostChannels: Int { (channels + channelBlocks - 1) / channelBlocks }

  /// Bytes of partial sums for so many columns.
  func partialBytes(columns: Int) -> Int {
    (channelBlocks > 1 ? section.blocks * columns : chunking.most) * section.blockRows * elementSize
  }

  /// Bytes of the kernel calls for so many columns.
  func pieceBytes(columns: Int) -> Int {
    ColumnChunking.pieceBytes(chunking.count(height: 1, width: columns, pitch: 0, cutsRows: false))
  }

  /// Whole vectors of so many columns.
  func roundedUp(_ columns: Int) -> Int { (columns + chunking.unit - 1) / chunking.unit * chunking.unit }

  /// Weights of some blocks together that stay in the second-level cache while the columns of a tile pass.
  private static let weightBudget = 128 * 1024

  /// Where the results of a pass go.
  struct Target {
    /// Column 0 of row 0, and bytes and elements from one row to the next.
    var y: UnsafeMutableRawPointer
    var rowStride: Int
    /// Added to the results; offsets as in `y`.
    var residual: (UnsafeRawPointer?, UnsafeRawPointer?) = (nil, nil)
    var scale = 1.0
    var slope = 1.0
    var ceiling: Double?
    /// Columns that may be written as whole vectors; those after them go through the store function.
    var wholeColumns: Int
  }

  /// Computes `columns` columns for the channels of one part, and finishes the sums if it is the last.
  ///
  /// - Parameters:
  ///   - panel: column 0 of the part's first channel.
  ///   - pitch: elements from one channel of the panel to the next.
  ///   - pieces: memory for kernel calls of so many columns.
  ///   - store: the whole output and the area of the columns, where ``Target/wholeColumns`` are not all.
  func run(
    part: Int, panel: UnsafeRawPointer, pitch: Int, columns: Int, partials: UnsafeMutableRawPointer,
    pieces memory: UnsafeMutableRawPointer, target: Target, table: UnsafePointer<tz_conv_table>,
    store: (output: UnsafePointer<tz_conv_output>, area: UnsafePointer<tz_conv_area>)?
  ) {
    let range = channelRange(part)
    let isLast = part == channelBlocks - 1
    let tapBytes = taps * section.blockRows * elementSize
    tapOffsets.withUnsafeBufferPointer { offsets in
      var tile = tz_conv_tile()
      tile.xs = pitch
      tile.toff = offsets.baseAddress
      tile.spacing = tapSpacing
      tile.w = layout.weightPointer(section) + range.lowerBound * tapBytes
      tile.start = layout.startPointer(section)
      tile.channels = Int32(range.count)
      tile.taps = Int32(taps)
      tile.continues = part > 0
      tile.ys = target.rowStride
      tile.scale = target.scale
      tile.slope = target.slope
      tile.bounded = target.ceiling != nil
      tile.ceiling = target.ceiling ?? 0
      tile.x = UnsafeRawPointer(panel)
      tile.acc = partials
      tile.y = target.y
      tile.residual = target.residual
      let blockSums = channelBlocks > 1 ? section.blockRows * elementSize : 0
      let pieces = chunking.pieces(width: columns, in: memory) { piece, _ in
        piece.output = isLast && piece.column + piece.count <= target.wholeColumns ? piece.column : -1
        // Sums of a piece: [block][row][column].
        piece.sums = piece.column * section.blocks * blockSums
        piece.block_sums = piece.count * blockSums
      }
      var sweep = tz_conv_sweep()
      sweep.block_rows = Int32(section.blockRows)
      sweep.rows = Int32(section.rows)
      sweep.element = elementSize
      sweep.block_weights = channels * tapBytes
      sweep.pieces = pieces.baseAddress
      sweep.piece_count = pieces.count
      sweep.out = isLast ? store?.output : nil
      sweep.area = store?.area
      let group = max(1, Self.weightBudget / (range.count * tapBytes))
      for first in stride(from: 0, to: section.blocks, by: group) {
        sweep.first_block = Int32(first)
        sweep.end_block = Int32(min(first + group, section.blocks))
        tz_conv_run(table, &tile, &sweep)
      }
    }
  }
}
