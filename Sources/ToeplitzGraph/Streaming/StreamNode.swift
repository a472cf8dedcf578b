import ToeplitzOps
import ToeplitzTensor

/// A node of a graph along time: which positions it reads for which of its results, and the operation for a piece.
///
/// Positions are absolute: 0 is the first of the whole stream.
struct StreamNode: Sendable {
  enum Kind: Sendable {
    /// Groups of `from` positions become groups of `to`, with `reach` groups read on either side.
    case blocks(from: Int, to: Int, reach: Int, resized: (@Sendable (Int) -> any TensorOperation)?)
    case window(AxisWindow, PaddingMode, @Sendable (Int, Int) throws -> any TensorOperation)
    case overlapAdd(AxisWindow, @Sendable (Int, Int) throws -> any TensorOperation)
    case state(carried: [TensorSpec], stepped: any TensorOperation)
    /// Constants before and after the positions.
    case enclosed(before: Int, after: Int)
    /// Each position reads some around it, which masks leave.
    case attention(StreamAttention)

    /// Whether another reads the same positions.
    func follows(_ other: Kind) -> Bool {
      switch (self, other) {
      case (.blocks(let from, let to, let reach, _), .blocks(let otherFrom, let otherTo, let otherReach, _)):
        (from, to, reach) == (otherFrom, otherTo, otherReach)
      case (.window(let window, let mode, _), .window(let otherWindow, let otherMode, _)):
        window == otherWindow && mode == otherMode
      case (.overlapAdd(let window, _), .overlapAdd(let otherWindow, _)): window == otherWindow
      case (.state, .state): true
      case (.enclosed(let before, let after), .enclosed(let otherBefore, let otherAfter)):
        (before, after) == (otherBefore, otherAfter)
      case (.attention(let one), .attention(let other)): one.follows(other)
      default: false
      }
    }
  }

  var operation: any TensorOperation
  var kind: Kind
  var inputs: [Int]
  /// The axis of each operand that is time.
  var axes: [Int?]
  /// The results with time, and the axis of theirs that is.
  var outputs: [Int]
  var axis: Int
  var path: String
  /// What the node computes, for people.
  var name: String { if case .attention = kind { "attention" } else { operation.name } }
  /// What padding of zeros stands for; nil where windows at the ends have fewer positions.
  var padding: Double?
  /// The specifications of the operands, for the length that was recorded.
  var specs: [TensorSpec]

  /// The operand whose positions are counted.
  var timed: Int { axes.firstIndex { $0 != nil } ?? 0 }

  /// Takes the kind and the axis of the results from a rule.
  ///
  /// - Throws: ``ToeplitzError`` that names the operation if it needs all of time.
  @discardableResult
  mutating func follow(_ rule: TimeRule) throws -> Kind {
    switch rule {
    case .pointwise(let axis, let resized):
      (kind, self.axis) = (.blocks(from: 1, to: 1, reach: 0, resized: resized), axis)
    case .blocks(let from, let to, let reach, let axis, let resized):
      (kind, self.axis) = (.blocks(from: from, to: to, reach: reach, resized: resized), axis)
    case .window(let window, let axis, let mode, let padding, let repadded):
      (kind, self.axis, self.padding) = (.window(window, mode, repadded), axis, padding)
    case .overlapAdd(let window, let axis, let recropped): (kind, self.axis) = (.overlapAdd(window, recropped), axis)
    case .state(let axis, let carried, let stepped):
      (kind, self.axis) = (.state(carried: carried, stepped: stepped), axis)
    case .whole(let reason): throw StreamNetwork.refusal(operation, path, reason)
    }
    return kind
  }

  // MARK: Counting

  /// How many positions the result has if the input has `length` in all; nil where the operation refuses such a length.
  func total(_ length: Int) -> Int? {
    if length == 0 { return totalOfNothing }
    switch kind {
    case .blocks(let from, let to, _, _): return length % from == 0 ? length / from * to : nil
    case .window(let window, let mode, _):
      if mode == .reflect, max(window.low, window.high) >= length, max(window.low, window.high) > 0 { return nil }
      let count = window.count(in: length)
      // What is cut off may be all there is.
      if operation is Slice { return max(0, count) }
      return count > 0 && length > 0 ? count : nil
    case .overlapAdd(let window, _):
      let count = (length - 1) * window.stride + window.span - window.low - window.high
      return length > 0 && count > 0 ? count : nil
    case .state, .attention: return length
    case .enclosed(let before, let after): return length + before + after
    }
  }

  /// How many positions the result has of an input that has none; nil where the operation refuses that.
  private var totalOfNothing: Int? {
    let empty = zip(specs, axes).map { spec, axis in
      axis.map { TensorSpec(spec.shape.replacing($0, by: 0), spec.dtype) } ?? spec
    }
    let whole: (any TensorOperation)?
    switch kind {
    case .blocks(_, _, _, let resized): whole = resized?(0) ?? operation
    case .window where operation is Slice: return 0
    case .window(let window, _, let repadded): whole = try? repadded(window.low, window.high)
    case .overlapAdd(let window, let recropped): whole = try? recropped(window.low, window.high)
    case .state: whole = operation
    case .enclosed(let before, let after): return before + after
    case .attention: return 0
    }
    return (try? whole?.infer(empty))?.first?.shape[axis]
  }

  /// How many positions of the result are final once `known` positions of the input are, whatever comes.
  func ready(_ known: Int) -> Int {
    guard known > 0 else { return 0 }
    switch kind {
    case .blocks(let from, let to, let reach, _): return max(0, known / from - reach) * to
    case .window(let window, let mode, _):
      if mode == .reflect, window.low > 0, known <= window.low { return 0 }
      return max(0, floorDivide(known + window.low - window.span, window.stride) + 1)
    case .overlapAdd(let window, _): return max(0, known * window.stride - window.low)
    case .state: return known
    case .enclosed(let before, _): return known + before
    case .attention(let attention): return attention.window.ready(known)
    }
  }

  /// The first position of an input that results from `next` on may still read, when `known` are there.
  func needed(from next: Int, known: Int, of value: Int) -> Int {
    switch kind {
    case .blocks(let from, let to, let reach, _): return max(0, next / to - reach) * from
    case .window(let window, let mode, _):
      var first = next * window.stride - window.low
      if window.high > 0 {
        // What the padding at the end may read, and a window that still holds a position of the input.
        first = min(first, known - window.stride - (mode == .reflect ? window.high : 0))
      }
      return first
    case .overlapAdd(let window, _):
      return min(ceilDivide(next + window.low - window.span + 1, window.stride), known - 1)
    case .state: return next
    case .enclosed(let before, _): return next - before
    case .attention(let attention):
      let isKey = attention.inputs.contains { $0.value == value && $0.side == .key }
      return isKey ? min(next, attention.window.firstKey(from: next)) : next
    }
  }

  // MARK: Computing

  /// What is computed to get results `range`.
  struct Piece: Hashable, Sendable {
    /// The positions of the input that are taken.
    var from: Int
    var end: Int
    /// Padding, or what is cut off, at both ends.
    var low = 0
    var high = 0
    /// Results before the first that is wanted.
    var dropped = 0
    /// The number of the first result, up to multiples of what rules repeat after.
    var phase = 0
    var count: Int
    /// For each operand with time where its held positions begin, counted from those of the first such operand.
    var shifts: [Int] = []
  }

  /// The positions that are read for results `first..<end`, when `known` are there, which are all if `isEnded`.
  func piece(_ first: Int, _ end: Int, known: Int, isEnded: Bool) -> Piece {
    let count = end - first
    switch kind {
    case .blocks(let from, let to, let reach, _):
      let groups = max(0, first / to - reach)..<min(known / from, end / to + reach)
      return Piece(
        from: groups.lowerBound * from, end: groups.upperBound * from, dropped: first - groups.lowerBound * to,
        count: count)
    case .window(let window, let mode, _):
      let (stride, low) = (window.stride, window.low)
      let stop = (end - 1) * stride - low + window.span
      let high = isEnded ? max(0, stop - known) : 0
      // At the end begin early enough to hold what the padding reads.
      var begin = first
      if high > 0 {
        let wanted = known - 1 - (mode == .reflect ? high : 0)
        begin = min(begin, max(0, floorDivide(wanted + low, stride)))
      }
      let start = begin * stride - low
      let before = max(0, -start)
      var last = min(stop, known)
      if before > 0 { last = max(last, min(known, mode == .reflect ? before + 1 : 1)) }
      return Piece(
        from: max(0, start), end: max(last, max(0, start)), low: before, high: high, dropped: first - begin,
        count: count)
    case .overlapAdd(let window, _):
      let (stride, low) = (window.stride, window.low)
      let last = max(1, min(known, floorDivide(end - 1 + low, stride) + 1))
      let start = min(last - 1, max(0, ceilDivide(first + low - window.span + 1, stride)))
      return Piece(
        from: start, end: last, low: first + low - start * stride,
        high: (last - 1) * stride + window.span - (end + low), count: count)
    case .state: return Piece(from: first, end: end, count: count)
    case .enclosed(let before, let after):
      // The padding is what of the constants is taken.
      let total = known + before
      return Piece(
        from: max(0, first - before), end: min(known, max(0, end - before)), low: max(0, before - first),
        high: isEnded ? min(after, max(0, end - total)) : 0, count: count)
    case .attention(let attention):
      let phase = first % attention.window.period
      let keys = attention.window.keys(first..<end, phase: phase)
      let from = max(0, keys.lowerBound)
      return Piece(
        from: from, end: max(from, min(known, keys.upperBound)), dropped: first - from, phase: phase, count: count)
    }
  }

  /// Whether an operand is read at the positions of the results alone, whatever others are.
  func isQuery(_ operand: Int) -> Bool {
    if case .attention(let attention) = kind { attention.inputs[operand].side == .query } else { false }
  }

  /// The positions of an operand that are taken for a piece, counted as the piece's are.
  func positions(_ piece: Piece, operand: Int) -> Range<Int> {
    guard isQuery(operand) else { return piece.from..<piece.end }
    return piece.from + piece.dropped..<piece.from + piece.dropped + piece.count
  }

  /// The results of a piece from the operands, of which those with time hold its positions, and what is carried on.
  ///
  /// - Parameters:
  ///   - presence: where some positions of the first operand are none of the stream's, which there are.
  ///   - constant: what takes the place of a constant that is no operand.
  func results(
    _ piece: Piece, _ operands: [Tensor], carried: [Tensor], presence: Tensor?,
    constant: @escaping (Tensor) throws -> Tensor
  ) throws -> (results: [Tensor], carried: [Tensor]) {
    func cut(_ tensors: [Tensor]) throws -> [Tensor] {
      try tensors.prefix(outputs.count).map { tensor in
        guard tensor.shape[axis] != piece.count else { return tensor }
        return try tensor.slice(axis: axis, piece.dropped..<(piece.dropped + piece.count))
      }
    }
    switch kind {
    case .blocks(let from, let to, _, let resized):
      let length = (piece.end - piece.from) / from * to
      let resized: any TensorOperation = resized?(length) ?? operation
      return (try cut(applied(resized, operands)), [])
    case .window(_, _, let repadded): return (try cut(applied(repadded(piece.low, piece.high), operands)), [])
    case .overlapAdd(_, let recropped): return (try cut(applied(recropped(piece.low, piece.high), operands)), [])
    case .state(_, let stepped):
      let all = try applied(stepped, operands + carried)
      return (Array(all.prefix(outputs.count)), Array(all.suffix(carried.count)))
    case .enclosed:
      // Constants go out whole, the ones with the first position, the others with the last.
      let parts = operands.enumerated().filter { index, _ in
        index < timed ? piece.low > 0 : index > timed ? piece.high > 0 : piece.end > piece.from
      }
      return (try [Tensor.concatenate(parts.map(\.element), axis: axis)], [])
    case .attention(let attention):
      return ([try attention.results(piece, operands, axis: axis, presence: presence, constant: constant)], [])
    }
  }

  private func applied(_ operation: some TensorOperation, _ operands: [Tensor]) throws -> [Tensor] {
    try applyAll(operation, operands)
  }
}

/// The quotient rounded towards infinity, of a positive divisor.
func ceilDivide(_ a: Int, _ b: Int) -> Int { -floorDivide(-a, b) }
