import ArgumentParser
import Foundation
import Toeplitz

/// `toeplitz bench`: times convolutions of published networks, and whole networks.
struct BenchCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time convolutions of published networks and whole networks on this machine.",
    discussion: """
      For each case the median time of a call and the distance between its quartiles, the arithmetic it does a second, \
      and what share that is of the multiply-adds this machine can do in registers. The last column is the share of the \
      machine's reading speed that moving input, weights and output once in that time would take.
      """)

  @Option(name: .customLong("case"), help: "Only the case of this name; may be repeated.")
  var cases: [String] = []

  @OptionGroup var threads: ThreadOptions

  @Option(
    help: "invariant: results do not depend on how the work is cut. fast: algorithms with fewer multiplications too.")
  var numerics = Numerics.current

  @Option(help: "How convolutions keep their prepared weights: full, bfloat16 or int8.")
  var weights = WeightStorage.full

  @Option(help: "What inputs, weights and outputs are: float32, float16 or bfloat16.")
  var storage = BenchStorage.float32

  @Option(help: "Seconds to spend on each case.")
  var seconds = 0.5

  @Option(
    help:
      "How many inputs to take turns with, and outputs to keep. (default: enough to fill the cores' own caches eight times)"
  )
  var buffers: Int?

  @Flag(help: "Print one JSON object a line.")
  var json = false

  @Flag(help: "Print the cases instead, one JSON object a line.")
  var list = false

  @Flag(help: "With --json: print the time of every run.")
  var times = false

  @Flag(inversion: .prefixedNo, help: "Measure what the machine can do first, and print shares of that.")
  var machine = true

  @Option(
    help: """
      Time the first and the second call at so many lengths instead, in random order, for a 1-d case or an ONNX model.
      """)
  var lengths: Int?

  @Option(help: "With --lengths: an ONNX model.")
  var model: String?

  @Option(
    name: .customLong("size"),
    help: """
      With --model: the largest of a size that the model leaves open, as NAME=LARGEST, or NAME=LARGEST/STEP for multiples \
      of a step; may be repeated.
      """)
  var sizes: [String] = []

  @Option(
    name: .customLong("stream"),
    help: """
      Time pieces through a streamed network instead: an ONNX model, or one of \(NamedModel.names.joined(separator: ", ")).
      """)
  var streamed: String?

  @Option(
    name: .customLong("chunk"),
    help: "With --stream: input positions of a piece; may be repeated. (default: 1, 2, 4 and 8)")
  var chunks: [Int] = []

  @Option(help: "With --stream: how many pieces to time. (default: as many as --seconds allow, at least 100)")
  var pieces: Int?

  @Option(help: "With --stream: time so many sessions, computed together and one by one.")
  var sessions: Int?

  @Option(help: "With --stream: positions of the input a second. (default: known for named vocoders)")
  var rate: Double?

  @Option(
    help: """
      A folder with x.npy and weights.safetensors (or weight.npy and bias.npy) for a single case; its output is written \
      there as y.npy. A network may lie there as model.onnx instead, and is compiled then.
      """)
  var data: String?

  func validate() throws {
    guard seconds > 0, seconds < 3600 else { throw ValidationError("--seconds must be above 0") }
    if let buffers, !(1...100_000).contains(buffers) {
      throw ValidationError("--buffers must be in 1...100000, not \(buffers)")
    }
    guard streamed != nil || (chunks.isEmpty && pieces == nil && sessions == nil && rate == nil) else {
      throw ValidationError("--chunk, --pieces, --sessions and --rate go with --stream")
    }
    if let sessions, !(2...64).contains(sessions) {
      throw ValidationError("--sessions must be in 2...64, not \(sessions)")
    }
    for chunk in chunks where !(1...1 << 24).contains(chunk) {
      throw ValidationError("--chunk must be in 1...\(1 << 24), not \(chunk)")
    }
    if let pieces, pieces < 1 { throw ValidationError("--pieces must be at least 1, not \(pieces)") }
    if let rate, !(rate > 0 && rate.isFinite) { throw ValidationError("--rate must be above 0, not \(rate)") }
    guard data == nil || cases.count == 1 else { throw ValidationError("--data needs exactly one --case") }
    guard lengths == nil || cases.count + (model == nil ? 0 : 1) == 1 else {
      throw ValidationError("--lengths needs exactly one --case or a --model")
    }
    guard model == nil || lengths != nil else { throw ValidationError("--model needs --lengths") }
    for size in sizes where range(size) == nil {
      throw ValidationError("--size takes NAME=LARGEST or NAME=LARGEST/STEP, not \(size)")
    }
    guard lengths == nil || data == nil else { throw ValidationError("--lengths goes without --data") }
    guard lengths == nil || storage == .float32 else { throw ValidationError("--lengths goes without --storage") }
  }

  func execute() throws {
    if list {
      for benchCase in benchCases { try printJSON(benchCase) }
      return
    }
    threads.apply()
    for name in cases where !benchCases.contains(where: { $0.name == name }) {
      throw ToeplitzError(
        .argument, "bench", expected: "one of " + benchCases.map(\.name).joined(separator: ", "), got: name)
    }
    if let streamed { return try Numerics.$current.withValue(numerics) { try time(stream: streamed) } }
    let chosen = benchCases.filter { cases.isEmpty || cases.contains($0.name) }
    try Numerics.$current.withValue(numerics) {
      guard let lengths else { return try time(chosen) }
      let ranges = Dictionary(sizes.compactMap(range)) { $1 }
      let result =
        try model.map { try BenchLengths(model: $0, ranges: ranges, count: lengths) }
        ?? BenchLengths(chosen[0], count: lengths)
      if json { try printJSON(result) } else { print(result.text) }
    }
  }

  private func time(stream model: String) throws {
    let plan = try BenchStream.plan(model)
    let (chunks, rate) = (chunks.isEmpty ? [1, 2, 4, 8] : chunks, rate ?? BenchStream.rate(of: model))
    if let sessions {
      let reports = try chunks.map {
        try BenchSessions(
          model, plan, sessions: sessions, chunk: $0, seconds: seconds, count: pieces, rate: rate)
      }
      if json { return try reports.forEach { try printJSON($0) } }
      print("\(model), threads: \(ThreadPool.shared.threadCount), \(sessions) sessions")
      for line in TextTable(columns: BenchSessions.columns, rows: reports.map(\.row)).lines { print(line) }
      return
    }
    let reports = try chunks.map {
      try BenchStream(model, plan, chunk: $0, seconds: seconds, count: pieces, rate: rate)
    }
    if json { return try reports.forEach { try printJSON($0) } }
    print(
      "\(model), threads: \(ThreadPool.shared.threadCount), latency \(plan.latency) outputs, look-ahead \(plan.lookahead) inputs, "
        + "state \(plan.stateBytes) bytes")
    for line in TextTable(columns: BenchStream.columns, rows: reports.map(\.row)).lines { print(line) }
  }

  /// The parts of a --size.
  private func range(_ text: String) -> (String, (largest: Int, step: Int))? {
    guard let equals = text.lastIndex(of: "="), equals > text.startIndex else { return nil }
    let numbers = text[text.index(after: equals)...].split(separator: "/", omittingEmptySubsequences: false)
      .map { Int($0) ?? 0 }
    guard (1...2).contains(numbers.count), numbers.allSatisfy({ (1...(1 << 20)).contains($0) }) else { return nil }
    return (String(text[..<equals]), (numbers[0], numbers.count == 2 ? numbers[1] : 1))
  }

  private func time(_ chosen: [any BenchCase]) throws {
    let threads = ThreadPool.shared.threadCount
    let rates = machine ? try MachineRates.measure(threads: threads) : nil
    if !json {
      let settings = "threads: \(threads), instructions: \(InstructionSet.current.rawValue), numerics: \(numerics)"
      print(
        settings + (weights == .full ? "" : ", weights: \(weights.rawValue)")
          + (storage == .float32 ? "" : ", storage: \(storage.rawValue)"))
      if let rates {
        print(
          String(
            format: "multiply-adds in registers: %.1f GFLOP/s, reading memory: %.1f GB/s", rates.arithmetic / 1e9,
            rates.bandwidth / 1e9))
      }
      print(BenchReport.header)
    }
    for benchCase in chosen {
      let run = try BenchRun(benchCase, data: data, buffers: buffers, weights: weights, storage: storage)
      let report = try BenchReport(run, seconds: seconds, machine: rates, keepsTimes: times)
      if json { try printJSON(report) } else { print(report.row(operations: run.operations)) }
    }
  }
}

extension Numerics: ExpressibleByArgument {}
extension WeightStorage: ExpressibleByArgument {}

/// The element types that can be timed.
enum BenchStorage: String, ExpressibleByArgument, CaseIterable, Encodable {
  case float32, float16, bfloat16

  var dtype: DType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    }
  }
}
