import ToeplitzOps
import ToeplitzTensor

/// What all six convolutions share: geometry, weight, bias and the packed weight.
///
/// Use ``Conv1d`` … ``ConvTranspose3d``.
open class ConvolutionLayer: Module, UnaryLayer {
  /// Options and sizes.
  public let geometry: ConvolutionGeometry
  /// Where the channels of input and output stand.
  public let layout: TensorLayout
  /// The weight in PyTorch's order: `[out, in / groups, k…]`, transposed `[in, out / groups, k…]`.
  public let weight: LayerWeight
  /// One number for each output channel, if the layer has a bias.
  public let bias: Parameter?
  /// How prepared weights are kept (see `WeightStorage`); `full` unless it is set.
  ///
  /// Only the prepared form changes, from the next call on: parameters and state dictionary stay what they are. Weights of
  /// float64 and whole numbers stay as they are anyway.
  public var weightStorage = WeightStorage.full {
    didSet {
      guard weightStorage != oldValue else { return }
      try? weight.value.storage.dropPrepared()
    }
  }
  /// Whether weights are held as direction and length from the start.
  class var normalizesWeight: Bool { false }

  init(
    geometry: ConvolutionGeometry, bias: Bool, layout: TensorLayout, dtype: DType, device: Device, name: String?,
    generator: Generator?
  ) throws {
    try device.requirePresent(geometry.name)
    try requireNumbers(dtype, geometry.name)
    self.geometry = geometry
    self.layout = layout
    let generator = generator ?? Generator()
    // Kaiming uniform with a = √5 (He et al., 2015) is U(−1/√fanIn, 1/√fanIn); the bias has the same range. PyTorch
    // takes the fan-in from axis 1 also where the convolution is transposed.
    let shape = geometry.weightShape
    let bound = 1 / shape.dropFirst().reduce(1) { $0 * Double($1) }.squareRoot()
    weight = LayerWeight(try generator.uniform(shape, from: -bound, to: bound, dtype: dtype))
    self.bias =
      bias ? Parameter(try generator.uniform([geometry.outChannels], from: -bound, to: bound, dtype: dtype)) : nil
    super.init(name: name)
    if Self.normalizesWeight { try weight.normalize(axis: 0) }
  }

  /// The convolution of `x`.
  open func forward(_ x: Tensor) throws -> Tensor { try compute(geometry, x) }

  func compute(_ geometry: ConvolutionGeometry, _ x: Tensor) throws -> Tensor {
    try x.convolved(
      geometry, layout: layout, weight: weight.value(isTraining: isTraining), bias: bias?.value, storage: weightStorage)
  }

  override var dependsOnMode: Bool { weight.isSpectral }

  /// Bytes held beside the parameters, for the packed weight; 0 before the first call.
  public var packedByteCount: Int { (try? weight.value.storage.preparedByteCount) ?? 0 }

  /// The multiply-adds of all samples.
  open override func multiplyAdds(input: TensorShape, output: TensorShape) throws -> Int {
    let rank = geometry.rank
    let batch = input.rank == rank + 2 ? input[0] : 1
    let spatial = layout == .channelsFirst ? Array(input.suffix(rank)) : Array(input.dropLast().suffix(rank))
    let (count, overflow) = try geometry.multiplyAdds(inputSize: spatial).multipliedReportingOverflow(by: batch)
    guard !overflow else {
      throw ToeplitzError(.shape, geometry.name, expected: "multiply-adds that fit 64 bits", got: "input \(input)")
    }
    return count
  }

  /// The geometry's output size.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] { try geometry.outputSize(inputSize) }

  /// The geometry's inverse.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    geometry.inputLengths(for: length, axis: axis)
  }

  /// PyTorch's options, where they differ from the defaults.
  open override var extraRepr: String {
    let g = geometry
    var parts = [
      "\(g.inChannels)", "\(g.outChannels)", "kernel_size=\(PythonText.tuple(g.kernelSize))",
      "stride=\(PythonText.tuple(g.stride))",
    ]
    switch g.padding {
    case .same: parts.append("padding=same")
    case .causal: parts.append("padding=causal")
    default:
      if g.paddingLow != g.paddingHigh {
        parts.append(
          "padding=(" + zip(g.paddingLow, g.paddingHigh).map { "(\($0), \($1))" }.joined(separator: ", ") + ")")
      } else if g.paddingLow.contains(where: { $0 != 0 }) {
        parts.append("padding=\(PythonText.tuple(g.paddingLow))")
      }
    }
    if g.dilation.contains(where: { $0 != 1 }) { parts.append("dilation=\(PythonText.tuple(g.dilation))") }
    if g.outputPadding.contains(where: { $0 != 0 }) {
      parts.append("output_padding=\(PythonText.tuple(g.outputPadding))")
    }
    if g.groups != 1 { parts.append("groups=\(g.groups)") }
    if bias == nil { parts.append("bias=False") }
    if g.paddingMode != .zeros { parts.append("padding_mode=\(g.paddingMode)") }
    if layout == .channelsLast { parts.append("layout=channelsLast") }
    return parts.joined(separator: ", ")
  }
}

// MARK: - Options

extension ConvolutionLayer {
  /// Channels of the input.
  public var inChannels: Int { geometry.inChannels }
  /// Channels of the output.
  public var outChannels: Int { geometry.outChannels }
  /// Taps along each axis.
  public var kernelSize: [Int] { geometry.kernelSize }
  /// Inputs between neighbouring outputs (transposed: outputs between neighbouring inputs), for each axis.
  public var stride: [Int] { geometry.stride }
  /// The padding as it was asked for; in numbers it is `geometry.paddingLow` and `geometry.paddingHigh`.
  public var padding: Padding { geometry.padding }
  /// Positions added to the end of a transposed convolution's output, for each axis.
  public var outputPadding: [Int] { geometry.outputPadding }
  /// Distance of neighbouring taps, for each axis.
  public var dilation: [Int] { geometry.dilation }
  /// Into how many independent parts the channels are divided.
  public var groups: Int { geometry.groups }
  /// What the padding holds.
  public var paddingMode: PaddingMode { geometry.paddingMode }
  /// The length of the weight where that has weight norm: `weight_g` in the state dictionary.
  public var weightG: Parameter? { weight.g }
  /// The direction of the weight where that has weight norm: `weight_v` in the state dictionary.
  public var weightV: Parameter? { weight.v }
  /// Element type of the parameters.
  public var dtype: DType { weight.dtype }
  /// Where the parameters live.
  public var device: Device { bias?.value.device ?? (try? weight.value.device) ?? .cpu }
  /// The weight under its name in Modular MAX.
  public var filter: LayerWeight { weight }
}

// MARK: - The layers

/// The number of spatial axes of a layer, as a type.
public protocol SpatialRank: Sendable {
  /// The number of axes.
  static var count: Int { get }
}
/// One spatial axis: `[N, C, L]`.
public enum Rank1: SpatialRank {
  /// 1.
  public static var count: Int { 1 }
}
/// Two spatial axes: `[N, C, H, W]`.
public enum Rank2: SpatialRank {
  /// 2.
  public static var count: Int { 2 }
}
/// Three spatial axes: `[N, C, D, H, W]`.
public enum Rank3: SpatialRank {
  /// 3.
  public static var count: Int { 3 }
}

/// A convolution (cross-correlation, as in PyTorch: the kernel is not flipped).
///
/// `y[n, o, l] = bias[o] + Σ_c Σ_k weight[o, c, k] · x[n, c, l · stride + k · dilation − padding]`, the output length
/// being `floor((L + low + high − dilation (kernel − 1) − 1) / stride) + 1`. Input `[N, C, L]`, `[N, C, H, W]` or
/// `[N, C, D, H, W]`; the batch axis may be missing.
///
/// The zeros of the padding are multiplied like any input, as in PyTorch: a weight that is infinite or NaN makes the
/// edges NaN.
///
/// ```swift
/// let conv = try Conv1d(inChannels: 80, outChannels: 512, kernelSize: 7, padding: 3)
/// let y = try conv(x)  // [N, 80, L] -> [N, 512, L]
/// ```
open class Conv<Rank: SpatialRank>: ConvolutionLayer {
  /// Creates a layer with random initial values (Kaiming uniform with a = √5).
  ///
  /// - Parameters:
  ///   - inChannels: channels of the input; a multiple of `groups`.
  ///   - outChannels: channels of the output; a multiple of `groups`.
  ///   - kernelSize: taps along each axis.
  ///   - stride: inputs between neighbouring outputs.
  ///   - padding: positions added before and after each axis; `.same` and `.causal` work them out.
  ///   - dilation: inputs between neighbouring taps.
  ///   - groups: parts that are convolved independently; `inChannels` for a depthwise convolution.
  ///   - bias: whether a number is added to each output channel.
  ///   - paddingMode: what the padding holds.
  ///   - layout: where the channels of input and output stand.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  ///   - name: base name of the parameters in the state dictionary.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inChannels: Int, outChannels: Int, kernelSize: any PerAxisConvertible, stride: any PerAxisConvertible = 1,
    padding: any PaddingConvertible = 0, dilation: any PerAxisConvertible = 1, groups: Int = 1, bias: Bool = true,
    paddingMode: PaddingMode = .zeros,
    layout: TensorLayout = .channelsFirst, dtype: DType = .float32, device: Device = .cpu, name: String? = nil,
    generator: Generator? = nil
  ) throws {
    let geometry = try ConvolutionGeometry(
      rank: Rank.count, inChannels: inChannels, outChannels: outChannels, kernelSize: kernelSize, stride: stride,
      padding: padding, dilation: dilation, groups: groups, paddingMode: paddingMode)
    try super.init(
      geometry: geometry, bias: bias, layout: layout, dtype: dtype, device: device, name: name, generator: generator)
  }

  /// Creates a layer as ``init(inChannels:outChannels:kernelSize:stride:padding:dilation:groups:bias:paddingMode:layout:dtype:device:name:generator:)``
  /// does, with the channels first and unlabelled as in PyTorch: `Conv1d(80, 512, kernelSize: 7, padding: 3)`.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public convenience init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: any PerAxisConvertible, stride: any PerAxisConvertible = 1,
    padding: any PaddingConvertible = 0, dilation: any PerAxisConvertible = 1, groups: Int = 1, bias: Bool = true,
    paddingMode: PaddingMode = .zeros, layout: TensorLayout = .channelsFirst, dtype: DType = .float32,
    device: Device = .cpu,
    name: String? = nil, generator: Generator? = nil
  ) throws {
    try self.init(
      inChannels: inChannels, outChannels: outChannels, kernelSize: kernelSize, stride: stride, padding: padding,
      dilation: dilation, groups: groups, bias: bias, paddingMode: paddingMode, layout: layout, dtype: dtype,
      device: device, name: name, generator: generator)
  }

}

/// A transposed convolution: the adjoint of a convolution with the same weight, options and lengths exchanged.
///
/// `y[n, o, i · stride + k · dilation − padding] += weight[c, o, k] · x[n, c, i]`, plus the bias everywhere. The output
/// length is `(L − 1) stride − low − high + dilation (kernel − 1) + outputPadding + 1`; padding crops the output.
///
/// No zeros are inserted, so none is multiplied: a weight that is infinite or NaN shows only where an input meets it.
///
/// ```swift
/// let up = try ConvTranspose1d(inChannels: 512, outChannels: 256, kernelSize: 16, stride: 8, padding: 4)
/// let y = try up(x)  // [N, 512, L] -> [N, 256, 8 L]
/// ```
open class ConvTranspose<Rank: SpatialRank>: ConvolutionLayer {
  /// Creates a layer with random initial values (Kaiming uniform with a = √5, fan-in from axis 1 as in PyTorch).
  ///
  /// - Parameters:
  ///   - inChannels: channels of the input; a multiple of `groups`.
  ///   - outChannels: channels of the output; a multiple of `groups`.
  ///   - kernelSize: taps along each axis.
  ///   - stride: outputs between neighbouring inputs.
  ///   - padding: positions cropped before and after each axis; `.same` and `.causal` give `L × stride`.
  ///   - outputPadding: positions added after each axis; below stride or dilation.
  ///   - dilation: outputs between neighbouring taps.
  ///   - groups: parts that are convolved independently.
  ///   - bias: whether a number is added to each output channel.
  ///   - paddingMode: zeros, or circular for the adjoint of a circular convolution.
  ///   - layout: where the channels of input and output stand.
  ///   - dtype: element type of the parameters, and so of input and output.
  ///   - device: where the parameters live.
  ///   - name: base name of the parameters in the state dictionary.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inChannels: Int, outChannels: Int, kernelSize: any PerAxisConvertible, stride: any PerAxisConvertible = 1,
    padding: any PaddingConvertible = 0, outputPadding: any PerAxisConvertible = 0,
    dilation: any PerAxisConvertible = 1, groups: Int = 1, bias: Bool = true,
    paddingMode: PaddingMode = .zeros, layout: TensorLayout = .channelsFirst, dtype: DType = .float32,
    device: Device = .cpu, name: String? = nil, generator: Generator? = nil
  ) throws {
    let geometry = try ConvolutionGeometry(
      rank: Rank.count, isTransposed: true, inChannels: inChannels, outChannels: outChannels, kernelSize: kernelSize,
      stride: stride, padding: padding, outputPadding: outputPadding, dilation: dilation, groups: groups,
      paddingMode: paddingMode)
    try super.init(
      geometry: geometry, bias: bias, layout: layout, dtype: dtype, device: device, name: name, generator: generator)
  }

  /// Creates a layer as ``init(inChannels:outChannels:kernelSize:stride:padding:outputPadding:dilation:groups:bias:paddingMode:layout:dtype:device:name:generator:)``
  /// does, with the channels first and unlabelled as in PyTorch: `ConvTranspose1d(512, 256, kernelSize: 16, stride: 8)`.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public convenience init(
    _ inChannels: Int, _ outChannels: Int, kernelSize: any PerAxisConvertible, stride: any PerAxisConvertible = 1,
    padding: any PaddingConvertible = 0, outputPadding: any PerAxisConvertible = 0,
    dilation: any PerAxisConvertible = 1, groups: Int = 1, bias: Bool = true, paddingMode: PaddingMode = .zeros,
    layout: TensorLayout = .channelsFirst, dtype: DType = .float32, device: Device = .cpu, name: String? = nil,
    generator: Generator? = nil
  ) throws {
    try self.init(
      inChannels: inChannels, outChannels: outChannels, kernelSize: kernelSize, stride: stride, padding: padding,
      outputPadding: outputPadding, dilation: dilation, groups: groups, bias: bias, paddingMode: paddingMode,
      layout: layout, dtype: dtype, device: device, name: name, generator: generator)
  }

  /// The output of a wanted size.
  ///
  /// - Parameter outputSize: spatial sizes, or a whole shape `[N, C, spatial…]` or `[C, spatial…]`. On each axis the
  ///   stride's number of sizes from the smallest on is legal.
  /// - Throws: ``ToeplitzError`` that gives the legal range.
  public func callAsFunction(_ x: Tensor, outputSize: [Int]) throws -> Tensor {
    try recordCall(x) {
      let rank = geometry.rank
      guard x.rank == rank + 1 || x.rank == rank + 2 else { return try forward(x) }
      let spatial = { (shape: [Int]) in
        self.layout == .channelsFirst ? Array(shape.suffix(rank)) : Array(shape.dropLast().suffix(rank))
      }
      let whole = outputSize.count != rank
      let wanted = whole && outputSize.count == x.rank ? spatial(outputSize) : outputSize
      let sized = try geometry.withOutputSize(wanted, inputSize: spatial(x.shape.dimensions))
      var expected = try sized.outputSize(spatial(x.shape.dimensions))
      expected.insert(geometry.outChannels, at: layout == .channelsFirst ? 0 : rank)
      if x.rank == rank + 2 { expected.insert(x.shape[0], at: 0) }
      guard !whole || outputSize == expected else {
        throw ToeplitzError(
          .shape, geometry.name, expected: "an outputSize of \(TensorShape(expected))",
          got: "\(TensorShape(outputSize))")
      }
      return try compute(sized, x)
    }
  }
}

/// A convolution whose weight is held as direction `weight_v` and length `weight_g` (one for each output channel).
///
/// It is made like the plain one (see ``Conv/init(inChannels:outChannels:kernelSize:stride:padding:dilation:groups:bias:paddingMode:layout:dtype:device:name:generator:)``):
///
/// ```swift
/// let conv = try WeightNormConv1d(80, 512, kernelSize: 7, padding: 3)
/// ```
open class WeightNormConv<Rank: SpatialRank>: Conv<Rank> {
  override class var normalizesWeight: Bool { true }
  /// The convolution itself, as Modular MAX's layer has it inside.
  public var conv: Conv<Rank> { self }
}

/// A transposed convolution whose weight is held as direction `weight_v` and length `weight_g` (one for each *input*
/// channel: axis 0 of the weight, PyTorch's default here too).
///
/// It is made like the plain one (see ``ConvTranspose/init(inChannels:outChannels:kernelSize:stride:padding:outputPadding:dilation:groups:bias:paddingMode:layout:dtype:device:name:generator:)``):
///
/// ```swift
/// let up = try WeightNormConvTranspose1d(512, 256, kernelSize: 16, stride: 8, padding: 4)
/// ```
open class WeightNormConvTranspose<Rank: SpatialRank>: ConvTranspose<Rank> {
  override class var normalizesWeight: Bool { true }
  /// The transposed convolution itself, as Modular MAX's layer has it inside.
  public var conv: ConvTranspose<Rank> { self }
}

/// A convolution over `[N, C, L]`.
public typealias Conv1d = Conv<Rank1>
/// A convolution over `[N, C, H, W]`.
public typealias Conv2d = Conv<Rank2>
/// A convolution over `[N, C, D, H, W]`.
public typealias Conv3d = Conv<Rank3>
/// A transposed convolution over `[N, C, L]`.
public typealias ConvTranspose1d = ConvTranspose<Rank1>
/// A transposed convolution over `[N, C, H, W]`.
public typealias ConvTranspose2d = ConvTranspose<Rank2>
/// A transposed convolution over `[N, C, D, H, W]`.
public typealias ConvTranspose3d = ConvTranspose<Rank3>
/// A weight-normalised convolution over `[N, C, L]`.
public typealias WeightNormConv1d = WeightNormConv<Rank1>
/// A weight-normalised convolution over `[N, C, H, W]`.
public typealias WeightNormConv2d = WeightNormConv<Rank2>
/// A weight-normalised convolution over `[N, C, D, H, W]`.
public typealias WeightNormConv3d = WeightNormConv<Rank3>
/// A weight-normalised transposed convolution over `[N, C, L]`.
public typealias WeightNormConvTranspose1d = WeightNormConvTranspose<Rank1>
/// A weight-normalised transposed convolution over `[N, C, H, W]`.
public typealias WeightNormConvTranspose2d = WeightNormConvTranspose<Rank2>
/// A weight-normalised transposed convolution over `[N, C, D, H, W]`.
public typealias WeightNormConvTranspose3d = WeightNormConvTranspose<Rank3>
