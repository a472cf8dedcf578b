import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Small programs are computed in memory of their own from the third call on, with the same results.
@Suite struct CallsInPlaceTests {
  private typealias Body = ([Tensor], Trace) throws -> [Tensor]

  private func executable(_ inputs: Int, _ outputs: Int, optimizes: Bool = true, _ body: @escaping Body) -> Executable {
    let source = FunctionSource(
      inputs: (0..<inputs).map { PortDescription(name: "x\($0)") }, outputs: (0..<outputs).map { "y\($0)" }, body)
    // Executables may be used from any task; the function belongs to this one alone.
    nonisolated(unsafe) let sent = source
    return Executable(sent, optimizes: optimizes)
  }

  /// Some calls with other numbers each, all of whose results are compared when the last has been made.
  private func compare(_ shapes: [TensorShape], outputs: Int = 1, tolerance: Double = 0, _ body: @escaping Body) throws
  {
    var random = RandomSource(seed: 21)
    let (small, plain) = (
      executable(shapes.count, outputs, body), executable(shapes.count, outputs, optimizes: false, body)
    )
    var results: [[Tensor]] = []
    var expected: [[Tensor]] = []
    for _ in 0..<6 {
      let inputs = try shapes.map { try Tensor.randomUniform($0, from: -1, to: 1, using: &random) }
      results.append(try small.run(inputs))
      expected.append(try plain.run(inputs))
    }
    for (result, expected) in zip(results.joined(), expected.joined()) {
      #expect(result.spec == expected.spec)
      #expect(try result.distance(to: expected).absolute <= tolerance)
    }
  }

  @Test func convolutionsAndWhatComesAfter() throws {
    var random = RandomSource(seed: 22)
    let weight = try Tensor.randomUniform([5, 3, 3], from: -1, to: 1, using: &random)
    try compare([[1, 3, 20]], outputs: 3, tolerance: 1e-6) { x, trace in
      let y = try conv1d(x[0], trace.weight(weight, name: "w"), padding: 1).relu()
      return [try y.mean([2]), try y.transposed(1, 2), x[0]]
    }
  }

  /// Operands that are views of others.
  @Test func viewsOfOthers() throws {
    var random = RandomSource(seed: 24)
    let weight = try Tensor.randomUniform([6, 6], from: -1, to: 1, using: &random)
    let alpha = try Tensor.randomUniform([6], from: 0.5, to: 2, using: &random)
    try compare([[2, 6, 20]], outputs: 9, tolerance: 1e-5) { x, trace in
      let w = trace.weight(weight, name: "w")
      // Computed, so that it lies in memory of the program.
      let y = try (x[0] * 2).slice(axis: 2, 3..<17)
      let last = try y.transposed(1, 2)
      return [
        try y.snake(alpha: trace.weight(alpha, name: "alpha")), try y.softmax(axis: 1), try last.softmax(axis: 2),
        try last.layerNorm([6]), try y.mean([2]), try y.max([1]), try last.matmul(w), try y.cumsum(axis: 2),
        try Tensor.concatenate([y, y.tanh()], axis: 1),
      ]
    }
  }

  /// Weights that are inputs are others in each call, as is what a kernel has no form in place for.
  @Test func changingWeights() throws {
    try compare([[1, 3, 20], [5, 3, 3], [5]], tolerance: 1e-6) { x, _ in
      [try conv1d(x[0], x[1], bias: x[2], padding: 1).tanh()]
    }
    try compare([[4, 6], [6, 3], [3]], tolerance: 1e-6) { x, _ in [try x[0].matmul(x[1] * 2) + x[2]] }
    try compare([[7, 5], [7, 5]], outputs: 2) { x, _ in [try x[0].sorted(axis: 1), try x[0].maximum(x[1])] }
  }

  /// Scales that are computed are others in each call.
  @Test func computedScales() throws {
    try compare([[3, 700]]) { x, trace in
      let scale = try x[0].abs().max() / 127
      let zero = try trace.weight(Tensor(scalar: UInt8(128)), name: "z")
      let codes = try x[0].quantized(scale: scale, zeroPoint: zero)
      return [try codes.dequantized(scale: scale, zeroPoint: zero).hardswish()]
    }
  }

  /// Calls at one time each get their own results, with whatever number of threads.
  @Test func callsAtOneTime() async throws {
    var random = RandomSource(seed: 23)
    let weight = try Tensor.randomUniform([16, 16, 3], from: -0.2, to: 0.2, using: &random)
    let body: Body = { x, trace in
      [try (0..<6).reduce(x[0]) { y, _ in try conv1d(y, trace.weight(weight, name: "w"), padding: 1).relu() + y }]
    }
    let (small, plain) = (executable(1, 1, body), executable(1, 1, optimizes: false, body))
    let inputs = try (0..<8).map { _ in try Tensor.randomUniform([1, 16, 40], from: -1, to: 1, using: &random) }
    let expected = try inputs.map { try plain.run([$0])[0] }
    try await withThrowingTaskGroup(of: Double.self) { group in
      for (input, expected) in zip(inputs, expected) {
        group.addTask {
          try (0..<50).map { _ in try small.run([input])[0].distance(to: expected).absolute }.max() ?? 0
        }
      }
      for try await worst in group { #expect(worst < 1e-4) }
    }
  }
}
