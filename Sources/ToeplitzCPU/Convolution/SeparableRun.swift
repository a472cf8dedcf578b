import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A convolution among those of a ``SeparableRun``, with the options that stand around it.
struct SeparablePart {
  var geometry: ConvolutionGeometry
  var packed: PackedWeights
  var runs: IdleObjects<ConvolutionRun>
  var epilogue: Epilogue

  /// What computes it.
  fileprivate func engine(
    _ table: UnsafePointer<tz_conv_table>, _ input: SpatialView, _ output: SpatialView, batch: Int
  ) -> ConvolutionEngine {
    ConvolutionEngine(
      packed: packed, table: table, input: input, output: output, epilogue: epilogue,
      mode: geometry.paddingMode, batch: batch, storedSize: Expansion.elementSize)
  }
}

/// A depthwise convolution of images and the pointwise one after it, and maybe a pointwise one before them, ready to be computed
/// without sending all of what lies between through memory.
///
/// Every element is the same chain of multiply-adds as by one convolution after the other. What does not depend on where the
/// tensors lie has been found out: a call may take a tenth of a millisecond. One caller at a time may use it.
final class SeparableRun {
  /// What it has been made for.
  private let form: ConvolutionRun.Form
  private let way: any SeparableWay

  /// Nil where there are no kernels for that, or it would be too much work.
  ///
  /// - Parameters:
  ///   - parts: the convolutions, two or three, of supported geometries; the residuals of the last come with each run.
  ///   - input: one like those that each run will get; so is `output`.
  static func make(_ parts: [SeparablePart], input: Tensor, output: Tensor) throws -> SeparableRun? {
    let (first, second) = (parts[parts.count - 2], parts[parts.count - 1])
    guard output.count > 0, first.packed.stencil.rowGroups.count == 1,
      second.packed.stencil.isPointwise, second.packed.stencil.groups == 1, first.geometry.rank == 2,
      second.epilogue.inputSlope == 1, input.dtype == .float32, second.packed.type == .float32
    else { return nil }
    let form = try Self.form(input, output)
    if parts.count > 2 {
      guard SpatialView.isContiguous(input) else { return nil }
      let size = try parts[1].geometry.outputSize([input.shape[2], input.shape[3]])
      if SharedBands.most(parts[1].geometry, rows: size[0]) * input.shape[0] < form.threads {
        // So few bands would leave threads without work.
        return try SharedChannels(parts, input: input, output: output, form).map { SeparableRun(form, $0) }
      }
    }
    return try SharedBands(parts, input: input, output: output, form).map { SeparableRun(form, $0) }
  }

  private init(_ form: ConvolutionRun.Form, _ way: any SeparableWay) {
    self.form = form
    self.way = way
  }

  /// Whether it may be run with these tensors, which have the sizes of those that it was made for.
  func fits(input: Tensor, output: Tensor) throws -> Bool { try Self.form(input, output) == form }

  private static func form(_ input: Tensor, _ output: Tensor) throws -> ConvolutionRun.Form {
    try ConvolutionRun.Form(input, output, Epilogue(), name: "separable_conv")
  }

  /// Computes into `output`, which nobody else has seen yet.
  ///
  /// - Parameter residuals: at most two, of the output's shape.
  func callAsFunction(input: Tensor, output: Tensor, residuals: [Tensor]) throws {
    try way.run(input: input, output: output, residuals: residuals, threads: form.threads)
  }
}

/// A way to share the work of a ``SeparableRun`` among the threads.
private protocol SeparableWay {
  func run(input: Tensor, output: Tensor, residuals: [Tensor], threads: Int) throws
}

/// Cuts the image into bands of rows, and computes all convolutions of one band after the other.
///
/// What lies between stays in the cache of the thread that computes it.
private struct SharedBands: SeparableWay {
  /// What reads the input, and what writes the output.
  private let reader: ConvolutionEngine
  private let writer: ConvolutionEngine
  private let task: TileTask
  private let work: Double
  private let name: String

  init?(_ parts: [SeparablePart], input: Tensor, output: Tensor, _ form: ConvolutionRun.Form) throws {
    let (first, second) = (parts[parts.count - 2], parts[parts.count - 1])
    let (one, two) = (first.packed.stencil, second.packed.stencil)
    let inner = [input.shape[2], input.shape[3]]
    let size = try first.geometry.outputSize(inner)
    let (batch, table) = (input.shape[0], form.table)
    let isExpanded = parts.count > 2
    let expanded = SpatialView(size: [1, inner[0], inner[1]], base: input.elements)
    let middle = SpatialView(size: [1, size[0], size[1]], base: input.elements)
    let depthwise = first.engine(
      table, isExpanded ? expanded : SpatialView(input, isFlat: false), middle, batch: batch)
    guard
      let images = UnpackedConvolution(depthwise, one.rowGroups[0], try first.packed.layout(.narrow), groupIndex: 0)
    else { return nil }
    writer = second.engine(table, middle, SpatialView(output, isFlat: false), batch: batch)
    name = second.geometry.name
    let request = ConvolutionPlan.Request(
      inputSize: middle.size, outputSize: middle.size, batch: batch, threads: form.threads, table: table,
      mostBands: isExpanded ? Self.most(first.geometry, rows: size[0]) : .max)
    let schedule = try second.packed.schedule(request, name: name) { _ in false }
    let tiling = schedule.tiling
    var expansion: Expansion?
    var each = Double(two.channels) * Double(two.outputs + one.rowGroups[0].tapCount)
    if isExpanded {
      let bands = (0..<tiling.tilesHigh).map {
        images.inputRows(
          from: $0 * tiling.tileHeight, count: min(tiling.tileHeight, tiling.count[1] - $0 * tiling.tileHeight)
        ).count
      }
      guard Double(bands.reduce(0, +) * tiling.tilesWide) <= Self.mostRepeated * Double(inner[0]) else { return nil }
      reader = parts[0].engine(table, SpatialView(input, isFlat: true), expanded, batch: batch)
      expansion = try Expansion(reader, rows: bands.max() ?? 0)
      guard expansion != nil else { return nil }
      each += Double(parts[0].packed.stencil.channels) * Double(two.channels)
    } else {
      reader = depthwise
    }
    work = each * Double(size.reduce(batch, *))
    task = TileTask(
      engine: writer, layout: try second.packed.layout(schedule.kind), group: two.rowGroups[0], groupIndex: 0,
      tiling: tiling, splits: 1, threads: form.threads, readsInPlace: false,
      source: PanelSource(images, depthwise, expansion))
  }

  /// How many times the rows of an image are expanded at most, those at the edges of bands more often than once.
  private static let mostRepeated = 1.2

  /// Bands of an image of `rows` output rows that do not repeat more.
  static func most(_ depthwise: ConvolutionGeometry, rows: Int) -> Int {
    // Each edge between two bands repeats the rows that both read.
    let shared = depthwise.kernelSize[0] - depthwise.stride[0]
    return shared > 0 ? 1 + Int((mostRepeated - 1) * Double(rows * depthwise.stride[0])) / shared : rows
  }

  func run(input: Tensor, output: Tensor, residuals: [Tensor], threads: Int) throws {
    let residuals = try residuals.laidOut(like: output)
    reader.bind(input: input)
    writer.bind(output: output, residuals: residuals)
    let task = task
    try ConvolutionEngine.share(
      task.units, work: work, threads: threads, scratchBytes: task.scratchBytes, name: name
    ) { task.run($0) }
    withExtendedLifetime((input, output, residuals)) {}
  }
}

/// Shares the channels of the first two convolutions among the threads, then computes the last one.
///
/// In small images bands would repeat too many rows, and each thread would read all weights.
private struct SharedChannels: SeparableWay {
  private let expand: ConvolutionEngine
  private let depthwise: ConvolutionEngine
  private let images: UnpackedConvolution
  private let project: SeparablePart
  private let task: TileTask
  private let section: PackedLayout.Section
  private let expandedShape: TensorShape
  private let middleShape: TensorShape
  private let work: Double
  private let name: String

  /// Parts of the channels for each thread: a slow one falls behind without stopping the others.
  private static let partsForEachThread = 4

  init?(_ parts: [SeparablePart], input: Tensor, output: Tensor, _ form: ConvolutionRun.Form) throws {
    let (first, second) = (parts[0], parts[1])
    project = parts[2]
    let (batch, table) = (input.shape[0], form.table)
    let (stencil, channels) = (first.packed.stencil, project.packed.stencil.channels)
    let inner = [input.shape[2], input.shape[3]]
    let size = try second.geometry.outputSize(inner)
    name = first.geometry.name
    let read = SpatialView(input, isFlat: true)
    guard stencil.isPointwise, stencil.groups == 1, read.hasSlack, first.epilogue.inputSlope == 1 else { return nil }
    // All positions at once; the threads share rows.
    let request = ConvolutionPlan.Request(
      inputSize: read.size, outputSize: read.size, batch: batch, threads: 1, table: table, allowsInPlace: true)
    let schedule = try first.packed.schedule(request, name: name) { _ in true }
    guard schedule.tiling.tiles == 1 else { return nil }
    expandedShape = [batch, channels, inner[0], inner[1]]
    middleShape = [batch, channels, size[0], size[1]]
    let expanded = try Tensor(uninitialized: expandedShape, dtype: .float32, operation: name)
    let middle = try Tensor(uninitialized: middleShape, dtype: .float32, operation: name)
    expand = first.engine(table, read, SpatialView(expanded, isFlat: true), batch: batch)
    depthwise = second.engine(
      table, SpatialView(expanded, isFlat: false), SpatialView(middle, isFlat: false), batch: batch)
    let group = second.packed.stencil.rowGroups[0]
    guard let images = UnpackedConvolution(depthwise, group, try second.packed.layout(.narrow), groupIndex: 0)
    else { return nil }
    self.images = images
    let layout = try first.packed.layout(schedule.kind)
    section = layout.sections[0][0]
    task = TileTask(
      engine: expand, layout: layout, group: stencil.rowGroups[0], groupIndex: 0, tiling: schedule.tiling,
      splits: min(section.blocks, Self.partsForEachThread * form.threads), threads: 1, readsInPlace: true)
    work =
      Double(batch * channels)
      * Double(stencil.channels * inner[0] * inner[1] + group.tapCount * size[0] * size[1])
  }

  func run(input: Tensor, output: Tensor, residuals: [Tensor], threads: Int) throws {
    let expanded = try Tensor(uninitialized: expandedShape, dtype: .float32, operation: name)
    let middle = try Tensor(uninitialized: middleShape, dtype: .float32, operation: name)
    expand.bind(input: input, output: expanded)
    depthwise.bind(input: expanded, output: middle)
    let (height, width, channels) = (middleShape[2], middleShape[3], middleShape[1])
    let area = tz_conv_area(first: (0, 0, 0), height: height, width: width, pitch: width)
    let (task, images, depthwise, section) = (task, images, depthwise, section)
    try ConvolutionEngine.share(
      task.units, work: work, threads: threads, scratchBytes: task.scratchBytes, name: name
    ) { work in
      var description = depthwise.outputDescription(phases: nil, count: 1, wide: 1)
      for unit in work.units {
        task.run(ConvolutionEngine.Work(units: unit..<(unit + 1), next: nil, memory: work.memory))
        let (sample, split) = unit.quotientAndRemainder(dividingBy: task.splits)
        let blocks = (split * section.blocks / task.splits)..<((split + 1) * section.blocks / task.splits)
        let rows = (blocks.lowerBound * section.blockRows)..<min(channels, blocks.upperBound * section.blockRows)
        depthwise.move(&description, sample: sample, channel: rows.lowerBound)
        images.run(
          rows, from: images.source(rows.lowerBound, sample: sample, in: depthwise.input.base), area, &description)
      }
    }
    try ConvolutionEngine.run(
      project.geometry, packed: project.packed, runs: project.runs, input: middle, output: output,
      epilogue: project.epilogue, residuals: residuals)
    withExtendedLifetime((input, expanded)) {}
  }
}
