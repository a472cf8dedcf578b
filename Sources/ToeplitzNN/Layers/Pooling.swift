import ToeplitzOps
import ToeplitzTensor

/// The largest element of each window; NaN is larger than all, padding smaller than all.
///
/// Input `[N, C, spatial…]` or `[C, spatial…]`.
///
/// ```swift
/// let pool = try MaxPool1d(kernelSize: 2)
/// let y = try pool(x)  // [N, C, L] -> [N, C, L / 2]
/// ```
open class MaxPool<Rank: SpatialRank>: Module, UnaryLayer {
  /// Options and sizes.
  public let geometry: PoolGeometry
  private let repr: String

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - kernelSize: positions in a window.
  ///   - stride: inputs between neighbouring windows; `kernelSize` if nil.
  ///   - padding: positions added before and after each axis; at most half a window.
  ///   - dilation: inputs between neighbouring positions of a window.
  ///   - ceilMode: whether a last window that hangs over the end counts.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil, padding: any PerAxisConvertible = 0,
    dilation: any PerAxisConvertible = 1,
    ceilMode: Bool = false
  ) throws {
    geometry = try PoolGeometry(
      name: "MaxPool\(Rank.count)d", rank: Rank.count, kernelSize: kernelSize, stride: stride,
      padding: padding,
      dilation: dilation, ceilMode: ceilMode)
    repr =
      "kernel_size=\(PythonText.option(kernelSize)), stride=\(PythonText.option(stride ?? kernelSize)), "
      + "padding=\(PythonText.option(padding)), dilation=\(PythonText.option(dilation)), "
      + "ceil_mode=\(PythonText.bool(ceilMode))"
  }

  /// The largest element of each window.
  open func forward(_ x: Tensor) throws -> Tensor { try x.maxPooled(geometry) }

  /// The largest element of each window and where it stood in its plane `[spatial…]`, row-major, as int64
  /// (PyTorch's `return_indices`).
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit.
  public func withIndices(_ x: Tensor) throws -> (values: Tensor, indices: Tensor) {
    try x.maxPooledWithIndices(geometry)
  }

  /// The geometry's output size.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] { try geometry.outputSize(inputSize) }
  /// The geometry's inverse.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    geometry.inputLengths(for: length, axis: axis)
  }
  /// PyTorch's options.
  open override var extraRepr: String { repr }
}

/// The mean of each window.
///
/// Input `[N, C, spatial…]` or `[C, spatial…]`.
open class AvgPool<Rank: SpatialRank>: Module, UnaryLayer {
  /// Options and sizes.
  public let geometry: PoolGeometry
  /// Whether padding counts as elements of value 0.
  public let countIncludePad: Bool
  /// What sums are divided by instead of the number of elements.
  public let divisorOverride: Int?
  private let repr: String

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - kernelSize: positions in a window.
  ///   - stride: inputs between neighbouring windows; `kernelSize` if nil.
  ///   - padding: zeros added before and after each axis; at most half a window.
  ///   - ceilMode: whether a last window that hangs over the end counts.
  ///   - countIncludePad: whether padding counts as elements.
  ///   - divisorOverride: what sums are divided by instead of the number of elements.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    kernelSize: any PerAxisConvertible, stride: (any PerAxisConvertible)? = nil, padding: any PerAxisConvertible = 0,
    ceilMode: Bool = false,
    countIncludePad: Bool = true, divisorOverride: Int? = nil
  ) throws {
    geometry = try PoolGeometry(
      name: "AvgPool\(Rank.count)d", rank: Rank.count, kernelSize: kernelSize, stride: stride,
      padding: padding,
      ceilMode: ceilMode)
    guard divisorOverride != 0 else {
      throw ToeplitzError(.argument, geometry.name, expected: "a divisorOverride other than 0", got: "0")
    }
    self.countIncludePad = countIncludePad
    self.divisorOverride = divisorOverride
    // PyTorch prints tuples in one dimension and elsewhere what was given.
    func text(_ value: any PerAxisConvertible) -> String {
      Rank.count == 1 ? PythonText.tuple(value.perAxis.values) : PythonText.option(value)
    }
    repr = "kernel_size=\(text(kernelSize)), stride=\(text(stride ?? kernelSize)), padding=\(text(padding))"
  }

  /// The mean of each window.
  open func forward(_ x: Tensor) throws -> Tensor {
    try x.averagePooled(geometry, countIncludePad: countIncludePad, divisorOverride: divisorOverride)
  }

  /// The geometry's output size.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] { try geometry.outputSize(inputSize) }
  /// The geometry's inverse.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    geometry.inputLengths(for: length, axis: axis)
  }
  /// PyTorch's options.
  open override var extraRepr: String { repr }
}

/// A pooling over `[N, C, L]`.
public typealias MaxPool1d = MaxPool<Rank1>
/// A pooling over `[N, C, H, W]`.
public typealias MaxPool2d = MaxPool<Rank2>
/// A pooling over `[N, C, D, H, W]`.
public typealias MaxPool3d = MaxPool<Rank3>
/// An average pooling over `[N, C, L]`.
public typealias AvgPool1d = AvgPool<Rank1>
/// An average pooling over `[N, C, H, W]`.
public typealias AvgPool2d = AvgPool<Rank2>
/// An average pooling over `[N, C, D, H, W]`.
public typealias AvgPool3d = AvgPool<Rank3>
