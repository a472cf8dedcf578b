import ArgumentParser
import Foundation
import Toeplitz

/// `toeplitz bench`: times the convolutions of published networks.
struct BenchCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time the convolutions of published networks on this machine.")

  @Option(name: .customLong("case"), help: "Only the case of this name; may be repeated.")
  var cases: [String] = []

  @Option(help: "How many threads to use. (default: one for each processor)")
  var threads: Int?

  @Option(help: "Seconds to spend on each case.")
  var seconds = 0.5

  @Flag(help: "Print one JSON object a line.")
  var json = false

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads)") }
    guard seconds > 0, seconds < 3600 else { throw ValidationError("--seconds must be above 0") }
  }

  func execute() throws {
    if let threads { ThreadPool.shared.threadCount = threads }
    for name in cases where !BenchCase.all.contains(where: { $0.name == name }) {
      throw ToeplitzError(
        .argument, "bench", expected: "one of " + BenchCase.all.map(\.name).joined(separator: ", "), got: name)
    }
    if !json { print("case                         GFLOP        ms   (spread)    GFLOP/s") }
    for benchCase in BenchCase.all where cases.isEmpty || cases.contains(benchCase.name) {
      try measure(benchCase)
    }
  }

  private func measure(_ benchCase: BenchCase) throws {
    let layer = try benchCase.layer(Generator(seed: 1))
    let x = try Generator(seed: 2).uniform(benchCase.inputShape, from: -1, to: 1)
    let flops = 2 * Double(try layer.multiplyAdds(input: benchCase.inputShape, output: []))
    let clock = ContinuousClock()
    func once() throws -> Double {
      let start = clock.now
      _ = try layer(x)
      return (clock.now - start) / .milliseconds(1)
    }
    for _ in 0..<3 { _ = try once() }
    var times: [Double] = []
    var spent = 0.0
    while times.count < 7 || spent < seconds * 1000 {
      times.append(try once())
      spent += times[times.count - 1]
    }
    times.sort()
    let median = times[times.count / 2]
    let rate = flops / median / 1e6
    if json {
      print(String(format: "{\"case\":\"%@\",\"ms\":%.5f,\"min_ms\":%.5f,\"gflops\":%.3f}", benchCase.name, median, times[0], rate))
    } else {
      let spread = times[times.count * 3 / 4] - times[times.count / 4]
      let name = benchCase.name.padding(toLength: 26, withPad: " ", startingAt: 0)
      print(String(format: "%@ %7.3f %9.4f %10.4f %10.1f", name, flops / 1e9, median, spread, rate))
    }
  }
}
