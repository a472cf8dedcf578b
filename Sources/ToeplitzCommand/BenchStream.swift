import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX
import ToeplitzTensor

/// How often something has happened, where a library that counts it stands in for `malloc` and locks.
private struct Counter {
  private typealias Function = @convention(c) () -> UInt
  private let function: Function

  init?(_ name: String) {
    guard let symbol = dlsym(nil, name) else { return nil }
    function = unsafeBitCast(symbol, to: Function.self)
  }

  /// How often it has happened so far.
  var count: UInt { function() }
}

/// Pieces of one length through a streamed model, as `toeplitz bench --stream` prints and `--json` writes them.
struct BenchStream: Encodable {
  var name: String
  /// Input positions of a piece.
  var chunk: Int
  /// Wall time of a piece in milliseconds.
  var milliseconds: Double
  var late: Double
  var worst: Double
  /// How much faster than the input comes; nil where its rate is not known.
  var realTimeFactor: Double?
  /// The work of the pieces, and that of the whole once.
  var workShare: Double
  /// Of blocks of a constant delay: what 99 of 100 take of the thread's processor time, for each unit that the median takes.
  var processorSpread: Double?
  /// By how many output positions, and how many input positions, the output is behind.
  var latency: Int
  var lookahead: Int
  var stateBytes: Int
  var pieces: Int
  /// How often a push allocates memory; nil unless something counts that (`Scripts/count-allocations.sh`).
  var allocations: Double?
  /// The same of locks.
  var locks: Double?
  var threads = ThreadPool.shared.threadCount

  enum CodingKeys: String, CodingKey {
    case name = "model"
    case chunk
    case milliseconds = "ms"
    case late = "p99_ms"
    case worst = "worst_ms"
    case realTimeFactor = "real_time_factor"
    case workShare = "work_share"
    case processorSpread = "cpu_p99_by_median"
    case latency, lookahead
    case stateBytes = "state_bytes"
    case pieces, allocations, locks, threads
  }

  /// The executable of a name or an ONNX model, and its plan.
  static func plan(_ model: String) throws -> StreamPlan {
    try (NamedModel(model)?.executable(optimizes: true) ?? Executable(contentsOf: StandardStreams.input(model)))
      .streamPlan()
  }

  /// How many positions of the input a network of that name gets a second.
  static func rate(of model: String) -> Double? {
    // All published vocoders that have names here take 256 samples of 22.05 kHz a frame.
    model == "vocoder" || model.hasPrefix("hifigan") ? 22_050 / 256 : nil
  }

  /// Measures pieces once delays are filled and their patterns compiled.
  ///
  /// - Parameters:
  ///   - count: how many pieces; nil takes as many as `seconds` allow, at least 100.
  ///   - rate: positions of the input a second.
  init(_ name: String, _ plan: StreamPlan, chunk: Int, seconds: Double, count: Int?, rate: Double?) throws {
    (self.name, self.chunk) = (name, chunk)
    (latency, lookahead, stateBytes) = (plan.latency, plan.lookahead, plan.stateBytes)
    let shape = plan.input.shape.replacing(plan.timeAxis, by: chunk)
    let x = try Generator(seed: 2).uniform(shape, from: -1, to: 1).cast(to: plan.input.dtype)
    var stream = try plan.makeStream()
    try stream.prepare(maximumChunk: chunk)
    let clock = ContinuousClock()
    // Past the first pieces, which fill delays.
    while stream.outputPosition == 0, stream.position < 1 << 20 { _ = try stream.push(x) }
    for _ in 0..<8 { _ = try stream.push(x) }
    let times: [Double]
    (times, allocations, locks) = try x.withElements(Float.self) { samples in
      // A phase may give more than another.
      let most =
        try (0..<plan.blockSize).map { _ in
          defer { _ = try? stream.push(x) }
          return try stream.outputCount(for: chunk)
        }.max() ?? 0
      let width = try stream.push(x).shape.replacing(plan.outputAxes[0], by: 1).reduce(1, *)
      var sound = [Float](repeating: 0, count: most * width)
      return try sound.withUnsafeMutableBufferPointer { sound in
        let times = try Self.times(seconds: seconds, count: count) {
          let start = clock.now
          _ = try stream.push(samples, into: sound)
          return (clock.now - start) / .milliseconds(1)
        }
        let counts = try Self.counts(plan, chunk: chunk, samples, sound)
        return (times, counts.allocations, counts.locks)
      }
    }
    let spread = Spread(times)
    (milliseconds, late, worst) = (spread.median, spread.late, spread.worst)
    pieces = times.count
    realTimeFactor = rate.map { Double(chunk) / $0 * 1000 / (times.reduce(0, +) / Double(times.count)) }
    workShare = try plan.workShare(chunk: chunk)
    guard chunk % plan.outputRatio.denominator == 0 else { return }
    var constant = try plan.makeConstantDelayStream(block: chunk)
    for _ in 0..<(8 + constant.delay / max(1, constant.outputBlock)) { _ = try constant.process(x) }
    let thread = ThreadClock()
    let processor = Spread(
      try Self.times(seconds: seconds, count: count) {
        let start = thread.seconds
        _ = try constant.process(x)
        return thread.seconds - start
      })
    processorSpread = processor.median > 0 ? processor.late / processor.median : nil
  }

  /// How often a push into a buffer after the first allocates and locks, while delays are filled and then in pushes of all lengths up
  /// to `chunk`; nil where nothing counts that.
  private static func counts(
    _ plan: StreamPlan, chunk: Int, _ samples: UnsafeBufferPointer<Float>, _ sound: UnsafeMutableBufferPointer<Float>
  ) throws -> (allocations: Double?, locks: Double?) {
    let counters = (allocations: Counter("allocation_count"), locks: Counter("lock_count"))
    guard counters.allocations != nil || counters.locks != nil else { return (nil, nil) }
    var stream = try plan.makeStream()
    try stream.prepare(maximumChunk: chunk)
    _ = try stream.push(samples, into: sound)
    let before = (allocations: counters.allocations?.count ?? 0, locks: counters.locks?.count ?? 0)
    var calls = 0.0
    while calls < 64 || stream.position < plan.steadyLength {
      _ = try stream.push(samples, into: sound)
      calls += 1
    }
    for index in 0..<64 {
      let shorter = UnsafeBufferPointer(rebasing: samples[..<(index * 7 % (chunk + 1) * (samples.count / chunk))])
      _ = try stream.push(shorter, into: sound)
      calls += 1
    }
    return (
      counters.allocations.map { Double($0.count - before.allocations) / calls },
      counters.locks.map { Double($0.count - before.locks) / calls }
    )
  }

  /// What `measure` gives, `count` times, or as often as `seconds` allow and at least `least` times.
  static func times<Time>(
    seconds: Double, count: Int?, least: Int = 100, _ measure: () throws -> Time
  ) rethrows -> [Time] {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    var times: [Time] = []
    while times.count < count ?? least || (count == nil && clock.now < end) { times.append(try measure()) }
    return times
  }

  /// The table's columns.
  static let columns: [(title: String, isNumber: Bool)] = [
    ("chunk", true), ("median ms", true), ("99 % ms", true), ("worst ms", true), ("times real time", true),
    ("work", true), ("cpu 99 %/median", true), ("allocations", true), ("locks", true),
  ]

  /// Its row.
  var row: [String] {
    func number(_ value: Double?, _ digits: Int) -> String { value.map { String(format: "%.\(digits)f", $0) } ?? "–" }
    return [
      "\(chunk)", number(milliseconds, 3), number(late, 3), number(worst, 3), number(realTimeFactor, 2),
      number(workShare, 3), number(processorSpread, 2), number(allocations, 1),
      number(locks, 1),
    ]
  }
}
