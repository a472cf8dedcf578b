import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX

/// Calls of one layer or model with inputs of many sizes: what the first call with a size costs more than the second.
struct BenchLengths: Encodable {
  var name: String
  /// The length of each pair of calls, of a layer.
  var lengths: [Int]?
  /// The sizes of each pair of calls by their names, of a model.
  var sizes: [[String: Int]]?
  /// Milliseconds of the first and the second call at each length, in the order of the calls.
  var first: [Double] = []
  var second: [Double] = []
  /// Large blocks of memory that the system had to give after the warm-up at the largest length.
  var freshBlocks = 0
  var numerics = Numerics.current.rawValue
  var threads = ThreadPool.shared.threadCount
  var isa = InstructionSet.current.rawValue

  enum CodingKeys: String, CodingKey {
    case name = "case"
    case lengths, sizes
    case first = "first_ms"
    case second = "second_ms"
    case freshBlocks = "fresh_blocks"
    case numerics, threads, isa
  }

  /// Draws `count` different lengths from an eighth of the case's own up to it and times the calls, in random order.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the case has not one spatial axis, or too few lengths.
  init(_ benchCase: any BenchCase, count: Int) throws {
    guard benchCase.inputShape.rank == 3 else {
      throw ToeplitzError(
        .argument, "bench", expected: "a case of one spatial axis for --lengths",
        got: "\(benchCase.name) with input \(benchCase.inputShape)")
    }
    name = benchCase.name
    let longest = benchCase.inputShape[2]
    var random = RandomSource(seed: 3)
    var candidates = Array((longest / 8 + 1)..<longest)
    guard (1...candidates.count).contains(count) else {
      throw ToeplitzError(
        .argument, "bench", expected: "--lengths in 1...\(candidates.count) for \(name)", got: "\(count)")
    }
    candidates.shuffle(using: &random)
    let lengths = Array(candidates.prefix(count))
    self.lengths = lengths
    let model = BenchRun.compiled(try benchCase.model(Generator(seed: 1)).eval())
    let x = try Generator(seed: 2).uniform(benchCase.inputShape, from: -1, to: 1)
    // Both calls of a length have an input of their own, so that neither finds it in the cache.
    let inputs = try lengths.map { length in
      try (0..<2).map { _ in try x.slice(axis: 2, 0..<length).copied() }
    }
    try time(inputs, warmUp: x) { _ = try model($0) }
  }

  /// Draws `count` different sets of sizes that the model leaves open and times the calls, in random order.
  ///
  /// - Parameter ranges: for each name of a size the largest, and of what all are multiples; they are drawn from an eighth
  ///   of the largest on.
  /// - Throws: ``ToeplitzError`` of kind `argument` if a name is missing or there are too few sizes.
  init(model file: String, ranges: [String: (largest: Int, step: Int)], count: Int) throws {
    let model = try Executable(contentsOf: file)
    name = (file as NSString).lastPathComponent
    let symbols = Set(model.inputs.flatMap { $0.dimensions ?? [] }.map(\.description).filter { Int($0) == nil })
      .sorted()
    guard !symbols.isEmpty, Set(ranges.keys) == Set(symbols) else {
      throw ToeplitzError(
        .argument, "bench", expected: "--size for each open size of \(name) (\(symbols.joined(separator: ", ")))",
        got: ranges.isEmpty ? "none" : ranges.keys.sorted().joined(separator: ", "))
    }
    guard (1...1000).contains(count) else {
      throw ToeplitzError(.argument, "bench", expected: "--lengths in 1...1000 for a model", got: "\(count)")
    }
    var random = RandomSource(seed: 3)
    var drawn: [[String: Int]] = []
    // Drawing again is cheap; where there are too few to find so many, it ends.
    for _ in 0..<(100 * count) where drawn.count < count {
      let set = ranges.sorted { $0.key < $1.key }.reduce(into: [String: Int]()) { set, range in
        let (largest, step) = (range.value.largest / range.value.step, range.value.step)
        set[range.key] = step * Int.random(in: max(1, largest / 8)...max(1, largest), using: &random)
      }
      if !drawn.contains(set) { drawn.append(set) }
    }
    guard drawn.count == count else {
      throw ToeplitzError(.argument, "bench", expected: "--lengths of at most \(drawn.count)", got: "\(count)")
    }
    sizes = drawn
    func inputs(_ sizes: [String: Int]) throws -> [String: Tensor] {
      try model.inputs.reduce(into: [:]) { inputs, port in
        let shape = (port.dimensions ?? []).map { dimension in
          if case .fixed(let size) = dimension { size } else { sizes[dimension.description] ?? 1 }
        }
        let values = try Generator(seed: 2).uniform(TensorShape(shape), from: -1, to: 1)
        inputs[port.name] = try values.cast(to: port.dtype ?? .float32)
      }
    }
    let pairs = try drawn.map { set in try (0..<2).map { _ in try inputs(set) } }
    try time(pairs, warmUp: inputs(ranges.mapValues(\.largest))) { _ = try model.run($0) }
  }

  /// Times the calls of each pair, after a warm-up.
  private mutating func time<Input>(_ pairs: [[Input]], warmUp: Input, _ call: (Input) throws -> Void) throws {
    for _ in 0..<3 { try call(warmUp) }
    let before = BlockCache.freshBlockCount
    let clock = ContinuousClock()
    func time(_ x: Input) throws -> Double {
      let start = clock.now
      try call(x)
      return (clock.now - start) / .milliseconds(1)
    }
    for pair in pairs {
      first.append(try time(pair[0]))
      second.append(try time(pair[1]))
    }
    freshBlocks = BlockCache.freshBlockCount - before
  }

  /// What the first calls cost for each unit of the second: median, the largest, and of all calls together.
  var text: String {
    let ratios = zip(first, second).map { $0 / $1 }.sorted()
    let total = first.reduce(0, +) / second.reduce(0, +)
    return String(
      format: "%@: %d lengths, first call over second: median %.3f, worst %.3f, together %.3f; %d fresh blocks", name,
      ratios.count, ratios[ratios.count / 2], ratios[ratios.count - 1], total, freshBlocks)
  }
}
