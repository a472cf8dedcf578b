import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A convolution or linear map of whole numbers: what dequantised operands would give, quantised again.
///
/// The sums are exact in int32: `y = clamp(round(float(sum) · (sx · sw / sy)) + zy)`, the same bits on every instruction set.
/// Operands are x, its scale and zero point, the int8 weight, its scales (one, or one for each output channel) and zero points
/// (all zero), scale and zero point of the result, and maybe a bias: int32 in units of `sx · sw`, or float32.
struct QuantizedConvolution: TensorOperation {
  var convolution: ConvolutionOperation
  /// Results are kept within these numbers before they are quantised.
  var low = -Double.infinity
  var high = Double.infinity

  var name: String { "Quantized\(convolution.name)" }

  /// The geometry with two spatial axes; nil where that is not possible.
  static func supports(_ convolution: ConvolutionOperation) -> Bool {
    let g = convolution.geometry
    if g.isTransposed || g.inChannels == 0 { return false }
    if convolution.isLinear { return true }
    return convolution.layout == .channelsFirst && g.rank <= 2 && g.paddingMode == .zeros
      && (g.paddingLow + g.paddingHigh).allSatisfy { $0 >= 0 }
  }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(
      inputs.count == 8 || inputs.count == 9, .argument, expected: "8 or 9 tensors", got: "\(inputs.count)")
    func real(_ index: Int) -> TensorSpec { TensorSpec(inputs[index].shape, .float32) }
    return [TensorSpec(try convolution.infer([real(0), real(3)])[0].shape, inputs[7].dtype)]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension QuantizedConvolution: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    try convolution.multiplyAdds([inputs[0], inputs[3]])
  }
}

/// An int8 weight in the order of the kernels, held by the weight's storage.
final class PackedInt8: PreparedValue {
  private struct Key: Hashable, Sendable {
    var view: TensorView
    var geometry: ConvolutionGeometry
    var hasWords: Bool
  }
  /// How the bytes of a window are read: in rows of taps, taps, or taps of one channel each.
  enum Form: Sendable {
    case rows, taps, depthwise
  }

  let form: Form
  let storage: Storage
  /// Steps, and quads of bytes in each.
  let steps: Int
  let quads: Int
  /// Bytes of a panel of 32 output channels, or elements of a pair of taps.
  let panel: Int
  /// Panels of one group.
  let panels: Int
  /// The sum of each output channel's weights.
  let sums: [Int32]
  /// Output channels of a group, as far as whole panels go.
  let padded: Int

  var byteCount: Int { storage.byteCount }

  static func packed(_ geometry: ConvolutionGeometry, _ weight: Tensor, hasWords: Bool) throws -> PackedInt8 {
    try weight.storage.prepared(Key(view: TensorView(weight), geometry: geometry, hasWords: hasWords)) {
      try PackedInt8(geometry, weight, hasWords)
    }
  }

  private init(_ g: ConvolutionGeometry, _ weight: Tensor, _ hasWords: Bool) throws {
    let inputs = g.inChannels / g.groups
    let outputs = g.outChannels / g.groups
    let (height, width) = g.rank == 2 ? (g.kernelSize[0], g.kernelSize[1]) : (1, g.kernelSize[0])
    let taps = height * width
    let dense = try weight.contiguous()
    let from = dense.pointer(Int8.self)
    sums = (0..<g.outChannels).map { channel in
      (0..<(inputs * taps)).reduce(Int32(0)) { $0 + Int32(from[channel * inputs * taps + $1]) }
    }
    if g.groups == g.inChannels, outputs == 1 {
      form = .depthwise
      (steps, quads, panels) = (taps, 0, 1)
      padded = (g.outChannels + 63) / 64 * 64
      panel = padded * 2
      storage = try Storage(byteCount: (taps + 1) / 2 * panel * 2, operation: "pack")
      let to = storage.base.assumingMemoryBound(to: Int16.self)
      to.update(repeating: 0, count: (taps + 1) / 2 * panel)
      for tap in 0..<taps {
        for channel in 0..<g.outChannels {
          to[tap / 2 * panel + channel * 2 + tap % 2] = Int16(from[channel * taps + tap])
        }
      }
      return
    }
    // Neighbouring taps of a row follow one another where nothing lies between their channels.
    let joinsRow = g.groups == 1 && g.dilation[g.rank - 1] == 1
    form = joinsRow ? .rows : .taps
    let bytes = joinsRow ? width * inputs : inputs
    (steps, quads) = (joinsRow ? height : taps, (bytes + 3) / 4)
    panels = (outputs + 31) / 32
    padded = panels * 32
    let quadBytes = hasWords ? 256 : 128
    panel = steps * quads * quadBytes
    storage = try Storage(byteCount: max(1, g.groups * panels * panel), operation: "pack")
    storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: storage.byteCount)
    for group in 0..<g.groups {
      for output in 0..<outputs {
        let filter = from + (group * outputs + output) * inputs * taps
        let start = storage.base + (group * panels + output / 32) * panel
        for step in 0..<steps {
          for at in 0..<bytes {
            let (tap, channel) = joinsRow ? (step * width + at / inputs, at % inputs) : (step, at)
            let value = filter[channel * taps + tap]
            let quad = start + (step * quads + at / 4) * quadBytes
            if hasWords {
              (quad + at % 4 / 2 * 128 + output % 32 * 4 + at % 2 * 2).assumingMemoryBound(to: Int16.self).pointee =
                Int16(value)
            } else {
              (quad + output % 32 * 4 + at % 4).assumingMemoryBound(to: Int8.self).pointee = value
            }
          }
        }
      }
    }
    withExtendedLifetime(dense) {}
  }
}

extension QuantizedConvolution: CPUKernel {
  var packedOperands: [Int] { [] }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let g = convolution.geometry
    let table = tz_int8_kernels(InstructionSet.current.code).pointee
    let weight =
      convolution.isLinear || inputs[3].rank == g.rank + 2
      ? inputs[3] : try inputs[3].reshaped(g.weightShape)
    let packed = try PackedInt8.packed(g, weight, hasWords: table.has_words)
    guard outputs[0].shape.reduce(1, *) > 0 else {
      return [try Tensor.zeros(outputs[0].shape, dtype: outputs[0].dtype)]
    }
    let image = try Image(self, inputs[0], outputs[0])
    let numbers = try Numbers(self, packed, inputs)
    let source = try image.bordered(inputs[0], zero: numbers.inputZero)
    let y = try Tensor(
      uninitialized: [image.batch, image.outputHeight, image.outputWidth, g.outChannels], dtype: outputs[0].dtype,
      operation: name)
    run(image, packed, numbers, source, y, table)
    withExtendedLifetime((inputs, source, y)) {}
    if convolution.isLinear { return [try y.reshaped(outputs[0].shape)] }
    let moved = try y.permuted([0, 3, 1, 2])
    // Views, which keep the channels last in memory.
    if g.rank == 2 { return [outputs[0].shape.rank == 4 ? moved : try moved.select(axis: 0, 0)] }
    let line = try moved.select(axis: 2, 0)
    return [outputs[0].shape.rank == 3 ? line : try line.select(axis: 0, 0)]
  }

  private func run(
    _ image: Image, _ packed: PackedInt8, _ numbers: Numbers, _ source: Image.Source, _ y: Tensor,
    _ table: tz_int8_table
  ) {
    let g = convolution.geometry
    let (inputs, channels) = (g.inChannels / g.groups, g.outChannels / g.groups)
    var t = tz_int8_convolution()
    (t.x_row, t.x_pixel) = (image.stride.h * source.row, image.stride.w * source.pixel)
    (t.steps, t.quads, t.panel) = (Int32(packed.steps), Int32(packed.quads), packed.panel)
    (t.y_row, t.y_pixel, t.width) = (image.outputWidth * g.outChannels, g.outChannels, image.outputWidth)
    (t.zero, t.low, t.high, t.flip) = (numbers.zero, numbers.low, numbers.high, numbers.flip)
    t.channels = packed.form == .depthwise ? g.outChannels : channels
    var offsets: [Int32] = []
    for h in 0..<image.kernel.h {
      for w in 0..<(packed.form == .rows ? 1 : image.kernel.w) {
        offsets.append(Int32(h * image.dilation.h * source.row + w * image.dilation.w * source.pixel))
      }
    }
    let to = y.elements.assumingMemoryBound(to: UInt8.self)
    let sample = (source: source.sample, result: image.outputHeight * image.outputWidth * g.outChannels)
    // One long row where nothing lies between rows, so that blocks are whole.
    var (rows, samples) = (image.outputHeight, image.batch)
    if image.isFlat(source) {
      (t.width, rows, samples) = (image.outputWidth * rows * samples, 1, 1)
    }
    let work = samples * rows * t.width * t.channels * g.groups * packed.steps * max(1, packed.quads)
    let pool = ThreadPool.shared
    let most = work < 1 << 14 ? 1 : min(8 * pool.threadCount, max(1, work >> 14))
    // Parts of rows, rows, and panels.
    let segment = rows * samples >= most ? t.width : max(56, (t.width * rows * samples + most - 1) / most / 14 * 14)
    let segments = (t.width + segment - 1) / segment
    let rowItems = max(1, min(rows, most / max(1, samples * segments)))
    let panelItems =
      packed.form == .depthwise
      ? 1 : max(1, min(packed.panels, most / max(1, samples * segments * rowItems)))
    let template = t
    let items = samples * g.groupItems(packed) * rowItems * segments * panelItems
    let groups = g.groupItems(packed)
    offsets.withUnsafeBufferPointer { offsets in
      numbers.bias.withUnsafeBufferPointer { bias in
        numbers.scale.withUnsafeBufferPointer { scale in
          let (offsetBase, biasBase, scaleBase) = (offsets.baseAddress, bias.baseAddress, scale.baseAddress)
          pool.run(items) { item, _ in
            var rest = item
            func next(_ count: Int) -> Int {
              defer { rest /= count }
              return rest % count
            }
            let (panel, part) = (next(panelItems), next(segments))
            let (row, group, index) = (next(rowItems), next(groups), next(samples))
            var t = template
            let first = part * segment
            t.width = min(segment, template.width - first)
            t.offsets = offsetBase
            t.x = UnsafePointer(source.base) + index * sample.source + first * t.x_pixel + group * inputs
            t.y = to + index * sample.result + first * t.y_pixel + group * channels
            t.w = UnsafeRawPointer(packed.storage.base) + group * packed.panels * packed.panel
            t.bias = biasBase.map { $0 + group * packed.padded }
            t.scale = scaleBase.map { $0 + group * packed.padded }
            let from = rows * row / rowItems
            let count = rows * (row + 1) / rowItems - from
            if packed.form == .depthwise {
              table.depthwise(&t, from, count)
            } else {
              let (start, end) = (packed.panels * panel / panelItems, packed.panels * (panel + 1) / panelItems)
              table.rows(&t, from, count, start, end - start)
            }
          }
        }
      }
    }
  }
}

extension ConvolutionGeometry {
  /// Groups that are computed one by one.
  fileprivate func groupItems(_ packed: PackedInt8) -> Int { packed.form == .depthwise ? 1 : groups }
}

/// What turns sums into results, for each channel as far as whole panels go.
private struct Numbers {
  var bias: [Int32]
  var scale: [Float]
  /// Of the input as unsigned bytes.
  var inputZero: UInt8
  var zero: Int32
  var low: Int32
  var high: Int32
  var flip: UInt8

  init(_ operation: QuantizedConvolution, _ packed: PackedInt8, _ inputs: [Tensor]) throws {
    func number(_ tensor: Tensor) throws -> Float { try tensor.reshaped([]).item(Float.self) }
    func code(_ tensor: Tensor) throws -> Int32 { try tensor.reshaped([]).cast(to: .int32).item(Int32.self) }
    let g = operation.convolution.geometry
    let (inputScale, outputScale) = (try number(inputs[1]), try number(inputs[6]))
    let weightScales = try inputs[4].contiguous()
    let isSigned = inputs[0].dtype == .int8
    let shifted = try code(inputs[2]) + (isSigned ? 128 : 0)
    inputZero = UInt8(clamping: shifted)
    // Sums are of unsigned bytes, results unsigned until the end.
    let outputSigned = inputs[7].dtype == .int8
    zero = try code(inputs[7]) + (outputSigned ? 128 : 0)
    flip = outputSigned ? 0x80 : 0
    func bound(_ number: Double, _ zero: Int32) -> Int32 {
      let quantized = (Float(number) / outputScale).rounded(.toNearestOrEven) + Float(zero)
      return Int32(min(255, max(0, quantized)))
    }
    low = bound(operation.low, zero)
    high = max(low, bound(operation.high, zero))
    let outputs = g.outChannels / g.groups
    let groups = packed.form == .depthwise ? 1 : g.groups
    let perGroup = packed.form == .depthwise ? g.outChannels : outputs
    bias = Array(repeating: 0, count: groups * packed.padded)
    scale = Array(repeating: 0, count: groups * packed.padded)
    let given = try inputs.count > 8 ? inputs[8].contiguous() : nil
    let codes = given?.dtype == .int32 ? given?.pointer(Int32.self) : nil
    let reals = given?.dtype == .float32 ? given?.pointer(Float.self) : nil
    let (factors, step) = (weightScales.pointer(Float.self), weightScales.count == 1 ? 0 : 1)
    bias.withUnsafeMutableBufferPointer { bias in
      scale.withUnsafeMutableBufferPointer { scale in
        packed.sums.withUnsafeBufferPointer { sums in
          for group in 0..<(g.outChannels / max(1, perGroup)) {
            for inner in 0..<perGroup {
              let (at, channel) = (group * packed.padded + inner, group * perGroup + inner)
              let product = inputScale * factors[channel * step]
              scale[at] = product / outputScale
              var sum = codes?[channel] ?? 0
              if let reals {
                sum = Int32(
                  clamping: Int64(converting: (Double(reals[channel]) / Double(product)).rounded(.toNearestOrEven)))
              }
              bias[at] = sum &- shifted &* sums[channel]
            }
          }
        }
      }
    }
    withExtendedLifetime((weightScales, given)) {}
  }
}

/// Sizes of a convolution seen with two spatial axes, and its input with channels last.
private struct Image {
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
