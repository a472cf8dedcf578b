import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The work on a tile of output positions of a residual unit: both convolutions, the values between them in the cache.
///
/// The first convolution computes the tile and what the second one's taps reach on either side of it into scratch memory,
/// rectified, with zeros where the padding is. That memory is the second one's panel. What neighbouring tiles both need
/// is computed twice, always by the same chain of multiply-adds.
struct ResidualUnitTask {
  let table: UnsafePointer<tz_conv_table>
  private(set) var input: SpatialView
  private(set) var output: SpatialView
  private(set) var residuals: (UnsafeRawPointer?, UnsafeRawPointer?) = (nil, nil)
  let inputSlope: Double
  /// Values between the convolutions below zero are multiplied by this.
  let middleSlope: Double
  let outputScale: Double
  let ending: KernelEpilogue
  private let first: ResidualStage
  private let second: ResidualStage
  private let elementSize: Int
  /// Positions of the values between the convolutions.
  private let middleSize: Int
  /// Output positions of a tile.
  private let width: Int
  /// Tiles of a sample.
  let tiles: Int
  /// Elements from channel to channel of the first panel and of the middle.
  private let panelPitch: Int
  private let middlePitch: Int
  private let panelBytes: Int
  private let middleBytes: Int
  private let partialBytes: Int
  private let pieceBytes: Int

  init(
    _ schedule: ResidualUnitSchedule, first: ResidualStage, second: ResidualStage, epilogue: Epilogue,
    middleSlope: Double, input: SpatialView, output: SpatialView, middleSize: Int, table: UnsafePointer<tz_conv_table>
  ) {
    self.table = table
    self.input = input
    self.output = output
    self.first = first
    self.second = second
    self.middleSlope = middleSlope
    self.middleSize = middleSize
    inputSlope = epilogue.inputSlope
    outputScale = epilogue.outputScale
    ending = KernelEpilogue(epilogue)
    elementSize = first.elementSize
    width = schedule.width
    tiles = schedule.tiles
    let middleColumns = first.roundedUp(width + second.span)
    panelPitch = spreadPitch(middleColumns + first.span, elementSize: elementSize)
    middlePitch = spreadPitch(middleColumns, elementSize: elementSize)
    // Kernels read whole vectors, up to a call's width past the last column.
    let slack = max(first.chunking.most, second.chunking.most)
    func bytes(_ elements: Int) -> Int { ((elements + slack) * first.elementSize + 63) / 64 * 64 }
    panelBytes = bytes(first.mostChannels * panelPitch)
    middleBytes = bytes(second.channels * middlePitch)
    let partials = max(
      first.partialBytes(columns: middleColumns), second.partialBytes(columns: second.roundedUp(width)))
    partialBytes = (partials + 63) / 64 * 64
    pieceBytes = max(
      first.pieceBytes(columns: middleColumns), second.pieceBytes(columns: second.roundedUp(width)))
  }

  /// Goes on with other tensors, which lie like those that it was made for; the caller keeps them alive.
  ///
  /// - Parameter residuals: at most two, with the output's strides.
  mutating func bind(input: Tensor, output: Tensor, residuals: [Tensor]) {
    self.input.base = input.elements
    self.output.base = output.elements
    self.residuals = residuals.addresses
  }

  /// Scratch memory that ``run(_:_:)`` needs.
  var scratchBytes: Int { panelBytes + middleBytes + partialBytes + pieceBytes }

  /// Computes units of batch × tiles.
  func run(_ units: Range<Int>, _ memory: UnsafeMutableRawPointer) {
    var phase: (Int32, Int32, Int32) = (0, 0, 0)
    withUnsafePointer(to: &phase) { phase in
      for unit in units {
        let (sample, tile) = unit.quotientAndRemainder(dividingBy: tiles)
        computeMiddle(sample, tile, memory)
        computeOutput(sample, tile, memory, phase)
      }
    }
  }

  /// The outputs of a tile: the first and how many.
  private func positions(_ tile: Int) -> (first: Int, count: Int) {
    let start = tile * width
    return (start, min(width, output.size[2] - start))
  }

  private func computeMiddle(_ sample: Int, _ tile: Int, _ memory: UnsafeMutableRawPointer) {
    let (start, count) = positions(tile)
    let middle = memory + panelBytes
    // The position of the middle's column 0, and how many are needed.
    let origin = start + second.lowest
    let needed = count + second.span
    let columns = first.roundedUp(needed)
    let target = ResidualStage.Target(y: middle, rowStride: middlePitch, slope: middleSlope, wholeColumns: columns)
    for part in 0..<first.channelBlocks {
      pack(sample, first.channelRange(part), origin + first.lowest, columns + first.span, memory)
      first.run(
        part: part, panel: memory, pitch: panelPitch, columns: columns, partials: middle + middleBytes,
        pieces: middle + middleBytes + partialBytes, target: target, table: table, store: nil)
    }
    // Padding is zeros of the rectified values.
    let low = min(needed, max(0, -origin))
    let high = max(low, min(needed, middleSize - origin))
    for channel in 0..<second.channels where low > 0 || high < needed {
      let row = middle + channel * middlePitch * elementSize
      row.initializeMemory(as: UInt8.self, repeating: 0, count: low * elementSize)
      (row + high * elementSize).initializeMemory(as: UInt8.self, repeating: 0, count: (needed - high) * elementSize)
    }
  }

  private func computeOutput(
    _ sample: Int, _ tile: Int, _ memory: UnsafeMutableRawPointer, _ phase: UnsafePointer<(Int32, Int32, Int32)>
  ) {
    let (start, count) = positions(tile)
    let middle = memory + panelBytes
    let distance = sample * output.batch * elementSize
    let y = output.base + distance
    let residual = (residuals.0.map { $0 + distance }, residuals.1.map { $0 + distance })
    var description = tz_conv_output()
    description.y = y
    description.residual = residual
    description.scale = outputScale
    description.slope = ending.slope
    description.bounded = ending.ceiling != nil
    description.ceiling = ending.ceiling ?? 0
    description.channel = output.channel
    description.stride = (0, 0, 1)
    description.size = (1, 1, output.size[2])
    description.step = (1, 1, 1)
    description.phases = phase
    description.phase_count = 1
    description.wide = 1
    if let activation = ending.activation { (description.activation, description.a, description.b) = activation }
    var area = tz_conv_area(first: (0, 0, start), height: 1, width: count, pitch: count)
    let offset = start * elementSize
    let target = ResidualStage.Target(
      y: y + offset, rowStride: output.channel,
      residual: (residual.0.map { $0 + offset }, residual.1.map { $0 + offset }), scale: outputScale,
      slope: ending.slope, ceiling: ending.ceiling, wholeColumns: count)
    let columns = second.roundedUp(count)
    withUnsafePointer(to: &description) { description in
      withUnsafePointer(to: &area) { area in
        for part in 0..<second.channelBlocks {
          second.run(
            part: part, panel: middle + second.channelRange(part).lowerBound * middlePitch * elementSize,
            pitch: middlePitch, columns: columns, partials: middle + middleBytes,
            pieces: middle + middleBytes + partialBytes, target: target, table: table,
            store: (description, area))
        }
      }
    }
  }

  /// Packs `count` positions from `origin` on of some input channels.
  private func pack(
    _ sample: Int, _ channels: Range<Int>, _ origin: Int, _ count: Int, _ panel: UnsafeMutableRawPointer
  ) {
    var zero = 0
    withUnsafePointer(to: &zero) { zero in
      let single = tz_pack_axis(size: 1, stride: 0, first: 0, count: 1, step: 1, phases: zero, phase_count: 1)
      var request = tz_pack()
      request.x = UnsafeRawPointer(
        input.base + (sample * input.batch + channels.lowerBound * input.channel) * elementSize)
      request.panel = panel
      request.channels = Int32(channels.count)
      request.x_channel = input.channel
      request.panel_channel = panelPitch
      request.panel_row = panelPitch
      request.mode = Int32(PaddingMode.zeros.kernelCode)
      request.slope = inputSlope
      request.axis = (
        single, single,
        tz_pack_axis(
          size: input.size[2], stride: input.spatial[2], first: origin, count: count, step: 1, phases: zero,
          phase_count: 1)
      )
      tz_conv_pack(table, &request)
    }
  }
}
