import ToeplitzOps
import ToeplitzTensor

/// Follows what is computed of pairs of positions, such as the scores of an attention, which have two axes along time.
///
/// It begins with a product of queries `[…, L, D]` and keys `[…, D, L]`, both along time, and ends with one of probabilities and values.
struct ScoreTracking {
  private struct Value {
    /// The axis that counts rows, of the first factor, and the one that counts columns, of the second.
    var axes: [Int?]
    var content: PairContent
    /// The operations that it depends on, from the product on.
    var members: Set<Int>
    /// Which of the two axes counts keys, once that is known.
    var key: Int?
  }

  private var values: [Int: Value] = [:]
  private var members: [StreamAttention.Member] = []
  private let graph: Graph

  init(_ graph: Graph) { self.graph = graph }

  /// Whether a value has elements of pairs of positions, or is computed of such.
  func isTracked(_ value: Int) -> Bool { values[value] != nil }

  /// What a node that has to do with pairs is.
  enum Outcome {
    case tracked
    /// The last operation of an attention, and the axis of its result that is time.
    case ended(StreamAttention, axis: Int)
  }

  /// Takes a node, unless it has nothing to do with pairs of positions.
  ///
  /// - Parameters:
  ///   - axes: of values along time.
  ///   - constants: and what is computed of such.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation if a key that masks leave out could change a result,
  ///   of kind `argument` if the length that was recorded does not tell which keys are read.
  mutating func follow(_ node: Graph.Node, _ axes: [Int: Int], _ constants: [Int: Tensor]) throws -> Outcome? {
    func refuse(_ reason: String) -> ToeplitzError { StreamNetwork.refusal(node.operation, node.path, reason) }
    let specs = node.inputs.map { graph.specs[$0] }
    let given = node.inputs.map { values[$0] }
    if given.allSatisfy({ $0 == nil }) {
      guard node.operation is any RowsTimesColumns, let row = axes[node.inputs[0]], let column = axes[node.inputs[1]],
        specs[0].shape.rank >= 2, specs[1].shape.rank >= 2, row == specs[0].shape.rank - 2,
        column == specs[1].shape.rank - 1
      else { return nil }
      guard specs[0].shape[row] == specs[1].shape[column] else { throw refuse("queries and keys differ in rate") }
      let rank = graph.specs[node.outputs[0]].shape.rank
      add(
        StreamAttention.Member(node: node, axes: [[row, nil], [nil, column]], isResized: false),
        Value(axes: [rank - 2, rank - 1], content: .scores, members: []))
      return .tracked
    }
    if node.operation is any RowsTimesColumns { return try end(node, axes, constants) }
    let sides = try sideAxes(node, axes, constants)
    var value = Value(axes: [], content: .scores, members: [])
    for operand in given.compactMap({ $0 }) {
      value.members.formUnion(operand.members)
      guard value.key == nil || operand.key == nil || value.key == operand.key else {
        throw refuse("queries and keys change places")
      }
      value.key = value.key ?? operand.key
    }
    var isResized = false
    let outputs = node.outputs.map { graph.specs[$0] }
    for side in 0..<2 {
      guard sides[side].contains(where: { $0 != nil }) else {
        value.axes.append(nil)
        continue
      }
      if let joined = joined(node, sides[side]) {
        value.axes.append(joined.axis)
        guard value.key == nil || value.key == side else { throw refuse("it joins queries") }
        value.key = side
        continue
      }
      let rule = node.operation.time(TimeCall(inputs: specs, axes: sides[side], outputs: outputs))
      guard case .pointwise(let axis, let resized) = rule else { throw refuse("it joins pairs of positions") }
      value.axes.append(axis)
      isResized = isResized || resized != nil
    }
    let call = PairCall(
      contents: given.map { $0?.content }, constants: node.inputs.map { constants[$0] },
      changes: node.inputs.indices.map { operand in sides.contains { $0[operand] != nil } },
      joinsKeys: sides.contains { joined(node, $0) != nil })
    var member = StreamAttention.Member(node: node, axes: sides, isResized: isResized)
    switch (node.operation as? any PairOperation)?.pairs(call) ?? call.plain {
    case .content(let content): value.content = content
    case .masked(let operand, let pairs): (value.content, member.mask) = (.masked, (operand, pairs))
    case .shares: (value.content, member.isSoftmax) = (.probabilities, true)
    case .refused(let reason): throw refuse(reason)
    }
    add(member, value)
    return .tracked
  }

  private mutating func add(_ member: StreamAttention.Member, _ value: Value) {
    var value = value
    value.members.insert(members.count)
    members.append(member)
    for output in member.node.outputs { values[output] = value }
  }

  /// What becomes of an axis whose positions an operation joins.
  private struct Joined {
    var axis: Int?
  }

  /// Whether an operation joins the positions of the first operand's axis.
  private func joined(_ node: Graph.Node, _ axes: [Int?]) -> Joined? {
    guard let axis = axes[0], let operation = node.operation as? any PairOperation else { return nil }
    let joined = operation.joinedAxes(graph.specs[node.inputs[0]].shape)
    return joined.axes == [axis] ? Joined(axis: joined.areKept ? axis : nil) : nil
  }

  /// For rows and for columns the axis of each operand that counts them: by place from the end, as in broadcasting.
  private func sideAxes(_ node: Graph.Node, _ axes: [Int: Int], _ constants: [Int: Tensor]) throws -> [[Int?]] {
    func refuse(_ reason: String) -> ToeplitzError { StreamNetwork.refusal(node.operation, node.path, reason) }
    var (places, lengths): ([Int?], [Int]) = ([nil, nil], [1, 1])
    for value in node.inputs {
      guard let own = values[value] else { continue }
      for side in 0..<2 {
        guard let axis = own.axes[side] else { continue }
        let place = graph.specs[value].shape.rank - axis
        guard places[side] == nil || places[side] == place else { throw refuse("pairs lie on different axes") }
        (places[side], lengths[side]) = (place, graph.specs[value].shape[axis])
      }
    }
    var sides = [[Int?]](repeating: [], count: 2)
    for value in node.inputs {
      let shape = graph.specs[value].shape
      if let axis = axes[value], !places.contains(shape.rank - axis) {
        throw refuse("time lies on an axis beside pairs")
      }
      for side in 0..<2 {
        if let own = values[value] {
          sides[side].append(own.axes[side])
        } else if let axis = axes[value] {
          sides[side].append(places[side] == shape.rank - axis ? axis : nil)
        } else {
          let at = places[side].map { shape.rank - $0 } ?? -1
          sides[side].append(at >= 0 && shape[at] == lengths[side] && shape[at] > 1 ? at : nil)
        }
      }
    }
    return sides
  }

  // MARK: The end

  /// The product of probabilities and values.
  private mutating func end(_ node: Graph.Node, _ axes: [Int: Int], _ constants: [Int: Tensor]) throws -> Outcome {
    func refuse(_ reason: String) -> ToeplitzError { StreamNetwork.refusal(node.operation, node.path, reason) }
    // The axis of each factor that is summed over.
    let summed = zip(node.inputs, [1, 2]).map { max(0, graph.specs[$0].shape.rank - $1) }
    guard let at = (0..<2).first(where: { values[node.inputs[$0]] != nil }), let value = values[node.inputs[at]],
      let key = (0..<2).first(where: { value.axes[$0] == summed[at] }), let query = value.axes[1 - key],
      axes[node.inputs[1 - at]] == summed[1 - at], query == graph.specs[node.inputs[at]].shape.rank - (at == 0 ? 2 : 1)
    else { throw refuse("it sums over pairs of positions") }
    guard value.content == .probabilities, value.key == nil || value.key == key else {
      throw refuse("it sums over all positions, of which no mask leaves any out")
    }
    var sides = [[Int?]](repeating: [nil, nil], count: 2)
    (sides[1 - key][at], sides[key][at], sides[key][1 - at]) = (query, summed[at], summed[1 - at])
    var chosen = value.members.sorted().map { members[$0] }
    chosen.append(StreamAttention.Member(node: node, axes: sides, isResized: false))
    if key == 0 { for index in chosen.indices { chosen[index].axes.swapAt(0, 1) } }
    let length = graph.specs[node.inputs[at]].shape[query]
    guard let attention = try StreamAttention(chosen, length: length, graph, constants, axes) else {
      if length >= AttentionWindow.mostLength { throw refuse("no mask leaves out keys that are far away") }
      throw ToeplitzError(
        .argument, "streamPlan", expected: "masks that leave out keys far away, and repeat along time",
        got: "others for \(length) positions", path: node.path)
    }
    return .ended(attention, axis: graph.specs[node.outputs[0]].shape.rank - (at == 0 ? 2 : 1))
  }
}
