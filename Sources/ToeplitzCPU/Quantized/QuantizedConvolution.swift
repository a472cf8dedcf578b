import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A convolution or linear map of whole numbers: what dequantised operands would give, quantised again.
///
/// The sums are exact in int32: `y = clamp(round(float(sum) · (sx · sw / sy)) + zy)`, the same bits on every instruction set.
/// Operands are x, its scale and zero point, the int8 weight, its scales (one, or one for each output channel) and zero points
/// (all zero), scale and zero point of the result, and maybe a bias: int32 in units of `sx · sw`, or float32. The other operands
/// of a function of the results follow.
struct QuantizedConvolution: TensorOperation {
  /// The convolution; its epilogue may bound results before they are quantised.
  var convolution: FusedConvolution
  /// Whether results are the int32 sums themselves, as ONNX's ConvInteger and MatMulInteger give them.
  var givesSums = false

  /// A function of each result that gives bytes again, and which of its operands the result is.
  var map: ByteMap?

  /// A function of bytes.
  struct ByteMap: Hashable {
    var chain: ElementwiseChain
    var operand: Int
  }
  /// What the last call scaled its sums by.
  private let numbers = KeptValue<QuantizedNumbers>()

  /// A convolution with its bounds, whose results are codes.
  init(convolution: FusedConvolution) { self.convolution = convolution }

  /// A linear map of the last axis; nil where sizes are out of range.
  init?(linearFrom inputs: Int, to outputs: Int) {
    guard let map = try? linearMap(from: inputs, to: outputs) else { return nil }
    convolution = FusedConvolution(map)
  }

  var name: String { "Quantized\(convolution.name)" }

  /// Whether a convolution has kernels.
  static func supports(_ convolution: FusedConvolution) -> Bool {
    let g = convolution.geometry
    if g.isTransposed || g.inChannels == 0 || convolution.epilogue.bounds == nil { return false }
    if convolution.isLinear { return true }
    return convolution.layout == .channelsFirst && g.rank <= 2 && g.paddingMode == .zeros
      && (g.paddingLow + g.paddingHigh).allSatisfy { $0 >= 0 }
  }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    let count = inputs.count - mapOperands
    try require(count == 8 || count == 9, .argument, expected: "8 or 9 tensors", got: "\(count)")
    func real(_ index: Int) -> TensorSpec { TensorSpec(inputs[index].shape, .float32) }
    let shape = try convolution.infer([real(0), real(3)])[0].shape
    let result = TensorSpec(shape, givesSums ? .int32 : inputs[7].dtype)
    guard let map else { return [result] }
    var operands = Array(inputs[count...])
    operands.insert(result, at: map.operand)
    return try map.chain.infer(operands)
  }

  /// How many operands the function of the results has besides them.
  private var mapOperands: Int { map.map { $0.chain.types.count - 1 } ?? 0 }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension QuantizedConvolution: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    try convolution.multiplyAdds([inputs[0], inputs[3]])
  }
}

extension QuantizedConvolution: CPUKernel {
  var packedOperands: [Int] { [] }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let g = convolution.geometry
    let kernels = tz_int8_kernels(InstructionSet.current.code).pointee
    let weight =
      convolution.isLinear || inputs[3].rank == g.rank + 2
      ? inputs[3] : try inputs[3].reshaped(g.weightShape)
    let packed = try PackedInt8.packed(g, weight, hasWords: kernels.has_words)
    guard outputs[0].shape.reduce(1, *) > 0 else {
      return [try Tensor.zeros(outputs[0].shape, dtype: outputs[0].dtype)]
    }
    let image = try QuantizedImage(self, inputs[0], outputs[0])
    let operands = Array(inputs.dropLast(mapOperands))
    let numbers = try numbers.value(of: operands[1...]) { try QuantizedNumbers(self, packed, operands) }
    let table = try byteTable(inputs)
    let source = try image.bordered(inputs[0], zero: numbers.inputZero)
    let y = try Tensor(
      uninitialized: [image.batch, image.outputHeight, image.outputWidth, g.outChannels], dtype: outputs[0].dtype,
      operation: name)
    run(image, packed, numbers, source, y, kernels, table)
    withExtendedLifetime((inputs, source, y)) {}
    if convolution.isLinear { return [try y.reshaped(outputs[0].shape)] }
    let moved = try y.permuted([0, 3, 1, 2])
    // Views, which keep the channels last in memory.
    if g.rank == 2 { return [outputs[0].shape.rank == 4 ? moved : try moved.select(axis: 0, 0)] }
    let line = try moved.select(axis: 2, 0)
    return [outputs[0].shape.rank == 3 ? line : try line.select(axis: 0, 0)]
  }

  /// What each byte becomes by the function of the results.
  private func byteTable(_ inputs: [Tensor]) throws -> Tensor? {
    try map.map { try $0.chain.byteTable(of: $0.operand, Array(inputs.suffix(mapOperands))) }
  }

  private func run(
    _ image: QuantizedImage, _ packed: PackedInt8, _ numbers: QuantizedNumbers, _ source: QuantizedImage.Source,
    _ y: Tensor,
    _ kernels: tz_int8_table, _ values: Tensor?
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
    // Places are counted in elements, of whatever size.
    let to = y.elements.assumingMemoryBound(to: UInt8.self)
    let sums = givesSums ? y.elements.assumingMemoryBound(to: Int32.self) : nil
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
            let place = index * sample.result + first * t.y_pixel + group * channels
            t.y = to + place
            t.sums = sums.map { $0 + place }
            t.w = UnsafeRawPointer(packed.storage.base) + group * packed.panels * packed.panel
            t.bias = biasBase.map { $0 + group * packed.padded }
            t.scale = scaleBase.map { $0 + group * packed.padded }
            let from = rows * row / rowItems
            let count = rows * (row + 1) / rowItems - from
            if packed.form == .depthwise {
              kernels.depthwise(&t, from, count)
              replaceByTable(t, rows: from..<(from + count), channels: 0..<t.channels, values)
            } else {
              let (start, end) = (packed.panels * panel / panelItems, packed.panels * (panel + 1) / panelItems)
              kernels.rows(&t, from, count, start, end - start)
              replaceByTable(t, rows: from..<(from + count), channels: (start * 32)..<min(end * 32, t.channels), values)
            }
          }
        }
      }
    }
  }
}

/// Replaces results that have just been written by what a table says, if there is one.
private func replaceByTable(_ t: tz_int8_convolution, rows: Range<Int>, channels: Range<Int>, _ values: Tensor?) {
  guard let table = values?.elements.assumingMemoryBound(to: UInt8.self), !channels.isEmpty else { return }
  let code = InstructionSet.current.code
  for row in rows {
    guard let line = t.y.map({ $0 + row * t.y_row + channels.lowerBound }) else { return }
    if channels.count == t.y_pixel {
      tz_bytes_mapped(code, line, line, t.width * t.y_pixel, table)
    } else {
      for pixel in 0..<t.width {
        tz_bytes_mapped(code, line + pixel * t.y_pixel, line + pixel * t.y_pixel, channels.count, table)
      }
    }
  }
}

extension ConvolutionGeometry {
  /// Groups that are computed one by one.
  fileprivate func groupItems(_ packed: PackedInt8) -> Int { packed.form == .depthwise ? 1 : groups }
}
