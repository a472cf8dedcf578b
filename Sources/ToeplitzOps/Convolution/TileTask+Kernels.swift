import CToeplitzKernels
import ToeplitzTensor

extension TileTask {
  /// How many steps of a kernel, of 24 to 28 vector multiply-adds each, an input takes to come from another core.
  private static let farSteps = 16

  /// Runs the kernels of all blocks over all columns for some of the channels.
  ///
  /// The order of blocks and chunks keeps the weights in the second-level cache; where a block has so little arithmetic
  /// that writing the output dominates, each output row is written from end to end.
  func compute(
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
  static func passes(_ blocks: Int, bytes: Int) -> Int {
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
