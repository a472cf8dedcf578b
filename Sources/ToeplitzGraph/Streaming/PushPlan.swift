/// The states that a stream comes through in pushes of prepared lengths, and what is computed from one to another.
struct PushPlan {
  /// What a push computes, and the state after it.
  struct Step {
    var schedule: StreamSchedule
    var next: Int
  }

  struct State {
    var counters: StreamCounters
    /// For each length; nil where that is not prepared.
    var steps: [Step?]

    /// How many positions of each value are held.
    var held: [Int] { zip(counters.known, counters.kept).map { $0 - $1 } }
  }

  /// The longest first; the others are powers of two.
  let lengths: [Int]
  private(set) var states: [State] = []
  /// The first of the states that come again after a whole number of patterns.
  private var firstRecurring = 0
  private let pattern: Int
  /// How many positions of each value a pattern makes.
  private let patternCounts: [Int]

  /// More states in turns, or before these, than this take too much memory.
  private static let mostStates = 64
  /// More pushes than this too.
  private static let mostSteps = StreamEngine.mostSchedules / 2

  /// - Parameters:
  ///   - shorter: whether lengths below `chunk` are wanted too.
  ///   - pattern: input positions after which pushes compute the same again.
  ///   - steadyLength: after how many positions all delays are filled, at most.
  ///   - counters: the state to begin from; while delays are filled, only pushes of `chunk` positions are planned.
  /// - Returns: nil where the states do not come again, or are too many.
  init?(
    _ engine: StreamEngine, chunk: Int, shorter: Bool, pattern: Int, steadyLength: Int, from counters: StreamCounters
  ) throws {
    let rates = StreamRates(engine.network)
    self.pattern = pattern
    patternCounts = engine.counting.timed.map { pattern / rates[$0].denominator * rates[$0].numerator }
    lengths = [chunk] + (shorter ? (0..<Int.bitWidth).map { 1 << $0 }.prefix { $0 < chunk }.reversed() : [])
    let cycle = pattern / gcd(pattern, chunk)
    guard cycle <= Self.mostStates else { return nil }
    // Push by push: what is final depends on whether an operation takes the length that has come so far.
    var (all, last) = ([State](), counters)
    for _ in 0..<4096 where last.known[0] < steadyLength { try Self.add(engine, chunk, &last, to: &all) }
    guard last.known[0] >= steadyLength else { return nil }
    let steady = all.count
    for _ in 0..<2 * cycle { try Self.add(engine, chunk, &last, to: &all) }
    func recurs(_ index: Int) -> Bool {
      all[index].steps[0]?.schedule == all[index + cycle].steps[0]?.schedule
        && isWholePatterns(from: all[index].counters, to: all[index + cycle].counters)
    }
    guard (steady..<steady + cycle).allSatisfy(recurs) else { return nil }
    var first = steady
    while first > 0, recurs(first - 1) { first -= 1 }
    if first > Self.mostStates {
      all.removeFirst(first)
      first = 0
    }
    firstRecurring = first
    states = Array(all.prefix(first + cycle))
    for index in states.indices {
      let next = index + 1 < states.count ? index + 1 : first
      states[index].steps[0]?.next = next
      states[index].steps += lengths.dropFirst().map { _ in nil }
    }
    guard shorter else { return }
    let plain = states
    if try !addShorter(engine) { states = plain }
  }

  /// Adds the state before a push, and goes on to that after it, whose place is not known yet.
  private static func add(
    _ engine: StreamEngine, _ chunk: Int, _ counters: inout StreamCounters, to states: inout [State]
  ) throws {
    let before = counters
    let schedule = try engine.counting.advance(&counters, by: chunk, ends: false)
    states.append(State(counters: before, steps: [Step(schedule: schedule, next: 0)]))
  }

  /// Adds pushes of all lengths from all states that come in turns, and the states that come by them.
  ///
  /// - Returns: false where these are too many.
  private mutating func addShorter(_ engine: StreamEngine) throws -> Bool {
    var (index, count) = (firstRecurring, states.count)
    while index < states.count {
      for (place, length) in lengths.enumerated() where states[index].steps[place] == nil {
        count += 1
        guard count <= Self.mostSteps else { return false }
        var counters = states[index].counters
        let schedule = try engine.counting.advance(&counters, by: length, ends: false)
        let next = self.index(of: counters) ?? states.count
        if next == states.count { states.append(State(counters: counters, steps: lengths.map { _ in nil })) }
        states[index].steps[place] = Step(schedule: schedule, next: next)
      }
      index += 1
    }
    return true
  }

  /// The state that a stream is in which has come so far; nil if that is none of these.
  func index(of counters: StreamCounters) -> Int? {
    let recurs = counters.known[0] >= states[firstRecurring].counters.known[0]
    return states.indices.first { index in
      index < firstRecurring
        ? states[index].counters == counters
        : recurs && isWholePatterns(from: states[index].counters, to: counters)
    }
  }

  /// Whether all values are equally many patterns further.
  private func isWholePatterns(from: StreamCounters, to: StreamCounters) -> Bool {
    let distance = to.known[0] - from.known[0]
    guard distance % pattern == 0, !to.isEnded else { return false }
    return patternCounts.indices.allSatisfy { place in
      let (moved, overflow) = patternCounts[place].multipliedReportingOverflow(by: distance / pattern)
      return !overflow && to.known[place] - from.known[place] == moved && to.kept[place] - from.kept[place] == moved
    }
  }
}
