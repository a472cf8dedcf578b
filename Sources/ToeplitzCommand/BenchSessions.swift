import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzTensor

/// Sessions of one streamed model, computed together and one by one, as `toeplitz bench --stream --sessions` prints and `--json`
/// writes them.
struct BenchSessions: Encodable {
  var name: String
  var sessions: Int
  /// Input positions of a piece.
  var chunk: Int
  /// Median milliseconds of a piece of all sessions.
  var together: Double
  var alone: Double
  /// How many times real time, over all sessions; nil where the input's rate is not known.
  var realTimeFactor: Double?
  var threads = ThreadPool.shared.threadCount

  enum CodingKeys: String, CodingKey {
    case name = "model"
    case sessions, chunk
    case together = "together_ms"
    case alone = "alone_ms"
    case realTimeFactor = "real_time_factor"
    case threads
  }

  /// Measures both in turns, once delays are filled and patterns compiled.
  ///
  /// - Parameters:
  ///   - count: how many pieces of each; nil takes as many as `seconds` allow, at least 20.
  ///   - rate: positions of the input a second.
  /// - Throws: ``ToeplitzError`` that names the operation if sessions cannot be computed together.
  init(_ name: String, _ plan: StreamPlan, sessions: Int, chunk: Int, seconds: Double, count: Int?, rate: Double?)
    throws
  {
    (self.name, self.sessions, self.chunk) = (name, sessions, chunk)
    var batch = plan.makeBatch()
    if let obstacle = batch.obstacle { throw obstacle }
    let shape = plan.input.shape.replacing(plan.timeAxis, by: chunk)
    let pieces = try (0..<sessions).map {
      try Generator(seed: UInt64($0)).uniform(shape, from: -1, to: 1).cast(to: plan.input.dtype)
    }
    let ids = try pieces.map { _ in try batch.join() }
    var streams = try pieces.map { _ in try plan.makeStream() }
    let chunks = Dictionary(uniqueKeysWithValues: zip(ids, pieces))
    let clock = ContinuousClock()
    func push() throws -> (together: Double, alone: Double) {
      let start = clock.now
      _ = try batch.push(chunks)
      let middle = clock.now
      for index in streams.indices { _ = try streams[index].push(pieces[index]) }
      return ((middle - start) / .milliseconds(1), (clock.now - middle) / .milliseconds(1))
    }
    while streams[0].outputPosition == 0, streams[0].position < 1 << 20 { _ = try push() }
    for _ in 0..<8 { _ = try push() }
    let times = try BenchStream.times(seconds: seconds, count: count, least: 20, push)
    (together, alone) = (Spread(times.map(\.together)).median, Spread(times.map(\.alone)).median)
    realTimeFactor = rate.map { Double(sessions * chunk) / $0 * 1000 / together }
  }

  /// The table's columns.
  static let columns: [(title: String, isNumber: Bool)] = [
    ("chunk", true), ("together ms", true), ("one by one ms", true), ("ratio", true), ("times real time", true),
  ]

  /// Its row.
  var row: [String] {
    [
      "\(chunk)", String(format: "%.3f", together), String(format: "%.3f", alone),
      String(format: "%.2f", alone / together), realTimeFactor.map { String(format: "%.2f", $0) } ?? "–",
    ]
  }
}
