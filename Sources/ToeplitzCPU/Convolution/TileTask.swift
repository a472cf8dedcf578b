import CToeplitzKernels
import ToeplitzOps
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
  let readsInPlace: Bool
  // Copied out of the packed weights, an object, whose properties would be retained and released on each access.
  let stencil: ConvolutionStencil
  let tapCount: Int
  /// Parts into which the channels are cut.
  let channelBlocks: Int
  let blocks: Int
  let blockRows: Int
  let tapRows: Int
  let partialBytes: Int
  let panelBytes: Int
  /// Bytes from the panel of one part of the channels to the next one's, if all are kept; 0 if they take turns.
  let partPitch: Int
  let mostPartials: Int
  private let partialsBytes: Int
  private let pieceBytes: Int
  let sumsPitch: Int
  let sumsBytes: Int
  /// Kernels of weights in fewer bits, where these are.
  let narrow: UnsafePointer<tz_narrow_table>?
  /// Whether rows are channels and positions neighbours, and whether a kernel may then write whole vectors to the output
  /// itself.
  let isPlain: Bool
  let storesDirectly: Bool
  /// Whether outputs of two rows take turns, which kernels can store themselves.
  let zips: Bool
  /// Whether the rows of a tile follow one another without a gap, in the panel and in the output: they are one row.
  let rowsFollow: Bool
  /// Elements between planes and rows of the output where a kernel may write to it.
  ///
  /// Numbers, since threads would fight for the reference counts of arrays.
  let outputSteps: (plane: Int, row: Int)
  /// How far its first element lies behind position 0.
  let outputOrigin: Int
  /// For each row of a channel its phase on d, h, w.
  let rowPhases: [(Int32, Int32, Int32)]
  /// What computes images of one channel each from the input in place.
  let images: UnpackedConvolution?
  /// What computes panels, where they are not packed.
  let source: PanelSource?
  /// The taps of each kernel call, where those in the padding are left out.
  let padded: PaddedTaps.Lists?

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
    // A thread that goes on with a tile has its panels, so that smaller parts of the rows cost nothing.
    if keeps, threads > 1 {
      let parts =
        layout.kind == .wide
        ? blocks : Self.passes(blocks, bytes: stencil.channels * tapRows * layout.weightSize / channelBlocks)
      splits = max(splits, min(parts, (Self.unitsForEachThread * threads + places - 1) / places))
    }
    self.splits = splits
    units = places * splits
    partPitch = keeps && units > threads && splits > 1 && !readsInPlace ? partBytes : 0
    panelBytes = partPitch > 0 ? channelBlocks * partBytes : partBytes
    let chunks = tiling.chunking.count(
      height: tiling.tileHeight, width: tiling.tileWidth, pitch: tiling.pitch, cutsRows: tiling.cutsRows)
    mostPartials = channelBlocks > 1 ? chunks * ((blocks + splits - 1) / splits + 1) : 1
    partialsBytes = (mostPartials * partialBytes + 127) / 64 * 64
    pieceBytes = layout.kind == .narrow ? ColumnChunking.pieceBytes(chunks) : 0
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
    images = source == nil ? UnpackedConvolution(engine, group, layout, groupIndex: groupIndex) : nil
  }

  /// Panels of a tile that a thread keeps should fit the second-level cache beside the weights.
  private static let keptPanels = 768 * 1024
  /// So many let a slow thread fall behind without stopping the others.
  private static let unitsForEachThread = 16

  /// Columns that a wide kernel writes at most.
  private static let sumsSlack = 16

  /// Scratch memory that ``run(_:_:)`` needs.
  var scratchBytes: Int { ownBytes + (source?.scratchBytes ?? 0) }
  private var ownBytes: Int { panelBytes + sumsBytes + partialsBytes + pieceBytes }

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

  private func task(_ unit: Int) -> UnitTask {
    let (place, convolutionGroup) = (unit / splits).quotientAndRemainder(dividingBy: stencil.groups)
    let (sample, tile) = place.quotientAndRemainder(dividingBy: tiling.tiles)
    let split = unit % splits
    return UnitTask(
      area: area(tile), tile: tile, sample: sample, convolutionGroup: convolutionGroup,
      blocks: (split * blocks / splits)..<((split + 1) * blocks / splits))
  }

  /// The channels of a part.
  private func channels(_ part: Int) -> Range<Int> {
    (part * stencil.channels / channelBlocks)..<((part + 1) * stencil.channels / channelBlocks)
  }

  /// Those of the first block of a unit, for some of the channels.
  private func weights(_ task: UnitTask, _ channels: Range<Int>) -> UnsafeRawPointer {
    let first = task.blocks.lowerBound * stencil.channels + channels.lowerBound
    return layout.weightPointer(layout.sections[task.convolutionGroup][groupIndex]) + first * tapRows
      * layout.weightSize
  }

  /// - Parameter next: the unit that the thread will probably go on with.
  private func run(_ unit: Int, next: Int?, _ memory: UnsafeMutableRawPointer, _ output: inout tz_conv_output) {
    let isPacked = partPitch > 0 && ConvolutionEngine.exchangeHeld(memory, unit / splits)
    let task = task(unit)
    let follower = next.map { self.task($0) }
    let keepsPanels = partPitch > 0 && next.map { $0 / splits } == unit / splits
    engine.move(&output, sample: task.sample, channel: task.convolutionGroup * stencil.outputs)
    for part in 0..<channelBlocks {
      let channels = channels(part)
      // What will be packed after this: the other channels, or those of another tile.
      var near: tz_near?
      if part + 1 == channelBlocks {
        near = keepsPanels ? nil : follower.flatMap { nearPack($0, self.channels(0)) }
      } else if !isPacked {
        near = nearPack(task, self.channels(part + 1))
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
          memory, channels, sample: task.sample, area(task.tile, inImage: true), distance: tiling.panelChannel,
          scratch: memory + ownBytes)
      } else {
        withPackRequest(task, channels, into: panel) { tz_conv_pack(engine.table, &$0) }
      }
      compute(
        task, &output, channels, panel: panel, near: near ?? tz_near(),
        next: part + 1 < channelBlocks
          ? weights(task, self.channels(part + 1)) : follower.map { weights($0, self.channels(0)) },
        partials: memory + panelBytes + sumsBytes, pieces: memory + panelBytes + sumsBytes + partialsBytes)
    }
  }

  /// A tile and the blocks of rows to compute for it.
  struct UnitTask {
    var area: tz_conv_area
    var tile: Int
    var sample: Int
    var convolutionGroup: Int
    var blocks: Range<Int>
  }
}
