import CToeplitzKernels
import ToeplitzTensor

/// What computes the panels of a pointwise convolution, instead of packing them: a depthwise convolution before it, and maybe
/// a pointwise one before that.
struct PanelSource {
  let images: ImageConvolution
  /// The output of the depthwise convolution, but for where that is.
  let output: tz_conv_output
  let expansion: Expansion?

  /// Scratch memory that ``fill(_:_:sample:_:distance:scratch:)`` needs.
  var scratchBytes: Int { expansion?.byteCount ?? 0 }

  /// Fills a panel with some channels of an area.
  func fill(
    _ panel: UnsafeMutableRawPointer, _ channels: Range<Int>, sample: Int, _ area: tz_conv_area, distance: Int,
    scratch: UnsafeMutableRawPointer
  ) {
    var output = output
    output.y = panel
    output.stride = (0, area.pitch, 1)
    output.shift = area.first
    guard let expansion else {
      images.run(channels, sample: sample, area, &output, distance: distance)
      return
    }
    let rows = images.inputRows(area)
    var next = channels.lowerBound
    while next < channels.upperBound {
      let block = next / Expansion.blockRows
      let end = min(channels.upperBound, (block + 1) * Expansion.blockRows)
      expansion.compute(block, sample: sample, rows: rows, into: scratch)
      images.run(
        next..<end, sample: sample, area, &output, distance: distance,
        source: expansion.source(next, in: scratch, rows: rows))
      output.y += (end - next) * distance * Expansion.elementSize
      next = end
    }
  }
}

/// The first convolution of an inverted residual: a pointwise one to many channels, of which a few at a time are computed
/// for the rows that the depthwise one after it reads next.
struct Expansion {
  /// Channels that are computed together: those of a block of weights.
  static let blockRows = 8
  static let elementSize = 4

  private let engine: ConvolutionEngine
  private let layout: PackedLayout
  private let section: PackedLayout.Section
  /// Elements of a row of the image.
  private let width: Int
  /// Elements between channels.
  private let pitch: Int

  /// Nil where the input cannot be read in place.
  ///
  /// - Parameter rows: the most rows that are wanted together.
  init?(_ engine: ConvolutionEngine, rows: Int) throws {
    let stencil = engine.packed.stencil
    guard stencil.isPointwise, stencil.groups == 1, stencil.outputs >= Self.blockRows, engine.input.hasSlack,
      engine.fusion.inputSlope == 1, engine.fusion.residuals.isEmpty, engine.isComputedAsStored
    else { return nil }
    self.engine = engine
    layout = try engine.packed.layout(.narrow)
    section = layout.sections[0][0]
    width = engine.output.size[2]
    // An odd number of cache lines between channels, so that they do not fall on the same cache sets.
    let line = 64 / Self.elementSize
    pitch = ((rows * width + line - 1) / line | 1) * line
  }

  /// Bytes of a block of channels.
  var byteCount: Int { Self.blockRows * pitch * Self.elementSize }

  /// Computes some rows of the channels of a block.
  func compute(_ block: Int, sample: Int, rows: Range<Int>, into buffer: UnsafeMutableRawPointer) {
    let (stencil, lanes) = (engine.packed.stencil, Int(engine.table.pointee.lanes))
    let taps = stencil.channels * Self.blockRows
    var output = engine.outputDescription(phases: nil, count: 1, wide: 1)
    var tile = tz_conv_tile()
    let position = rows.lowerBound * width
    tile.x = UnsafeRawPointer(engine.input.base + (sample * engine.input.batch + position) * Self.elementSize)
    tile.xs = engine.input.channel
    tile.w = layout.weightPointer(section) + block * taps * layout.weightSize
    tile.start = layout.startPointer(section) + block * Self.blockRows * Self.elementSize
    tile.channels = Int32(stencil.channels)
    tile.taps = 1
    tile.y = buffer
    tile.ys = pitch
    tile.scale = output.scale
    tile.slope = output.slope
    tile.bounded = output.bounded
    tile.ceiling = output.ceiling
    var offset: Int32 = 0
    withUnsafePointer(to: &offset) { offset in
      withUnsafePointer(to: &output) { output in
        tile.toff = offset
        var sweep = tz_conv_sweep()
        sweep.block_rows = Int32(Self.blockRows)
        sweep.end_block = 1
        sweep.rows = Int32(min(Self.blockRows, stencil.outputs - block * Self.blockRows))
        sweep.element = Self.elementSize
        sweep.out = output
        tz_conv_run_positions(engine.table, &tile, &sweep, (rows.count * width + lanes - 1) / lanes)
      }
    }
  }

  /// Where row 0 of a channel would lie beside those that have been computed, and elements between channels.
  func source(
    _ channel: Int, in buffer: UnsafeMutableRawPointer, rows: Range<Int>
  ) -> (base: UnsafeRawPointer, channel: Int) {
    let elements = channel % Self.blockRows * pitch - rows.lowerBound * width
    return (UnsafeRawPointer(buffer + elements * Self.elementSize), pitch)
  }
}

extension ConvolutionEngine {
  /// A convolution by itself, with the options that stand around it.
  struct Part {
    var geometry: ConvolutionGeometry
    var packed: PackedWeights
    var fusion: ConvolutionFusion
  }

  /// Computes a depthwise convolution of images and the pointwise one after it, and maybe a pointwise one before them, a
  /// tile of all after the other.
  ///
  /// What lies between stays in the cache of the thread that computes it.
  ///
  /// Every element is the same chain of multiply-adds as by one convolution after the other.
  ///
  /// - Returns: whether there are kernels for that, it is not too much work, and `output` has been computed.
  static func runSeparable(_ parts: [Part], input: Tensor, output: Tensor) throws -> Bool {
    let (first, second) = (parts[parts.count - 2], parts[parts.count - 1])
    let (one, two) = (first.packed.stencil, second.packed.stencil)
    guard output.count > 0, one.rowGroups.count == 1, two.isPointwise, two.groups == 1,
      first.geometry.rank == 2, first.fusion.residuals.isEmpty, second.fusion.inputSlope == 1,
      input.dtype == .float32, second.packed.type == .float32,
      let table = tz_conv_kernels(InstructionSet.current.code, TZ_F32)
    else { return false }
    let inner = [input.shape[2], input.shape[3]]
    let size = try first.geometry.outputSize(inner)
    let (batch, threads) = (input.shape[0], ThreadPool.shared.threadCount)
    func engine(
      _ part: Part, _ input: SpatialView, _ output: SpatialView, residuals: [Tensor] = []
    ) -> ConvolutionEngine {
      let addresses = residuals.map { UnsafeRawPointer($0.elements) }
      return ConvolutionEngine(
        packed: part.packed, table: table, input: input, output: output,
        residuals: (addresses.first, addresses.count > 1 ? addresses[1] : nil), fusion: part.fusion,
        mode: part.geometry.paddingMode, batch: batch, storedSize: Expansion.elementSize)
    }
    let isExpanded = parts.count > 2
    let expanded = SpatialView(size: [1, inner[0], inner[1]], base: input.elements)
    let middle = SpatialView(size: [1, size[0], size[1]], base: input.elements)
    let source = engine(first, isExpanded ? expanded : SpatialView(input, isFlat: false), middle)
    guard let images = ImageConvolution(source, one.rowGroups[0], try first.packed.layout(.narrow), groupIndex: 0)
    else { return false }
    let residuals = try second.fusion.residuals.map { try $0.strides == output.strides ? $0 : $0.laidOut(like: output) }
    let last = engine(second, middle, SpatialView(output, isFlat: false), residuals: residuals)
    let name = second.geometry.name
    let schedule = try second.packed.plan(
      rowGroup: 0, inputSize: middle.size, outputSize: middle.size, batch: batch, threads: threads, table: table,
      allowsInPlace: false, isProduced: true, name: name
    ) { _ in false }.schedule
    let tiling = schedule.tiling
    var expansion: Expansion?
    var work = Double(two.channels) * Double(two.outputs + one.rowGroups[0].tapCount)
    if isExpanded {
      guard SpatialView.isContiguous(input) else { return false }
      let bands = (0..<tiling.tilesHigh).map {
        images.inputRows(
          from: $0 * tiling.tileHeight, count: min(tiling.tileHeight, tiling.count[1] - $0 * tiling.tileHeight)
        ).count
      }
      guard Double(bands.reduce(0, +) * tiling.tilesWide) <= Self.mostRepeated * Double(inner[0]) else { return false }
      expansion = try Expansion(
        engine(parts[0], SpatialView(input, isFlat: true), expanded), rows: bands.max() ?? 0)
      guard expansion != nil else { return false }
      work += Double(parts[0].packed.stencil.channels) * Double(two.channels)
    }
    let task = TileTask(
      engine: last, layout: try second.packed.layout(schedule.kind), group: two.rowGroups[0], groupIndex: 0,
      tiling: tiling, splits: 1, readsInPlace: false,
      source: PanelSource(
        images: images, output: source.outputDescription(phases: nil, count: 1, wide: 1), expansion: expansion))
    try share(
      batch * tiling.tiles, work: work * Double(size.reduce(batch, *)), threads: threads,
      scratchBytes: task.scratchBytes, name: name
    ) { task.run($0, $1) }
    withExtendedLifetime((input, output, residuals, parts)) {}
    return true
  }

  /// How many times the rows of an image are expanded at most, those at the edges of bands more often than once.
  private static let mostRepeated = 1.2
}
