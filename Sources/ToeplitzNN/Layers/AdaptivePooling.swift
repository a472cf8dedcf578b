import ToeplitzOps
import ToeplitzTensor

/// The output size of an adaptive pooling: one number for every axis or one for each, nil keeping the input's.
public struct AdaptiveSize: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
  /// One size, or as many as there are axes.
  public var values: [Int?]
  /// Whether a single size stands for all axes.
  public var isUniform: Bool

  /// The same size for every axis.
  public init(_ value: Int?) {
    values = [value]
    isUniform = true
  }
  /// One size for each axis.
  public init(_ values: [Int?]) {
    self.values = values
    isUniform = false
  }
  /// The same size for every axis.
  public init(integerLiteral value: Int) { self.init(value) }
  /// One size for each axis.
  public init(arrayLiteral elements: Int?...) { self.init(elements) }
}

/// What both adaptive poolings share: the sizes.
open class AdaptivePool<Rank: SpatialRank>: Module {
  /// The output size on each axis; nil keeps the input's.
  public let outputSize: [Int?]
  private let repr: String

  init(_ name: String, _ size: AdaptiveSize) throws {
    let values = size.isUniform ? [Int?](repeating: size.values[0], count: Rank.count) : size.values
    guard values.count == Rank.count else {
      throw ToeplitzError(
        .argument, name, expected: "outputSize as one number or \(Rank.count)",
        got: "\(size.values.count) numbers")
    }
    guard values.allSatisfy({ $0.map { $0 > 0 } ?? true }) else {
      throw ToeplitzError(
        .argument, name, expected: "an outputSize of at least 1", got: "\(values.compactMap { $0 })")
    }
    outputSize = values
    let texts = size.values.map { $0.map { "\($0)" } ?? "None" }
    repr = "output_size=\(size.isUniform ? texts[0] : PythonText.tuple(texts))"
  }

  /// The layer's size, or the input's where that is nil.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    guard inputSize.count == Rank.count, inputSize.allSatisfy({ $0 > 0 }) else {
      throw ToeplitzError(
        .shape, displayName, expected: "\(Rank.count) spatial sizes of at least 1", got: "\(inputSize)")
    }
    return zip(outputSize, inputSize).map { $0 ?? $1 }
  }

  /// Every length up to 2³¹ where the layer has a size, which must be `length`.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    guard length > 0, outputSize.indices.contains(axis) else { return 0..<0 }
    guard let size = outputSize[axis] else { return singleLength(length) }
    return size == length ? 1..<(1 << 31) : 0..<0
  }

  /// PyTorch's options.
  open override var extraRepr: String { repr }
}

/// The means of windows that share the input evenly.
///
/// Input `[N, C, spatial…]` or `[C, spatial…]`.
open class AdaptiveAvgPool<Rank: SpatialRank>: AdaptivePool<Rank>, UnaryLayer {
  /// Creates a layer whose output has the given size.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of sizes is wrong or one is below 1.
  public init(outputSize: AdaptiveSize) throws { try super.init("AdaptiveAvgPool\(Rank.count)d", outputSize) }

  /// Creates a layer whose output has the same size on every axis.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the size is below 1.
  public convenience init(outputSize: Int) throws { try self.init(outputSize: AdaptiveSize(outputSize)) }

  /// Creates a layer whose output has the given sizes.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of sizes is wrong or one is below 1.
  public convenience init(outputSize: [Int]) throws { try self.init(outputSize: AdaptiveSize(outputSize)) }

  /// The means.
  open func forward(_ x: Tensor) throws -> Tensor { try x.adaptiveAveragePooled(outputSize) }
}

/// The largest elements of windows that share the input evenly; NaN is larger than all.
///
/// Input `[N, C, spatial…]` or `[C, spatial…]`.
open class AdaptiveMaxPool<Rank: SpatialRank>: AdaptivePool<Rank>, UnaryLayer {
  /// Creates a layer whose output has the given size.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of sizes is wrong or one is below 1.
  public init(outputSize: AdaptiveSize) throws { try super.init("AdaptiveMaxPool\(Rank.count)d", outputSize) }

  /// Creates a layer whose output has the same size on every axis.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the size is below 1.
  public convenience init(outputSize: Int) throws { try self.init(outputSize: AdaptiveSize(outputSize)) }

  /// Creates a layer whose output has the given sizes.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of sizes is wrong or one is below 1.
  public convenience init(outputSize: [Int]) throws { try self.init(outputSize: AdaptiveSize(outputSize)) }

  /// The largest elements.
  open func forward(_ x: Tensor) throws -> Tensor { try x.adaptiveMaxPooled(outputSize) }

  /// The largest elements and where they stood in their plane `[spatial…]`, row-major, as int64.
  ///
  /// - Throws: ``ToeplitzError`` if the input does not fit.
  public func withIndices(_ x: Tensor) throws -> (values: Tensor, indices: Tensor) {
    try x.adaptiveMaxPooledWithIndices(outputSize)
  }
}

/// An adaptive average pooling over `[N, C, L]`.
public typealias AdaptiveAvgPool1d = AdaptiveAvgPool<Rank1>
/// An adaptive average pooling over `[N, C, H, W]`.
public typealias AdaptiveAvgPool2d = AdaptiveAvgPool<Rank2>
/// An adaptive average pooling over `[N, C, D, H, W]`.
public typealias AdaptiveAvgPool3d = AdaptiveAvgPool<Rank3>
/// An adaptive max pooling over `[N, C, L]`.
public typealias AdaptiveMaxPool1d = AdaptiveMaxPool<Rank1>
/// An adaptive max pooling over `[N, C, H, W]`.
public typealias AdaptiveMaxPool2d = AdaptiveMaxPool<Rank2>
/// An adaptive max pooling over `[N, C, D, H, W]`.
public typealias AdaptiveMaxPool3d = AdaptiveMaxPool<Rank3>
