import Foundation
import Toeplitz

/// Calls of one layer with inputs of many lengths: what the first call with a length costs more than the second.
struct BenchLengths: Encodable {
  var name: String
  /// Milliseconds of the first and the second call at each length, in the order of the calls.
  var lengths: [Int]
  var first: [Double] = []
  var second: [Double] = []
  /// Large blocks of memory that the system had to give after the warm-up at the largest length.
  var freshBlocks = 0
  var numerics = Numerics.current.rawValue
  var threads = ThreadPool.shared.threadCount
  var isa = InstructionSet.current.rawValue

  enum CodingKeys: String, CodingKey {
    case name = "case"
    case lengths
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
    lengths = Array(candidates.prefix(count))
    let model = try benchCase.model(Generator(seed: 1))
    model.eval()
    let x = try Generator(seed: 2).uniform(benchCase.inputShape, from: -1, to: 1)
    // Both calls of a length have an input of their own, so that neither finds it in the cache.
    let inputs = try lengths.map { length in
      try (0..<2).map { _ in try x.slice(axis: 2, 0..<length).copied() }
    }
    for _ in 0..<3 { _ = try model(x) }
    let before = BlockCache.shared.freshBlockCount
    let clock = ContinuousClock()
    func time(_ x: Tensor) throws -> Double {
      let start = clock.now
      _ = try model(x)
      return (clock.now - start) / .milliseconds(1)
    }
    for pair in inputs {
      first.append(try time(pair[0]))
      second.append(try time(pair[1]))
    }
    freshBlocks = BlockCache.shared.freshBlockCount - before
  }

  /// What the first calls cost for each unit of the second: median, the largest, and of all calls together.
  var text: String {
    let ratios = zip(first, second).map { $0 / $1 }.sorted()
    let total = first.reduce(0, +) / second.reduce(0, +)
    return String(
      format: "%@: %d lengths, first call over second: median %.3f, worst %.3f, together %.3f; %d fresh blocks", name,
      lengths.count, ratios[ratios.count / 2], ratios[ratios.count - 1], total, freshBlocks)
  }
}
