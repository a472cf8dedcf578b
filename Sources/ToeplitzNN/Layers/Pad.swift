import ToeplitzOps
import ToeplitzTensor

/// What all padding layers share.
///
/// Use ``ConstantPad1d`` … ``CircularPad3d``. Input `[N, C, spatial…]` or `[C, spatial…]`.
open class PadLayer<Rank: SpatialRank>: Module, UnaryLayer {
  /// Positions added (cropped where negative) before and after each axis, last axis first, as in PyTorch.
  public let padding: [Int]
  private let mode: PaddingMode
  private let value: Double

  class var kind: String { "" }

  init(_ padding: any PerAxisConvertible, _ mode: PaddingMode, value: Double = 0) throws {
    let padding = padding.perAxis
    let name = "\(Self.kind)Pad\(Rank.count)d"
    let values =
      padding.isUniform ? [Int](repeating: padding.values[0], count: 2 * Rank.count) : padding.values
    guard values.count == 2 * Rank.count else {
      throw ToeplitzError(
        .argument, name, expected: "padding as one number or \(2 * Rank.count)",
        got: "\(values.count) numbers")
    }
    let limit = Int(Int32.max)
    guard values.allSatisfy({ (-limit...limit).contains($0) }) else {
      throw ToeplitzError(.argument, name, expected: "padding of at most \(limit)", got: "\(values)")
    }
    self.padding = values
    self.mode = mode
    self.value = value
  }

  /// Positions before and after spatial axis `axis`.
  private func amount(_ axis: Int) -> (low: Int, high: Int) {
    let at = 2 * (Rank.count - 1 - axis)
    return (padding[at], padding[at + 1])
  }

  /// The extended input.
  open func forward(_ x: Tensor) throws -> Tensor {
    guard x.rank == Rank.count + 1 || x.rank == Rank.count + 2 else {
      throw ToeplitzError(
        .shape, displayName, expected: "an input of \(Rank.count + 1) or \(Rank.count + 2) dimensions",
        got: "shape \(x.shape)")
    }
    _ = try outputSize(for: Array(x.shape.suffix(Rank.count)))
    let first = x.rank - Rank.count
    let pads = (0..<Rank.count).map { (axis: first + $0, low: amount($0).low, high: amount($0).high) }
    return try x.padded(pads.filter { $0.low != 0 || $0.high != 0 }, mode: mode, value: value)
  }

  /// The size with the padding.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the mode cannot fill the padding or nothing is left.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    guard inputSize.count == Rank.count else {
      throw ToeplitzError(.shape, displayName, expected: "\(Rank.count) spatial sizes", got: "\(inputSize)")
    }
    return try inputSize.indices.map { axis in
      let (size, pad) = (inputSize[axis], amount(axis))
      let most: Int
      switch mode {
      case .reflect: most = size - 1
      // What is cropped does not come back at the other end.
      case .circular: most = size + min(pad.low, 0) + min(pad.high, 0)
      case .replicate, .zeros: most = Int.max
      }
      guard max(pad.low, pad.high) <= most else {
        throw ToeplitzError(
          .shape, displayName, expected: "padding of at most \(most) on axis \(axis) of size \(size)",
          got: "\(max(pad.low, pad.high))")
      }
      guard size > 0 || mode == .zeros, size >= 0, size < Int.max / 4,
        size + min(pad.low, 0) + min(pad.high, 0) >= 0,
        size + pad.low + pad.high > 0
      else {
        throw ToeplitzError(
          .shape, displayName, expected: "an output of at least 1 position on axis \(axis)",
          got: "size \(size) with padding \(pad.low) and \(pad.high)")
      }
      return size + pad.low + pad.high
    }
  }

  /// The length without the padding, if the mode can fill it.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    guard (0..<Rank.count).contains(axis), length > 0, length < Int.max / 4 else { return 0..<0 }
    let input = length - amount(axis).low - amount(axis).high
    var sizes = [Int](repeating: Int(Int32.max), count: Rank.count)
    sizes[axis] = input
    return (try? outputSize(for: sizes)) == nil ? 0..<0 : input..<(input + 1)
  }

  /// The padding as a tuple.
  open override var extraRepr: String { PythonText.tuple(padding) }
}

/// Axes extended by a constant.
open class ConstantPad<Rank: SpatialRank>: PadLayer<Rank> {
  override class var kind: String { "Constant" }
  /// What the new positions hold.
  public let value: Double

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - padding: one number, or two for each axis, last axis first (left, right, top, bottom, …); negative crops.
  ///   - value: what the new positions hold.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of paddings is wrong.
  public init(padding: any PerAxisConvertible, value: Double) throws {
    self.value = value
    try super.init(padding, .zeros, value: value)
  }

  /// Padding and value.
  open override var extraRepr: String { "padding=\(PythonText.tuple(padding)), value=\(value)" }
}

/// Axes extended by zeros.
open class ZeroPad<Rank: SpatialRank>: PadLayer<Rank> {
  override class var kind: String { "Zero" }
  /// Creates a layer.
  ///
  /// - Parameter padding: one number, or two for each axis, last axis first; negative crops.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of paddings is wrong.
  public init(padding: any PerAxisConvertible) throws { try super.init(padding, .zeros) }
}

/// Axes extended by their mirror image, the edge not repeated.
open class ReflectionPad<Rank: SpatialRank>: PadLayer<Rank> {
  override class var kind: String { "Reflection" }
  /// Creates a layer.
  ///
  /// - Parameter padding: one number, or two for each axis, last axis first; smaller than the axis.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of paddings is wrong.
  public init(padding: any PerAxisConvertible) throws { try super.init(padding, .reflect) }
}

/// Axes extended by their first and last value.
open class ReplicationPad<Rank: SpatialRank>: PadLayer<Rank> {
  override class var kind: String { "Replication" }
  /// Creates a layer.
  ///
  /// - Parameter padding: one number, or two for each axis, last axis first.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of paddings is wrong.
  public init(padding: any PerAxisConvertible) throws { try super.init(padding, .replicate) }
}

/// Axes continued from their other end.
open class CircularPad<Rank: SpatialRank>: PadLayer<Rank> {
  override class var kind: String { "Circular" }
  /// Creates a layer.
  ///
  /// - Parameter padding: one number, or two for each axis, last axis first; at most the size of the axis.
  /// - Throws: ``ToeplitzError`` of kind `argument` if the number of paddings is wrong.
  public init(padding: any PerAxisConvertible) throws { try super.init(padding, .circular) }
}

/// Constant padding of `[N, C, L]`.
public typealias ConstantPad1d = ConstantPad<Rank1>
/// Constant padding of `[N, C, H, W]`.
public typealias ConstantPad2d = ConstantPad<Rank2>
/// Constant padding of `[N, C, D, H, W]`.
public typealias ConstantPad3d = ConstantPad<Rank3>
/// Zero padding of `[N, C, L]`.
public typealias ZeroPad1d = ZeroPad<Rank1>
/// Zero padding of `[N, C, H, W]`.
public typealias ZeroPad2d = ZeroPad<Rank2>
/// Zero padding of `[N, C, D, H, W]`.
public typealias ZeroPad3d = ZeroPad<Rank3>
/// Mirrored padding of `[N, C, L]`.
public typealias ReflectionPad1d = ReflectionPad<Rank1>
/// Mirrored padding of `[N, C, H, W]`.
public typealias ReflectionPad2d = ReflectionPad<Rank2>
/// Mirrored padding of `[N, C, D, H, W]`.
public typealias ReflectionPad3d = ReflectionPad<Rank3>
/// Padding of `[N, C, L]` by the edge values.
public typealias ReplicationPad1d = ReplicationPad<Rank1>
/// Padding of `[N, C, H, W]` by the edge values.
public typealias ReplicationPad2d = ReplicationPad<Rank2>
/// Padding of `[N, C, D, H, W]` by the edge values.
public typealias ReplicationPad3d = ReplicationPad<Rank3>
/// Circular padding of `[N, C, L]`.
public typealias CircularPad1d = CircularPad<Rank1>
/// Circular padding of `[N, C, H, W]`.
public typealias CircularPad2d = CircularPad<Rank2>
/// Circular padding of `[N, C, D, H, W]`.
public typealias CircularPad3d = CircularPad<Rank3>
