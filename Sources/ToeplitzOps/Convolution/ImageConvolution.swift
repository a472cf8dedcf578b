import CToeplitzKernels
import ToeplitzTensor

/// A depthwise convolution of images with a square kernel, computed from the input where it lies.
struct ImageConvolution {
  private let kernel: tz_conv_image_kernel
  private let image: tz_conv_image
  /// How far channels lie apart.
  private let distances: tz_conv_planes
  private let weights: UnsafeRawPointer
  private let starts: UnsafeRawPointer
  private let input: UnsafeMutableRawPointer
  /// Elements between samples.
  private let batch: Int

  /// Nil where there is no kernel for it.
  init?(_ engine: ConvolutionEngine, _ group: RowGroup, _ layout: PackedLayout, groupIndex: Int) {
    let (d, h, w) = (group.axes[0].offsets, group.axes[1].offsets, group.axes[2].offsets)
    let (stencil, view) = (engine.packed.stencil, engine.input)
    guard stencil.channels == 1, stencil.outputs == 1, stencil.outStep == [1, 1, 1], engine.mode == .zeros,
      engine.fusion.inputSlope == 1, layout.kind == .narrow, view.spatial[2] == 1, d == [0], view.size[0] == 1,
      engine.output.size[0] == 1, stencil.step[1] == stencil.step[2], h.count == w.count, let top = h.first,
      let left = w.first, h.elementsEqual(top..<(top + h.count)), w.elementsEqual(left..<(left + w.count)),
      let kernel = tz_conv_image_kernel_for(engine.table, h.count, stencil.step[1])
    else { return nil }
    self.kernel = kernel
    image = tz_conv_image(size: (view.size[1], view.size[2]), stride: view.spatial[1], lowest: (top, left))
    // Sections of the convolution groups are alike.
    let first = layout.sections[0][groupIndex]
    let next = layout.sections[min(1, stencil.groups - 1)][groupIndex]
    distances = tz_conv_planes(
      count: 1, input: view.channel, weights: next.weightOffset - first.weightOffset,
      start: next.startOffset - first.startOffset, output: engine.output.channel, element: engine.elementSize,
      stored: engine.storedSize)
    weights = layout.weightPointer(first)
    starts = layout.startPointer(first)
    input = view.base
    batch = view.batch
  }

  /// Computes an area of some channels of a sample.
  ///
  /// - Parameters:
  ///   - output: points at the first of the channels.
  ///   - distance: elements between channels of the output, if not those of the engine's.
  func run(
    _ channels: Range<Int>, sample: Int, _ area: tz_conv_area, _ output: inout tz_conv_output, distance: Int? = nil
  ) {
    var planes = distances
    planes.count = channels.count
    if let distance { planes.output = distance }
    var tile = tz_conv_tile()
    let first = channels.lowerBound
    tile.x = UnsafeRawPointer(input + (sample * batch + first * planes.input) * planes.stored)
    tile.w = weights + first * planes.weights * planes.element
    tile.start = starts + first * planes.start * planes.element
    withUnsafePointer(to: image) { image in
      withUnsafePointer(to: area) { area in
        withUnsafePointer(to: planes) { tz_conv_run_images(kernel, image, &tile, &output, area, $0) }
      }
    }
  }
}

/// What computes the panels of a pointwise convolution, instead of packing them: a depthwise convolution before it.
struct PanelSource {
  let images: ImageConvolution
  /// Its output, but for where that is.
  let output: tz_conv_output

  /// Fills a panel with some channels of an area.
  func fill(
    _ panel: UnsafeMutableRawPointer, _ channels: Range<Int>, sample: Int, _ area: tz_conv_area, distance: Int
  ) {
    var output = output
    output.y = panel
    output.stride = (0, area.pitch, 1)
    output.shift = area.first
    images.run(channels, sample: sample, area, &output, distance: distance)
  }
}

extension ConvolutionEngine {
  /// A convolution by itself, with the options that stand around it.
  struct Part {
    var geometry: ConvolutionGeometry
    var packed: PackedWeights
    var fusion: ConvolutionFusion
  }

  /// Computes a depthwise convolution of images and the pointwise one after it, a tile of both after the other.
  ///
  /// What lies between stays in the cache of the thread that computes it.
  ///
  /// Every element is the same chain of multiply-adds as by one convolution after the other.
  ///
  /// - Returns: whether there are kernels for that, and `output` has been computed.
  static func runSeparable(_ first: Part, _ second: Part, input: Tensor, output: Tensor) throws -> Bool {
    let (one, two) = (first.packed.stencil, second.packed.stencil)
    guard output.count > 0, one.rowGroups.count == 1, two.isPointwise, two.groups == 1,
      first.geometry.rank == 2, first.fusion.residuals.isEmpty, second.fusion.inputSlope == 1,
      input.dtype == .float32, second.packed.type == .float32,
      let table = tz_conv_kernels(InstructionSet.current.code, TZ_F32)
    else { return false }
    let size = [1] + (try first.geometry.outputSize(Array(input.shape.dimensions.suffix(2))))
    let (batch, threads) = (input.shape[0], ThreadPool.shared.threadCount)
    let middle = SpatialView(size: SIMD3(size), base: input.elements)
    let source = ConvolutionEngine(
      packed: first.packed, table: table, input: SpatialView(input, isFlat: false), output: middle,
      residuals: (nil, nil), fusion: first.fusion, mode: first.geometry.paddingMode, batch: batch,
      storedSize: input.dtype.byteSize)
    let firstLayout = try first.packed.layout(.narrow)
    guard let images = ImageConvolution(source, one.rowGroups[0], firstLayout, groupIndex: 0) else { return false }
    let residuals = try second.fusion.residuals.map { try $0.strides == output.strides ? $0 : $0.laidOut(like: output) }
    let addresses = residuals.map { UnsafeRawPointer($0.elements) }
    let engine = ConvolutionEngine(
      packed: second.packed, table: table, input: middle, output: SpatialView(output, isFlat: false),
      residuals: (addresses.first, addresses.count > 1 ? addresses[1] : nil), fusion: second.fusion, mode: .zeros,
      batch: batch, storedSize: input.dtype.byteSize)
    let name = second.geometry.name
    let schedule = try second.packed.plan(
      rowGroup: 0, inputSize: middle.size, outputSize: middle.size, batch: batch, threads: threads, table: table,
      allowsInPlace: false, isProduced: true, name: name
    ) { _ in false }.schedule
    let task = TileTask(
      engine: engine, layout: try second.packed.layout(schedule.kind), group: two.rowGroups[0], groupIndex: 0,
      tiling: schedule.tiling, splits: 1, readsInPlace: false,
      source: PanelSource(images: images, output: source.outputDescription(phases: nil, count: 1, wide: 1)))
    let work = Double(size.reduce(batch, *)) * Double(two.channels) * Double(two.outputs + one.rowGroups[0].tapCount)
    try share(
      batch * schedule.tiling.tiles, work: work, threads: threads, scratchBytes: task.scratchBytes, name: name
    ) { task.run($0, $1) }
    withExtendedLifetime((input, output, residuals, first.packed, second.packed)) {}
    return true
  }
}
