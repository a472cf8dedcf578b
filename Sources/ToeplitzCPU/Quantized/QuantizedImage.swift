import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// Sizes of a convolution seen with two spatial axes, and its input with channels last.
struct QuantizedImage {
  /// Bytes with a border, channels last.
  struct Source: @unchecked Sendable {
    var base: UnsafeMutablePointer<UInt8>
    var sample: Int
    var row: Int
    var pixel: Int
    /// What keeps the memory.
    var owner: Tensor
  }
  var batch = 1
  var height = 1
  var width: Int
  var channels: Int
  var outputHeight = 1
  var outputWidth: Int
  var kernel = (h: 1, w: 1)
  var stride = (h: 1, w: 1)
  var dilation = (h: 1, w: 1)
  var low = (h: 0, w: 0)
  var high = (h: 0, w: 0)
  /// Elements between samples, rows, pixels and channels of the input.
  private var strides = [0, 0, 0, 1]

  init(_ operation: QuantizedConvolution, _ x: Tensor, _ output: TensorSpec) throws {
    let g = operation.convolution.geometry
    channels = g.inChannels
    let view = try operation.convolution.canonical(x)
    if g.rank == 1 {
      (batch, width) = (view.shape[0], view.shape[2])
      outputWidth = operation.convolution.isLinear ? width : output.shape[output.shape.rank - 1]
      strides = [view.strides[0], 0, view.strides[2], view.strides[1]]
      (kernel.w, stride.w, dilation.w) = (g.kernelSize[0], g.stride[0], g.dilation[0])
      (low.w, high.w) = (g.paddingLow[0], g.paddingHigh[0])
      return
    }
    (batch, height, width) = (view.shape[0], view.shape[2], view.shape[3])
    (outputHeight, outputWidth) = (output.shape[output.shape.rank - 2], output.shape[output.shape.rank - 1])
    strides = [view.strides[0], view.strides[2], view.strides[3], view.strides[1]]
    (kernel, stride) = ((g.kernelSize[0], g.kernelSize[1]), (g.stride[0], g.stride[1]))
    dilation = (g.dilation[0], g.dilation[1])
    (low, high) = ((g.paddingLow[0], g.paddingLow[1]), (g.paddingHigh[0], g.paddingHigh[1]))
  }

  /// Whether output pixels of all rows and samples follow one another in the input as they do in the output.
  func isFlat(_ source: Source) -> Bool {
    kernel == (1, 1) && stride == (1, 1) && source.row == source.pixel * width
      && (batch == 1 || source.sample == source.row * height)
  }

  /// The input as unsigned bytes with channels last and a border that holds the zero point: where it lies, or a copy.
  func bordered(_ x: Tensor, zero: UInt8) throws -> Source {
    let isSigned = x.dtype == .int8
    let hasBorder = low != (0, 0) || high != (0, 0)
    if !hasBorder, !isSigned, strides[3] == 1 || channels == 1, !x.isBorrowed {
      return Source(
        base: x.elements.assumingMemoryBound(to: UInt8.self), sample: strides[0], row: strides[1], pixel: strides[2],
        owner: x)
    }
    let (rows, columns) = (height + low.h + high.h, width + low.w + high.w)
    let copy = try Tensor(
      uninitialized: [batch, rows, columns, channels], dtype: .uint8, operation: "border")
    let (from, to) = (x.elements.assumingMemoryBound(to: UInt8.self), copy.pointer(UInt8.self))
    let (strides, channels, width, height, low, high) = (strides, channels, width, height, low, high)
    ThreadPool.shared.runRows(batch * rows, width: columns * channels / 4 + 1) { range in
      for row in range {
        let (sample, h) = (row / rows, row % rows - low.h)
        let target = to + row * columns * channels
        guard (0..<height).contains(h) else {
          target.update(repeating: zero, count: columns * channels)
          continue
        }
        target.update(repeating: zero, count: low.w * channels)
        tz_bytes_interleave(
          from + sample * strides[0] + h * strides[1], strides[3], strides[2], channels, width, isSigned ? 0x80 : 0,
          target + low.w * channels)
        (target + (low.w + width) * channels).update(repeating: zero, count: high.w * channels)
      }
    }
    withExtendedLifetime(x) {}
    return Source(
      base: to, sample: rows * columns * channels, row: columns * channels, pixel: channels, owner: copy)
  }
}
