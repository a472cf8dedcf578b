import ToeplitzOps
import ToeplitzTensor

/// A plan as a graph of one step, which takes its states and gives those of the next.
package struct StreamStep {
  /// A state of the graph.
  package struct State {
    /// Names of the input and of the output that takes its place.
    package var pair: StatePair
    /// What it is before the first step.
    package var initial: Tensor
  }

  /// An output beside the states.
  package struct Output {
    package var name: String
    /// The axis that is time.
    package var axis: Int
    /// Its positions for each of the input.
    package var ratio: StreamPlan.Fraction
    /// How many of its positions come before the stream's first.
    package var delay: Int
    /// How many more positions the whole has than the ratio tells; maybe negative.
    package var rest: Int
  }

  package var graph: Graph
  package var states: [State]
  package var outputs: [Output]
  /// The name of an input that tells how long the stream is, once that is known, and its value before.
  package var length: (name: String, endless: Tensor)?
}

extension StreamPlan {
  /// The graph of a step of `chunk` positions.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation, with its layer, which needs another graph where
  ///   a stream begins or ends; of kind `argument` for a chunk that is no multiple of the block.
  package func step(chunk: Int, input: String, output: String) throws -> StreamStep {
    try StreamStepRecording(self, chunk: chunk).step(input, output)
  }
}

/// Positions before one that repeat those from it on: the padding of a layer, or of one before it.
private struct Repetition: Equatable {
  var mode: PaddingMode
  var first = 0

  /// The position that another, before the first, repeats.
  func source(of position: Int) -> Int { mode == .reflect ? 2 * first - position : first }
}

/// Records a step as it is in the steady state.
///
/// Where a stream begins, positions that there are not lie before the first of each value: a layer's own padding is put in their
/// place where it reads them. They are part of the first states where nothing else is computed before the stream, and are put in by
/// comparing positions with a counter otherwise. The same is done at the end, with the length that the caller tells.
private struct StreamStepRecording {
  private let plan: StreamPlan
  private let engine: StreamEngine
  private let chunk: Int
  private let schedule: StreamSchedule
  private let rates: StreamRates
  /// For each value how many positions are known before the first step; negative where it lags behind.
  private let known: [Int]
  /// How many more positions each value has in the whole than its rate tells.
  private let rest: [Int]
  /// What stands for positions that there are not, by node, where it reads any.
  private var padding: [Int: Double] = [:]
  /// The nodes that read positions which repeat others.
  private var repeating: [Int: Repetition] = [:]
  /// The values which are known before the first step but repeat later positions there, by place.
  private var repeated: [Int: Repetition] = [:]
  /// The nodes for which positions before the first, or after the last, are replaced in each step.
  private var masksStart: Set<Int> = []
  private var masksEnd: Set<Int> = []
  /// What stands before the first position of a value in the first states.
  private var fillings: [Int: Double] = [:]

  init(_ plan: StreamPlan, chunk: Int) throws {
    try StreamPlan.require(chunk, "chunk")
    guard chunk % plan.blockSize == 0 else {
      throw ToeplitzError(
        .argument, "exportONNX", expected: "a chunk of a multiple of \(plan.blockSize) positions", got: "\(chunk)")
    }
    // One graph has one place where keys begin, so its sums over these are cut in another way than those of the whole.
    engine = chunk % plan.patternSize == 0 ? plan.engine : plan.engine.unaligned
    (self.plan, self.chunk) = (plan, chunk)
    let (network, counting) = (engine.network, engine.counting)
    let rates = StreamRates(network)
    self.rates = rates
    var counters = counting.beginning
    _ = try counting.advance(&counters, by: plan.steadyLength, ends: false)
    func expected(_ place: Int, _ length: Int) -> Int {
      let rate = rates[counting.timed[place]]
      return length / rate.denominator * rate.numerator
    }
    known = counters.known.enumerated().map { $1 - expected($0, plan.steadyLength) }
    schedule = try counting.advance(&counters, by: chunk, ends: false)
    // Far from the beginning, at a multiple of the block.
    let length = plan.blockSize * (1 << 20)
    var totals = [Int](repeating: length, count: counting.timed.count)
    for node in network.nodes {
      guard let total = node.total(totals[counting.place(node.inputs[node.timed])]) else {
        throw Self.refusal(node, "it refuses lengths of whole blocks")
      }
      for output in node.outputs { totals[counting.place(output)] = total }
    }
    rest = totals.enumerated().map { $1 - expected($0, length) }
    try findPadding()
  }

  private static func refusal(_ node: StreamNode, _ reason: String) -> ToeplitzError {
    ToeplitzError(
      .unsupported, "exportONNX", expected: "operations that one graph computes at the beginning and the end too",
      got: "\(node.operation.name): \(reason)", path: node.path)
  }

  // MARK: Padding

  private mutating func findPadding() throws {
    let (network, counting) = (engine.network, engine.counting)
    for (index, node) in network.nodes.enumerated() {
      let place = counting.place(node.inputs[node.timed])
      var (readsBefore, readsAfter) = (false, false)
      if try findRepetition(index) { continue }
      switch node.kind {
      case .blocks(_, _, let reach, _):
        guard reach == 0 else { throw Self.refusal(node, "what lies beside the ends is not constant") }
      case .window(let window, let mode, _):
        (readsBefore, readsAfter) = (window.low > 0, window.high > 0)
        guard readsBefore || readsAfter else { continue }
        guard mode == .zeros, let value = node.padding else {
          throw Self.refusal(node, mode == .zeros ? "windows at the ends have fewer positions" : "\(mode) padding")
        }
        padding[index] = value
      case .overlapAdd(let window, _):
        padding[index] = 0
        readsBefore = window.low < window.span - 1
        readsAfter = window.span - window.stride > window.high
      case .state:
        guard known[place] == 0 || known[place] < 0 && node.operation is CumulativeSum else {
          throw Self.refusal(node, "its state begins after a delay")
        }
        (padding[index], readsBefore) = (0, known[place] < 0)
      case .enclosed(let before, let after):
        guard after == 0, before == 0 || known[place] == 0 else {
          throw Self.refusal(node, "constants lie where the stream has begun or before it ends")
        }
      case .attention(let attention):
        guard attention.hasSoftmax else { throw Self.refusal(node, "it has no softmax, which would leave keys out") }
        // Keys that there are not are left out, whatever stands in their place.
        if attention.window.readsBefore || known[place] < 0 { masksStart.insert(index) }
        if attention.window.readsAfter { masksEnd.insert(index) }
        continue
      }
      if readsAfter { masksEnd.insert(index) }
      if readsBefore, known[place] < 0 { masksStart.insert(index) }
      guard readsBefore, known[place] >= 0, let value = padding[index] else { continue }
      // The first states can hold it, if all want the same.
      if let other = fillings[place], other != value { masksStart.insert(index) } else { fillings[place] = value }
    }
  }

  /// Finds out whether a node reads positions that repeat others, in padding of its own or of a layer before it.
  private mutating func findRepetition(_ index: Int) throws -> Bool {
    let node = engine.network.nodes[index]
    let results = node.outputs.map(counting.place)
    let before = node.inputs.indices.filter { node.axes[$0] != nil }.map { repeated[counting.place(node.inputs[$0])] }
    if let repetition = before.compactMap({ $0 }).first {
      guard before.allSatisfy({ $0 == repetition }) else {
        throw Self.refusal(node, "\(repetition.mode) padding is before one of its operands alone")
      }
      switch node.kind {
      case .blocks(from: 1, to: 1, reach: 0, _): for place in results { repeated[place] = repetition }
      case .window(let window, _, _) where window.low <= 0 && window.high <= 0:
        repeating[index] = repetition
        masksStart.insert(index)
        try requireSources(index, window, repetition)
      default: throw Self.refusal(node, "\(repetition.mode) padding is before it, in a layer of its own")
      }
      return true
    }
    guard case .window(let window, let mode, _) = node.kind, mode == .reflect || mode == .replicate,
      max(window.low, window.high) > 0
    else { return false }
    // The last results may be computed alone, from no more positions than they read.
    let most = mode == .reflect ? (window.span - 1) / 2 : window.span - 1
    guard window.high <= most else {
      throw Self.refusal(node, "\(mode) padding of \(window.high) positions at the end, more than \(most)")
    }
    repeating[index] = Repetition(mode: mode)
    if window.low > 0 { masksStart.insert(index) }
    if window.high > 0 { masksEnd.insert(index) }
    try requireSources(index, window, Repetition(mode: mode))
    // Results that the first state holds.
    if results.contains(where: { known[$0] > 0 }) {
      guard window.span == 1, window.stride == 1 else {
        throw Self.refusal(node, "\(mode) padding of more than it reads")
      }
      for place in results { repeated[place] = Repetition(mode: mode, first: window.low) }
    }
    return true
  }

  /// Refuses a node that reads positions which repeat others that come after the step.
  private func requireSources(_ index: Int, _ window: AxisWindow, _ repetition: Repetition) throws {
    let node = engine.network.nodes[index]
    guard let piece = schedule.pieces[index] else { return }
    let result = counting.place(node.outputs[0])
    var (first, perStep) = beginning(node: node, piece, operand: node.timed)
    var next = known[result]
    while first < repetition.first {
      let position = max(0, next) * window.stride - window.low
      let missing = repetition.source(of: position) - (first + piece.end - piece.from - 1)
      guard next + schedule.new[result] <= 0 || position >= repetition.first || missing <= 0 else {
        let rate = rates[node.inputs[node.timed]]
        let more = ceilDivide(ceilDivide(missing * rate.denominator, rate.numerator), plan.blockSize) * plan.blockSize
        throw Self.refusal(
          node,
          "\(repetition.mode) padding reads positions that come after the step; take a chunk of \(chunk + more) or more"
        )
      }
      (first, next) = (first + perStep, next + schedule.new[result])
    }
  }

  private var counting: StreamCounting { engine.counting }

  // MARK: First states

  private func firstMemory() throws -> StreamEngine.Memory {
    let (network, counting) = (engine.network, engine.counting)
    var memory = try engine.beginning()
    // What is known before the first step does not depend on the input.
    var values: [Tensor?] = memory.held
    if counting.timed.indices.contains(where: { known[$0] > 0 && schedule.held[$0] > 0 }) {
      var counters = counting.beginning
      var all = try counting.advance(&counters, by: plan.steadyLength, ends: false)
      all.forgotten = all.forgotten.map { _ in 0 }
      let zeros = try Tensor.zeros(
        plan.input.shape.replacing(plan.timeAxis, by: plan.steadyLength), dtype: plan.input.dtype)
      values = try engine.compute(zeros, all, memory).memory.held
    }
    for (place, value) in counting.timed.enumerated() where schedule.held[place] > 0 {
      let (axis, count) = (network.axes[value] ?? 0, schedule.held[place])
      let before = max(0, min(count, count - known[place]))
      let spec = network.spec(value, length: before)
      var parts = [try Tensor.full(spec.shape, fillings[place] ?? 0, dtype: spec.dtype)]
      if before < count, let tensor = values[place] {
        parts.append(try tensor.slice(axis: axis, max(0, known[place] - count)..<known[place]))
      }
      memory.held[place] = try Tensor.concatenate(parts, axis: axis)
    }
    return memory
  }

  // MARK: Recording

  func step(_ inputName: String, _ outputName: String) throws -> StreamStep {
    let (network, counting) = (engine.network, engine.counting)
    for value in network.outputs where known[counting.place(value)] > 0 {
      let node = network.nodes.first { $0.outputs.contains(value) } ?? network.nodes[0]
      throw Self.refusal(node, "it gives positions before the first step")
    }
    var memory = try firstMemory()
    let (isCounted, hasLength) = (!masksStart.isEmpty || !masksEnd.isEmpty, !masksEnd.isEmpty)
    let trace = Trace()
    var (states, next) = ([StreamStep.State](), 0)
    func state(_ initial: Tensor) -> Tensor {
      next += 1
      let pair = StatePair(input: "state_\(next)_in", output: "state_\(next)_out")
      states.append(StreamStep.State(pair: pair, initial: initial))
      return trace.input(initial.spec, name: pair.input)
    }
    let x = trace.input(network.spec(network.input, length: chunk), name: inputName)
    memory.held = memory.held.map { $0.map(state) }
    memory.carried = memory.carried.map(state)
    let count = isCounted ? state(try Tensor([Int64(0)], shape: [1], device: .cpu)) : nil
    let endless = try Tensor([Int64(1) << 40], shape: [1], device: .cpu)
    let length = hasLength ? trace.input(endless.spec, name: "length") : nil
    let results = try trace.during {
      let masks = StreamMasks(step: count, length: length)
      let made = try engine.compute(
        x, schedule, memory, constant: { trace.weight($0, name: "weight") },
        read: { try masked($0, node: $1, operand: $2, masks) },
        presence: { try presence(node: $0, operand: 0, count: $1, masks) })
      let kept = made.memory.held.compactMap { $0 } + made.memory.carried
      return (outputs: made.outputs.compactMap { $0 }, states: try kept + [count.map { try $0 + 1 }].compactMap { $0 })
    }
    let outputs = network.outputs.enumerated().map { index, value in
      let place = counting.place(value)
      return StreamStep.Output(
        name: index == 0 ? outputName : "\(outputName)_\(index + 1)", axis: network.axes[value] ?? 0,
        ratio: rates[value], delay: -known[place], rest: rest[place])
    }
    let names = outputs.map(\.name) + states.map(\.pair.output)
    let ports = try zip(names, results.outputs + results.states).map {
      Graph.Port(name: $0, value: try trace.id(of: $1))
    }
    var graph = Graph(trace.close(), outputs: ports)
    graph.foldConstants(engine.folded)
    graph.mergeEqualNodes()
    graph.removeDeadNodes()
    return StreamStep(
      graph: graph, states: states, outputs: outputs, length: hasLength ? ("length", endless) : nil)
  }

  /// What a node reads, with its padding where there are no positions.
  private func masked(_ tensor: Tensor, node index: Int, operand: Int, _ masks: StreamMasks) throws -> Tensor {
    let node = engine.network.nodes[index]
    guard let axis = node.axes[operand] else { return tensor }
    if let repetition = repeating[index] {
      guard let places = try sources(node: index, repetition, count: tensor.shape[axis], masks) else { return tensor }
      return try tensor.gathered(places, axis: axis)
    }
    guard let value = padding[index],
      let isThere = try presence(node: index, operand: operand, count: tensor.shape[axis], masks)
    else { return tensor }
    let shape = TensorShape(tensor.shape.indices.map { $0 == axis ? tensor.shape[axis] : 1 })
    return try Tensor.where(isThere.reshaped(shape), tensor, Tensor.full([], value, dtype: tensor.dtype))
  }

  /// The first position, at the first step, of those that a node reads of an operand, and how many more there are in a step.
  private func beginning(node: StreamNode, _ piece: StreamNode.Piece, operand: Int) -> (first: Int, perStep: Int) {
    let place = counting.place(node.inputs[operand])
    let rate = rates[node.inputs[operand]]
    let shift = piece.shifts[node.axes[..<operand].count { $0 != nil }]
    return (known[place] - schedule.held[place] + piece.from + shift, chunk / rate.denominator * rate.numerator)
  }

  /// For each of the `count` positions that a node reads, the place among them of what it repeats, or of itself; nil if none does.
  private func sources(
    node index: Int, _ repetition: Repetition, count: Int, _ masks: StreamMasks
  ) throws -> Tensor? {
    let node = engine.network.nodes[index]
    guard let piece = schedule.pieces[index], let step = masks.step else { return nil }
    let (first, perStep) = beginning(node: node, piece, operand: node.timed)
    let start = try step * perStep + first
    var positions = try start + Tensor((0..<count).map(Int64.init), shape: [count], device: .cpu)
    let (reflects, begin) = (repetition.mode == .reflect, repetition.first)
    if masksStart.contains(index) {
      positions = try reflects ? (positions - begin).abs() + begin : positions.maximum(begin)
    }
    if masksEnd.contains(index), let length = masks.length {
      let (rate, rest) = (rates[node.inputs[node.timed]], rest[counting.place(node.inputs[node.timed])])
      // Rounded up, as a last part of a block has a position of its own.
      let last = try (length * rate.numerator + (rate.denominator - 1)) / rate.denominator + (rest - 1)
      positions = try positions.minimum(reflects ? last * 2 - positions : last)
    }
    // What lies outside is read for results that are left out.
    return try (positions - start).maximum(0).minimum(count - 1)
  }

  /// Which of the first `count` positions that a node reads of an operand there are; all if nil.
  private func presence(node index: Int, operand: Int, count: Int, _ masks: StreamMasks) throws -> Tensor? {
    let node = engine.network.nodes[index]
    guard masksStart.contains(index) || masksEnd.contains(index), let piece = schedule.pieces[index] else { return nil }
    let (place, rate) = (counting.place(node.inputs[operand]), rates[node.inputs[operand]])
    let (first, perStep) = beginning(node: node, piece, operand: operand)
    func positions(_ factor: Int, _ offset: Int) throws -> Tensor {
      try Tensor((0..<count).map { Int64((first + $0 + offset) * factor) }, shape: [count], device: .cpu)
    }
    var isThere: Tensor?
    if masksStart.contains(index), let step = masks.step {
      isThere = try (positions(1, 0) + step * perStep).greaterOrEqual(Tensor(scalar: Int64(0)))
    }
    if masksEnd.contains(index), let step = masks.step, let length = masks.length {
      // Below rate · length + rest, without dividing.
      let scaled = try positions(rate.denominator, -rest[place]) + step * (perStep * rate.denominator)
      let before = try scaled.less(length * rate.numerator)
      isThere = try isThere.map { try $0.logicalAnd(before) } ?? before
    }
    return isThere
  }
}

/// What tells which positions a stream has: how many steps have been, and how long it is.
private struct StreamMasks {
  var step: Tensor?
  var length: Tensor?
}
