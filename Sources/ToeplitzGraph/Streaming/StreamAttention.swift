import ToeplitzOps
import ToeplitzTensor

/// The operations of an attention along time, from the product of queries and keys to that of probabilities and values.
///
/// A piece is computed from some queries, and from the keys and values that these read.
struct StreamAttention: Sendable {
  enum Side: Int, Sendable { case query, key }

  /// One operation, as recorded for a length.
  struct Member: Sendable {
    var node: Graph.Node
    /// The axes of each operand that count queries and keys.
    var axes: [[Int?]]
    /// Whether an attribute holds the length.
    var isResized: Bool
    /// The operand that leaves out keys, and how.
    var mask: (operand: Int, leavesOut: MaskedPairs)?
    /// Whether it gives keys their shares of a sum.
    var isSoftmax = false
  }

  /// A value along time that it reads.
  struct Input: Hashable, Sendable {
    var value: Int
    var axis: Int
    var side: Side
  }

  private(set) var members: [Member]
  /// Keys and values first.
  private(set) var inputs: [Input] = []
  /// The specifications of its values, for the length that was recorded.
  private(set) var specs: [Int: TensorSpec] = [:]
  private(set) var window: AttentionWindow
  /// Constants, by value, but for those that change along queries or keys.
  private(set) var constants: [Int: Tensor] = [:]
  /// The others, by member and operand.
  private var masks: [[Int: AttentionWindow.Mask]] = []

  /// - Parameters:
  ///   - length: of queries and keys.
  ///   - axes: of the values along time.
  /// - Returns: nil if such a length does not tell which keys are read.
  init?(_ members: [Member], length: Int, _ graph: Graph, _ constants: [Int: Tensor], _ axes: [Int: Int]) throws {
    self.members = members
    let made = Set(members.flatMap(\.node.outputs))
    var (all, found): ([AttentionWindow.Mask], [Input]) = ([], [])
    for member in members {
      var own: [Int: AttentionWindow.Mask] = [:]
      for (operand, value) in member.node.inputs.enumerated() {
        specs[value] = graph.specs[value]
        guard !made.contains(value) else { continue }
        let sides = member.axes.map { $0[operand] }
        if let tensor = constants[value] {
          guard sides.contains(where: { $0 != nil }) else {
            self.constants[value] = tensor
            continue
          }
          let leavesOut = member.mask?.operand == operand ? member.mask?.leavesOut : nil
          let mask = try AttentionWindow.Mask(tensor, query: sides[0], key: sides[1], leavesOut: leavesOut)
          own[operand] = mask
          all.append(mask)
        } else if let axis = axes[value] {
          let input = Input(value: value, axis: axis, side: sides[1] != nil ? .key : .query)
          if !found.contains(input) { found.append(input) }
        }
      }
      masks.append(own)
      for output in member.node.outputs { specs[output] = graph.specs[output] }
    }
    inputs = found.filter { $0.side == .key } + found.filter { $0.side == .query }
    guard let window = try AttentionWindow(all, length: length) else { return nil }
    self.window = window
  }

  /// The same, whose pieces of keys begin anywhere.
  var unaligned: StreamAttention {
    var copy = self
    copy.window.alignment = 1
    return copy
  }

  var hasSoftmax: Bool { members.contains { $0.isSoftmax } }

  /// Whether another, for another length, is the same.
  func follows(_ other: StreamAttention) -> Bool {
    guard window == other.window, inputs == other.inputs, members.count == other.members.count else { return false }
    return members.indices.allSatisfy { index in
      let (a, b) = (members[index], other.members[index])
      guard a.node.inputs == b.node.inputs, a.axes == b.axes,
        a.isResized
          ? a.node.operation.name == b.node.operation.name
          : AnyHashable(a.node.operation) == AnyHashable(b.node.operation)
      else { return false }
      return masks[index].allSatisfy { operand, mask in
        guard let second = other.masks[index][operand] else { return false }
        func middle(_ mask: AttentionWindow.Mask) throws -> Tensor {
          let count = window.period
          let keys = window.keys(0..<count, phase: 0)
          return try window.part(mask, phase: 0, queries: count, keys: keys.count, shift: keys.lowerBound)
        }
        guard let one = try? middle(mask), let two = try? middle(second) else { return false }
        return (try? StreamNetwork.areEqual(one, two)) ?? false
      }
    }
  }

  /// Multiply-adds for a pair of a query and a key.
  var workPerPair: Double {
    members.reduce(0) { sum, member in
      guard let counted = member.node.operation as? any CountedOperation,
        let all = try? counted.multiplyAdds(member.node.inputs.compactMap { specs[$0] }), let length
      else { return sum }
      return sum + Double(all) / Double(length) / Double(length)
    }
  }

  /// The length that was recorded.
  private var length: Int? { inputs.first.flatMap { specs[$0.value]?.shape[$0.axis] } }

  // MARK: Computing

  /// Queries are computed so many at a time, as each reads few keys.
  private var rowsOfBlock: Int { max(64, (window.width + 31) / 32 * 32) }

  /// The ranges of queries of a piece and of the keys that they read, both counted from its first key.
  private func blocks(_ piece: StreamNode.Piece) -> [(queries: Range<Int>, keys: Range<Int>)] {
    let count = piece.end - piece.from
    return stride(from: 0, to: piece.count, by: rowsOfBlock).map { row in
      let end = min(row + rowsOfBlock, piece.count)
      let queries = piece.dropped + row..<piece.dropped + end
      let keys = window.keys(queries, phase: (piece.phase + row) % window.period)
      return (queries, keys.clamped(to: 0..<count))
    }
  }

  /// How many pairs of a query and a key are computed for a piece.
  func pairCount(_ piece: StreamNode.Piece) -> Int { blocks(piece).reduce(0) { $0 + $1.queries.count * $1.keys.count } }

  /// The results of a piece.
  ///
  /// - Parameters:
  ///   - operands: the inputs: all keys of the piece, and its queries.
  ///   - axis: of the results that counts queries.
  ///   - presence: which of the keys there are; all if nil.
  ///   - constant: what takes the place of a constant.
  func results(
    _ piece: StreamNode.Piece, _ operands: [Tensor], axis: Int, presence: Tensor?,
    constant: @escaping (Tensor) throws -> Tensor
  ) throws -> Tensor {
    var cache = Constants(constant: constant)
    let results = try blocks(piece).map { queries, keys -> Tensor in
      let rows = queries.lowerBound - piece.dropped..<queries.upperBound - piece.dropped
      let phase = (piece.phase + rows.lowerBound) % window.period
      var values: [Int: Tensor] = [:]
      for (index, member) in members.enumerated() {
        var given = try member.node.inputs.enumerated().map { operand, value -> Tensor in
          if let made = values[value] { return made }
          if let mask = masks[index][operand] {
            let part = Constants.Part(
              member: index, operand: operand, phase: phase, queries: rows.count, keys: keys.count,
              shift: keys.lowerBound - queries.lowerBound)
            return try cache.part(part, of: mask, window)
          }
          if let tensor = constants[value] { return try cache.whole(tensor, value) }
          let side = member.axes[Side.key.rawValue][operand] != nil ? Side.key : .query
          guard let at = inputs.firstIndex(where: { $0.value == value && $0.side == side }) else {
            throw StreamNetwork.refusal(
              member.node.operation, member.node.path, "an operand is neither constant nor along time")
          }
          let range = side == .key ? keys : rows
          return range == 0..<operands[at].shape[inputs[at].axis]
            ? operands[at] : try operands[at].slice(axis: inputs[at].axis, range)
        }
        if let presence, member.isSoftmax, let key = member.axes[Side.key.rawValue][0] {
          let shape = TensorShape(given[0].shape.indices.map { $0 == key ? keys.count : 1 })
          let isThere = try presence.slice(axis: 0, keys).reshaped(shape)
          given[0] = try Tensor.where(isThere, given[0], Tensor.full([], -1e30, dtype: given[0].dtype))
        }
        let made = try applyAll(operation(member, queries: rows.count, keys: keys.count), given)
        for (output, tensor) in zip(member.node.outputs, made) { values[output] = tensor }
      }
      return try members.last.flatMap { values[$0.node.outputs[0]] } ?? Tensor.zeros([0], dtype: .float32)
    }
    return results.count == 1 ? results[0] : try Tensor.concatenate(results, axis: axis)
  }

  /// The constants of pieces, each made once.
  private struct Constants {
    struct Part: Hashable {
      var member: Int
      var operand: Int
      var phase: Int
      var queries: Int
      var keys: Int
      var shift: Int
    }

    let constant: (Tensor) throws -> Tensor
    private var parts: [Part: Tensor] = [:]
    private var wholes: [Int: Tensor] = [:]

    init(constant: @escaping (Tensor) throws -> Tensor) { self.constant = constant }

    mutating func part(_ part: Part, of mask: AttentionWindow.Mask, _ window: AttentionWindow) throws -> Tensor {
      if let known = parts[part] { return known }
      let made = try constant(
        window.part(mask, phase: part.phase, queries: part.queries, keys: part.keys, shift: part.shift))
      parts[part] = made
      return made
    }

    mutating func whole(_ tensor: Tensor, _ value: Int) throws -> Tensor {
      if let known = wholes[value] { return known }
      let made = try constant(tensor)
      wholes[value] = made
      return made
    }
  }

  /// An operation for other numbers of queries and keys.
  private func operation(_ member: Member, queries: Int, keys: Int) throws -> any TensorOperation {
    var operation = member.node.operation
    guard member.isResized else { return operation }
    var operands = member.node.inputs.compactMap { specs[$0] }
    for (axes, length) in zip(member.axes, [queries, keys]) where axes.contains(where: { $0 != nil }) {
      let call = TimeCall(inputs: operands, axes: axes, outputs: try operation.infer(operands))
      if case .pointwise(_, let resized?) = operation.time(call) { operation = resized(length) }
      for (operand, axis) in axes.enumerated() {
        guard let axis else { continue }
        operands[operand] = TensorSpec(operands[operand].shape.replacing(axis, by: length), operands[operand].dtype)
      }
    }
    return operation
  }

  // MARK: Sessions

  /// The attention of `count` times as many samples, along these axes of its inputs, and the axis of its results that counts them.
  ///
  /// - Throws: ``ToeplitzError`` that names the operation which joins samples.
  func stacked(
    _ count: Int, _ along: [Int: Int], refuse: (_ reason: String) -> ToeplitzError
  ) throws -> (attention: StreamAttention, axis: Int) {
    var (copy, axes, last) = (self, along, 0)
    for input in inputs {
      guard let axis = along[input.value], let spec = specs[input.value] else {
        throw refuse("samples share an operand")
      }
      copy.specs[input.value] = TensorSpec(spec.shape.replacing(axis, by: count * spec.shape[axis]), spec.dtype)
    }
    for (index, member) in members.enumerated() {
      let operands = member.node.inputs.compactMap { specs[$0] }
      let outputs = member.node.outputs.compactMap { specs[$0] }
      let own = member.node.inputs.map { axes[$0] }
      let rule = member.node.operation.time(TimeCall(inputs: operands, axes: own, outputs: outputs))
      guard case .pointwise(let axis, let resized) = rule else {
        throw refuse("\(member.node.operation.name) joins samples")
      }
      if let resized { copy.members[index].node.operation = resized(count * outputs[0].shape[axis]) }
      let made = try copy.members[index].node.operation.infer(member.node.inputs.compactMap { copy.specs[$0] })
      for (output, (spec, made)) in zip(member.node.outputs, zip(outputs, made)) {
        guard made.shape == spec.shape.replacing(axis, by: count * spec.shape[axis]) else {
          throw refuse("samples share what it gives")
        }
        (copy.specs[output], axes[output]) = (made, axis)
      }
      last = axis
    }
    return (copy, last)
  }
}
