import ToeplitzTensor

/// The geometry of a functional call: channels and kernel size come from the weight's shape.
private func geometry(
  rank: Int, transposed: Bool, _ weight: Tensor, _ stride: any PerAxisConvertible,
  _ padding: any PaddingConvertible, _ outputPadding: any PerAxisConvertible, _ dilation: any PerAxisConvertible,
  _ groups: Int, _ mode: PaddingMode
) throws -> ConvolutionGeometry {
  let name = "conv\(transposed ? "Transpose" : "")\(rank)d"
  guard weight.rank == rank + 2 else {
    throw ToeplitzError(.shape, name, expected: "a weight of \(rank + 2) dimensions", got: "\(weight.shape)")
  }
  guard groups > 0 else { throw ToeplitzError(.argument, name, expected: "groups of at least 1", got: "\(groups)") }
  let (other, overflow) = weight.shape[1].multipliedReportingOverflow(by: groups)
  guard !overflow else { throw ToeplitzError(.argument, name, expected: "a legal number of groups", got: "\(groups)") }
  return try ConvolutionGeometry(
    rank: rank, isTransposed: transposed, inChannels: transposed ? weight.shape[0] : other,
    outChannels: transposed ? other : weight.shape[0], kernelSize: PerAxis(Array(weight.shape.dropFirst(2))),
    stride: stride, padding: padding, outputPadding: outputPadding, dilation: dilation, groups: groups,
    paddingMode: mode)
}

private func run(
  _ geometry: ConvolutionGeometry, _ layout: TensorLayout, _ x: Tensor, _ weight: Tensor, _ bias: Tensor?
)
  throws
  -> Tensor
{
  try applyAll(ConvolutionOperation(geometry, layout: layout), [x, weight] + (bias.map { [$0] } ?? []))[0]
}

/// The convolution of `x` `[N, C, L]` with `weight` `[out, C / groups, k]` (see `Conv1d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func conv1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0, dilation: any PerAxisConvertible = 1,
  groups: Int = 1, paddingMode: PaddingMode = .zeros, layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 1, transposed: false, weight, stride, padding, 0, dilation, groups, paddingMode), layout, x, weight,
    bias)
}

/// The convolution of `x` `[N, C, H, W]` with `weight` `[out, C / groups, kh, kw]` (see `Conv2d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func conv2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0, dilation: any PerAxisConvertible = 1,
  groups: Int = 1, paddingMode: PaddingMode = .zeros, layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 2, transposed: false, weight, stride, padding, 0, dilation, groups, paddingMode), layout, x, weight,
    bias)
}

/// The convolution of `x` `[N, C, D, H, W]` with `weight` `[out, C / groups, kd, kh, kw]` (see `Conv3d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func conv3d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0, dilation: any PerAxisConvertible = 1,
  groups: Int = 1, paddingMode: PaddingMode = .zeros, layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 3, transposed: false, weight, stride, padding, 0, dilation, groups, paddingMode), layout, x, weight,
    bias)
}

/// The transposed convolution of `x` `[N, C, L]` with `weight` `[C, out / groups, k]` (see
/// `ConvTranspose1d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func convTranspose1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0,
  outputPadding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, groups: Int = 1,
  paddingMode: PaddingMode = .zeros,
  layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 1, transposed: true, weight, stride, padding, outputPadding, dilation, groups, paddingMode), layout,
    x, weight, bias)
}

/// The transposed convolution of `x` `[N, C, H, W]` with `weight` `[C, out / groups, kh, kw]` (see
/// `ConvTranspose2d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func convTranspose2d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0,
  outputPadding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, groups: Int = 1,
  paddingMode: PaddingMode = .zeros,
  layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 2, transposed: true, weight, stride, padding, outputPadding, dilation, groups, paddingMode), layout,
    x, weight, bias)
}

/// The transposed convolution of `x` `[N, C, D, H, W]` with `weight` `[C, out / groups, kd, kh, kw]` (see
/// `ConvTranspose3d`).
///
/// The weight is prepared by the first call and stays so for as long as it lives unchanged.
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func convTranspose3d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, stride: any PerAxisConvertible = 1,
  padding: any PaddingConvertible = 0,
  outputPadding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, groups: Int = 1,
  paddingMode: PaddingMode = .zeros,
  layout: TensorLayout = .channelsFirst
) throws -> Tensor {
  try run(
    geometry(rank: 3, transposed: true, weight, stride, padding, outputPadding, dilation, groups, paddingMode), layout,
    x, weight, bias)
}

/// A linear map of the last axis from `inputs` to `outputs` numbers, as a convolution with one tap.
///
/// - Throws: ``ToeplitzError`` if a size is not positive.
package func linearMap(from inputs: Int, to outputs: Int) throws -> ConvolutionOperation {
  ConvolutionOperation(
    try ConvolutionGeometry(rank: 1, inChannels: inputs, outChannels: outputs, kernelSize: 1), layout: .channelsLast)
}

extension Tensor {
  /// This input convolved with the given geometry, by weights that are kept in the given way.
  ///
  /// - Throws: ``ToeplitzError`` if shapes or types do not fit.
  package func convolved(
    _ geometry: ConvolutionGeometry, layout: TensorLayout = .channelsFirst, weight: Tensor, bias: Tensor?,
    storage: WeightStorage = .full
  ) throws -> Tensor {
    var operation = ConvolutionOperation(geometry, layout: layout)
    operation.weightStorage = storage
    return try operation(self, weight: weight, bias: bias)
  }

  /// The linear map of the last axis, `y = x Wᵀ + b`, computed as a convolution with one tap.
  ///
  /// - Parameters:
  ///   - weight: `[out, in]`; it is packed once.
  ///   - bias: `[out]`.
  /// - Returns: `[…, out]` for an input `[…, in]`.
  /// - Throws: ``ToeplitzError`` if shapes or types do not fit.
  package func linear(weight: Tensor, bias: Tensor? = nil) throws -> Tensor {
    guard weight.rank == 2 else {
      throw ToeplitzError(.shape, "linear", expected: "a weight [out, in]", got: "shape \(weight.shape)")
    }
    return try linearMap(from: weight.shape[1], to: weight.shape[0])(self, weight: weight, bias: bias)
  }
}
