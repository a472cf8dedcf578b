import ToeplitzTensor

// Poolings as functions; the batch axis may be missing.

/// The largest element of each window of `[N, C, L]` (see `MaxPool1d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func maxPool1d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, ceilMode: Bool = false
) throws -> Tensor {
  try x.maxPooled(
    PoolGeometry(
      name: "maxPool1d", rank: 1, kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation,
      ceilMode: ceilMode))
}

/// The mean of each window of `[N, C, L]` (see `AvgPool1d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func avgPool1d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, ceilMode: Bool = false, countIncludePad: Bool = true
) throws -> Tensor {
  try x.averagePooled(
    PoolGeometry(
      name: "avgPool1d", rank: 1, kernelSize: kernelSize, stride: stride, padding: padding, ceilMode: ceilMode),
    countIncludePad: countIncludePad)
}

/// The means of windows that share `[N, C, L]` evenly (see `AdaptiveAvgPool1d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveAvgPool1d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveAveragePooled(sizes(outputSize, rank: 1))
}

/// The largest elements of windows that share `[N, C, L]` evenly (see `AdaptiveMaxPool1d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveMaxPool1d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveMaxPooled(sizes(outputSize, rank: 1))
}

/// The largest element of each window of `[N, C, H, W]` (see `MaxPool2d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func maxPool2d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, ceilMode: Bool = false
) throws -> Tensor {
  try x.maxPooled(
    PoolGeometry(
      name: "maxPool2d", rank: 2, kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation,
      ceilMode: ceilMode))
}

/// The mean of each window of `[N, C, H, W]` (see `AvgPool2d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func avgPool2d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, ceilMode: Bool = false, countIncludePad: Bool = true
) throws -> Tensor {
  try x.averagePooled(
    PoolGeometry(
      name: "avgPool2d", rank: 2, kernelSize: kernelSize, stride: stride, padding: padding, ceilMode: ceilMode),
    countIncludePad: countIncludePad)
}

/// The means of windows that share `[N, C, H, W]` evenly (see `AdaptiveAvgPool2d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveAvgPool2d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveAveragePooled(sizes(outputSize, rank: 2))
}

/// The largest elements of windows that share `[N, C, H, W]` evenly (see `AdaptiveMaxPool2d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveMaxPool2d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveMaxPooled(sizes(outputSize, rank: 2))
}

/// The largest element of each window of `[N, C, D, H, W]` (see `MaxPool3d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func maxPool3d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, dilation: any PerAxisConvertible = 1, ceilMode: Bool = false
) throws -> Tensor {
  try x.maxPooled(
    PoolGeometry(
      name: "maxPool3d", rank: 3, kernelSize: kernelSize, stride: stride, padding: padding, dilation: dilation,
      ceilMode: ceilMode))
}

/// The mean of each window of `[N, C, D, H, W]` (see `AvgPool3d`).
///
/// - Throws: ``ToeplitzError`` if options and shapes do not fit.
public func avgPool3d(
  _ x: Tensor, kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil,
  padding: any PerAxisConvertible = 0, ceilMode: Bool = false, countIncludePad: Bool = true
) throws -> Tensor {
  try x.averagePooled(
    PoolGeometry(
      name: "avgPool3d", rank: 3, kernelSize: kernelSize, stride: stride, padding: padding, ceilMode: ceilMode),
    countIncludePad: countIncludePad)
}

/// The means of windows that share `[N, C, D, H, W]` evenly (see `AdaptiveAvgPool3d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveAvgPool3d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveAveragePooled(sizes(outputSize, rank: 3))
}

/// The largest elements of windows that share `[N, C, D, H, W]` evenly (see `AdaptiveMaxPool3d`).
///
/// - Throws: ``ToeplitzError`` if the sizes do not fit.
public func adaptiveMaxPool3d(_ x: Tensor, outputSize: any PerAxisConvertible) throws -> Tensor {
  try x.adaptiveMaxPooled(sizes(outputSize, rank: 3))
}

/// A size for each axis.
private func sizes(_ option: any PerAxisConvertible, rank: Int) -> [Int?] {
  let option = option.perAxis
  return option.isUniform ? [Int?](repeating: option.values[0], count: rank) : option.values
}
