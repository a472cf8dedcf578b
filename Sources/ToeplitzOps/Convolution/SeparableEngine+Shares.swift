import CToeplitzKernels
import ToeplitzTensor

extension ConvolutionEngine {
  /// A convolution by itself, with the options that stand around it.
  struct Part {
    var geometry: ConvolutionGeometry
    var packed: PackedWeights
    var fusion: ConvolutionFusion

    /// What computes it.
    func engine(
      _ table: UnsafePointer<tz_conv_table>, _ input: SpatialView, _ output: SpatialView, residuals: [Tensor] = [],
      batch: Int
    ) -> ConvolutionEngine {
      ConvolutionEngine(
        packed: packed, table: table, input: input, output: output, residuals: residuals, fusion: fusion,
        mode: geometry.paddingMode, batch: batch, storedSize: Expansion.elementSize)
    }
  }

  /// Computes a depthwise convolution of images and the pointwise one after it, and maybe a pointwise one before them,
  /// without sending all of what lies between through memory.
  ///
  /// Every element is the same chain of multiply-adds as by one convolution after the other.
  ///
  /// - Returns: whether there are kernels for that, it is not too much work, and `output` has been computed.
  static func runSeparable(_ parts: [Part], input: Tensor, output: Tensor) throws -> Bool {
    let (one, two) = (parts[parts.count - 2].packed.stencil, parts[parts.count - 1].packed.stencil)
    guard output.count > 0, one.rowGroups.count == 1, two.isPointwise, two.groups == 1,
      parts[parts.count - 2].geometry.rank == 2, parts[parts.count - 2].fusion.residuals.isEmpty,
      parts[parts.count - 1].fusion.inputSlope == 1, input.dtype == .float32,
      parts[parts.count - 1].packed.type == .float32,
      let table = tz_conv_kernels(InstructionSet.current.code, TZ_F32)
    else { return false }
    if parts.count > 2 {
      guard SpatialView.isContiguous(input) else { return false }
      let size = try parts[1].geometry.outputSize([input.shape[2], input.shape[3]])
      if mostBands(parts[1].geometry, rows: size[0]) * input.shape[0] < ThreadPool.shared.threadCount {
        // So few bands would leave threads without work.
        return try runChannels(parts, input: input, output: output, table: table)
      }
    }
    return try runBands(parts, input: input, output: output, table: table)
  }

  /// Cuts the image into bands of rows, and computes all convolutions of one band after the other.
  ///
  /// What lies between stays in the cache of the thread that computes it.
  private static func runBands(
    _ parts: [Part], input: Tensor, output: Tensor, table: UnsafePointer<tz_conv_table>
  ) throws -> Bool {
    let (first, second) = (parts[parts.count - 2], parts[parts.count - 1])
    let (one, two) = (first.packed.stencil, second.packed.stencil)
    let inner = [input.shape[2], input.shape[3]]
    let size = try first.geometry.outputSize(inner)
    let (batch, threads) = (input.shape[0], ThreadPool.shared.threadCount)
    let isExpanded = parts.count > 2
    let expanded = SpatialView(size: [1, inner[0], inner[1]], base: input.elements)
    let middle = SpatialView(size: [1, size[0], size[1]], base: input.elements)
    let source = first.engine(
      table, isExpanded ? expanded : SpatialView(input, isFlat: false), middle, batch: batch)
    guard let images = ImageConvolution(source, one.rowGroups[0], try first.packed.layout(.narrow), groupIndex: 0)
    else { return false }
    let residuals = try second.fusion.residuals.map { try $0.strides == output.strides ? $0 : $0.laidOut(like: output) }
    let last = second.engine(
      table, middle, SpatialView(output, isFlat: false), residuals: residuals, batch: batch)
    let name = second.geometry.name
    let schedule = try second.packed.plan(
      rowGroup: 0, inputSize: middle.size, outputSize: middle.size, batch: batch, threads: threads, table: table,
      allowsInPlace: false, mostBands: isExpanded ? mostBands(first.geometry, rows: size[0]) : .max, name: name
    ) { _ in false }.schedule
    let tiling = schedule.tiling
    var expansion: Expansion?
    var work = Double(two.channels) * Double(two.outputs + one.rowGroups[0].tapCount)
    if isExpanded {
      let bands = (0..<tiling.tilesHigh).map {
        images.inputRows(
          from: $0 * tiling.tileHeight, count: min(tiling.tileHeight, tiling.count[1] - $0 * tiling.tileHeight)
        ).count
      }
      guard Double(bands.reduce(0, +) * tiling.tilesWide) <= Self.mostRepeated * Double(inner[0]) else { return false }
      expansion = try Expansion(
        parts[0].engine(table, SpatialView(input, isFlat: true), expanded, batch: batch), rows: bands.max() ?? 0)
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

  /// Bands of an image of `rows` output rows that do not repeat more.
  private static func mostBands(_ depthwise: ConvolutionGeometry, rows: Int) -> Int {
    // Each edge between two bands repeats the rows that both read.
    let shared = depthwise.kernelSize[0] - depthwise.stride[0]
    return shared > 0 ? 1 + Int((mostRepeated - 1) * Double(rows * depthwise.stride[0])) / shared : rows
  }

  /// Shares the channels of the first two convolutions among the threads, then computes the last one.
  ///
  /// In small images bands would repeat too many rows, and each thread would read all weights.
  private static func runChannels(
    _ parts: [Part], input: Tensor, output: Tensor, table: UnsafePointer<tz_conv_table>
  ) throws -> Bool {
    let (expand, depthwise, project) = (parts[0], parts[1], parts[2])
    let (batch, threads) = (input.shape[0], ThreadPool.shared.threadCount)
    let (stencil, channels) = (expand.packed.stencil, project.packed.stencil.channels)
    let inner = [input.shape[2], input.shape[3]]
    let size = try depthwise.geometry.outputSize(inner)
    let name = expand.geometry.name
    let read = SpatialView(input, isFlat: true)
    guard stencil.isPointwise, stencil.groups == 1, read.hasSlack, expand.fusion.inputSlope == 1,
      expand.fusion.residuals.isEmpty
    else { return false }
    // All positions at once; the threads share rows.
    let schedule = try expand.packed.plan(
      rowGroup: 0, inputSize: read.size, outputSize: read.size, batch: batch, threads: 1, table: table,
      allowsInPlace: true, name: name
    ) { _ in true }.schedule
    guard schedule.tiling.tiles == 1 else { return false }
    let expanded = try Tensor(
      uninitialized: [batch, channels, inner[0], inner[1]], dtype: .float32, operation: name)
    let middle = try Tensor(uninitialized: [batch, channels, size[0], size[1]], dtype: .float32, operation: name)
    let first = expand.engine(table, read, SpatialView(expanded, isFlat: true), batch: batch)
    let second = depthwise.engine(
      table, SpatialView(expanded, isFlat: false), SpatialView(middle, isFlat: false), batch: batch)
    guard
      let images = ImageConvolution(
        second, depthwise.packed.stencil.rowGroups[0], try depthwise.packed.layout(.narrow), groupIndex: 0)
    else { return false }
    let layout = try expand.packed.layout(schedule.kind)
    let section = layout.sections[0][0]
    let splits = min(section.blocks, partsForEachThread * threads)
    let task = TileTask(
      engine: first, layout: layout, group: stencil.rowGroups[0], groupIndex: 0, tiling: schedule.tiling,
      splits: splits, readsInPlace: true)
    let area = tz_conv_area(first: (0, 0, 0), height: size[0], width: size[1], pitch: size[1])
    let taps = depthwise.packed.stencil.rowGroups[0].tapCount
    try share(
      batch * splits,
      work: Double(batch * channels) * Double(stencil.channels * inner[0] * inner[1] + taps * size[0] * size[1]),
      threads: threads, scratchBytes: task.scratchBytes, name: name
    ) { units, memory in
      var description = second.outputDescription(phases: nil, count: 1, wide: 1)
      for unit in units {
        task.run(unit..<(unit + 1), memory)
        let (sample, split) = unit.quotientAndRemainder(dividingBy: splits)
        let blocks = (split * section.blocks / splits)..<((split + 1) * section.blocks / splits)
        let rows = (blocks.lowerBound * section.blockRows)..<min(channels, blocks.upperBound * section.blockRows)
        second.move(&description, sample: sample, channel: rows.lowerBound)
        images.run(rows, sample: sample, area, &description)
      }
    }
    try run(project.geometry, packed: project.packed, input: middle, output: output, fusion: project.fusion)
    withExtendedLifetime((input, expanded, parts)) {}
    return true
  }

  /// Parts of the channels for each thread: a slow one falls behind without stopping the others.
  private static let partsForEachThread = 4
}
