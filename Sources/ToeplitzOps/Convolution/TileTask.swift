import CToeplitzKernels
import ToeplitzTensor

/// The work on one tile of a row group: pack the input panel, run the kernels over it, store the outputs.
struct TileTask {
  let engine: ConvolutionEngine
  let group: RowGroup
  let groupIndex: Int
  let tiling: ConvolutionTiling
  let blocks: Int
  /// Into how many parts the row blocks are cut.
  let splits: Int
  private let channelBlocks: Int
  private let partialBytes: Int
  private let panelBytes: Int
  private let rowPhases: [(d: Int, h: Int, w: Int)]

  init(
    engine: ConvolutionEngine, group: RowGroup, groupIndex: Int, tiling: ConvolutionTiling, blocks: Int, splits: Int
  ) {
    self.engine = engine
    self.group = group
    self.groupIndex = groupIndex
    self.tiling = tiling
    self.blocks = blocks
    self.splits = splits
    let channels = engine.packed.stencil.channels
    channelBlocks = (channels + tiling.channelBlock - 1) / tiling.channelBlock
    let blockRows = engine.packed.sections[0][groupIndex].blockRows
    partialBytes = blockRows * tiling.vectors * tiling.lanes * engine.elementSize
    // Kernels read whole vectors, up to one past the last column.
    let elements = (channels + channelBlocks - 1) / channelBlocks * tiling.panelChannel + 2 * tiling.vectors * tiling.lanes
    panelBytes = (elements * engine.elementSize + 63) / 64 * 64
    rowPhases = (0..<group.phaseCount).map { index in
      let at = group.phaseIndices(index)
      return (group.axes[0].phases[at.d], group.axes[1].phases[at.h], group.axes[2].phases[at.w])
    }
  }

  /// Columns of a full tile, in kernel calls.
  private func chunkCount(_ columns: Int) -> Int {
    let vectors = (columns + tiling.lanes - 1) / tiling.lanes
    return (vectors + tiling.vectors - 1) / tiling.vectors
  }

  private var mostPartials: Int {
    guard channelBlocks > 1 else { return 1 }
    let columns = (tiling.tileHeight - 1) * tiling.pitch + tiling.tileWidth
    return chunkCount(columns) * ((blocks + splits - 1) / splits + 1)
  }

  /// Scratch memory that ``run(_:_:)`` needs.
  var scratchBytes: Int { panelBytes + mostPartials * partialBytes + 64 }

  /// Where a tile lies.
  struct Place {
    var sample: Int
    var convolutionGroup: Int
    var d: Int
    var h: Int
    var w: Int
    var height: Int
    var width: Int
  }

  /// Computes unit `unit` of batch × groups × tiles × splits.
  func run(_ unit: Int, _ memory: UnsafeMutableRawPointer) {
    let split = unit % splits
    let tile = unit / splits % tiling.tiles
    let pair = unit / splits / tiling.tiles
    let stencil = engine.packed.stencil
    let across = tile % tiling.tilesWide
    let down = tile / tiling.tilesWide % tiling.tilesHigh
    let h = down * tiling.tileHeight
    let w = across * tiling.tileWidth
    let place = Place(
      sample: pair / stencil.groups, convolutionGroup: pair % stencil.groups,
      d: tile / tiling.tilesWide / tiling.tilesHigh, h: h, w: w,
      height: min(tiling.tileHeight, tiling.count[1] - h), width: min(tiling.tileWidth, tiling.count[2] - w))
    let blockRange = (split * blocks / splits)..<((split + 1) * blocks / splits)
    let columns = (place.height - 1) * tiling.pitch + place.width
    let partials = memory + panelBytes
    for part in 0..<channelBlocks {
      let channels =
        (part * stencil.channels / channelBlocks)..<((part + 1) * stencil.channels / channelBlocks)
      pack(place, channels, into: memory)
      compute(place, channels, blockRange, columns, panel: memory, partials: partials)
    }
  }

  private func pack(_ place: Place, _ channels: Range<Int>, into panel: UnsafeMutableRawPointer) {
    let input = engine.input
    let stencil = engine.packed.stencil
    let start = [place.d, place.h, place.w]
    let channel = place.convolutionGroup * stencil.channels + channels.lowerBound
    var request = tz_pack()
    request.x = UnsafeRawPointer(
      input.base + (place.sample * input.batch + channel * input.channel) * engine.elementSize)
    request.panel = panel
    request.channels = Int32(channels.count)
    request.x_channel = input.channel
    request.panel_channel = tiling.panelChannel
    request.panel_row = tiling.pitch
    request.mode = Int32(engine.mode.kernelCode)
    request.slope = engine.inputSlope
    tiling.phases[0].withUnsafeBufferPointer { d in
      tiling.phases[1].withUnsafeBufferPointer { h in
        tiling.phases[2].withUnsafeBufferPointer { w in
          func axis(_ index: Int, _ phases: UnsafeBufferPointer<Int>) -> tz_pack_axis {
            tz_pack_axis(
              size: input.size[index], stride: input.spatial[index],
              first: tiling.first[index] + start[index] + tiling.lowest[index], count: tiling.panelCount[index],
              step: stencil.step[index], phases: phases.baseAddress, phase_count: Int32(phases.count))
          }
          request.axis = (axis(0, d), axis(1, h), axis(2, w))
          engine.table.pointee.pack(&request)
        }
      }
    }
  }

  /// Runs the kernels of all blocks over all columns for some of the channels.
  private func compute(
    _ place: Place, _ channels: Range<Int>, _ blockRange: Range<Int>, _ columns: Int,
    panel: UnsafeMutableRawPointer, partials: UnsafeMutableRawPointer
  ) {
    let size = engine.elementSize
    let stencil = engine.packed.stencil
    let section = engine.packed.sections[place.convolutionGroup][groupIndex]
    let vectors = (columns + tiling.lanes - 1) / tiling.lanes
    let chunks = chunkCount(columns)
    let tapRows = group.tapCount * section.blockRows
    let weights = engine.packed.weightPointer(section) + channels.lowerBound * tapRows * size
    let blockBytes = stencil.channels * tapRows * size
    let starts = engine.packed.startPointer(section)
    let isLast = channels.upperBound == stencil.channels
    tiling.tapOffsets.withUnsafeBufferPointer { offsets in
      var tile = tz_conv_tile()
      tile.xs = tiling.panelChannel
      tile.toff = offsets.baseAddress
      tile.channels = Int32(channels.count)
      tile.taps = Int32(group.tapCount)
      tile.continues = channels.lowerBound > 0
      func step(_ block: Int, _ chunk: Int) {
        let vector = chunk * vectors / chunks
        let width = (chunk + 1) * vectors / chunks - vector
        let partial = channelBlocks == 1 ? 0 : chunk * blockRange.count + block - blockRange.lowerBound
        tile.x = UnsafeRawPointer(panel + vector * tiling.lanes * size)
        tile.w = weights + block * blockBytes
        tile.start = starts + block * section.blockRows * size
        tile.acc = partials + partial * partialBytes
        finish(&tile, place, section, block, vector * tiling.lanes, width, isLast)
      }
      visit(blockRange, chunks, blockBytes: channels.count * tapRows * size, step)
    }
  }

  /// Goes through blocks and chunks in an order that keeps the weights in the second-level cache, or, where a block
  /// has so little arithmetic that writing the output dominates, writes each output row from end to end.
  private func visit(_ blockRange: Range<Int>, _ chunks: Int, blockBytes: Int, _ step: (Int, Int) -> Void) {
    if channelBlocks == 1, engine.packed.stencil.channels * group.tapCount < 96 {
      for block in blockRange { for chunk in 0..<chunks { step(block, chunk) } }
      return
    }
    let together = max(1, 128 * 1024 / max(1, blockBytes))
    var first = blockRange.lowerBound
    while first < blockRange.upperBound {
      let last = min(first + together, blockRange.upperBound)
      for chunk in 0..<chunks { for block in first..<last { step(block, chunk) } }
      first = last
    }
  }

  /// One kernel call, and the store of what it computed if the sums are complete.
  private func finish(
    _ tile: inout tz_conv_tile, _ place: Place, _ section: PackedWeights.Section, _ block: Int, _ column: Int,
    _ width: Int, _ isLast: Bool
  ) {
    tile.y = nil
    guard isLast else {
      tz_conv_run(engine.table, Int32(section.blockRows), Int32(width), &tile)
      return
    }
    let rows = min(section.blockRows, section.rows - block * section.blockRows)
    if let y = directTarget(place, block, column, width, section.blockRows) {
      tile.y = y
      tile.ys = engine.output.channel
      tile.residual = engine.residual(at: y)
      tile.slope = engine.outputSlope
      tile.rows = Int32(rows)
      tz_conv_run(engine.table, Int32(section.blockRows), Int32(width), &tile)
      return
    }
    tz_conv_run(engine.table, Int32(section.blockRows), Int32(width), &tile)
    store(tile.acc, pitch: width * tiling.lanes, place, block * section.blockRows, rows, column)
  }

  /// Where a kernel call may write its vectors itself: rows are channels and all its columns are neighbouring
  /// outputs.
  private func directTarget(
    _ place: Place, _ block: Int, _ column: Int, _ width: Int, _ blockRows: Int
  ) -> UnsafeMutableRawPointer? {
    guard group.phaseCount == 1, engine.packed.stencil.outStep[2] == 1, engine.output.spatial[2] == 1 else {
      return nil
    }
    let row = column / tiling.pitch
    let w = column % tiling.pitch
    guard w + width * tiling.lanes <= place.width else { return nil }
    return address(place, channel: block * blockRows, phase: rowPhases[0], h: row, w: w)
  }

  /// The output of position (h, w) of a tile.
  private func address(
    _ place: Place, channel: Int, phase: (d: Int, h: Int, w: Int), h: Int, w: Int
  ) -> UnsafeMutableRawPointer? {
    let stencil = engine.packed.stencil
    let output = engine.output
    let d = (tiling.first[0] + place.d) * stencil.outStep[0] + phase.d - stencil.outShift[0]
    let y = (tiling.first[1] + place.h + h) * stencil.outStep[1] + phase.h - stencil.outShift[1]
    let x = (tiling.first[2] + place.w + w) * stencil.outStep[2] + phase.w - stencil.outShift[2]
    guard d >= 0, d < output.size[0], y >= 0, y < output.size[1] else { return nil }
    let channel = place.convolutionGroup * stencil.outputs + channel
    let offset =
      place.sample * output.batch + channel * output.channel + d * output.spatial[0] + y * output.spatial[1]
      + x * output.spatial[2]
    return output.base + offset * engine.elementSize
  }

  /// Writes finished sums `[rows][pitch]`, whose first column is `column` of the tile, to the output.
  private func store(
    _ sums: UnsafeMutableRawPointer, pitch: Int, _ place: Place, _ firstRow: Int, _ rows: Int, _ column: Int
  ) {
    var at = column
    let end = min(column + pitch, (place.height - 1) * tiling.pitch + place.width)
    while at < end {
      let row = at / tiling.pitch
      let w = at % tiling.pitch
      let run = min(place.width - w, end - at)
      if run > 0 {
        storeRun(sums + (at - column) * engine.elementSize, pitch, place, firstRow, rows, h: row, w: w, count: run)
      }
      at = (row + 1) * tiling.pitch
    }
  }

  /// Writes one run of neighbouring positions of all rows.
  private func storeRun(
    _ sums: UnsafeMutableRawPointer, _ pitch: Int, _ place: Place, _ firstRow: Int, _ rows: Int,
    h: Int, w: Int, count: Int
  ) {
    let phases = group.phaseCount
    var request = tz_conv_rows()
    request.pitch = pitch
    request.ys = engine.output.channel
    request.slope = engine.outputSlope
    if phases == 1 {
      storeRows(&request, sums, place, channel: firstRow, rows, phase: rowPhases[0], h, w, count)
      return
    }
    let wide = group.axes[2].phases.count
    let interleaves = wide == engine.packed.stencil.outStep[2] && engine.output.spatial[2] == 1
    var row = 0
    while row < rows {
      let index = firstRow + row
      let from = sums + row * pitch * engine.elementSize
      if interleaves, index % wide == 0, row + wide <= rows {
        storePhases(&request, from, place, channel: index / phases, phaseIndex: index % phases, wide, h, w, count)
        row += wide
      } else {
        storeRows(
          &request, from, place, channel: index / phases, 1, phase: rowPhases[index % phases], h, w, count)
        row += 1
      }
    }
  }

  /// Writes rows that are neighbouring channels of one phase.
  private func storeRows(
    _ request: inout tz_conv_rows, _ sums: UnsafeMutableRawPointer, _ place: Place, channel: Int, _ rows: Int,
    phase: (d: Int, h: Int, w: Int), _ h: Int, _ w: Int, _ count: Int
  ) {
    let (low, high) = insideRange(place, phase: phase.w, w, count)
    guard low < high, let y = address(place, channel: channel, phase: phase, h: h, w: w + low) else { return }
    request.acc = UnsafeRawPointer(sums + low * engine.elementSize)
    request.n = high - low
    request.rows = Int32(rows)
    request.y = y
    request.step = engine.packed.stencil.outStep[2] * engine.output.spatial[2]
    request.residual = engine.residual(at: y)
    engine.table.pointee.store(&request)
  }

  /// Writes the rows of all w phases of one channel, interleaved; where the edges cut some phases, one by one.
  private func storePhases(
    _ request: inout tz_conv_rows, _ sums: UnsafeMutableRawPointer, _ place: Place, channel: Int, phaseIndex: Int,
    _ wide: Int, _ h: Int, _ w: Int, _ count: Int
  ) {
    let phase = rowPhases[phaseIndex]
    let (_, high) = insideRange(place, phase: wide - 1, w, count)
    let (low, _) = insideRange(place, phase: 0, w, count)
    let rowBytes = request.pitch * engine.elementSize
    func single(_ range: Range<Int>) {
      for index in 0..<wide where !range.isEmpty {
        let from = sums + index * rowBytes + range.lowerBound * engine.elementSize
        storeRows(
          &request, from, place, channel: channel, 1, phase: rowPhases[phaseIndex + index], h, w + range.lowerBound,
          range.count)
      }
    }
    guard low < high else { return single(0..<count) }
    single(0..<low)
    if let y = address(place, channel: channel, phase: phase, h: h, w: w + low) {
      request.acc = UnsafeRawPointer(sums + low * engine.elementSize)
      request.n = high - low
      request.rows = Int32(wide)
      request.y = y
      request.residual = engine.residual(at: y)
      engine.table.pointee.store_interleaved(&request)
    }
    single(high..<count)
  }

  /// Which of `count` positions from w on have an output inside, for w phase `phase`.
  private func insideRange(_ place: Place, phase: Int, _ w: Int, _ count: Int) -> (low: Int, high: Int) {
    let stencil = engine.packed.stencil
    let start = (tiling.first[2] + place.w + w) * stencil.outStep[2] + phase - stencil.outShift[2]
    let low = max(0, ceilDivide(-start, stencil.outStep[2]))
    let high = min(count, ceilDivide(engine.output.size[2] - start, stencil.outStep[2]))
    return (min(low, count), max(high, 0))
  }
}

extension ConvolutionEngine {
  /// The residual value that belongs to an output address.
  func residual(at output: UnsafeMutableRawPointer) -> UnsafeRawPointer? {
    residual.map { $0 + (output - self.output.base) }
  }
}

extension PaddingMode {
  /// The number the pack function knows it by.
  var kernelCode: Int {
    switch self {
    case .zeros: TZ_PAD_ZEROS
    case .reflect: TZ_PAD_REFLECT
    case .replicate: TZ_PAD_REPLICATE
    case .circular: TZ_PAD_CIRCULAR
    }
  }
}
