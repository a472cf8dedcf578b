import ToeplitzOps
import ToeplitzTensor

/// Computes pushes of a network; compiled once a schedule comes again.
final class StreamEngine: Sendable {
  let network: StreamNetwork
  let counting: StreamCounting
  let folded: FoldedConstants
  /// The places of the states in the lists of carried tensors.
  let carried: [TensorSpec]
  /// Elements of a position of the input and of the first output, and the type of the latter.
  let inputWidth: Int
  let outputWidth: Int
  let outputType: DType

  private enum Entry {
    case seen
    case compiled(any Program)
  }
  /// The digest of the network, once somebody has asked for it.
  let knownDigest = Lock<String?>(nil)
  private let entries = Lock<[StreamSchedule: Entry]>([:])
  /// The network for several sessions at a time, as far as somebody has asked for it.
  let stacks = Lock<StreamStacks>(StreamStacks())
  /// A steady stream has a few schedules in turns; one of random pieces has many.
  static let mostSchedules = 512

  init(_ network: StreamNetwork, _ folded: FoldedConstants = FoldedConstants()) {
    (self.network, self.folded) = (network, folded)
    counting = StreamCounting(network)
    carried = network.nodes.flatMap { node -> [TensorSpec] in
      if case .state(let carried, _) = node.kind { return carried }
      return []
    }
    inputWidth = network.spec(network.input, length: 1).shape.reduce(1, *)
    outputWidth = network.spec(network.outputs[0], length: 1).shape.reduce(1, *)
    outputType = network.specs[network.outputs[0]].dtype
  }

  /// What is kept between pushes: for each value with time the positions that are held, if there are any, then the states.
  struct Memory: Sendable {
    var held: [Tensor?]
    var carried: [Tensor]

    /// The same in tensors that keep no others alive.
    func copied() throws -> Memory {
      Memory(held: try held.map { try $0.map { try $0.copied() } }, carried: try carried.map { try $0.copied() })
    }
  }

  func beginning() throws -> Memory {
    Memory(
      held: counting.timed.map { _ in nil },
      carried: try carried.map { try Tensor.zeros($0.shape, dtype: $0.dtype) })
  }

  /// One push: the new positions of the outputs, and what is kept.
  func advance(
    _ input: Tensor?, _ schedule: StreamSchedule, _ memory: Memory
  ) throws -> (outputs: [Tensor], memory: Memory) {
    let isIdle = schedule.new[0] == 0 && schedule.pieces.allSatisfy { $0 == nil }
    let result =
      try isIdle
      ? (outputs: network.outputs.map { _ in nil }, memory: memory)
      : push(schedule.new[0] > 0 ? input : nil, schedule, memory)
    return (try outputs(result.outputs), result.memory)
  }

  /// The new positions of the outputs, none where nothing has been computed.
  func outputs(_ made: [Tensor?]) throws -> [Tensor] {
    try zip(network.outputs, made).map { value, tensor in
      try tensor ?? Tensor.zeros(network.spec(value, length: 0).shape, dtype: network.specs[value].dtype)
    }
  }

  /// The network for so many sessions at a time.
  func stacked(_ network: StreamNetwork) -> StreamEngine { StreamEngine(network, folded) }

  /// The same, in which attention reads no more keys than it has to, so that pushes compute the same wherever they begin.
  var unaligned: StreamEngine {
    let nodes = network.nodes.map { node in
      guard case .attention(let attention) = node.kind else { return node }
      var node = node
      node.kind = .attention(attention.unaligned)
      return node
    }
    return StreamEngine(network.replacing(nodes, specs: network.specs, constants: network.constants), folded)
  }

  /// The new positions of the outputs, nil where there are none, and what is kept.
  private func push(
    _ input: Tensor?, _ schedule: StreamSchedule, _ memory: Memory
  ) throws -> (outputs: [Tensor?], memory: Memory) {
    let isKnown = entries.withLock { entries -> Bool in
      if entries[schedule] != nil { return true }
      if entries.count >= Self.mostSchedules { entries.removeAll() }
      entries[schedule] = .seen
      return false
    }
    guard isKnown else { return try tidied(compute(input, schedule, memory)) }
    let compiled = try program(input, schedule, memory)
    let given = [input].compactMap { $0 } + memory.held.compactMap { $0 } + memory.carried
    var results = try compiled.run(given, observe: nil)[...]
    func take(_ isThere: Bool) -> Tensor? { isThere ? results.popFirst() : nil }
    let outputs = network.outputs.map { take(schedule.new[counting.place($0)] > 0) }
    let held = schedule.heldAfter.map { take($0 > 0) }
    return try tidied((outputs, Memory(held: held, carried: Array(results))))
  }

  /// What computes pushes of a schedule, from an input and a memory of these shapes; compiled now if it has not been before.
  func program(_ input: Tensor?, _ schedule: StreamSchedule, _ memory: Memory) throws -> any Program {
    if case .compiled(let program) = entries.withLock({ $0[schedule] }) { return program }
    let compiled = try compile(input, schedule, memory)
    entries.withLock { $0[schedule] = .compiled(compiled) }
    return compiled
  }

  /// Compiles pushes of a schedule, unless that has been done.
  func compile(_ schedule: StreamSchedule) throws {
    guard !isCompiled(schedule) else { return }
    func zeros(_ value: Int, _ length: Int) throws -> Tensor? {
      let spec = network.spec(value, length: length)
      return length > 0 ? try Tensor.zeros(spec.shape, dtype: spec.dtype) : nil
    }
    let held = try zip(counting.timed, schedule.held).map { try zeros($0, $1) }
    _ = try program(
      zeros(network.input, schedule.new[0]), schedule, Memory(held: held, carried: beginning().carried))
  }

  /// Whether pushes of a schedule need not be compiled any more.
  func isCompiled(_ schedule: StreamSchedule) -> Bool {
    entries.withLock { if case .compiled = $0[schedule] { true } else { false } }
  }

  /// Tensors that do not keep larger ones alive.
  private func tidied(
    _ result: (outputs: [Tensor?], memory: Memory)
  ) throws -> (outputs: [Tensor?], memory: Memory) {
    func own(_ tensor: Tensor) throws -> Tensor {
      let bytes = tensor.count * tensor.dtype.byteSize
      return tensor.isContiguous && tensor.storage.byteCount <= 2 * bytes + 256 ? tensor : try tensor.copied()
    }
    return (
      try result.outputs.map { try $0.map(own) },
      Memory(held: try result.memory.held.map { try $0.map(own) }, carried: try result.memory.carried.map(own))
    )
  }

  private func compile(_ input: Tensor?, _ schedule: StreamSchedule, _ memory: Memory) throws -> any Program {
    let trace = Trace()
    func traced(_ tensor: Tensor) -> Tensor { trace.input(tensor.spec) }
    let given = input.map(traced)
    let held = memory.held.map { $0.map(traced) }
    let states = memory.carried.map(traced)
    let results = try trace.during {
      try compute(given, schedule, Memory(held: held, carried: states)) { trace.weight($0, name: "weight") }
    }
    let all = results.outputs.compactMap { $0 } + results.memory.held.compactMap { $0 } + results.memory.carried
    let ports = try all.map { Graph.Port(name: "", value: try trace.id(of: $0)) }
    var graph = Graph(trace.close(), outputs: ports)
    graph.foldConstants(folded)
    graph.mergeEqualNodes()
    graph.removeDeadNodes()
    return try lower(graph, folded, .exact)
  }

  /// One push, operation by operation.
  ///
  /// - Parameters:
  ///   - constant: what takes the place of a constant.
  ///   - read: what a node, by its number, gets of the positions that it reads of an operand.
  ///   - presence: which of the positions of its first operand a node reads are the stream's; all if nil.
  func compute(
    _ input: Tensor?, _ schedule: StreamSchedule, _ memory: Memory, constant: @escaping (Tensor) -> Tensor = { $0 },
    read: (Tensor, _ node: Int, _ operand: Int) throws -> Tensor = { tensor, _, _ in tensor },
    presence: (_ node: Int, _ count: Int) throws -> Tensor? = { _, _ in nil }
  ) throws -> (outputs: [Tensor?], memory: Memory) {
    // What is known of each value from the first position that is held on.
    var values = memory.held
    var fresh = [Tensor?](repeating: nil, count: values.count)
    func add(_ tensor: Tensor, _ place: Int) throws {
      fresh[place] = tensor
      values[place] =
        try values[place].map {
          try Tensor.concatenate([$0, tensor], axis: network.axes[counting.timed[place]] ?? 0)
        } ?? tensor
    }
    if let input { try add(input, 0) }
    var states = memory.carried
    var weights: [Int: Tensor] = [:]
    var next = 0
    for (index, (node, piece)) in zip(network.nodes, schedule.pieces).enumerated() {
      var count = 0
      if case .state(let carried, _) = node.kind { count = carried.count }
      defer { next += count }
      guard let piece else { continue }
      var shifts = piece.shifts[...]
      let operands = try node.inputs.enumerated().map { operand, value -> Tensor in
        guard let axis = node.axes[operand] else {
          if let known = weights[value] { return known }
          let tensor = constant(try required(network.constants[value], node))
          weights[value] = tensor
          return tensor
        }
        // All operands with time hold the same positions from their own first on.
        let place = counting.place(value)
        let shift = shifts.popFirst() ?? 0
        let positions = node.positions(piece, operand: operand)
        let range = (positions.lowerBound + shift)..<(positions.upperBound + shift)
        guard let tensor = values[place] else {
          return try Tensor.zeros(network.spec(value, length: 0).shape, dtype: network.specs[value].dtype)
        }
        return try read(range == 0..<tensor.shape[axis] ? tensor : tensor.slice(axis: axis, range), index, operand)
      }
      let (results, after) = try node.results(
        piece, operands, carried: Array(states[next..<(next + count)]),
        presence: presence(index, piece.end - piece.from), constant: constant)
      states.replaceSubrange(next..<(next + count), with: after)
      for (output, result) in zip(node.outputs, results) { try add(result, counting.place(output)) }
    }
    let lengths = schedule.heldAfter
    let held = try values.indices.map { place -> Tensor? in
      let length = lengths[place]
      guard length > 0, let tensor = values[place] else { return nil }
      let axis = network.axes[counting.timed[place]] ?? 0
      let first = schedule.forgotten[place]
      return first == 0 ? tensor : try tensor.slice(axis: axis, first..<(first + length))
    }
    return (network.outputs.map { fresh[counting.place($0)] }, Memory(held: held, carried: states))
  }

  private func required(_ tensor: Tensor?, _ node: StreamNode) throws -> Tensor {
    guard let tensor else {
      throw ToeplitzError(.argument, node.operation.name, expected: "a constant", got: "none", path: node.path)
    }
    return tensor
  }
}
