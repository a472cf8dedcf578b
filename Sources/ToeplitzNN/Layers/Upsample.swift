import ToeplitzOps
import ToeplitzTensor

/// One factor for every spatial axis, or one for each: `2` or `[1.5, 2]`.
public struct ScaleFactor: Sendable, Hashable, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByArrayLiteral
{
  /// One factor, or as many as there are axes.
  public var values: [Double]
  /// Whether a single factor stands for all axes.
  public var isUniform: Bool

  /// The same factor for every axis.
  public init(_ value: Double) {
    values = [value]
    isUniform = true
  }
  /// One factor for each axis.
  public init(_ values: [Double]) {
    self.values = values
    isUniform = false
  }
  /// The same factor for every axis.
  public init(floatLiteral value: Double) { self.init(value) }
  /// The same factor for every axis.
  public init(integerLiteral value: Int) { self.init(Double(value)) }
  /// One factor for each axis.
  public init(arrayLiteral elements: Double...) { self.init(elements) }
}

/// What can stand for a ``ScaleFactor``: a number, or an array of them.
public protocol ScaleFactorConvertible: Sendable {
  /// The factors.
  var asScaleFactor: ScaleFactor { get }
}

extension ScaleFactor: ScaleFactorConvertible {
  /// Itself.
  public var asScaleFactor: ScaleFactor { self }
}
extension Int: ScaleFactorConvertible {
  /// The same factor for every axis.
  public var asScaleFactor: ScaleFactor { ScaleFactor(Double(self)) }
}
extension Double: ScaleFactorConvertible {
  /// The same factor for every axis.
  public var asScaleFactor: ScaleFactor { ScaleFactor(self) }
}
extension Array: ScaleFactorConvertible where Element: ScaleFactorConvertible {
  /// One factor for each axis.
  public var asScaleFactor: ScaleFactor { ScaleFactor(flatMap(\.asScaleFactor.values)) }
}

/// The spatial axes sampled at more (or fewer) positions.
///
/// Input `[N, C, L]`, `[N, C, H, W]` or `[N, C, D, H, W]`; `linear` takes the first, `bilinear` and `bicubic` the
/// second, `trilinear` the third, the others all.
///
/// ```swift
/// let up = try Upsample(scaleFactor: 2)
/// let y = try up(x)  // [N, C, L] -> [N, C, 2 L]
/// ```
open class Upsample: Module, UnaryLayer {
  /// How new positions are filled.
  public enum Mode: String, Sendable, Hashable, CaseIterable {
    /// The sample at or before the position.
    case nearest
    /// The sample nearest to the position's middle.
    case nearestExact = "nearest-exact"
    /// Straight lines, one axis.
    case linear
    /// Straight lines, two axes.
    case bilinear
    /// Straight lines, three axes.
    case trilinear
    /// Cubics, two axes.
    case bicubic

    var interpolation: Interpolation {
      switch self {
      case .nearest: .nearest
      case .nearestExact: .nearestExact
      case .linear, .bilinear, .trilinear: .linear
      case .bicubic: .cubic
      }
    }

    /// The spatial axes an input must have; any number if nil.
    var rank: Int? {
      switch self {
      case .nearest, .nearestExact: nil
      case .linear: 1
      case .bilinear, .bicubic: 2
      case .trilinear: 3
      }
    }
  }

  /// The output's size, if that is given.
  public let size: PerAxis?
  /// Outputs per input, if that is given.
  public let scaleFactor: ScaleFactor?
  /// How new positions are filled.
  public let mode: Mode
  /// Whether first and last positions fall on first and last samples.
  public let alignCorners: Bool?
  /// Whether positions follow from the ratio of the sizes and not from the factor.
  public let recomputeScaleFactor: Bool?

  /// Creates a layer; just one of `size` and `scaleFactor` is given.
  ///
  /// - Parameters:
  ///   - size: the output's size on each axis.
  ///   - scaleFactor: outputs per input on each axis.
  ///   - mode: how new positions are filled.
  ///   - alignCorners: whether first and last positions fall on first and last samples; not with nearest modes.
  ///   - recomputeScaleFactor: whether positions follow from the ratio of the (whole) sizes; not with `size`.
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the first illegal option.
  public init(
    size: (any PerAxisConvertible)? = nil, scaleFactor: (any ScaleFactorConvertible)? = nil, mode: Mode = .nearest,
    alignCorners: Bool? = nil,
    recomputeScaleFactor: Bool? = nil
  ) throws {
    let (size, scaleFactor) = (size?.perAxis, scaleFactor?.asScaleFactor)
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.argument, "Upsample", expected: expected, got: got)
    }
    guard (size == nil) != (scaleFactor == nil) else {
      throw refuse("either size or scaleFactor", size == nil ? "neither" : "both")
    }
    guard alignCorners == nil || !mode.interpolation.isNearest else {
      throw refuse("alignCorners with linear and cubic modes only", mode.rawValue)
    }
    guard recomputeScaleFactor != true || size == nil else {
      throw refuse("recomputeScaleFactor with scaleFactor only", "size")
    }
    let given = size?.values.count ?? scaleFactor?.values.count ?? 0
    let isUniform = size?.isUniform ?? scaleFactor?.isUniform ?? true
    guard isUniform || (1...3).contains(given), isUniform || mode.rank == nil || mode.rank == given else {
      throw refuse("one number or \(mode.rank.map { "\($0)" } ?? "1 to 3")", "\(given)")
    }
    if let size, let wrong = size.values.first(where: { $0 < 1 }) {
      throw refuse("sizes of at least 1", "\(wrong)")
    }
    if let scaleFactor, let wrong = scaleFactor.values.first(where: { !($0 > 0 && $0.isFinite) }) {
      throw refuse("finite factors above 0", "\(wrong)")
    }
    self.size = size
    self.scaleFactor = scaleFactor
    self.mode = mode
    self.alignCorners = alignCorners
    self.recomputeScaleFactor = recomputeScaleFactor
  }

  /// The input at the new positions.
  open func forward(_ x: Tensor) throws -> Tensor {
    let rank = x.rank - 2
    guard (1...3).contains(rank), mode.rank == nil || mode.rank == rank else {
      let axes = mode.rank.map { "\($0 + 2)" } ?? "3 to 5"
      throw ToeplitzError(
        .shape, "Upsample",
        expected: "an input of \(axes) dimensions [N, C, spatial…] for mode \(mode.rawValue)",
        got: "shape \(x.shape)")
    }
    let sizes = try outputSize(for: Array(x.shape.suffix(rank)))
    // The innermost axis first: so there is least to compute.
    return try (0..<rank).reversed().reduce(x) { y, axis in
      let isCopy = sizes[axis] == x.shape[axis + 2] && mode != .bicubic
      return isCopy
        ? y
        : try y.resampled(
          axis: axis + 2, size: sizes[axis], mode.interpolation,
          factor: recomputeScaleFactor == true ? nil : factor(axis),
          alignCorners: alignCorners ?? false)
    }
  }

  private func factor(_ axis: Int) -> Double? {
    scaleFactor.map { $0.isUniform ? $0.values[0] : $0.values[min(axis, $0.values.count - 1)] }
  }

  private func length(_ input: Int, _ factor: Double) -> Int? {
    let exact = (Double(input) * factor).rounded(.down)
    return exact >= 1 && exact < 0x1p60 ? Int(exact) : nil
  }

  /// The layer's size, or the floor of input size times factor.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    let given = size.map { $0.isUniform ? inputSize.count : $0.values.count }
    let factors = scaleFactor.map { $0.isUniform ? inputSize.count : $0.values.count }
    guard given ?? factors == inputSize.count, inputSize.allSatisfy({ $0 > 0 }) else {
      throw ToeplitzError(
        .shape, "Upsample", expected: "\(given ?? factors ?? 1) spatial sizes of at least 1",
        got: "\(inputSize)")
    }
    return try inputSize.indices.map { axis in
      if let size { return size.isUniform ? size.values[0] : size.values[axis] }
      guard let result = length(inputSize[axis], factor(axis) ?? 1) else {
        throw ToeplitzError(
          .shape, "Upsample", expected: "an output of at least 1 position on axis \(axis)",
          got: "size \(inputSize[axis]) times \(factor(axis) ?? 1)")
      }
      return result
    }
  }

  /// The inverse of the factor; with a fixed size every length up to 2³¹.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    guard length > 0, axis >= 0 else { return 0..<0 }
    if let size {
      let fixed = size.isUniform ? size.values[0] : axis < size.values.count ? size.values[axis] : 0
      return fixed == length ? 1..<(1 << 31) : 0..<0
    }
    let factor = factor(axis) ?? 1
    let most = (Double(length) + 1) / factor + 2
    guard most < 0x1p60 else { return 0..<0 }
    return monotoneInverse(of: length, in: 1..<Int(most)) { self.length($0, factor) ?? 0 }
  }

  /// PyTorch's options.
  open override var extraRepr: String {
    let amount =
      size.map { "size=\(PythonText.option($0))" }
      ?? scaleFactor.map { factor in
        "scale_factor="
          + (factor.isUniform ? "\(factor.values[0])" : PythonText.tuple(factor.values.map { "\($0)" }))
      } ?? ""
    return "\(amount), mode='\(mode.rawValue)'"
  }
}

/// The spatial axes of `[N, C, spatial…]` sampled at more (or fewer) positions, as ``Upsample`` does.
///
/// - Throws: ``ToeplitzError`` if just one of `size` and `scaleFactor` is not given, or options and shape do not fit.
public func interpolate(
  _ x: Tensor, size: (any PerAxisConvertible)? = nil, scaleFactor: (any ScaleFactorConvertible)? = nil,
  mode: Upsample.Mode = .nearest, alignCorners: Bool? = nil
) throws -> Tensor {
  try Upsample(size: size, scaleFactor: scaleFactor, mode: mode, alignCorners: alignCorners)(x)
}
