import ToeplitzOps
import ToeplitzTensor

/// Which keys each query of an attention reads, where masks leave out all keys that are far from it.
///
/// Query t reads keys from `t + first[t % period]` to `t + last[t % period]`; masks and biases repeat after `period` positions.
struct AttentionWindow: Hashable, Sendable {
  let period: Int
  let first: [Int]
  let last: [Int]
  /// Pieces of keys begin at multiples of it.
  var alignment = Self.alignment

  /// Sums over keys are so many chains that take turns: pieces of keys begin at multiples, so that each number stays in its chain.
  static let alignment = 32
  /// Scores of a trace have the square of its length as elements.
  static let mostLength = 4096
  /// A mask or bias: a constant that changes along queries or keys.
  struct Mask: Sendable {
    /// Contiguous `[…, queries, keys]`, an axis of size 1 where it does not change.
    let elements: Tensor
    let leavesOut: MaskedPairs?
    /// What brings these axes back to where they lie in the constant.
    private let order: [Int]

    /// - Parameters:
    ///   - query: the axis of the constant that counts queries, nil if none does.
    ///   - key: likewise.
    init(_ constant: Tensor, query: Int?, key: Int?, leavesOut: MaskedPairs?) throws {
      // One more axis of size 1 stands for each that is missing.
      var constant = constant
      var (query, key) = (query, key)
      if query == nil {
        constant = try constant.unsqueezed(0)
        (query, key) = (0, key.map { $0 + 1 })
      }
      if key == nil {
        constant = try constant.unsqueezed(0)
        (query, key) = (query.map { $0 + 1 }, 0)
      }
      let last = [query ?? 0, key ?? 0]
      let axes = constant.shape.indices.filter { !last.contains($0) } + last
      elements = try constant.permuted(axes).copied()
      order = axes.indices.map { axes.firstIndex(of: $0) ?? 0 }
      self.leavesOut = leavesOut
    }

    fileprivate var rows: Int { elements.shape[elements.rank - 2] }
    fileprivate var columns: Int { elements.shape[elements.rank - 1] }
    fileprivate var planes: Int { elements.count / max(1, rows * columns) }

    /// Whether the elements repeat after `period` queries and keys.
    fileprivate func repeats(after period: Int) throws -> Bool {
      let (down, across) = (rows > 1 ? period : 0, columns > 1 ? period : 0)
      func part(_ first: (row: Int, column: Int), _ height: Int) throws -> Tensor {
        try elements.slice(axis: elements.rank - 2, first.row..<first.row + height)
          .slice(axis: elements.rank - 1, first.column..<first.column + columns - across)
      }
      func isSame(_ height: Int) throws -> Bool {
        guard height > 0, columns > across, planes > 0 else { return true }
        let same = try part((0, 0), height).equal(part((down, across), height))
        return try same.cast(to: .float32).min().item(Float.self) == 1
      }
      // Mostly one row tells.
      return try isSame(min(1, rows - down)) && isSame(rows - down)
    }

    /// Whether it leaves out a key of a query in all planes.
    fileprivate func leavesOut(query: Int, key: Int) throws -> Bool {
      let (row, column) = (rows > 1 ? query : 0, columns > 1 ? key : 0)
      let place = try elements.slice(axis: elements.rank - 2, row..<row + 1)
        .slice(axis: elements.rank - 1, column..<column + 1)
      return try leftOut(place)?.item(Bool.self) ?? false
    }

    /// For each pair whether it is left out in all planes, nil if none ever is.
    fileprivate func leftOut() throws -> Tensor? { try leftOut(elements) }

    private func leftOut(_ elements: Tensor) throws -> Tensor? {
      guard let leavesOut else { return nil }
      let shape = elements.shape
      let numbers = try elements.cast(to: .float32).reshaped([planes, shape[shape.rank - 2], shape[shape.rank - 1]])
      func number(_ value: Double) throws -> Tensor { try Tensor.full([], value, dtype: .float32) }
      return switch leavesOut {
      case .small: try numbers.max([0]).lessOrEqual(number(PairCall.mostOfLeftOut))
      case .ifTrue: try numbers.min([0]).greater(number(0))
      case .ifFalse: try numbers.max([0]).equal(number(0))
      }
    }

    /// The constant for some queries and keys.
    ///
    /// - Parameters:
    ///   - row: for each query one that was recorded.
    ///   - shift: the first key, counted from the first query.
    fileprivate func part(_ row: [Int], keys: Int, shift: Int, period: Int) throws -> Tensor {
      let (height, width) = (rows > 1 ? row.count : 1, columns > 1 ? keys : 1)
      var shape = elements.shape
      (shape[shape.rank - 2], shape[shape.rank - 1]) = (height, width)
      let result = try Tensor(uninitialized: shape, dtype: elements.dtype, operation: "streamPlan")
      let size = elements.dtype.byteSize
      for plane in 0..<planes {
        for query in 0..<height {
          let from = elements.elements + (plane * rows + (rows > 1 ? row[query] : 0)) * columns * size
          let to = result.elements + (plane * height + query) * width * size
          for key in 0..<width {
            // Keys beyond what was recorded are left out as the last one is.
            let own = row[query] + shift + key - query
            let at =
              columns == 1 ? 0 : rows > 1 ? min(max(own, 0), columns - 1) : own - floorDivide(own, period) * period
            (to + key * size).copyMemory(from: from + at * size, byteCount: size)
          }
        }
      }
      return try withExtendedLifetime(elements) { try result.permuted(order) }
    }
  }

  /// The window that masks leave, for as many queries and keys.
  ///
  /// - Returns: nil if such a length does not tell.
  /// - Throws: ``ToeplitzError`` if a query is left no key.
  init?(_ masks: [Mask], length: Int) throws {
    guard (1...Self.mostLength).contains(length) else { return nil }
    // The last query and the first key, or the other way round: then no key is too far away.
    for (query, key) in [(length - 1, 0), (0, length - 1)] {
      guard try masks.contains(where: { try $0.leavesOut(query: query, key: key) }) else { return nil }
    }
    let periods = 1...max(1, length / 4)
    guard let period = try periods.first(where: { period in try masks.allSatisfy { try $0.repeats(after: period) } })
    else { return nil }
    // 1 where a key is read.
    var seen = try Tensor.full([length, length], 1, dtype: .float32)
    for mask in masks {
      guard let out = try mask.leftOut() else { continue }
      seen = try seen * out.logicalNot().cast(to: .float32)
    }
    let lows = try seen.argmax(axis: 1).scalars(Int64.self)
    let highs = try seen.flipped([1]).argmax(axis: 1).scalars(Int64.self)
    let isSeen = try seen.max([1]).scalars(Float.self)
    var (first, last) = ([Int](repeating: .max, count: period), [Int](repeating: .min, count: period))
    for query in 0..<length {
      guard isSeen[query] > 0 else {
        throw ToeplitzError(
          .unsupported, "streamPlan", expected: "masks that leave each query a key", got: "none for query \(query)")
      }
      let (from, to) = (Int(lows[query]) - query, length - 1 - Int(highs[query]) - query)
      (first[query % period], last[query % period]) = (min(first[query % period], from), max(last[query % period], to))
    }
    (self.period, self.first, self.last) = (period, first, last)
    guard length >= 2 * (reach.upperBound - reach.lowerBound) + 4 * period + 4 else { return nil }
  }

  /// The furthest keys that any query reads, counted from itself; 0 is among them.
  private var reach: ClosedRange<Int> { min(0, first.min() ?? 0)...max(0, last.max() ?? 0) }

  /// Whether queries read keys before their own, or after it.
  var readsBefore: Bool { reach.lowerBound < 0 }
  var readsAfter: Bool { reach.upperBound > 0 }

  /// How many keys a query reads, at most.
  var width: Int { reach.count }

  /// How many queries, from the first on, read none but the first `known` keys; there are as many of them.
  func ready(_ known: Int) -> Int {
    var count = max(0, known - reach.upperBound)
    while count < known, count + last[count % period] < known { count += 1 }
    return count
  }

  /// The keys that are read for some queries, from an aligned one on; maybe before the first or after the last there is.
  ///
  /// Queries and keys are counted from a position whose number is a multiple of the alignment.
  ///
  /// - Parameter phase: the number of the first query, up to multiples of the period.
  func keys(_ queries: Range<Int>, phase: Int) -> Range<Int> {
    var (from, end) = (Int.max, Int.min)
    for query in queries.prefix(period) {
      from = min(from, query + first[(phase + query - queries.lowerBound) % period])
    }
    for query in queries.suffix(period) {
      end = max(end, query + last[(phase + query - queries.lowerBound) % period] + 1)
    }
    return floorDivide(from, alignment) * alignment..<max(end, from)
  }

  /// The first key that queries from `next` on read.
  func firstKey(from next: Int) -> Int { max(0, keys(next..<(next + period), phase: next % period).lowerBound) }

  /// A mask for some queries, the first of this phase, and keys.
  ///
  /// - Parameter shift: the first key, counted from the first query.
  func part(_ mask: Mask, phase: Int, queries: Int, keys: Int, shift: Int) throws -> Tensor {
    // A whole period of rows, far enough from the ends to have all their keys.
    let base = (1 - reach.lowerBound + period - 1) / period * period
    return try mask.part((0..<queries).map { base + (phase + $0) % period }, keys: keys, shift: shift, period: period)
  }
}
