import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A depthwise convolution of images with a square kernel, or one of sequences to one channel in each group, computed from
/// the input where it lies.
struct UnpackedConvolution {
  private let kernel: tz_conv_image_kernel
  private let image: tz_conv_image
  /// Of sequences: how many taps there are, and how far they lie apart.
  private let taps: (count: Int, spacing: Int)
  /// How many channels each sum has, and how far they lie apart.
  private let channels: (count: Int, distance: Int)
  /// How far channels lie apart.
  private let distances: tz_conv_planes
  private let weights: UnsafeRawPointer
  private let starts: UnsafeRawPointer
  /// Elements between samples.
  private let batch: Int
  /// How many rows of the input an output reads, and how far on the next one reads.
  private let reach: (count: Int, step: Int)

  /// Nil where there is no kernel for it.
  init?(_ engine: ConvolutionEngine, _ group: RowGroup, _ layout: PackedLayout, groupIndex: Int) {
    let (d, h, w) = (group.axes[0].offsets, group.axes[1].offsets, group.axes[2].offsets)
    let (stencil, view) = (engine.packed.stencil, engine.input)
    guard stencil.outputs == 1, stencil.outStep == [1, 1, 1], engine.mode == .zeros,
      engine.epilogue.inputSlope == 1, layout.kind == .narrow, view.spatial[2] == 1, d == [0], view.size[0] == 1,
      engine.output.size[0] == 1, let top = h.first, let left = w.first
    else { return nil }
    let spacing = w.count > 1 ? w[1] - left : 0
    let isSequence = view.size[1] == 1 && engine.output.size[1] == 1 && h == [0] && stencil.step[2] == 1
    if isSequence, w.enumerated().allSatisfy({ $1 == left + $0 * spacing }) {
      kernel = tz_conv_line_kernel(engine.table)
    } else if stencil.channels == 1, stencil.step[1] == stencil.step[2], h.count == w.count,
      h.elementsEqual(top..<(top + h.count)),
      w.elementsEqual(left..<(left + w.count)),
      let square = tz_conv_image_kernel_for(engine.table, h.count, stencil.step[1])
    {
      kernel = square
    } else {
      return nil
    }
    taps = (w.count, spacing)
    channels = (stencil.channels, view.channel)
    image = tz_conv_image(
      size: (view.size[1], view.size[2]), stride: view.spatial[1], lowest: (top, left),
      is_finite: layout.isFinite(engine.packed.type))
    // Sections of the convolution groups are alike.
    let first = layout.sections[0][groupIndex]
    let next = layout.sections[min(1, stencil.groups - 1)][groupIndex]
    distances = tz_conv_planes(
      count: 1, input: stencil.channels * view.channel, weights: next.weightOffset - first.weightOffset,
      start: next.startOffset - first.startOffset, output: engine.output.channel, element: engine.elementSize,
      stored: engine.storedSize)
    weights = layout.weightPointer(first)
    starts = layout.startPointer(first)
    batch = view.batch
    reach = (h.count, stencil.step[1])
  }

  /// The rows of the input that an area is computed from.
  func inputRows(_ area: tz_conv_area) -> Range<Int> { inputRows(from: area.first.1, count: area.height) }

  /// The rows of the input that `count` rows of the output are computed from.
  func inputRows(from first: Int, count: Int) -> Range<Int> {
    let top = first * reach.step + image.lowest.0
    let low = min(max(0, top), image.size.0)
    return low..<max(low, min(image.size.0, top + (count - 1) * reach.step + reach.count))
  }

  /// Where row 0 of a channel lies, and elements between channels.
  typealias Source = (base: UnsafeRawPointer, channel: Int)

  /// Where a channel of a sample lies in the engine's input.
  func source(_ channel: Int, sample: Int, in input: UnsafeMutableRawPointer) -> Source {
    (UnsafeRawPointer(input + (sample * batch + channel * distances.input) * distances.stored), distances.input)
  }

  /// Computes an area of some channels of a sample's output.
  ///
  /// - Parameters:
  ///   - source: the first of the channels.
  ///   - output: points at the first of the channels.
  ///   - distance: elements between channels of the output, if not those of the engine's.
  func run(
    _ rows: Range<Int>, from source: Source, _ area: tz_conv_area, _ output: inout tz_conv_output, distance: Int? = nil
  ) {
    var planes = distances
    planes.count = rows.count
    planes.input = source.channel
    if let distance { planes.output = distance }
    var tile = tz_conv_tile()
    tile.taps = Int32(taps.count)
    tile.spacing = taps.spacing
    tile.channels = Int32(channels.count)
    tile.xs = channels.distance
    tile.x = source.base
    let first = rows.lowerBound
    tile.w = weights + first * planes.weights * planes.element
    tile.start = starts + first * planes.start * planes.element
    withUnsafePointer(to: image) { image in
      withUnsafePointer(to: area) { area in
        withUnsafePointer(to: planes) { kernel(&tile, &output, area, image, $0) }
      }
    }
  }
}
