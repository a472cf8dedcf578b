import ToeplitzOps
import ToeplitzTensor

/// What a stream keeps in memory of its own, where pushes of one length are computed in place and allocate nothing.
///
/// Each value has a buffer in which the positions that are held lie before room for the new ones. Programs are bound to these
/// buffers, one for each schedule of those that come in turns. A push writes new positions behind the held ones; only when all has been
/// computed are those that are held from then on moved to the front, so a push that throws changes nothing.
///
/// A stream computes with it while it is the only one that refers to it: copies of the stream share it until one of them goes on.
final class SteadyStream: @unchecked Sendable {
  /// One of the pushes that come in turns.
  struct Phase {
    let schedule: StreamSchedule
    /// How far the stream was that it was made for.
    fileprivate let counters: StreamCounters
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
  }

  /// Input positions of each push.
  let chunk: Int
  private let pattern: Int
  private let engine: StreamEngine
  private let buffers: [Buffer?]
  private let carried: [Tensor]
  private let phases: [Phase]
  /// How many positions of each value a turn through all phases makes.
  private let cycleCounts: [Int]
  /// The phase that comes next.
  private var next = 0

  /// More schedules in turns than this take too much memory.
  private static let mostPhases = 64

  /// For pushes of `chunk` positions from a state on that has seen so many.
  ///
  /// - Parameter pattern: input positions after which pushes compute the same again.
  /// - Returns: nil where the schedules do not come again, as delays are still filled, or are too many.
  init?(_ engine: StreamEngine, chunk: Int, pattern: Int, _ counters: StreamCounters) throws {
    let cycle = pattern / gcd(pattern, chunk)
    guard cycle <= Self.mostPhases else { return nil }
    var counters = counters
    var starts: [StreamCounters] = []
    let schedules = try (0..<2 * cycle).map { _ in
      starts.append(counters)
      return try engine.counting.advance(&counters, by: chunk, ends: false)
    }
    cycleCounts = zip(starts[cycle].known, starts[0].known).map { $0 - $1 }
    guard schedules.prefix(cycle).elementsEqual(schedules.suffix(cycle)), schedules[0].new[0] == chunk,
      zip(starts[cycle].kept, starts[0].kept).map({ $0 - $1 }) == cycleCounts
    else { return nil }
    (self.engine, self.chunk, self.pattern) = (engine, chunk, pattern)
    buffers = try Buffer.all(engine, schedules.prefix(cycle))
    carried = try engine.carried.map { try Tensor.zeros($0.shape, dtype: $0.dtype) }
    let memory = ProgramMemory()
    var phases: [Phase] = []
    for (index, schedule) in schedules.prefix(cycle).enumerated() {
      phases.append(
        try Self.phase(
          engine, schedule, starts[index], before: schedules[index + 1].held, buffers, carried, memory))
    }
    self.phases = phases
  }

  /// Operations that allocate memory in each push.
  var allocating: [String] { phases.flatMap(\.program.allocating) }

  /// Whether its programs are those that would be made now.
  var isCurrent: Bool { phases[0].program.isCurrent }

  /// Takes over the state of a stream that is so far.
  ///
  /// - Returns: false if that is none of the states that it knows.
  func load(_ memory: StreamEngine.Memory, _ counters: StreamCounters) -> Bool {
    guard let index = phases.firstIndex(where: { isWholePatterns(from: $0.counters, to: counters) }) else {
      return false
    }
    for (buffer, tensor) in zip(buffers, memory.held) {
      if let buffer, let tensor { buffer.held(tensor.shape[buffer.axis]).fillOnce(from: tensor) }
    }
    for (state, tensor) in zip(carried, memory.carried) { state.fillOnce(from: tensor) }
    next = index
    return true
  }

  /// Whether all values are equally many patterns further.
  private func isWholePatterns(from: StreamCounters, to: StreamCounters) -> Bool {
    let distance = to.known[0] - from.known[0]
    guard distance % pattern == 0, !to.isEnded else { return false }
    let patternsOfCycle = phases.count * chunk / pattern
    return cycleCounts.indices.allSatisfy { place in
      let (moved, overflow) = cycleCounts[place].multipliedReportingOverflow(by: distance / pattern)
      return !overflow && moved % patternsOfCycle == 0
        && to.known[place] - from.known[place] == moved / patternsOfCycle
        && to.kept[place] - from.kept[place] == moved / patternsOfCycle
    }
  }

  /// The state, in tensors of its own.
  func memory() throws -> StreamEngine.Memory {
    let schedule = phases[next].schedule
    let held = try zip(buffers, schedule.held).map { buffer, count in
      count > 0 ? try buffer?.held(count).copied() : nil
    }
    return StreamEngine.Memory(held: held, carried: try carried.map { try $0.copied() })
  }

  /// The phase that comes next.
  var phase: Phase { phases[next] }

  /// Computes the next push, of the positions that have been written where its input lies.
  func compute() throws {
    try phases[next].program.run()
    phases[next].gathered?.run()
  }

  /// Goes on to the push after the one that has been computed.
  func advance(_ counters: inout StreamCounters) {
    for copy in phases[next].staged { copy.run() }
    for copy in phases[next].moves { copy.run() }
    for place in counters.known.indices {
      counters.known[place] += phases[next].schedule.new[place]
      counters.kept[place] += phases[next].schedule.forgotten[place]
    }
    next = next + 1 == phases.count ? 0 : next + 1
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
    static func all(_ engine: StreamEngine, _ schedules: ArraySlice<StreamSchedule>) throws -> [Buffer?] {
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

  /// - Parameter before: how many positions are held before the push after this one.
  private static func phase(
    _ engine: StreamEngine, _ schedule: StreamSchedule, _ counters: StreamCounters, before: [Int], _ buffers: [Buffer?],
    _ carried: [Tensor],
    _ memory: ProgramMemory
  ) throws -> Phase {
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
    for (place, count) in before.enumerated() where count > 0 {
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
    var (gathered, rows) = (ElementCopy?.none, outputs[0].flatMap(StridedRows.init))
    if let output = outputs[0], rows == nil {
      let dense = try Tensor(uninitialized: output.shape, dtype: output.dtype, operation: "stream")
      (gathered, rows) = (ElementCopy(from: output, to: dense), StridedRows(contiguous: dense))
    }
    guard let inputRows = StridedRows(input) else { throw refusal("rows of the input") }
    return Phase(
      schedule: schedule, counters: counters, input: input, outputs: outputs, output: rows,
      outputCount: schedule.new[counting.place(network.outputs[0])], inputRows: inputRows, program: program,
      gathered: gathered, staged: staged, moves: moves)
  }

  private static func refusal(_ what: String) -> ToeplitzError {
    ToeplitzError(.argument, "TensorStream", expected: what, got: "none")
  }
}
