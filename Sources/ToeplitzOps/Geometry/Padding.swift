/// How much an axis is extended (convolution) or cropped (transposed convolution) before and after.
public enum Padding: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
  /// The same number on both sides of every axis.
  case uniform(Int)
  /// One number for each axis, used on both sides; or two for each, before and after: `[left, right]` for one axis,
  /// `[top, bottom, left, right]` for two (Modular MAX's order), and so on.
  case symmetric([Int])
  /// A number before and one after, for each axis.
  case asymmetric([(low: Int, high: Int)])
  /// As much as gives an output of `ceil(L / stride)`, which for a convolution needs stride 1 and there is L (an
  /// odd rest goes to the high side), or for a transposed convolution of `L × stride`.
  case same
  /// As much as makes no output depend on a later input: a convolution gets `dilation × (kernel − 1) + 1 − stride`
  /// zeros before and gives `floor(L / stride)` outputs; a transposed one is cropped as much at its end and gives
  /// `L × stride`.
  case causal

  /// The same number on both sides of every axis.
  public init(integerLiteral value: Int) { self = .uniform(value) }
  /// One or two numbers for each axis.
  public init(arrayLiteral elements: Int...) { self = .symmetric(elements) }

  /// Equality of cases and numbers.
  public static func == (a: Padding, b: Padding) -> Bool {
    switch (a, b) {
    case (.uniform(let x), .uniform(let y)): x == y
    case (.symmetric(let x), .symmetric(let y)): x == y
    case (.asymmetric(let x), .asymmetric(let y)): x.elementsEqual(y, by: ==)
    case (.same, .same), (.causal, .causal): true
    default: false
    }
  }

  /// Hashes case and numbers.
  public func hash(into hasher: inout Hasher) {
    switch self {
    case .uniform(let value): hasher.combine(value)
    case .symmetric(let values): hasher.combine(values)
    case .asymmetric(let pairs):
      for pair in pairs {
        hasher.combine(pair.low)
        hasher.combine(pair.high)
      }
    case .same: hasher.combine("same")
    case .causal: hasher.combine("causal")
    }
  }
}

extension Padding {
  /// `total` positions before and after an axis; an odd rest, or all that is missing, goes to the end or the beginning.
  package static func halves(of total: Int, restAtEnd: Bool = true) -> (low: Int, high: Int) {
    let half = max(total, 0) / 2
    return restAtEnd ? (half, total - half) : (total - half, half)
  }

  /// What an axis of `length` is extended by so that windows give `ceil(length / stride)` outputs.
  package static func same(length: Int, extent: Int, stride: Int, restAtEnd: Bool) -> (low: Int, high: Int) {
    let outputs = (length + stride - 1) / stride
    return halves(of: max(0, (outputs - 1) * stride + extent - length), restAtEnd: restAtEnd)
  }
}

/// What stands in the padded positions of a convolution's input.
public enum PaddingMode: String, Sendable, Hashable, CaseIterable {
  /// Zeros.
  case zeros
  /// The signal mirrored at its edge, the edge value not repeated.
  case reflect
  /// The edge value.
  case replicate
  /// The signal continued from its other end.
  case circular
}

/// One number for every spatial axis, or one for each: `2` or `[2, 1]`.
public struct PerAxis: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
  /// One number, or as many as there are axes.
  public var values: [Int]
  /// Whether a single number stands for all axes.
  public var isUniform: Bool

  /// The same number for every axis.
  public init(_ value: Int) {
    values = [value]
    isUniform = true
  }
  /// One number for each axis.
  public init(_ values: [Int]) {
    self.values = values
    isUniform = false
  }
  /// The same number for every axis.
  public init(integerLiteral value: Int) { self.init(value) }
  /// One number for each axis.
  public init(arrayLiteral elements: Int...) { self.init(elements) }
}

/// What can stand where an option takes one number for all spatial axes, or one for each: an `Int`, an `[Int]`, a
/// ``PerAxis``.
public protocol PerAxisConvertible: Sendable {
  /// The numbers.
  var perAxis: PerAxis { get }
}

extension PerAxis: PerAxisConvertible {
  /// Itself.
  public var perAxis: PerAxis { self }
}
extension Int: PerAxisConvertible {
  /// The same number for every axis.
  public var perAxis: PerAxis { PerAxis(self) }
}
extension Array: PerAxisConvertible where Element == Int {
  /// One number for each axis.
  public var perAxis: PerAxis { PerAxis(self) }
}

/// What can stand for a ``Padding``: an `Int`, an `[Int]` (one or two numbers for each axis), `.same`, `.causal`,
/// `.asymmetric([(low: 2, high: 0)])`.
public protocol PaddingConvertible: Sendable {
  /// The padding.
  var asPadding: Padding { get }
}

extension Padding: PaddingConvertible {
  /// Itself.
  public var asPadding: Padding { self }
}
extension Int: PaddingConvertible {
  /// The same number on both sides of every axis.
  public var asPadding: Padding { .uniform(self) }
}
extension Array: PaddingConvertible where Element == Int {
  /// One or two numbers for each axis.
  public var asPadding: Padding { .symmetric(self) }
}

// So that `.same` can be written for a parameter of type `any PaddingConvertible`.
extension PaddingConvertible where Self == Padding {
  /// The same number on both sides of every axis.
  @_disfavoredOverload public static func uniform(_ value: Int) -> Padding { Padding.uniform(value) }
  /// One or two numbers for each axis.
  @_disfavoredOverload public static func symmetric(_ values: [Int]) -> Padding { Padding.symmetric(values) }
  /// A number before and one after, for each axis.
  @_disfavoredOverload public static func asymmetric(_ pairs: [(low: Int, high: Int)]) -> Padding {
    Padding.asymmetric(pairs)
  }
  /// As much as keeps the length (see ``Padding``).
  @_disfavoredOverload public static var same: Padding { Padding.same }
  /// As much as makes no output depend on a later input (see ``Padding``).
  @_disfavoredOverload public static var causal: Padding { Padding.causal }
}

/// Where the channels of a tensor stand.
public enum TensorLayout: String, Sendable, Hashable {
  /// `[N, C, L]`, `[N, C, H, W]`, `[N, C, D, H, W]`, as in PyTorch.
  case channelsFirst
  /// `[N, L, C]`, `[N, H, W, C]`, `[N, D, H, W, C]`.
  case channelsLast
}
