import ToeplitzOps
import ToeplitzTensor

/// What a stream keeps in memory of its own, where pushes of prepared lengths are computed in place and allocate nothing.
///
/// Each value has a buffer in which the positions that are held lie before room for the new ones. Programs are bound to these
/// buffers: for each state that comes while delays are filled one, and then one for each state of those that come in turns and each
/// length. A push writes new positions behind the held ones; only when all has been computed are those that are held from then on
/// moved to the front, so a push that throws changes nothing.
///
/// A stream computes with it while it is the only one that refers to it: copies of the stream share it until one of them goes on.
final class PreparedPushes: @unchecked Sendable {
  /// A push of one length from one state on.
  struct Push {
    let schedule: StreamSchedule
    /// Where the new positions of the input are to be written.
    let input: Tensor
    /// The new positions of the outputs, nil where there are none.
    let outputs: [Tensor?]
    /// The first of them as rows in row-major order.
    let output: StridedRows?
    /// How many positions of the first output there are.
    let outputCount: Int
    let inputRows: StridedRows
    fileprivate let program: any BoundProgram
    /// The rows of the first output, where it lies otherwise.
    fileprivate let gathered: ElementCopy?
    /// What moves held positions and states to where the next push finds them; the first part out of the way of the second.
    fileprivate let staged: [ElementCopy]
    fileprivate let moves: [ElementCopy]
    /// The state after it.
    fileprivate let next: Int
  }

  private let plan: PushPlan
  private let buffers: [Buffer?]
  private let carried: [Tensor]
  /// For each state of the plan the pushes of its lengths; nil where one is not prepared.
  private let pushes: [[Push?]]
  /// The state that it is in.
  private var state = 0

  /// For pushes of `chunk` positions, and of fewer, from a state on that has seen so many.
  ///
  /// - Parameters:
  ///   - shorter: whether those of fewer positions are prepared too, as far as they do not take too much memory.
  ///   - pattern: input positions after which pushes compute the same again.
  /// - Returns: nil where the states do not come again, or are too many.
  init?(
    _ engine: StreamEngine, chunk: Int, shorter: Bool, pattern: Int, steadyLength: Int, from counters: StreamCounters
  ) throws {
    guard
      let plan = try PushPlan(
        engine, chunk: chunk, shorter: shorter, pattern: pattern, steadyLength: steadyLength, from: counters)
    else { return nil }
    self.plan = plan
    let buffers = try Buffer.all(engine, plan.states.flatMap { $0.steps.compactMap { $0?.schedule } })
    let carried = try engine.carried.map { try Tensor.zeros($0.shape, dtype: $0.dtype) }
    (self.buffers, self.carried) = (buffers, carried)
    let memory = ProgramMemory()
    pushes = try plan.states.map { state in
      try state.steps.map { step in
        try step.map {
          memory.beginProgram()
          return try Self.push(engine, $0.schedule, next: $0.next, buffers, carried, memory)
        }
      }
    }
  }

  /// Operations that allocate memory in each push.
  var allocating: [String] { pushes.joined().flatMap { $0?.program.allocating ?? [] } }

  /// Whether its programs are those that would be made now.
  var isCurrent: Bool { pushes[0][0]?.program.isCurrent == true }

  /// Takes over the state of a stream that is so far.
  ///
  /// - Returns: false if that is none of the states that it knows.
  func load(_ memory: StreamEngine.Memory, _ counters: StreamCounters) -> Bool {
    guard let index = plan.index(of: counters) else { return false }
    for (buffer, tensor) in zip(buffers, memory.held) {
      if let buffer, let tensor { buffer.held(tensor.shape[buffer.axis]).fillOnce(from: tensor) }
    }
    for (state, tensor) in zip(carried, memory.carried) { state.fillOnce(from: tensor) }
    state = index
    return true
  }

  /// The state, in tensors of its own.
  func memory() throws -> StreamEngine.Memory {
    let held = try zip(buffers, plan.states[state].held).map { buffer, count in
      count > 0 ? try buffer?.held(count).copied() : nil
    }
    return StreamEngine.Memory(held: held, carried: try carried.map { try $0.copied() })
  }

  /// How many positions of the first output the next `count` positions give; nil where these are not prepared.
  ///
  /// - Parameter pieces: whether they may be computed in several pieces. All are computed or none: where something may fail,
  ///   there is one piece.
  func outputCount(for count: Int, pieces: Bool) -> Int? {
    var (state, rest, made) = (state, count, 0)
    while rest > 0 {
      guard let push = push(upTo: rest, from: state) else { return nil }
      let length = push.schedule.new[0]
      guard length == rest || pieces && push.program.allocating.isEmpty else { return nil }
      (state, rest, made) = (push.next, rest - length, made + push.outputCount)
    }
    return made
  }

  /// The push of the longest prepared length up to `count` positions; there is one where ``outputCount(for:pieces:)`` says so.
  func push(upTo count: Int) -> Push? { push(upTo: count, from: state) }

  private func push(upTo count: Int, from state: Int) -> Push? {
    plan.lengths.firstIndex { $0 <= count }.flatMap { pushes[state][$0] }
  }

  /// Computes a push from this state on, of the positions that have been written where its input lies.
  func compute(_ push: Push) throws {
    try push.program.run()
    push.gathered?.run()
  }

  /// Goes on to the state after a push that has been computed.
  func advance(_ counters: inout StreamCounters, after push: Push) {
    for copy in push.staged { copy.run() }
    for copy in push.moves { copy.run() }
    for place in counters.known.indices {
      counters.known[place] += push.schedule.new[place]
      counters.kept[place] += push.schedule.forgotten[place]
    }
    state = push.next
  }

  // MARK: Making

  /// Memory of a value: held positions end where new ones begin.
  private struct Buffer {
    let tensor: Tensor
    let axis: Int
    /// Where new positions begin.
    let front: Int

    func positions(_ range: Range<Int>) -> Tensor {
      tensor.view(
        shape: tensor.shape.replacing(axis, by: range.count), strides: tensor.strides,
        offset: range.lowerBound * tensor.strides[axis])
    }

    func held(_ count: Int) -> Tensor { positions(front - count..<front) }
    func new(_ count: Int) -> Tensor { positions(front..<front + count) }

    /// Positions are counted in lines of the cache.
    private static let line = 16

    /// Buffers for the values that are held between some of these pushes, and the input.
    ///
    /// Those of equal shapes have equal strides, so that one can be added to another where both lie.
    static func all(_ engine: StreamEngine, _ schedules: [StreamSchedule]) throws -> [Buffer?] {
      struct Kind: Hashable {
        var spec: TensorSpec
        var axis: Int
        var new: Int
      }
      let (network, timed) = (engine.network, engine.counting.timed)
      func rounded(_ count: Int) -> Int { (count + line - 1) / line * line }
      var fronts: [Kind: Int] = [:]
      let kinds = timed.enumerated().map { place, value -> Kind? in
        let held = schedules.reduce(0) { max($0, $1.held[place]) }
        guard held > 0 || place == 0 else { return nil }
        let new = schedules.reduce(0) { max($0, $1.new[place]) }
        let kind = Kind(spec: network.spec(value, length: 0), axis: network.axes[value] ?? 0, new: rounded(new))
        fronts[kind] = max(fronts[kind] ?? 0, rounded(held))
        return kind
      }
      return try kinds.map { kind in
        guard let kind, let front = fronts[kind] else { return nil }
        var length = front + kind.new
        // Rows that lie apart by a large power of two share few sets of the cache.
        if length % 256 == 0 { length += line }
        let shape = kind.spec.shape.replacing(kind.axis, by: length)
        return Buffer(tensor: try Tensor.zeros(shape, dtype: kind.spec.dtype), axis: kind.axis, front: front)
      }
    }
  }

  private static func push(
    _ engine: StreamEngine, _ schedule: StreamSchedule, next: Int, _ buffers: [Buffer?], _ carried: [Tensor],
    _ memory: ProgramMemory
  ) throws -> Push {
    let (network, counting) = (engine.network, engine.counting)
    guard let entry = buffers[0] else { throw refusal("a buffer for the input") }
    let input = entry.new(schedule.new[0])
    let held = zip(buffers, schedule.held).map { buffer, count in count > 0 ? buffer?.held(count) : nil }
    var (given, rooms) = ([input], [Int: JoinRoom]())
    for (place, tensor) in held.enumerated() {
      guard let tensor, let buffer = buffers[place] else { continue }
      if schedule.new[place] > 0 {
        let whole = buffer.positions(buffer.front - schedule.held[place]..<buffer.front + schedule.new[place])
        rooms[given.count] = JoinRoom(whole, axis: buffer.axis)
      }
      given.append(tensor)
    }
    given += carried
    let program = try engine.program(input, schedule, StreamEngine.Memory(held: held, carried: carried))
      .bound(given, rooms: rooms, memory: memory)
    var results = program.outputs[...]
    let outputs = network.outputs.map { schedule.new[counting.place($0)] > 0 ? results.popFirst() : nil }
    var pairs: [(from: Tensor, to: Tensor)] = []
    for (place, count) in schedule.heldAfter.enumerated() where count > 0 {
      guard let buffer = buffers[place], let result = results.popFirst() else { throw refusal("held positions") }
      pairs.append((result, buffer.held(count)))
    }
    guard results.count == carried.count else { throw refusal("states") }
    pairs += zip(results, carried).map { ($0, $1) }
    pairs.removeAll { $0.from.isSameView(as: $0.to) }
    // What lies where another state goes, or across its own place, must not be written over before it is read.
    let states = Set((buffers.compactMap { $0?.tensor } + carried).map { ObjectIdentifier($0.storage) })
    var (staged, moves) = ([ElementCopy](), [ElementCopy]())
    for (from, to) in pairs {
      let isSafe =
        from.storage === to.storage ? from.strides == to.strides : !states.contains(ObjectIdentifier(from.storage))
      guard !isSafe else {
        moves.append(ElementCopy(from: from, to: to))
        continue
      }
      let aside = try Tensor(uninitialized: to.shape, dtype: to.dtype, operation: "stream")
      staged.append(ElementCopy(from: from, to: aside))
      moves.append(ElementCopy(from: aside, to: to))
    }
    let axis = network.axes[network.outputs[0]] ?? 0
    var (gathered, rows) = (ElementCopy?.none, outputs[0].flatMap { StridedRows($0, axis: axis) })
    if let output = outputs[0], rows == nil {
      let dense = try Tensor(uninitialized: output.shape, dtype: output.dtype, operation: "stream")
      (gathered, rows) = (ElementCopy(from: output, to: dense), StridedRows(contiguous: dense, axis: axis))
    }
    guard let inputRows = StridedRows(input, axis: entry.axis) else { throw refusal("rows of the input") }
    return Push(
      schedule: schedule, input: input, outputs: outputs, output: rows,
      outputCount: schedule.new[counting.place(network.outputs[0])], inputRows: inputRows, program: program,
      gathered: gathered, staged: staged, moves: moves, next: next)
  }

  private static func refusal(_ what: String) -> ToeplitzError {
    ToeplitzError(.argument, "TensorStream", expected: what, got: "none")
  }
}
