import ToeplitzTensor

/// Streams of one plan that are computed together, each with the bits that it has alone.
///
/// Sessions join and leave at any time. Those that are given equally many positions at the same phase are computed in one call, their
/// states stacked; others in calls of their own. A value, as ``TensorStream`` is; all batches and streams of a plan share its weights.
///
/// ```swift
/// var batch = try decoder.streamPlan(shape: [1, 1, nil]).makeBatch()
/// let (one, two) = (try batch.join(), try batch.join())
/// let sounds = try batch.push([one: x, two: y])
/// let end = try batch.finish(one)
/// ```
public struct StreamBatch: Sendable {
  /// Tells a session from the others of its batch.
  public struct SessionID: Sendable, Hashable, Comparable, CustomStringConvertible {
    let number: Int

    /// Sessions in the order in which they joined.
    public static func < (a: SessionID, b: SessionID) -> Bool { a.number < b.number }
    /// Such as `session 3`.
    public var description: String { "session \(number)" }
  }

  private struct Session {
    var counters: StreamCounters
    var group: Int
  }

  /// Sessions whose states lie in the same tensors.
  private struct Group {
    var members: [SessionID]
    var memory: StreamEngine.Memory
  }

  /// One computation.
  private struct Call {
    var schedule: StreamSchedule
    var members: [SessionID] = []
    var counters: [StreamCounters] = []
  }

  /// The plan that all sessions follow.
  public let plan: StreamPlan
  /// Why sessions are computed one by one: an operation, with its layer, that joins samples; nil if they are computed together.
  public let obstacle: ToeplitzError?
  private var members: [SessionID: Session] = [:]
  private var groups: [Int: Group] = [:]
  private var next = 0

  /// More in one call gain little, and each number of them is compiled by itself.
  private static let mostTogether = 64

  init(_ plan: StreamPlan) {
    self.plan = plan
    do {
      _ = try plan.engine.stack(2)
      obstacle = nil
    } catch let error as ToeplitzError {
      obstacle = error
    } catch {
      obstacle = ToeplitzError(.unsupported, "makeBatch", expected: "a network of samples", got: "\(error)")
    }
  }

  /// The sessions, in the order in which they joined.
  public var sessions: [SessionID] { members.keys.sorted() }

  /// Adds a session at its beginning.
  public mutating func join() throws -> SessionID { try join(plan.makeStream()) }

  /// Adds a session that goes on where a stream of the same model is.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the stream is of another model or has ended.
  public mutating func join(_ stream: TensorStream) throws -> SessionID {
    guard !stream.isFinished else {
      throw ToeplitzError(
        .argument, "StreamBatch.join", expected: "a stream that goes on", got: "one that was finished")
    }
    var stream = stream
    if stream.plan.engine !== plan.engine {
      var own = try plan.makeStream()
      try own.restore(stream.state())
      stream = own
    }
    let id = SessionID(number: next)
    add([id], try stream.memory())
    members[id]?.counters = stream.counters
    return id
  }

  /// A session as a stream by itself, which goes on from there.
  ///
  /// The batch keeps its own: the stream can be stored, or join again, which forks the session.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no such session.
  public func stream(_ id: SessionID) throws -> TensorStream {
    let session = try session(id)
    return TensorStream(plan, session.counters, try memory(of: [id], in: session.group))
  }

  /// Removes a session; it is given as a stream, which can go on.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no such session.
  @discardableResult
  public mutating func leave(_ id: SessionID) throws -> TensorStream {
    let stream = try stream(id)
    try remove(id)
    return stream
  }

  /// Takes the next positions of some sessions, any number of each, and gives the positions of the first output that are final now.
  ///
  /// - Throws: ``ToeplitzError`` if a tensor does not fit or there is no such session; all sessions are as they were then.
  public mutating func push(_ chunks: [SessionID: Tensor]) throws -> [SessionID: Tensor] {
    try pushAll(chunks).mapValues { $0[0] }
  }

  /// The same, of all outputs.
  public mutating func pushAll(_ chunks: [SessionID: Tensor]) throws -> [SessionID: [Tensor]] {
    var (calls, places) = ([Call](), [StreamSchedule: Int]())
    for (id, chunk) in chunks.sorted(by: { $0.key < $1.key }) {
      var counters = try session(id).counters
      let count = try plan.length(of: chunk, "StreamBatch.push")
      let schedule = try plan.engine.counting.advance(&counters, by: count, ends: false)
      let place = places[schedule] ?? calls.count
      if place == calls.count {
        places[schedule] = place
        calls.append(Call(schedule: schedule))
      }
      calls[place].members.append(id)
      calls[place].counters.append(counters)
    }
    var (copy, results) = (self, [SessionID: [Tensor]]())
    for call in calls {
      let most = obstacle == nil ? Self.mostTogether : 1
      for first in stride(from: 0, to: call.members.count, by: most) {
        let range = first..<min(first + most, call.members.count)
        let part = Call(
          schedule: call.schedule, members: Array(call.members[range]), counters: Array(call.counters[range]))
        try results.merge(copy.compute(part, chunks)) { $1 }
      }
    }
    self = copy
    return results
  }

  /// Ends a session and removes it: gives the first output's positions that were waiting for more input, as they are at the end.
  ///
  /// - Throws: As ``TensorStream/finish()``; the session is as it was then.
  public mutating func finish(_ id: SessionID) throws -> Tensor { try finishAll(id)[0] }

  /// The same, of all outputs.
  public mutating func finishAll(_ id: SessionID) throws -> [Tensor] {
    var stream = try stream(id)
    let outputs = try stream.finishAll()
    try remove(id)
    return outputs
  }

  // MARK: States

  private func session(_ id: SessionID) throws -> Session {
    guard let session = members[id] else {
      throw ToeplitzError(
        .argument, "StreamBatch", expected: "a session of " + (sessions.isEmpty ? "none" : "\(sessions)"), got: "\(id)")
    }
    return session
  }

  private mutating func remove(_ id: SessionID) throws {
    var copy = self
    try copy.takeOut([id])
    copy.members[id] = nil
    self = copy
  }

  private mutating func compute(_ call: Call, _ chunks: [SessionID: Tensor]) throws -> [SessionID: [Tensor]] {
    let ids = call.members
    // Shapes may be such that a number of sessions cannot be told from another axis.
    let stack = ids.count > 1 ? try? plan.engine.stack(ids.count) : nil
    guard stack != nil || ids.count == 1 else {
      return try zip(ids, call.counters).reduce(into: [:]) { results, session in
        let one = Call(schedule: call.schedule, members: [session.0], counters: [session.1])
        try results.merge(compute(one, chunks)) { $1 }
      }
    }
    let parts = try parts(of: ids)
    try takeOut(ids)
    let outputs: [[Tensor]]
    if let stack {
      let input = try Tensor.concatenate(ids.compactMap { chunks[$0] }, axis: stack.input.axis)
      let result = try stack.engine.advance(input, call.schedule, stack.joined(parts))
      add(ids, result.memory)
      // Copies, so that no session keeps the others' outputs alive.
      outputs = try ids.indices.map { index in
        try zip(stack.outputs, result.outputs).map { try $0.part($1, index..<(index + 1)).copied() }
      }
    } else {
      let result = try plan.engine.advance(chunks[ids[0]], call.schedule, parts[0])
      add(ids, result.memory)
      outputs = [result.outputs]
    }
    for (id, counters) in zip(ids, call.counters) { members[id]?.counters = counters }
    return Dictionary(uniqueKeysWithValues: zip(ids, outputs))
  }

  private mutating func add(_ ids: [SessionID], _ memory: StreamEngine.Memory) {
    for id in ids {
      if members[id] == nil { members[id] = Session(counters: plan.engine.counting.beginning, group: next) }
      members[id]?.group = next
    }
    groups[next] = Group(members: ids, memory: memory)
    next += 1
  }

  /// What sessions keep, in pieces: of those that lie one behind the other in one group in the same order, one.
  private func parts(of ids: [SessionID]) throws -> [StreamEngine.Memory] {
    var parts: [StreamEngine.Memory] = []
    var rest = ids[...]
    while let first = rest.first {
      let group = try session(first).group
      let run = Array(rest.prefix { members[$0]?.group == group })
      parts.append(try memory(of: run, in: group))
      rest = rest.dropFirst(run.count)
    }
    return parts
  }

  /// What some sessions of a group keep.
  private func memory(of ids: [SessionID], in number: Int) throws -> StreamEngine.Memory {
    guard let group = groups[number], group.members != ids else {
      return groups[number]?.memory ?? StreamEngine.Memory(held: [], carried: [])
    }
    // Stacks of all sizes have the same axes.
    let stack = try plan.engine.stack(2)
    var parts: [StreamEngine.Memory] = []
    // In each group sessions stand in the order in which they joined.
    var place = 0
    while place < group.members.count {
      let end = group.members[place...].prefix { ids.contains($0) }.endIndex
      if end > place { parts.append(try stack.part(group.memory, place..<end)) }
      place = max(end, place + 1)
    }
    return parts.count == 1 ? try parts[0].copied() : try stack.joined(parts)
  }

  /// Takes sessions out of their groups; those that stay are moved together.
  private mutating func takeOut(_ ids: [SessionID]) throws {
    let leaving = Set(ids)
    for number in Set(ids.compactMap { members[$0]?.group }) {
      let left = groups[number]?.members.filter { !leaving.contains($0) } ?? []
      if !left.isEmpty { add(left, try memory(of: left, in: number)) }
      groups[number] = nil
    }
  }
}

extension StreamPlan {
  /// Sessions that are computed together, none at first.
  public func makeBatch() -> StreamBatch { StreamBatch(self) }
}
