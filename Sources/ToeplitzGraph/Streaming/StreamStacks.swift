import ToeplitzOps
import ToeplitzTensor

/// A network for several sessions at a time, whose values are stacked on an axis along which no operation joins positions.
struct StreamStack: Sendable {
  let engine: StreamEngine
  let count: Int
  /// For each value with time, and each state, the axis and how many positions of it a session has.
  let held: [Row]
  let carried: [Row]
  let input: Row
  let outputs: [Row]

  struct Row: Sendable, Hashable {
    var axis: Int
    var size: Int

    /// The part of a session, or of several one after the other.
    func part(_ tensor: Tensor, _ rows: Range<Int>) throws -> Tensor {
      rows.lowerBound == 0 && rows.upperBound * size == tensor.shape[axis]
        ? tensor : try tensor.slice(axis: axis, (rows.lowerBound * size)..<(rows.upperBound * size))
    }
  }

  /// What some sessions of a stack keep.
  func part(_ memory: StreamEngine.Memory, _ rows: Range<Int>) throws -> StreamEngine.Memory {
    StreamEngine.Memory(
      held: try zip(held, memory.held).map { row, tensor in try tensor.map { try row.part($0, rows) } },
      carried: try zip(carried, memory.carried).map { row, tensor in try row.part(tensor, rows) })
  }

  /// What sessions keep, stacked; all hold as many positions.
  func joined(_ parts: [StreamEngine.Memory]) throws -> StreamEngine.Memory {
    if parts.count == 1 { return parts[0] }
    return StreamEngine.Memory(
      held: try held.enumerated().map { place, row in
        let tensors = parts.compactMap { $0.held[place] }
        return tensors.isEmpty ? nil : try Tensor.concatenate(tensors, axis: row.axis)
      },
      carried: try carried.enumerated().map { place, row in
        try Tensor.concatenate(parts.map { $0.carried[place] }, axis: row.axis)
      })
  }
}

/// The stacks of a network, as far as somebody has asked for them.
struct StreamStacks: Sendable {
  fileprivate var known: [Int: StreamStack] = [:]
  /// Why sessions cannot be stacked, once that is known.
  fileprivate var obstacle: ToeplitzError?
}

extension StreamEngine {
  /// The network for `count` sessions, at least two, at a time.
  ///
  /// - Throws: ``ToeplitzError`` that names the operation which joins sessions, and its layer.
  func stack(_ count: Int) throws -> StreamStack {
    if let known = try stacks.withLock({ stacks in
      if let obstacle = stacks.obstacle { throw obstacle }
      return stacks.known[count]
    }) {
      return known
    }
    let time = network.axes[network.input] ?? 0
    // Usually the first axis counts samples; where that is time, the second.
    let axes = network.specs[network.input].shape.indices.prefix(2).filter { $0 != time }
    var obstacle: ToeplitzError?
    for axis in axes {
      do {
        let made = try StreamStack(self, count, axis: axis)
        // One for all, whoever was first.
        return stacks.withLock { stacks in
          let first = stacks.known[count] ?? made
          stacks.known[count] = first
          return first
        }
      } catch let error as ToeplitzError { obstacle = obstacle ?? error }
    }
    let reason =
      obstacle
      ?? ToeplitzError(
        .unsupported, "makeBatch", expected: "an input with an axis beside time",
        got: "\(network.specs[network.input])")
    if count == 2 { stacks.withLock { $0.obstacle = reason } }
    throw reason
  }
}

extension StreamStack {
  /// Follows an axis of the input through the network, and gives each operation as it is for `count` times as many positions
  /// of it.
  ///
  /// How operations behave along it is what their rules of time say, asked for this axis instead.
  fileprivate init(_ engine: StreamEngine, _ count: Int, axis: Int) throws {
    let network = engine.network
    var specs = network.specs
    var constants = network.constants
    var axes = [network.input: axis]
    var nodes: [StreamNode] = []
    var carried: [Row] = []
    func times(_ spec: TensorSpec, _ axis: Int) -> TensorSpec {
      TensorSpec(spec.shape.replacing(axis, by: count * spec.shape[axis]), spec.dtype)
    }
    specs[network.input] = times(specs[network.input], axis)
    for node in network.nodes {
      func refuse(_ reason: String) -> ToeplitzError {
        ToeplitzError(
          .unsupported, "makeBatch", expected: "operations that compute samples one by one",
          got: "\(node.operation.name): \(reason)", path: node.path)
      }
      var made = node
      let along = node.inputs.map { axes[$0] }
      var own: Int
      if case .enclosed = node.kind {
        // The constants are there for each session.
        own = along[node.timed] ?? 0
        for (place, value) in node.inputs.enumerated() where along[place] == nil {
          guard let constant = constants[value] else { throw refuse("an operand is not constant") }
          let copies = try Tensor.concatenate(Array(repeating: constant, count: count), axis: own)
          constants[specs.count] = copies
          made.inputs[place] = specs.count
          specs.append(copies.spec)
        }
      } else if node.operation is Recurrence {
        // Each sample has a state of its own, which lies along another axis than that of the results.
        guard along[0] == 1, along.dropFirst().allSatisfy({ $0 == nil }) else {
          throw refuse("samples lie on another axis than 1")
        }
        own = 1
      } else if case .attention(let attention) = node.kind {
        let samples = Dictionary(zip(node.inputs, along).compactMap { value, axis in axis.map { (value, $0) } }) { $1 }
        let stacked = try attention.stacked(count, samples, refuse: refuse)
        (made.kind, own) = (.attention(stacked.attention), stacked.axis)
      } else {
        let call = TimeCall(inputs: node.specs, axes: along, outputs: node.outputs.map { network.specs[$0] })
        let resized: (@Sendable (Int) -> any TensorOperation)?
        switch node.operation.time(call) {
        case .pointwise(let axis, let other): (own, resized) = (axis, other)
        case .blocks(_, _, reach: 0, let axis, let other): (own, resized) = (axis, other)
        // A linear map is a convolution of one tap along the samples of a sequence.
        case .window(AxisWindow(extent: 1), let axis, _, _, _): (own, resized) = (axis, nil)
        case .whole(let reason): throw refuse(reason)
        default: throw refuse("it joins samples")
        }
        if let resized { made.operation = resized(count * network.specs[node.outputs[0]].shape[own]) }
      }
      guard own != node.axis else { throw refuse("samples and time share an axis") }
      made.specs = made.inputs.map { specs[$0] }
      var outputs = [times(network.specs[node.outputs[0]], own)]
      if case .attention = node.kind {} else { outputs = try made.operation.infer(made.specs) }
      for (output, spec) in zip(node.outputs, outputs) {
        guard spec == times(network.specs[output], own) else { throw refuse("samples share what it gives") }
        (axes[output], specs[output]) = (own, spec)
      }
      switch node.kind {
      case .enclosed, .attention: break
      default:
        try made.follow(made.operation.time(TimeCall(inputs: made.specs, axes: node.axes, outputs: outputs)))
      }
      guard made.axis == node.axis, made.kind.follows(node.kind) else {
        throw refuse("samples change its rule of time")
      }
      if case .state(let one, _) = node.kind, case .state(let all, _) = made.kind {
        for (a, b) in zip(one, all) {
          guard let axis = a.shape.indices.first(where: { a.shape[$0] != b.shape[$0] }), times(a, axis) == b else {
            throw refuse("samples share its state")
          }
          carried.append(Row(axis: axis, size: a.shape[axis]))
        }
      }
      nodes.append(made)
    }
    func row(_ value: Int) -> Row {
      let axis = axes[value] ?? 0
      return Row(axis: axis, size: network.specs[value].shape[axis])
    }
    self.engine = engine.stacked(network.replacing(nodes, specs: specs, constants: constants))
    (self.count, self.carried) = (count, carried)
    (held, input, outputs) = (network.timed.map(row), row(network.input), network.outputs.map(row))
  }
}
