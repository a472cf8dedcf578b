import Foundation
import Toeplitz

/// How a run went, as `--json` prints it.
struct BenchReport: Encodable {
  var name: String
  /// Median of single calls.
  var milliseconds: Double
  var least: Double
  /// Between the first and the third quartile.
  var spread: Double
  /// Multiply-adds, counted twice, of the plain algorithm: `.fast` computes fewer than it is credited for.
  var gflops: Double
  /// Share of the machine's multiply-adds; nil where these were not measured.
  var peakShare: Double?
  /// Share of the machine's reading speed, if every input, weight and output moved once.
  var bandwidthShare: Double?
  var numerics = Numerics.current.rawValue
  var threads = ThreadPool.shared.threadCount
  var isa = InstructionSet.current.rawValue
  var storage: BenchStorage
  var buffers: Int
  /// Large blocks of memory that the system had to give while calls were timed.
  var freshBlocks: Int
  var times: [Double]?

  enum CodingKeys: String, CodingKey {
    case name = "case"
    case milliseconds = "ms"
    case least = "min_ms"
    case spread, gflops
    case peakShare = "peak_share"
    case bandwidthShare = "bandwidth_share"
    case numerics, threads, isa, storage, buffers
    case freshBlocks = "fresh_blocks"
    case times = "times_ms"
  }

  /// - Parameters:
  ///   - seconds: how long to measure.
  ///   - machine: what to compare with.
  ///   - keepsTimes: whether the time of every call goes into the report.
  init(_ run: BenchRun, seconds: Double, machine: MachineRates?, keepsTimes: Bool) throws {
    func rounded(_ value: Double) -> Double { (value * 1e5).rounded() / 1e5 }
    let (times, freshBlocks) = try run.times(seconds: seconds)
    let spread = Spread(times)
    let median = spread.median
    name = run.name
    milliseconds = rounded(median)
    least = rounded(spread.least)
    self.spread = rounded(spread.quartileDistance)
    gflops = rounded(run.operations / median / 1e6)
    peakShare = machine.map { rounded(run.operations / median * 1e3 / $0.arithmetic) }
    bandwidthShare = machine.map { rounded(run.bytes / median * 1e3 / $0.bandwidth) }
    buffers = run.buffers
    storage = run.storage
    self.freshBlocks = freshBlocks
    self.times = keepsTimes ? times.map(rounded) : nil
  }

  static let header = "case                         GFLOP        ms   (spread)    GFLOP/s   peak   memory"

  /// A row of the table.
  func row(operations: Double) -> String {
    func percent(_ share: Double?) -> String { share.map { String(format: "%4.0f %%", $0 * 100) } ?? "   –  " }
    return name.padding(toLength: 26, withPad: " ", startingAt: 0)
      + String(format: " %7.3f %9.4f %10.4f %10.1f ", operations / 1e9, milliseconds, spread, gflops)
      + "\(percent(peakShare))   \(percent(bandwidthShare))"
  }
}

/// Prints a value as one line of JSON.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = .sortedKeys
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
