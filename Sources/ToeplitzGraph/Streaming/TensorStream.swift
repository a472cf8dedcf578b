import ToeplitzOps
import ToeplitzTensor

/// A stream through a network: pieces of any length go in, what is final comes out.
///
/// A stream is a value: a copy goes on by itself from where the original was. It may be used on any thread, by one at a time.
public struct TensorStream: Sendable {
  /// The plan it follows.
  public let plan: StreamPlan
  var counters: StreamCounters
  /// What it keeps, unless that lies in ``pushes``.
  private var tensors: StreamEngine.Memory
  /// Memory for pushes in place, once they have been prepared.
  private var pushes: PreparedPushes?
  /// Whether the state lies there.
  private(set) var isInPlace = false
  /// The pushes that have been prepared: the most positions, and whether fewer are prepared too.
  private(set) var prepared: (chunk: Int, shorter: Bool)?

  init(_ plan: StreamPlan) throws {
    self.init(plan, plan.engine.counting.beginning, try plan.engine.beginning())
  }

  /// A stream that goes on from what another has kept.
  init(_ plan: StreamPlan, _ counters: StreamCounters, _ memory: StreamEngine.Memory) {
    (self.plan, self.counters, tensors) = (plan, counters, memory)
  }

  /// How many input positions have been pushed.
  public var position: Int { counters.known[0] }

  /// How many output positions have come out.
  public var outputPosition: Int {
    counters.known[plan.engine.counting.place(plan.engine.network.outputs[0])]
  }

  /// Whether ``finish()`` was called, after which only ``reset()`` is possible.
  public var isFinished: Bool { counters.isEnded }

  /// Takes the next positions, any number of them, and gives the first output's positions that are final now; maybe none.
  ///
  /// - Throws: ``ToeplitzError`` if the tensor does not fit or the stream has ended; the stream is as it was then.
  public mutating func push(_ chunk: Tensor) throws -> Tensor { try pushAll(chunk)[0] }

  /// The same, of all outputs.
  public mutating func pushAll(_ chunk: Tensor) throws -> [Tensor] {
    let count = try plan.length(of: chunk, "TensorStream.push")
    if !chunk.isTraced, try outputCountInPlace(for: count, pieces: false) != nil {
      let engine = plan.engine
      var made = try engine.outputs(engine.network.outputs.map { _ in nil })
      try pushInPlace(count) { push, _ in
        push.input.fillOnce(from: chunk)
      } take: { push, _ in
        made = try engine.outputs(push.outputs.map { try $0?.copied() })
      }
      return made
    }
    return try advance(chunk, by: count, ends: false)
  }

  /// Ends the stream: gives the first output's positions that were waiting for more input, as they are at the end.
  ///
  /// - Throws: ``ToeplitzError`` if the network refuses an input of the stream's length, or the stream has ended.
  public mutating func finish() throws -> Tensor { try finishAll()[0] }

  /// The same, of all outputs.
  public mutating func finishAll() throws -> [Tensor] { try advance(nil, by: 0, ends: true) }

  /// Goes back to the beginning; what has been prepared stays so.
  public mutating func reset() throws {
    (counters, tensors) = (plan.engine.counting.beginning, try plan.engine.beginning())
    isInPlace = false
  }

  /// What the next `count` positions make of the stream.
  func next(by count: Int, ends: Bool = false) throws -> (counters: StreamCounters, schedule: StreamSchedule) {
    guard !counters.isEnded else {
      throw ToeplitzError(.argument, "TensorStream", expected: "a stream that goes on", got: "one that was finished")
    }
    var next = counters
    let schedule = try plan.engine.counting.advance(&next, by: count, ends: ends)
    return (next, schedule)
  }

  private mutating func advance(_ chunk: Tensor?, by count: Int, ends: Bool) throws -> [Tensor] {
    let (next, schedule) = try next(by: count, ends: ends)
    return try advance(chunk, to: next, schedule)
  }

  /// Computes what was scheduled.
  mutating func advance(_ chunk: Tensor?, to next: StreamCounters, _ schedule: StreamSchedule) throws -> [Tensor] {
    let result = try plan.engine.advance(chunk, schedule, memory())
    (counters, tensors, isInPlace) = (next, result.memory, false)
    return result.outputs
  }

  /// What it keeps.
  func memory() throws -> StreamEngine.Memory {
    if isInPlace, let pushes { try pushes.memory() } else { tensors }
  }

  /// Goes on from what another stream has kept.
  mutating func resume(_ counters: StreamCounters, _ memory: StreamEngine.Memory) {
    (self.counters, tensors, isInPlace) = (counters, memory, false)
  }

  // MARK: In place

  /// Makes memory for pushes of up to `chunk` positions in place, from here on.
  ///
  /// - Parameter shorter: whether those of fewer positions are prepared too.
  mutating func prepare(_ chunk: Int, shorter: Bool) throws {
    if isInPlace { resume(counters, try memory()) }
    // What cannot be bound is computed as without.
    pushes = try? plan.pushes(upTo: chunk, shorter: shorter, from: counters)
    prepared = pushes == nil ? nil : (chunk, shorter)
  }

  /// How many positions of the first output the next `count` positions give, if they are computed in place; nil if not.
  ///
  /// Brings the state to where that is done.
  ///
  /// - Parameter pieces: whether they may be computed in several pieces.
  mutating func outputCountInPlace(for count: Int, pieces: Bool) throws -> Int? {
    // No positions change nothing, but that constants may come before the first.
    guard let prepared, count > 0 || counters.known[0] > 0, count <= prepared.chunk,
      prepared.shorter || count == prepared.chunk,
      !counters.isEnded, try isReady(prepared.chunk, shorter: prepared.shorter)
    else { return nil }
    return pushes?.outputCount(for: count, pieces: pieces)
  }

  /// Computes a push of `count` positions in place, which ``outputCountInPlace(for:pieces:)`` has said is possible.
  ///
  /// - Parameters:
  ///   - give: writes the positions of a piece, which begins at a number, to where they are read.
  ///   - take: reads what the piece has made, the positions from a number on, before the stream goes on.
  mutating func pushInPlace(
    _ count: Int, give: (PreparedPushes.Push, Int) throws -> Void, take: (PreparedPushes.Push, Int) throws -> Void
  ) throws {
    guard let pushes else { return }
    var (done, made) = (0, 0)
    while done < count, let push = pushes.push(upTo: count - done) {
      try give(push, done)
      try pushes.compute(push)
      try take(push, made)
      pushes.advance(&counters, after: push)
      done += push.schedule.new[0]
      made += push.outputCount
    }
  }

  /// Whether the state lies where pushes compute in place, or has been brought there.
  private mutating func isReady(_ chunk: Int, shorter: Bool) throws -> Bool {
    // Another stream, of which this is a copy or which is one of this, may still refer to it.
    let isOwn = isKnownUniquelyReferenced(&pushes) && pushes?.isCurrent == true
    if isInPlace, isOwn { return true }
    if isInPlace { resume(counters, try memory()) }
    if !isOwn || pushes?.load(tensors, counters) != true {
      // While delays are filled, there are states that no pushes are prepared for.
      guard !isOwn || counters.known[0] >= plan.steadyLength else { return false }
      try prepare(chunk, shorter: shorter)
      guard pushes?.load(tensors, counters) == true else { return false }
    }
    isInPlace = true
    tensors = StreamEngine.Memory(held: [], carried: [])
    return true
  }
}

extension Executable {
  /// The plan for streaming the model.
  ///
  /// - Parameters:
  ///   - shape: the input's sizes, nil for time; nil takes the model's own, with 1 where it leaves a size open before the last such
  ///     one, which is time.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names the operation and its layer if the model cannot be computed piece
  ///   by piece, such as a normalisation over all of time.
  public func streamPlan(shape: [Int?]? = nil) throws -> StreamPlan {
    guard inputs.count == 1 else {
      throw ToeplitzError(
        .unsupported, "streamPlan", expected: "a model of one input", got: inputs.map(\.name).joined(separator: ", "))
    }
    let (sizes, folded) = (try shape ?? openSizes(), FoldedConstants())
    let backend = try loweringBackend()
    return try StreamPlan(shape: sizes, dtype: inputs[0].dtype ?? .float32) {
      let graph = try self.graph(for: [$0])
      return optimizes ? backend.simplified(graph, folded) : graph
    }
  }

  /// The sizes of the one input: the last open one is time, others before it are 1.
  private func openSizes() throws -> [Int?] {
    guard let dimensions = inputs[0].dimensions else {
      throw ToeplitzError(
        .argument, "streamPlan", expected: "the input's shape, such as [1, 80, nil]",
        got: "a model that does not say it")
    }
    var sizes: [Int?] = dimensions.map { if case .fixed(let size) = $0 { size } else { nil } }
    guard let time = sizes.lastIndex(where: { $0 == nil }) else {
      throw ToeplitzError(
        .argument, "streamPlan", expected: "an input of open length", got: inputs[0].description)
    }
    for axis in sizes.indices where axis != time && sizes[axis] == nil { sizes[axis] = 1 }
    return sizes
  }
}

extension StreamPlan {
  /// How many positions a chunk has.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if it does not fit.
  func length(of chunk: Tensor, _ operation: String) throws -> Int {
    guard chunk.rank == input.shape.rank, chunk.dtype == input.dtype,
      chunk.shape.replacing(timeAxis, by: 0) == input.shape
    else {
      throw ToeplitzError(
        .shape, operation, expected: "a chunk of \(input) with any length on axis \(timeAxis)", got: "\(chunk.spec)")
    }
    return chunk.shape[timeAxis]
  }

  /// Short lengths may be too short for a padding, and some models want multiples of a power of two.
  private static let lengths = [
    30, 32, 60, 64, 90, 96, 120, 128, 192, 256, 384, 512, 1024, 2048, 3072, 4096, 6144, 8192, 16384, 32768,
  ]

  /// The plan of a computation that `graph` gives for inputs of any length.
  ///
  /// - Parameter shape: the input's sizes, nil for time.
  /// - Throws: ``ToeplitzError`` that names what cannot be computed piece by piece, or no length at which `graph` succeeds.
  package init(shape: [Int?], dtype: DType, graph: (TensorSpec) throws -> Graph) throws {
    guard shape.count(where: { $0 == nil }) == 1, let axis = shape.firstIndex(where: { $0 == nil }) else {
      throw ToeplitzError(
        .argument, "streamPlan", expected: "a shape with one size of nil, which is time",
        got: "[" + shape.map { $0.map(String.init) ?? "nil" }.joined(separator: ", ") + "]")
    }
    var networks: [StreamNetwork] = []
    var failure: (any Error)?
    for length in Self.lengths where networks.count < 3 {
      do {
        networks.append(
          try StreamNetwork(graph(TensorSpec(TensorShape(shape.map { $0 ?? length }), dtype)), timeAxis: axis))
      } catch let error as ToeplitzError where error.kind == .unsupported && error.operation == "streamPlan" {
        throw error
      } catch { failure = error }
    }
    guard networks.count >= 2 else {
      throw failure ?? ToeplitzError(.argument, "streamPlan", expected: "lengths that the model takes", got: "none")
    }
    try self.init(networks, timeAxis: axis)
  }
}
