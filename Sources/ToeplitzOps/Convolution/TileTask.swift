import CToeplitzKernels
import ToeplitzTensor

/// The work on one tile of a row group: pack the input panel, run the kernels over it, store the outputs.
///
/// An object, because the closures that threads call hold it.
final class TileTask {
  let engine: ConvolutionEngine
  let layout: PackedLayout
  let group: RowGroup
  let groupIndex: Int
  let tiling: ConvolutionTiling
  /// The blocks of a convolution group; those of all are alike.
  let section: PackedLayout.Section
  /// Into how many parts the row blocks are cut, and how many units that makes.
  let splits: Int
  let units: Int
  /// Whether panels are the input itself.
  private let readsInPlace: Bool
  // Copied out of the packed weights, an object, whose properties would be retained and released on each access.
  let stencil: ConvolutionStencil
  let tapCount: Int
  /// Parts into which the channels are cut.
  private let channelBlocks: Int
  private let blocks: Int
  private let blockRows: Int
  private let tapRows: Int
  private let partialBytes: Int
  private let panelBytes: Int
  /// Bytes from the panel of one part of the channels to the next one's, if all are kept; 0 if they take turns.
  private let partPitch: Int
  private let mostPartials: Int
  private let sumsPitch: Int
  private let sumsBytes: Int
  /// Kernels of weights in fewer bits, where these are.
  private let narrow: UnsafePointer<tz_narrow_table>?
  /// Whether rows are channels and positions neighbours, and whether a kernel may then write whole vectors to the output
  /// itself.
  private let isPlain: Bool
  private let storesDirectly: Bool
  /// Whether outputs of two rows take turns, which kernels can store themselves.
  private let zips: Bool
  /// Whether the rows of a tile follow one another without a gap, in the panel and in the output: they are one row.
  private let rowsFollow: Bool
  /// Elements between planes and rows of the output where a kernel may write to it.
  ///
  /// Numbers, since threads would fight for the reference counts of arrays.
  private let outputSteps: (plane: Int, row: Int)
  /// How far its first element lies behind position 0.
  private let outputOrigin: Int
  /// For each row of a channel its phase on d, h, w.
  private let rowPhases: [(Int32, Int32, Int32)]
  /// What computes images of one channel each from the input in place.
  private let images: ImageConvolution?
  /// What computes panels, where they are not packed.
  private let source: PanelSource?
  /// The taps of each kernel call, where those in the padding are left out.
  private let padded: PaddedTaps.Lists?

  /// - Parameters:
  ///   - splits: into how many parts the row blocks are cut at least.
  ///   - threads: how many threads share the units, which are cut smaller for them where that costs nothing.
  init(
    engine: ConvolutionEngine, layout: PackedLayout, group: RowGroup, groupIndex: Int, tiling: ConvolutionTiling,
    splits: Int, threads: Int, readsInPlace: Bool, source: PanelSource? = nil
  ) {
    self.source = source
    padded = tiling.padded.flatMap { layout.isFinite(engine.packed.type) ? $0.lists : nil }
    self.readsInPlace = readsInPlace
    self.engine = engine
    self.layout = layout
    self.group = group
    self.groupIndex = groupIndex
    self.tiling = tiling
    stencil = engine.packed.stencil
    tapCount = group.tapCount
    section = layout.sections[0][groupIndex]
    channelBlocks = (stencil.channels + tiling.channelBlock - 1) / tiling.channelBlock
    blocks = section.blocks
    blockRows = section.blockRows
    tapRows = tapCount * blockRows
    let chunk = tiling.chunking.most
    partialBytes = blockRows * chunk * engine.elementSize
    // Kernels read whole vectors, up to one past the last column.
    let elements = (stencil.channels + channelBlocks - 1) / channelBlocks * tiling.panelChannel + 2 * chunk
    let partBytes = (elements * engine.elementSize + 63) / 64 * 64
    let keeps = readsInPlace || source == nil && channelBlocks * partBytes <= Self.keptPanels
    let places = engine.batch * stencil.groups * tiling.tiles
    var splits = splits
    // A thread that goes on with a tile has its panels, so that smaller parts of the rows cost nothing. Not for wide blocks,
    // which one after the other read a panel from the first-level cache.
    if keeps, layout.kind == .narrow, threads > 1 {
      let passes = Self.passes(blocks, bytes: stencil.channels * tapRows * layout.weightSize / channelBlocks)
      splits = max(splits, min(passes, (Self.unitsForEachThread * threads + places - 1) / places))
    }
    self.splits = splits
    units = places * splits
    partPitch = keeps && units > threads && splits > 1 && !readsInPlace ? partBytes : 0
    panelBytes = partPitch > 0 ? channelBlocks * partBytes : partBytes
    let chunks = tiling.chunking.count(
      height: tiling.tileHeight, width: tiling.tileWidth, pitch: tiling.pitch, cutsRows: tiling.cutsRows)
    mostPartials = channelBlocks > 1 ? chunks * ((blocks + splits - 1) / splits + 1) : 1
    // Sums of a wide block, turned round for the store.
    sumsPitch = spreadPitch(tiling.tileHeight * tiling.pitch + Self.sumsSlack, elementSize: engine.elementSize)
    sumsBytes = layout.kind == .wide ? blockRows * sumsPitch * engine.elementSize : 0
    narrow = layout.storage == .full ? nil : tz_narrow_kernels(InstructionSet.current.code)
    isPlain = stencil.outStep == [1, 1, 1] && engine.output.spatial[2] == 1
    zips =
      stencil.outStep == [1, 1, 2] && engine.output.spatial[2] == 1 && layout.kind == .narrow && blockRows % 2 == 0
      && group.phaseCount == 2
    storesDirectly = (isPlain || zips) && engine.isComputedAsStored
    rowsFollow =
      isPlain && tiling.padded == nil && tiling.pitch == tiling.tileWidth && tiling.tileWidth == engine.output.size[2]
      && engine.output.spatial[1] == engine.output.size[2]
    outputSteps = (engine.output.spatial[0], engine.output.spatial[1])
    outputOrigin =
      stencil.outShift[0] * outputSteps.plane + stencil.outShift[1] * outputSteps.row + stencil.outShift[2]
    rowPhases = (0..<group.phaseCount).map { group.phase($0) }
    images = source == nil ? ImageConvolution(engine, group, layout, groupIndex: groupIndex) : nil
  }

  /// Panels of a tile that a thread keeps should fit the second-level cache beside the weights.
  private static let keptPanels = 768 * 1024
  /// So many let a slow thread fall behind without stopping the others.
  private static let unitsForEachThread = 8

  /// How many steps of a kernel, of 24 to 28 vector multiply-adds each, an input takes to come from another core.
  private static let farSteps = 16

  /// Columns that a wide kernel writes at most.
  private static let sumsSlack = 16

  /// Scratch memory that ``run(_:_:)`` needs.
  var scratchBytes: Int { ownBytes + (source?.scratchBytes ?? 0) }
  private var ownBytes: Int { panelBytes + sumsBytes + (mostPartials * partialBytes + 127) / 64 * 64 }

  /// Computes units of batch × tiles × groups × splits, counted in this order: threads share all operations by position, so
  /// that they find in their caches what they wrote.
  func run(_ work: ConvolutionEngine.Work) {
    rowPhases.withUnsafeBytes { phases in
      var output = engine.outputDescription(
        phases: phases.bindMemory(to: (Int32, Int32, Int32).self).baseAddress, count: rowPhases.count,
        wide: group.axes[2].phases.count)
      if isPlain, blockRows == 1, channelBlocks == 1, !readsInPlace, source == nil {
        if let images { runImages(work.units, images, &output) } else { runPlanes(work.units, work.memory, &output) }
      } else {
        for unit in work.units {
          run(unit, next: unit + 1 < work.units.upperBound ? unit + 1 : work.next, work.memory, &output)
        }
      }
    }
  }

  /// Tile number `tile`.
  ///
  /// - Parameter inImage: whether its rows lie as in an image, not as in a panel.
  func area(_ tile: Int, inImage: Bool = false) -> tz_conv_area {
    let h = tile / tiling.tilesWide % tiling.tilesHigh * tiling.tileHeight
    let w = tile % tiling.tilesWide * tiling.tileWidth
    let d = tile / tiling.tilesWide / tiling.tilesHigh
    var area = tz_conv_area(
      first: (tiling.first[0] + d, tiling.first[1] + h, tiling.first[2] + w),
      height: min(tiling.tileHeight, tiling.count[1] - h), width: min(tiling.tileWidth, tiling.count[2] - w),
      pitch: tiling.pitch)
    if rowsFollow, !inImage {
      area.width *= area.height
      area.height = 1
      area.pitch = area.width
    }
    return area
  }

  private func task(_ unit: Int) -> (UnitTask, tile: Int) {
    let (place, convolutionGroup) = (unit / splits).quotientAndRemainder(dividingBy: stencil.groups)
    let (sample, tile) = place.quotientAndRemainder(dividingBy: tiling.tiles)
    let split = unit % splits
    let task = UnitTask(
      area: area(tile), sample: sample, convolutionGroup: convolutionGroup,
      blocks: (split * blocks / splits)..<((split + 1) * blocks / splits))
    return (task, tile)
  }

  private func channels(_ part: Int) -> Range<Int> {
    (part * stencil.channels / channelBlocks)..<((part + 1) * stencil.channels / channelBlocks)
  }

  private func run(_ unit: Int, next: Int?, _ memory: UnsafeMutableRawPointer, _ output: inout tz_conv_output) {
    let isPacked = partPitch > 0 && ConvolutionEngine.exchangeHeld(memory, unit / splits)
    let (task, tile) = task(unit)
    let packs = source == nil && !readsInPlace
    let follower = next.map { self.task($0).0 }
    engine.move(&output, sample: task.sample, channel: task.convolutionGroup * stencil.outputs)
    for part in 0..<channelBlocks {
      let channels = channels(part)
      // What will be packed next: the other channels, or those of the next tile.
      var near = tz_near()
      let stays = partPitch > 0 && next.map { $0 / splits == unit / splits } ?? true
      if packs, part + 1 < channelBlocks {
        if !isPacked { near = nearPack(task, self.channels(part + 1)) }
      } else if packs, let follower, !stays {
        near = nearPack(follower, self.channels(0))
      }
      var panel = memory + part * partPitch
      if readsInPlace {
        let (input, first) = (engine.input, task.area.first)
        let channel = task.convolutionGroup * stencil.channels + channels.lowerBound
        let position = first.0 * input.spatial[0] + first.1 * input.spatial[1] + first.2
        panel = input.base + (task.sample * input.batch + channel * input.channel + position) * engine.elementSize
      } else if isPacked {
        // By this thread, for the unit before.
      } else if let source {
        source.fill(
          memory, channels, sample: task.sample, area(tile, inImage: true), distance: tiling.panelChannel,
          scratch: memory + ownBytes)
      } else {
        withPackRequest(task, channels, into: panel) { tz_conv_pack(engine.table, &$0) }
      }
      compute(task, &output, channels, panel: panel, near: near, partials: memory + panelBytes + sumsBytes)
    }
  }

  /// A tile and the blocks of rows to compute for it.
  struct UnitTask {
    var area: tz_conv_area
    var sample: Int
    var convolutionGroup: Int
    var blocks: Range<Int>
  }

  /// Runs the kernels of all blocks over all columns for some of the channels.
  ///
  /// The order of blocks and chunks keeps the weights in the second-level cache; where a block has so little arithmetic
  /// that writing the output dominates, each output row is written from end to end.
  private func compute(
    _ task: UnitTask, _ output: inout tz_conv_output, _ channels: Range<Int>, panel: UnsafeMutableRawPointer,
    near: tz_near, partials: UnsafeMutableRawPointer
  ) {
    let section = layout.sections[task.convolutionGroup][groupIndex]
    let area = task.area
    // Smaller tiles at the end are cut like the whole ones, for which memory has been counted.
    let cutsRows = tiling.cutsRows
    let chunks = tiling.chunking.count(
      height: area.height, width: area.width, pitch: tiling.pitch, cutsRows: cutsRows)
    let pass = KernelPass(
      weights: layout.weightPointer(section) + channels.lowerBound * tapRows * layout.weightSize,
      blockBytes: stencil.channels * tapRows * layout.weightSize,
      passBytes: channels.count * tapRows * layout.weightSize, scales: layout.scalePointer(section),
      starts: layout.startPointer(section), isLast: channels.upperBound == stencil.channels, rows: section.rows,
      panel: panel, partials: partials, chunks: chunks, cutsRows: cutsRows)
    withUnsafePointers(&output, area, tiling.tapOffsets) { output, area, offsets in
      var tile = tz_conv_tile()
      tile.xs = readsInPlace ? engine.input.channel : tiling.panelChannel
      tile.toff = offsets.baseAddress
      tile.spacing = tiling.tapSpacing
      tile.channels = Int32(channels.count)
      tile.taps = Int32(tapCount)
      tile.continues = channels.lowerBound > 0
      tile.ys = output.pointee.channel
      tile.residual = output.pointee.residual
      tile.scale = output.pointee.scale
      tile.slope = output.pointee.slope
      tile.bounded = output.pointee.bounded
      tile.ceiling = output.pointee.ceiling
      tile.completes = pass.isLast
      tile.sums_pitch = sumsPitch
      tile.near = near
      tile.zips = zips
      if layout.kind == .wide {
        tile.far = tile.xs * engine.elementSize * max(1, Self.farSteps / max(1, tapCount))
        tile.ws = tapRows
        // All chunks but the first find a block's weights in the cache.
        for block in task.blocks {
          for chunk in 0..<chunks { wideStep(pass, task.blocks, &tile, area, block, chunk) }
          // Whole rows at once: the store works on the neighbours of a row.
          if pass.isLast {
            let rows = Int32(min(blockRows, pass.rows - block * blockRows))
            tz_conv_store_sums(
              engine.table, output, area, pass.partials - sumsBytes, sumsPitch, 0,
              (area.pointee.height - 1) * area.pointee.pitch + area.pointee.width, Int32(block * blockRows), rows)
          }
        }
        return
      }
      if readsInPlace { tile.far = tile.xs * engine.elementSize * Self.farSteps }
      for range in blockRanges(task.blocks, passBytes: pass.passBytes) {
        for chunk in 0..<chunks { step(pass, task.blocks, &tile, output, area, range, chunk) }
      }
    }
  }

  /// Blocks whose weights stay in the second-level cache together; single ones where a block has so little arithmetic
  /// that each output row should be written from end to end.
  private func blockRanges(_ blocks: Range<Int>, passBytes: Int) -> [Range<Int>] {
    let isLight = channelBlocks == 1 && CostEstimate.isLight(steps: stencil.channels * tapCount)
    let count = isLight ? blocks.count : Self.passes(blocks.count, bytes: passBytes)
    return (0..<count).map { index in
      (blocks.lowerBound + index * blocks.count / count)..<(blocks.lowerBound + (index + 1) * blocks.count / count)
    }
  }

  /// How often a tile's columns are gone through for blocks of so many bytes of weights each.
  private static func passes(_ blocks: Int, bytes: Int) -> Int {
    let most = max(1, 128 * 1024 / max(1, bytes))
    return (blocks + most - 1) / most
  }

  /// What does not change over the blocks and chunks of one tile and channel range.
  private struct KernelPass {
    var weights: UnsafeRawPointer
    /// Bytes of one block over all channels, and over those of this pass.
    var blockBytes: Int
    var passBytes: Int
    var scales: UnsafePointer<Float>?
    var starts: UnsafeRawPointer
    var isLast: Bool
    var rows: Int
    var panel: UnsafeMutableRawPointer
    var partials: UnsafeMutableRawPointer
    var chunks: Int
    var cutsRows: Bool
  }

  /// Points kernel calls at their columns and block 0's weights, and gives the columns.
  @inline(__always)
  private func aim(
    _ tile: inout tz_conv_tile, _ pass: KernelPass, _ area: UnsafePointer<tz_conv_area>, _ chunk: Int
  ) -> (first: Int, count: Int) {
    let size = engine.elementSize
    let columns = tiling.chunking.columns(
      chunk, of: pass.chunks, height: area.pointee.height, width: area.pointee.width, pitch: tiling.pitch,
      cutsRows: pass.cutsRows)
    tile.x = UnsafeRawPointer(pass.panel + columns.first * size)
    tile.w = pass.weights
    tile.start = pass.starts
    return columns
  }

  /// Kernel calls for some blocks, and the store of what they computed if the sums are complete.
  @inline(__always)
  private func step(
    _ pass: KernelPass, _ all: Range<Int>, _ tile: inout tz_conv_tile, _ output: UnsafePointer<tz_conv_output>,
    _ area: UnsafePointer<tz_conv_area>, _ blocks: Range<Int>, _ chunk: Int
  ) {
    let size = engine.elementSize
    let (column, width) = aim(&tile, pass, area, chunk)
    tile.acc = pass.partials + partialOffset(all, blocks.lowerBound, chunk)
    tile.y = nil
    if pass.isLast, storesDirectly, let offset = directOffset(area, column, width) {
      tile.y = output.pointee.y + offset * size
      tile.residual.0 = output.pointee.residual.0.map { $0 + offset * size }
      tile.residual.1 = output.pointee.residual.1.map { $0 + offset * size }
    }
    // What whole vectors compute past the end of a row is another call's: each output is stored once.
    let rowEnd = column / area.pointee.pitch * area.pointee.pitch + area.pointee.width
    var sweep = tz_conv_sweep(
      block_rows: Int32(blockRows), vectors: Int32(width / tiling.chunking.unit),
      first_block: Int32(blocks.lowerBound), end_block: Int32(blocks.upperBound), rows: Int32(pass.rows), element: size,
      block_weights: pass.blockBytes, block_sums: channelBlocks == 1 ? 0 : partialBytes,
      out: pass.isLast ? output : nil, area: area, column: column,
      count: pass.cutsRows ? min(width, rowEnd - column) : width)
    tz_conv_run(engine.table, &tile, &sweep)
  }

  /// Bytes before the partial sums of a block and chunk.
  @inline(__always)
  private func partialOffset(_ blocks: Range<Int>, _ block: Int, _ chunk: Int) -> Int {
    channelBlocks == 1 ? 0 : (chunk * blocks.count + block - blocks.lowerBound) * partialBytes
  }

  /// One call of a wide kernel.
  @inline(__always)
  private func wideStep(
    _ pass: KernelPass, _ all: Range<Int>, _ tile: inout tz_conv_tile, _ area: UnsafePointer<tz_conv_area>,
    _ block: Int, _ chunk: Int
  ) {
    let (column, count) = aim(&tile, pass, area, chunk)
    tile.w += block * pass.blockBytes
    tile.start += block * blockRows * engine.elementSize
    tile.acc = pass.partials + partialOffset(all, block, chunk)
    tile.sums = pass.partials - sumsBytes + column * engine.elementSize
    if let padded {
      let (row, piece) = chunk.quotientAndRemainder(dividingBy: pass.chunks / area.pointee.height)
      let taps = padded.taps(
        plane: area.pointee.first.0 - tiling.first[0], row: area.pointee.first.1 - tiling.first[1] + row, piece: piece)
      tile.inside = taps.baseAddress
      tile.taps = Int32(taps.count)
    }
    // While the chunks of a block run, the next block's weights come nearer, a part with each chunk; a single chunk
    // looks ahead in its own.
    let steps = max(1, Int(tile.channels) * Int(tile.taps))
    if pass.chunks > 1 {
      tile.ahead = pass.weights + (block + 1) * pass.blockBytes + chunk * pass.passBytes / pass.chunks
      tile.ahead_step = pass.passBytes / pass.chunks / steps
    } else {
      tile.ahead = tile.w + 8192
      tile.ahead_step = pass.passBytes / steps
    }
    if let narrow {
      tile.scales = pass.scales.map { $0 + block * blockRows }
      tz_narrow_run(narrow, layout.storage == .int8, Int32(count), &tile)
    } else {
      tz_conv_run_wide(engine.table, Int32(count), &tile)
    }
    tz_near_next(&tile.near)
  }

  /// Where row 0's outputs of a kernel call begin, if all of its columns are neighbouring outputs.
  @inline(__always)
  private func directOffset(_ area: UnsafePointer<tz_conv_area>, _ column: Int, _ width: Int) -> Int? {
    let (first, height) = (area.pointee.first, area.pointee.height)
    let (h, w) = height == 1 ? (0, column) : column.quotientAndRemainder(dividingBy: tiling.pitch)
    guard w + width <= area.pointee.width else { return nil }
    let row = first.0 * outputSteps.plane + (first.1 + h) * outputSteps.row - outputOrigin
    // Positions are outputs here, and all positions of a tile lie inside.
    guard zips else { return row + first.2 + w }
    let output = 2 * (first.2 + w) - stencil.outShift[2]
    return output >= 0 && output + 2 * width <= engine.output.size[2] ? row + 2 * (first.2 + w) : nil
  }
}

/// Calls `body` with pointers to what a tile's kernel calls have in common.
private func withUnsafePointers(
  _ output: inout tz_conv_output, _ area: tz_conv_area, _ offsets: [Int32],
  _ body: (UnsafePointer<tz_conv_output>, UnsafePointer<tz_conv_area>, UnsafeBufferPointer<Int32>) -> Void
) {
  withUnsafePointer(to: &output) { output in
    withUnsafePointer(to: area) { area in
      offsets.withUnsafeBufferPointer { body(output, area, $0) }
    }
  }
}
