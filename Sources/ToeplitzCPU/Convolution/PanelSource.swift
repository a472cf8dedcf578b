import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// What computes the panels of a pointwise convolution, instead of packing them: a depthwise convolution before it, and maybe
/// a pointwise one before that.
struct PanelSource {
  let images: UnpackedConvolution
  /// The depthwise convolution, and its output but for where that is.
  private let engine: ConvolutionEngine
  private let output: tz_conv_output
  private let expansion: Expansion?

  init(_ images: UnpackedConvolution, _ engine: ConvolutionEngine, _ expansion: Expansion?) {
    self.images = images
    self.engine = engine
    self.expansion = expansion
    output = engine.outputDescription(phases: nil, count: 1, wide: 1)
  }

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
      images.run(
        channels, from: images.source(channels.lowerBound, sample: sample, in: engine.input.base), area, &output,
        distance: distance)
      return
    }
    let rows = images.inputRows(area)
    var next = channels.lowerBound
    while next < channels.upperBound {
      let block = next / Expansion.blockRows
      let end = min(channels.upperBound, (block + 1) * Expansion.blockRows)
      expansion.compute(block, sample: sample, rows: rows, into: scratch)
      images.run(
        next..<end, from: expansion.source(next, in: scratch, rows: rows), area, &output, distance: distance)
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
  private let chunking: ColumnChunking
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
      engine.epilogue.inputSlope == 1, engine.isComputedAsStored
    else { return nil }
    self.engine = engine
    layout = try engine.packed.layout(.narrow)
    section = layout.sections[0][0]
    chunking = ColumnChunking(.narrow, blockRows: Self.blockRows, table: engine.table)
    width = engine.output.size[2]
    pitch = spreadPitch(rows * width, elementSize: Self.elementSize)
  }

  /// Bytes of a block of channels.
  var byteCount: Int { Self.blockRows * pitch * Self.elementSize }

  /// Computes some rows of the channels of a block.
  func compute(_ block: Int, sample: Int, rows: Range<Int>, into buffer: UnsafeMutableRawPointer) {
    let stencil = engine.packed.stencil
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
        chunking.withPieces(width: rows.count * width) { piece, _ in
          piece.output = piece.column
        } _: { pieces in
          sweep.pieces = pieces.baseAddress
          sweep.piece_count = pieces.count
          tz_conv_run(engine.table, &tile, &sweep)
        }
      }
    }
  }

  /// Where row 0 of a channel would lie beside those that have been computed, and elements between channels.
  func source(_ channel: Int, in buffer: UnsafeMutableRawPointer, rows: Range<Int>) -> UnpackedConvolution.Source {
    let elements = channel % Self.blockRows * pitch - rows.lowerBound * width
    return (UnsafeRawPointer(buffer + elements * Self.elementSize), pitch)
  }
}
