import ToeplitzTensor

/// What stands in the brackets of `x[…]`: an index, a range, ``TensorIndex/slice(from:to:by:)``, ``TensorIndex/newAxis``,
/// ``TensorIndex/ellipsis``, a list or tensor of indices, or a mask.
public protocol TensorIndexing {
  /// What it means.
  var tensorIndex: TensorIndex { get }
}

/// One entry of the brackets of `x[…]`, with NumPy's meaning.
///
/// Indices and bounds below zero count from the end. A range that reaches beyond an axis is cut there; an index that does is
/// an error.
///
/// ```swift
/// try x[0]                            // the first row
/// try x[0..., 0, (-16)...]            // x[:, 0, -16:]
/// try x[.ellipsis, 1..<(-1)]          // x[..., 1:-1]
/// try x[.slice(from: 1, to: -1, by: 2)]  // x[1:-1:2]
/// try x[.slice(by: -1)]               // x[::-1]
/// try x[.newAxis, 0...]               // x[None, :]
/// try x[[2, 0]]                       // x[[2, 0]]
/// try x[x > 0]                        // x[x > 0], not in code that is traced
/// ```
public enum TensorIndex: TensorIndexing, Sendable {
  /// One position of an axis, which disappears.
  case at(Int)
  /// Every `by`-th position from `from` to before `to`; backwards if `by` is below zero. A bound that is nil is the end
  /// of the axis.
  case slice(from: Int? = nil, to: Int? = nil, by: Int = 1)
  /// A new axis of size 1.
  case newAxis
  /// All axes that no other entry names.
  case ellipsis
  /// Positions of an axis (whole numbers, any shape), or those of one or more axes where a mask (bool) is true.
  case elements(Tensor)
  /// Positions of an axis.
  case list([Int])

  /// Itself.
  public var tensorIndex: TensorIndex { self }
}

// So that `.ellipsis` can be written for a parameter of type `any TensorIndexing`.
extension TensorIndexing where Self == TensorIndex {
  /// Every `by`-th position from `from` to before `to`, as Python's `from:to:by`.
  @_disfavoredOverload public static func slice(from: Int? = nil, to: Int? = nil, by: Int = 1) -> TensorIndex {
    TensorIndex.slice(from: from, to: to, by: by)
  }
  /// The positions of a range.
  public static func slice(_ range: Range<Int>) -> TensorIndex {
    TensorIndex.slice(from: range.lowerBound, to: range.upperBound)
  }
  /// The positions of a range.
  public static func slice(_ range: ClosedRange<Int>) -> TensorIndex {
    TensorIndex.slice(from: range.lowerBound, to: range.upperBound.following)
  }
  /// A new axis of size 1.
  @_disfavoredOverload public static var newAxis: TensorIndex { TensorIndex.newAxis }
  /// All axes that no other entry names.
  @_disfavoredOverload public static var ellipsis: TensorIndex { TensorIndex.ellipsis }
}

extension Int: TensorIndexing {
  /// One position.
  public var tensorIndex: TensorIndex { .at(self) }
}

// Swift's own ranges stop the process where their bounds are in the wrong order, as those of `1..<(-1)` are. So they are no
// indices, and in the brackets of `x[…]` these operators take their place; elsewhere a range stays a range.

/// From `low` to before `high`, where bounds below zero count from the end: `x[1..<(-1)]`.
///
/// For a range in a variable see ``TensorIndexing/slice(_:)-(Range<Int>)``.
@_disfavoredOverload
public func ..< (low: Int, high: Int) -> TensorIndex { TensorIndex.slice(from: low, to: high) }

/// From `low` to `high`, which belongs to it, where bounds below zero count from the end: `x[1...(-1)]`.
@_disfavoredOverload
public func ... (low: Int, high: Int) -> TensorIndex { TensorIndex.slice(from: low, to: high.following) }

extension PartialRangeFrom: TensorIndexing where Bound == Int {
  /// From the bound to the end.
  public var tensorIndex: TensorIndex { .slice(from: lowerBound) }
}
extension PartialRangeUpTo: TensorIndexing where Bound == Int {
  /// From the beginning to before the bound.
  public var tensorIndex: TensorIndex { .slice(to: upperBound) }
}
extension PartialRangeThrough: TensorIndexing where Bound == Int {
  /// From the beginning to the bound, which belongs to it.
  public var tensorIndex: TensorIndex { .slice(to: upperBound.following) }
}
extension Array: TensorIndexing where Element == Int {
  /// The positions in this order.
  public var tensorIndex: TensorIndex { .list(self) }
}
extension Tensor: TensorIndexing {
  /// Positions, or where a mask is true.
  public var tensorIndex: TensorIndex { .elements(self) }
}

extension Int {
  /// The bound before which a range that includes this position ends; none after the last position.
  fileprivate var following: Int? { self == -1 || self == .max ? nil : self + 1 }
}

extension Tensor {
  /// The elements at the given positions of each axis, as NumPy's `x[…]`: see ``TensorIndex``.
  ///
  /// Indices and ranges give a view. It cannot be assigned to, because writing may fail: see
  /// ``assign(_:at:)-(Tensor,_)``.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the axis, if there are more entries than axes or one does not
  ///   fit; if a mask is asked for its elements in code that is traced.
  public subscript(indices: any TensorIndexing...) -> Tensor {
    get throws { try indexed(indices.map(\.tensorIndex)) }
  }

  /// The rows: each position of the first axis.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if there is no axis.
  public func rows() throws -> [Tensor] {
    guard let count = shape.first else {
      throw ToeplitzError(.shape, "rows", expected: "a tensor of at least one dimension", got: "shape \(shape)")
    }
    return try (0..<count).map { try select(axis: 0, $0) }
  }

  func indexed(_ entries: [TensorIndex]) throws -> Tensor {
    let entries = try spelledOut(entries)
    var (result, axis, lists) = (self, 0, 0)
    for entry in entries {
      switch entry {
      case .newAxis:
        result = try result.unsqueezed(axis)
        axis += 1
      case .at(let index):
        let size = result.shape[axis]
        guard (-size..<size).contains(index) else {
          throw ToeplitzError(
            .argument, "index", expected: "an index in \(-size)..<\(size) for shape \(shape)", got: "\(index)")
        }
        result = try result.select(axis: axis, index < 0 ? index + size : index)
      case .slice(let from, let to, let by):
        result = try result.sliced(axis, from, to, by)
        axis += 1
      case .ellipsis: break
      case .list(let positions):
        result = try result.taken(Tensor(positions), axis)
        (axis, lists) = (axis + 1, lists + 1)
      case .elements(let positions) where positions.dtype == .bool:
        result = try result.masked(positions, axis)
        (axis, lists) = (axis + 1, lists + 1)
      case .elements(let positions):
        result = try result.taken(positions, axis)
        (axis, lists) = (axis + positions.rank, lists + 1)
      }
    }
    // NumPy would pair the positions of several lists.
    guard lists <= 1 else {
      throw ToeplitzError(
        .argument, "index", expected: "at most one list of positions or mask (index in two steps)", got: "\(lists)")
    }
    return result
  }

  /// The entries with the ellipsis written as ranges.
  private func spelledOut(_ entries: [TensorIndex]) throws -> [TensorIndex] {
    var (named, dots) = (0, [Int]())
    for (place, entry) in entries.enumerated() {
      switch entry {
      case .newAxis: break
      case .ellipsis: dots.append(place)
      case .elements(let mask) where mask.dtype == .bool: named += mask.rank
      case .at, .slice, .elements, .list: named += 1
      }
    }
    guard named <= rank, dots.count <= 1 else {
      throw ToeplitzError(
        .argument, "index", expected: "at most \(rank) entries for shape \(shape), and one ellipsis",
        got: dots.count > 1 ? "\(dots.count) of these" : "\(named) entries")
    }
    guard let dot = dots.first else { return entries }
    let all = [TensorIndex](repeating: .slice(), count: rank - named)
    return entries[..<dot] + all + entries[(dot + 1)...]
  }

  private func sliced(_ axis: Int, _ from: Int?, _ to: Int?, _ by: Int) throws -> Tensor {
    let size = shape[axis]
    guard by != 0, by != .min else {
      throw ToeplitzError(.argument, "index", expected: "a step other than 0", got: "\(by)")
    }
    /// A bound counted from the front, cut to `low...high`.
    func bound(_ value: Int, _ low: Int, _ high: Int) -> Int {
      let place = value < 0 ? Swift.max(value, -size - 1) + size : value
      return Swift.min(Swift.max(place, low), high)
    }
    if by > 0 {
      let start = bound(from ?? 0, 0, size)
      // An open end stays one, whatever the length is when a trace is computed in pieces.
      let end = to.map { Swift.max(bound($0, 0, size), start) }
      if start == 0, end ?? size == size, by == 1 { return self }
      return try slice(axis: axis, start..<(end ?? .max), step: by)
    }
    // Backwards: forwards on the reversed axis.
    let start = size - 1 - (from.map { bound($0, -1, size - 1) } ?? size - 1)
    let end = size - 1 - (to.map { bound($0, -1, size - 1) } ?? -1)
    return try flipped([axis]).slice(axis: axis, start..<Swift.max(start, end), step: -by)
  }

  private func taken(_ positions: Tensor, _ axis: Int) throws -> Tensor {
    guard positions.dtype.isInteger else {
      throw ToeplitzError(
        .dtype, "index", expected: "positions as whole numbers or a mask of bool", got: "\(positions.dtype)")
    }
    return try gathered(positions, axis: axis)
  }

  private func masked(_ mask: Tensor, _ axis: Int) throws -> Tensor {
    let wanted = TensorShape(Array(shape[axis..<(axis + mask.rank)]))
    guard mask.shape == wanted else {
      throw ToeplitzError(.shape, "index", expected: "a mask of shape \(wanted)", got: "\(mask.shape)")
    }
    let places: [Int]
    do {
      places = try mask.scalars(Bool.self).enumerated().filter(\.element).map(\.offset)
    } catch var error as ToeplitzError where mask.isTraced {
      error.operation = "index by a mask"
      error.expected += "; multiply by the mask or use Tensor.where"
      throw error
    }
    let flat = try reshaped(TensorShape(shape[..<axis] + [mask.count] + shape[(axis + mask.rank)...]))
    return try flat.gathered(Tensor(places), axis: axis)
  }
}
