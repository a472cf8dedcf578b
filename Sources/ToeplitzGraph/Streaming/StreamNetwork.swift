import ToeplitzOps
import ToeplitzTensor

/// A graph seen along time: nodes with rules for pieces, the constants they use, and counters.
struct StreamNetwork: Sendable {
  private(set) var nodes: [StreamNode] = []
  /// The constants, and what is computed from constants alone.
  private(set) var constants: [Int: Tensor]
  /// The axis of time of each value that has one.
  private(set) var axes: [Int: Int] = [:]
  /// Specifications for the length of the trace.
  private(set) var specs: [TensorSpec]
  let input: Int
  let outputs: [Int]
  /// The nodes that use each value.
  private(set) var users: [Int: [Int]] = [:]

  /// Applies the rules of time of a graph of one input.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names an operation which needs all of time, and its layer.
  init(_ graph: Graph, timeAxis: Int) throws {
    (specs, constants) = (graph.specs, graph.constants)
    input = graph.inputs[0].value
    outputs = graph.outputs.map(\.value)
    axes[input] = timeAxis
    var scores = ScoreTracking(graph)
    for node in graph.nodes {
      if node.inputs.allSatisfy({ axes[$0] == nil && !scores.isTracked($0) }) {
        // Weights of weights: once and for all.
        let operands = try node.inputs.map { try Self.known(constants[$0], node) }
        for (output, tensor) in zip(node.outputs, try applyAll(node.operation, operands)) { constants[output] = tensor }
        continue
      }
      let made: StreamNode
      switch try scores.follow(node, axes, constants) {
      case .tracked: continue
      case .ended(let attention, let axis): made = Self.node(node, attention, axis: axis, specs)
      case nil: made = try Self.node(node, graph, axes)
      }
      for output in made.outputs {
        axes[output] = made.axis
        // What is empty tells no rule, and an axis of size 1 may be another; longer inputs may tell.
        let length = specs[output].shape[made.axis]
        guard length > 1 else {
          throw ToeplitzError(
            .argument, "streamPlan", expected: "more than one position in every value",
            got: "\(length) of \(node.operation.name) for an input of \(specs[input])", path: node.path)
        }
      }
      for value in Set(made.inputs) where axes[value] != nil { users[value, default: []].append(nodes.count) }
      nodes.append(made)
    }
    for port in graph.outputs where axes[port.value] == nil {
      throw ToeplitzError(
        .unsupported, "streamPlan", expected: "outputs along time",
        got: scores.isTracked(port.value)
          ? "'\(port.name)', of pairs of positions" : "'\(port.name)', which does not depend on the input's time")
    }
  }

  /// The same network with nodes, in the same order, for other sizes.
  func replacing(_ nodes: [StreamNode], specs: [TensorSpec], constants: [Int: Tensor]) -> StreamNetwork {
    var copy = self
    (copy.nodes, copy.specs, copy.constants) = (nodes, specs, constants)
    return copy
  }

  private static func known(_ tensor: Tensor?, _ node: Graph.Node) throws -> Tensor {
    guard let tensor else { throw refusal(node.operation, node.path, "an operand is neither constant nor along time") }
    return tensor
  }

  static func refusal(_ operation: any TensorOperation, _ path: String, _ reason: String) -> ToeplitzError {
    ToeplitzError(
      .unsupported, "streamPlan", expected: "operations that a stream can compute piece by piece",
      got: "\(operation.name): \(reason)", path: path)
  }

  private static func node(
    _ last: Graph.Node, _ attention: StreamAttention, axis: Int, _ specs: [TensorSpec]
  ) -> StreamNode {
    StreamNode(
      operation: last.operation, kind: .attention(attention), inputs: attention.inputs.map(\.value),
      axes: attention.inputs.map(\.axis), outputs: last.outputs, axis: axis, path: last.path,
      specs: attention.inputs.map { specs[$0.value] })
  }

  private static func node(_ node: Graph.Node, _ graph: Graph, _ axes: [Int: Int]) throws -> StreamNode {
    let operandAxes = node.inputs.map { axes[$0] }
    let call = TimeCall(
      inputs: node.inputs.map { graph.specs[$0] }, axes: operandAxes, outputs: node.outputs.map { graph.specs[$0] })
    var made = StreamNode(
      operation: node.operation, kind: .blocks(from: 1, to: 1, reach: 0, resized: nil), inputs: node.inputs,
      axes: operandAxes, outputs: node.outputs, axis: 0, path: node.path, specs: call.inputs)
    if let kind = enclosed(node, graph, operandAxes) {
      (made.kind, made.axis) = (kind, operandAxes[made.timed] ?? 0)
      return made
    }
    if case .state = try made.follow(node.operation.time(call)) {
      made.outputs = [node.outputs[0]]
      if let used = node.outputs.dropFirst().first(where: { output in
        graph.nodes.contains { $0.inputs.contains(output) } || graph.outputs.contains { $0.value == output }
      }) {
        throw refusal(node.operation, node.path, "its last state, value \(used), is used")
      }
    }
    return made
  }

  /// Constants before and after the one operand with time.
  private static func enclosed(_ node: Graph.Node, _ graph: Graph, _ axes: [Int?]) -> StreamNode.Kind? {
    guard let join = node.operation as? Concatenate, let at = axes.firstIndex(where: { $0 != nil }),
      axes.count(where: { $0 != nil }) == 1, let time = axes[at],
      (try? graph.specs[node.outputs[0]].shape.normalizedAxis(join.axis, operation: "concatenate")) == time,
      node.inputs.enumerated().allSatisfy({ $0.offset == at || graph.constants[$0.element] != nil })
    else { return nil }
    func length(_ values: some Sequence<Int>) -> Int { values.reduce(0) { $0 + graph.specs[$1].shape[time] } }
    return .enclosed(before: length(node.inputs[..<at]), after: length(node.inputs[(at + 1)...]))
  }

  /// Whether another network, of the same code at another length, follows the same rules; else why not.
  ///
  /// - Throws: ``ToeplitzError`` that names the operation whose attributes change with the length in a way that no rule tells.
  func requireSameRules(as other: StreamNetwork) throws {
    guard nodes.count == other.nodes.count else {
      throw ToeplitzError(
        .unsupported, "streamPlan", expected: "the same operations for every length",
        got: "\(nodes.count) operations for one length and \(other.nodes.count) for another")
    }
    for (a, b) in zip(nodes, other.nodes) {
      func refuse(_ what: String) -> ToeplitzError { Self.refusal(a.operation, a.path, what) }
      guard a.inputs == b.inputs, a.outputs == b.outputs, a.axes == b.axes, a.axis == b.axis else {
        throw refuse("it has other operands for other lengths")
      }
      switch (a.kind, b.kind) {
      case (.blocks(let from, let to, let reach, let resized), .blocks(let otherFrom, let otherTo, let otherReach, _)):
        guard (from, to, reach) == (otherFrom, otherTo, otherReach) else {
          throw refuse("its rate changes with the length")
        }
        let length = other.specs[b.outputs[0]].shape[b.axis]
        let expected: any TensorOperation = resized?(length) ?? a.operation
        guard AnyHashable(expected) == AnyHashable(b.operation) || Self.givesShape(expected, b, in: other) else {
          throw refuse("an attribute changes with the length")
        }
      case (.window, .window) where !a.kind.follows(b.kind):
        throw refuse("its padding or range changes with the length")
      case (.overlapAdd, .overlapAdd) where !a.kind.follows(b.kind):
        throw refuse("its padding changes with the length")
      case (.enclosed, .enclosed) where !a.kind.follows(b.kind): throw refuse("constants change with the length")
      case (.attention, .attention) where !a.kind.follows(b.kind): throw refuse("its masks change with the length")
      case _ where a.kind.follows(b.kind): break
      default: throw refuse("it follows another rule for another length")
      }
      for value in a.inputs {
        guard let one = constants[value], let two = other.constants[value] else { continue }
        guard one.spec == two.spec, try one.storage === two.storage || Self.areEqual(one, two) else {
          throw refuse("a constant changes with the length")
        }
      }
    }
  }
}

extension StreamNetwork {
  /// Whether a reshape or expansion, which may leave sizes open, is the same as that of a node.
  private static func givesShape(_ operation: any TensorOperation, _ node: StreamNode, in network: StreamNetwork)
    -> Bool
  {
    guard operation is any ShapingOperation, type(of: operation) == type(of: node.operation) else { return false }
    return (try? operation.infer(node.specs)) == node.outputs.map { network.specs[$0] }
  }

  /// Whether two tensors hold the same bytes.
  static func areEqual(_ a: Tensor, _ b: Tensor) throws -> Bool {
    let (one, two) = (try a.copied(), try b.copied())
    let count = one.count * one.dtype.byteSize
    let bytes = [one, two].map { UnsafeRawBufferPointer(start: $0.elements, count: count) }
    return withExtendedLifetime((one, two)) { bytes[0].elementsEqual(bytes[1]) }
  }
}

// MARK: Counting

/// How far a stream has come: positions of each value, absolute.
struct StreamCounters: Hashable, Sendable {
  /// Positions that are known of each value with time, by its place in ``StreamNetwork/timed``.
  var known: [Int]
  /// The first position that is kept.
  var kept: [Int]
  var isEnded = false
}

/// What one push computes: for each node the piece, and what of each value is kept for later.
struct StreamSchedule: Hashable, Sendable {
  /// In places relative to what is held; nil where a node has nothing to compute.
  var pieces: [StreamNode.Piece?]
  /// For each value how many positions are held before, come new, and are forgotten.
  var held: [Int]
  var new: [Int]
  var forgotten: [Int]

  /// How many are held after it.
  var heldAfter: [Int] { held.indices.map { held[$0] + new[$0] - forgotten[$0] } }
}

extension StreamNetwork {
  /// The values with time, in the order in which they are made.
  var timed: [Int] { [input] + nodes.flatMap(\.outputs) }

  /// The specification of a value that holds `length` positions.
  func spec(_ value: Int, length: Int) -> TensorSpec {
    let axis = axes[value] ?? 0
    return TensorSpec(specs[value].shape.replacing(axis, by: length), specs[value].dtype)
  }
}

/// Counts positions through a network.
struct StreamCounting: Sendable {
  let network: StreamNetwork
  let timed: [Int]
  /// The place of each value in ``timed``.
  private let places: [Int: Int]
  /// For each node the places of its operand and results.
  private let nodes: [(input: Int, outputs: [Int])]
  private let operands: [[Int]]
  private let users: [[Int]]

  init(_ network: StreamNetwork) {
    self.network = network
    let timed = network.timed
    self.timed = timed
    let places = Dictionary(timed.enumerated().map { ($1, $0) }) { first, _ in first }
    self.places = places
    nodes = network.nodes.map { node in (places[node.inputs[node.timed]] ?? 0, node.outputs.compactMap { places[$0] }) }
    operands = network.nodes.map { node in
      node.inputs.enumerated().compactMap { node.axes[$0.offset] == nil ? nil : places[$0.element] }
    }
    users = timed.map { network.users[$0] ?? [] }
  }

  var beginning: StreamCounters {
    StreamCounters(known: timed.map { _ in 0 }, kept: timed.map { _ in 0 })
  }

  func place(_ value: Int) -> Int { places[value] ?? 0 }

  /// What is computed when `count` more positions come, or nothing more will.
  ///
  /// - Throws: ``ToeplitzError`` if the stream ends and an operation refuses the length that it has then.
  func advance(_ counters: inout StreamCounters, by count: Int, ends: Bool) throws -> StreamSchedule {
    let before = counters
    counters.known[0] += count
    counters.isEnded = ends
    // The lengths of all values if the input ended here; nil where an operation would refuse it.
    var totals = [Int?](repeating: nil, count: timed.count)
    totals[0] = counters.known[0]
    var pieces: [StreamNode.Piece?] = []
    for (index, node) in network.nodes.enumerated() {
      let place = nodes[index]
      let total = totals[place.input].flatMap { node.total($0) }
      let first = before.known[place.outputs[0]]
      let known = operands[index].map { counters.known[$0] }.min() ?? 0
      var end = first
      if ends {
        guard let total else {
          throw ToeplitzError(
            .shape, node.name, expected: "a stream whose length it can compute",
            got: "\(totals[place.input] ?? 0) positions at its end", path: node.path)
        }
        end = max(first, total)
      } else if let total {
        end = max(first, min(node.ready(known), total))
      }
      for output in place.outputs {
        totals[output] = total
        counters.known[output] = end
      }
      pieces.append(end > first ? node.piece(first, end, known: known, isEnded: ends) : nil)
    }
    for place in timed.indices {
      var needed = counters.known[place]
      for user in users[place] {
        let node = network.nodes[user]
        let next = counters.known[nodes[user].outputs[0]]
        needed = min(needed, node.needed(from: next, known: counters.known[place], of: timed[place]))
      }
      counters.kept[place] = ends ? counters.known[place] : max(before.kept[place], min(needed, counters.known[place]))
    }
    // Relative to what is held, so that equal schedules of different times are equal.
    for (index, piece) in pieces.enumerated() {
      guard var piece else { continue }
      let start = before.kept[nodes[index].input]
      piece.from -= start
      piece.end -= start
      piece.shifts = operands[index].map { start - before.kept[$0] }
      pieces[index] = piece
    }
    return StreamSchedule(
      pieces: pieces, held: zip(before.known, before.kept).map { $0 - $1 },
      new: zip(counters.known, before.known).map { $0 - $1 },
      forgotten: zip(counters.kept, before.kept).map { $0 - $1 })
  }
}
