import CToeplitzKernels
import ToeplitzOps
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
    near: tz_near, next: UnsafeRawPointer?, partials: UnsafeMutableRawPointer, pieces: UnsafeMutableRawPointer
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
      next: next, panel: panel, partials: partials, pieces: pieces, chunks: chunks, cutsRows: cutsRows)
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
      runNarrow(pass, task.blocks, &tile, output, area)
    }
  }

  /// The calls of narrow kernels, and the store of what they computed if the sums are complete.
  private func runNarrow(
    _ pass: KernelPass, _ blocks: Range<Int>, _ tile: inout tz_conv_tile, _ output: UnsafePointer<tz_conv_output>,
    _ area: UnsafePointer<tz_conv_area>
  ) {
    let (height, width) = (area.pointee.height, area.pointee.width)
    let sumBytes = channelBlocks == 1 ? 0 : partialBytes
    tile.x = UnsafeRawPointer(pass.panel)
    tile.w = pass.weights
    tile.start = pass.starts
    tile.acc = pass.partials
    tile.y = output.pointee.y
    tile.residual = output.pointee.residual
    let pieces = tiling.chunking.pieces(
      height: height, width: width, pitch: tiling.pitch, cutsRows: pass.cutsRows, in: pass.pieces
    ) { piece, index in
      piece.output = pass.isLast && storesDirectly ? directOffset(area, piece.column, piece.count) : -1
      // What whole vectors compute past the end of a row is another call's: each output is stored once.
      if pass.cutsRows {
        let rowEnd = piece.column / area.pointee.pitch * area.pointee.pitch + width
        piece.count = min(piece.count, rowEnd - piece.column)
      }
      piece.block_sums = sumBytes
      piece.sums = (index * blocks.count - blocks.lowerBound) * sumBytes
    }
    var sweep = tz_conv_sweep(
      block_rows: Int32(blockRows), first_block: 0, end_block: 0, rows: Int32(pass.rows),
      element: engine.elementSize, block_weights: pass.blockBytes, pieces: pieces.baseAddress,
      piece_count: pieces.count, out: pass.isLast ? output : nil, area: area)
    let ranges = rangeCount(blocks, passBytes: pass.passBytes)
    for index in 0..<ranges {
      sweep.first_block = Int32(blocks.lowerBound + index * blocks.count / ranges)
      sweep.end_block = Int32(blocks.lowerBound + (index + 1) * blocks.count / ranges)
      tz_conv_run(engine.table, &tile, &sweep)
    }
  }

  /// Into how many ranges blocks are cut whose weights stay in the second-level cache together; single ones where a block has so
  /// little arithmetic that each output row should be written from end to end.
  private func rangeCount(_ blocks: Range<Int>, passBytes: Int) -> Int {
    let isLight = channelBlocks == 1 && CostEstimate.isLight(steps: stencil.channels * tapCount)
    return isLight ? blocks.count : Self.passes(blocks.count, bytes: passBytes)
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
    /// The weights after those of the last block.
    var next: UnsafeRawPointer?
    var panel: UnsafeMutableRawPointer
    var partials: UnsafeMutableRawPointer
    var pieces: UnsafeMutableRawPointer
    var chunks: Int
    var cutsRows: Bool
  }

  /// One call of a wide kernel.
  @inline(__always)
  private func wideStep(
    _ pass: KernelPass, _ all: Range<Int>, _ tile: inout tz_conv_tile, _ area: UnsafePointer<tz_conv_area>,
    _ block: Int, _ chunk: Int
  ) {
    let (column, count) = tiling.chunking.columns(
      chunk, of: pass.chunks, height: area.pointee.height, width: area.pointee.width, pitch: tiling.pitch,
      cutsRows: pass.cutsRows)
    tile.x = UnsafeRawPointer(pass.panel + column * engine.elementSize)
    tile.w = pass.weights + block * pass.blockBytes
    tile.start = pass.starts + block * blockRows * engine.elementSize
    tile.acc = pass.partials
    if channelBlocks > 1 { tile.acc += (chunk * all.count + block - all.lowerBound) * partialBytes }
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
      let next = block + 1 == all.upperBound ? pass.next : pass.weights + (block + 1) * pass.blockBytes
      tile.ahead = (next ?? tile.w) + chunk * pass.passBytes / pass.chunks
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

  /// Where row 0's outputs of a kernel call begin, if all of its columns are neighbouring outputs; below 0 if not.
  private func directOffset(_ area: UnsafePointer<tz_conv_area>, _ column: Int, _ width: Int) -> Int {
    let (first, height) = (area.pointee.first, area.pointee.height)
    let (h, w) = height == 1 ? (0, column) : column.quotientAndRemainder(dividingBy: tiling.pitch)
    guard w + width <= area.pointee.width else { return -1 }
    let row = first.0 * outputSteps.plane + (first.1 + h) * outputSteps.row - outputOrigin
    // Positions are outputs here, and all positions of a tile lie inside.
    guard zips else { return row + first.2 + w }
    let output = 2 * (first.2 + w) - stencil.outShift[2]
    return output >= 0 && output + 2 * width <= engine.output.size[2] ? row + 2 * (first.2 + w) : -1
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
