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

  @Flag(help: "Print the cases instead, one JSON object a line.")
  var list = false

  @Flag(help: "With --json: print the time of every run.")
  var times = false

  @Option(help: "A folder with x.npy, weight.npy and bias.npy for a single case; its output is written there as y.npy.")
  var data: String?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads must be at least 1, not \(threads)") }
    guard seconds > 0, seconds < 3600 else { throw ValidationError("--seconds must be above 0") }
    guard data == nil || cases.count == 1 else { throw ValidationError("--data needs exactly one --case") }
  }

  func execute() throws {
    if list {
      let encoder = JSONEncoder()
      encoder.outputFormatting = .sortedKeys
      for benchCase in BenchCase.all { print(String(decoding: try encoder.encode(benchCase), as: UTF8.self)) }
      return
    }
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
    var x = try Generator(seed: 2).uniform(benchCase.inputShape, from: -1, to: 1)
    if let data {
      x = try NumPy.read(contentsOf: "\(data)/x.npy")
      try layer.load([
        "weight": NumPy.read(contentsOf: "\(data)/weight.npy"), "bias": NumPy.read(contentsOf: "\(data)/bias.npy"),
      ])
      try NumPy.write(layer(x), to: "\(data)/y.npy")
    }
    let flops = 2 * Double(try layer.multiplyAdds(input: benchCase.inputShape, output: []))
    let clock = ContinuousClock()
    func once() throws -> Double {
      let start = clock.now
      _ = try layer(x)
      return (clock.now - start) / .milliseconds(1)
    }
    for _ in 0..<3 { _ = try once() }
    var runs: [Double] = []
    var spent = 0.0
    while runs.count < 3 || spent < seconds * 1000 {
      runs.append(try once())
      spent += runs[runs.count - 1]
    }
    report(benchCase.name, flops, runs)
  }

  private func report(_ name: String, _ flops: Double, _ runs: [Double]) {
    let sorted = runs.sorted()
    let median = sorted[sorted.count / 2]
    let rate = flops / median / 1e6
    if json {
      let all = times ? ",\"times_ms\":[" + runs.map { String(format: "%.5f", $0) }.joined(separator: ",") + "]" : ""
      print(
        String(
          format: "{\"case\":\"%@\",\"ms\":%.5f,\"min_ms\":%.5f,\"gflops\":%.3f%@}", name, median, sorted[0], rate, all)
      )
    } else {
      let spread = sorted[sorted.count * 3 / 4] - sorted[sorted.count / 4]
      let label = name.padding(toLength: 26, withPad: " ", startingAt: 0)
      print(String(format: "%@ %7.3f %9.4f %10.4f %10.1f", label, flops / 1e9, median, spread, rate))
    }
  }
}
