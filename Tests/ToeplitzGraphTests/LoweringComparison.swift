import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Functions of one tensor computed with and without what lowering does to their graphs.
enum LoweringComparison {
  /// Constants of a function under test.
  struct Constants {
    let trace: Trace
    var random = RandomSource(seed: 4)

    mutating func weight(_ shape: TensorShape, from low: Double = -1, to high: Double = 1) throws -> Tensor {
      let tensor = try Tensor.randomUniform(shape, from: low, to: high, using: &random)
      return trace.weight(tensor, name: "weight")
    }

    mutating func normalized(_ x: Tensor, _ channels: Int) throws -> Tensor {
      try x.normalizedChannels(
        mean: weight([channels]), variance: weight([channels], from: 0.5, to: 2), weight: weight([channels]),
        bias: weight([channels]))
    }
  }

  typealias Body = (Tensor, inout Constants) throws -> [Tensor]

  static func executable(_ outputs: Int, optimizes: Bool, _ body: @escaping Body) -> Executable {
    let source = FunctionSource(
      inputs: [PortDescription(name: "x")], outputs: (0..<outputs).map { "y\($0)" }
    ) { operands, trace in
      var constants = Constants(trace: trace)
      return try body(operands[0], &constants)
    }
    // Every test uses its executable alone.
    nonisolated(unsafe) let sent = source
    return Executable(sent, optimizes: optimizes)
  }

  /// Compares both ways of computing a function, for several inputs in turn, and gives the lowered graph.
  static func compare(
    _ shape: TensorShape, outputs: Int = 1, tolerance: Double = 1e-5, dtype: DType = .float32, rounds: Int = 1,
    _ body: @escaping Body
  ) throws -> Graph {
    var random = RandomSource(seed: 11)
    let fast = executable(outputs, optimizes: true, body)
    let plain = executable(outputs, optimizes: false, body)
    for _ in 0..<rounds {
      let x = try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
      for (got, expected) in zip(try fast.run([x]), try plain.run([x])) {
        #expect(got.spec == expected.spec)
        let distance = try got.distance(to: expected)
        #expect(distance.absolute <= tolerance * max(1, distance.scale) && distance.sameSpecials, "\(distance)")
      }
    }
    return try fast.loweredGraph(for: [TensorSpec(shape, dtype)])
  }
}
