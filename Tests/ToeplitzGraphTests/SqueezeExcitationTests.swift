import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Squeeze and excitation is one operation, with the bits of its parts.
@Suite struct SqueezeExcitationTests {
  private typealias Body = LoweringComparison.Body

  /// The bits of the operations one by one, and whether they were joined.
  private func expectBits(_ x: Tensor, joined: Bool, outputs: Int = 1, _ body: @escaping Body) throws {
    let together = LoweringComparison.executable(outputs, optimizes: true, body)
    let plain = LoweringComparison.executable(outputs, optimizes: false, body)
    for _ in 0..<2 {
      let (results, expected) = (try together.run([x]), try plain.run([x]))
      for (result, expected) in zip(results, expected) {
        #expect(try result.scalars(of: Float.self) == expected.scalars(of: Float.self))
      }
    }
    let names = try together.loweredGraph(for: [x.spec]).nodes.map(\.operation.name)
    #expect(names.contains("SqueezeExcitation") == joined, "\(names)")
  }

  @Test(arguments: InstructionSet.available)
  func factorsOfChannels(isa: InstructionSet) throws {
    var random = RandomSource(seed: 12)
    try InstructionSet.$override.withValue(isa) {
      for (batch, channels, squeezed, size) in [(1, 96, 24, 14), (2, 7, 3, 5), (1, 130, 33, 40), (3, 64, 64, 1)] {
        let x = try Tensor.randomUniform([batch, channels, size, size], from: -1, to: 1, using: &random)
        try expectBits(x, joined: true) { x, c in
          // A copy that nobody else needs may be overwritten; the operand of the graph may not.
          let y = try conv2d(x, c.weight([channels, channels, 1, 1]), bias: c.weight([channels]))
          var s = try y.mean([2, 3], keepsAxes: true)
          s = try conv2d(s, c.weight([squeezed, channels, 1, 1]), bias: c.weight([squeezed])).silu()
          s = try conv2d(s, c.weight([channels, squeezed, 1, 1])).sigmoid()
          return [try s * y]
        }
        try expectBits(x, joined: true, outputs: 2) { x, c in
          var s = try x.mean([2, 3], keepsAxes: true)
          s = try conv2d(s, c.weight([squeezed, channels, 1, 1])).relu()
          s = try conv2d(s, c.weight([channels, squeezed, 1, 1]), bias: c.weight([channels])).hardsigmoid()
          return [try x * s, x]
        }
      }
    }
  }

  /// What looks alike but is not.
  @Test func otherPatternsStayAsTheyAre() throws {
    var random = RandomSource(seed: 13)
    let x = try Tensor.randomUniform([2, 8, 6, 6], from: -1, to: 1, using: &random)
    func body(_ x: Tensor, _ c: inout LoweringComparison.Constants, _ axes: [Int]) throws -> Tensor {
      let s = try conv2d(x.mean(axes, keepsAxes: true), c.weight([4, 8, 1, 1]))
      return try conv2d(s.relu(), c.weight([8, 4, 1, 1])).sigmoid()
    }
    // The mean of something else, over other axes, and factors that others see.
    try expectBits(x, joined: false) { x, c in [try body(x.tanh(), &c, [2, 3]) * x] }
    try expectBits(x, joined: false) { x, c in [try body(x, &c, [3]) * x] }
    try expectBits(x, joined: false, outputs: 2) { x, c in
      let s = try body(x, &c, [2, 3])
      return [try s * x, s]
    }
  }
}
