import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// What lowering fuses gives the values of the operations one by one.
@Suite struct FusionTests {
  private typealias Constants = LoweringComparison.Constants
  private typealias Body = LoweringComparison.Body

  private func executable(_ outputs: Int, optimizes: Bool, _ body: @escaping Body) -> Executable {
    LoweringComparison.executable(outputs, optimizes: optimizes, body)
  }

  /// Compares both ways of computing a function and gives the nodes that are left.
  private func compare(
    _ shape: TensorShape, outputs: Int = 1, tolerance: Double = 1e-5, dtype: DType = .float32, _ body: @escaping Body
  ) throws -> [Graph.Node] {
    try LoweringComparison.compare(shape, outputs: outputs, tolerance: tolerance, dtype: dtype, body).nodes
  }

  @Test(arguments: [false, true], [1, 2])
  func normalisationBiasAndActivationDisappear(transposed: Bool, groups: Int) throws {
    let nodes = try compare([2, 4, 21]) { x, c in
      let weight = try c.weight(transposed ? [4, 6 / groups, 3] : [6, 4 / groups, 3])
      var y =
        try transposed
        ? convTranspose1d(x, weight, bias: c.weight([6]), stride: 2, groups: groups)
        : conv1d(x, weight, bias: c.weight([6]), stride: 2, groups: groups)
      y = try c.normalized(y, 6)
      y = try c.weight([6, 1]) + y
      return [try (y * 0.7).relu()]
    }
    #expect(nodes.count == 1)
    #expect(nodes.first?.fused == ["normalizedChannels", "add", "multiply", "ReLU"])
  }

  @Test func residualsScaleAndRectifiersAreFused() throws {
    let nodes = try compare([2, 4, 33]) { x, c in
      let before = try x.leakyReLU(negativeSlope: 0.1)
      let first = try conv1d(before, c.weight([4, 4, 3]), padding: 1)
      let second = try conv1d(before, c.weight([4, 4, 3]), bias: c.weight([4]), padding: 1)
      return [try ((first + x + second) / 3).leakyReLU(negativeSlope: 0.2)]
    }
    #expect(nodes.map(\.operation.name) == ["conv1d", "conv1d"].map { _ in nodes[0].operation.name })
  }

  /// `x + conv(leaky(conv(leaky(x))))`, more of it in a second unit, with the rectifier between them joined to either.
  @Test(arguments: [false, true])
  func residualUnitsAreOneNode(scaled: Bool) throws {
    let body: Body = { x, c in
      var y = x
      for dilation in [1, 3] {
        var inner = try y.leakyReLU(negativeSlope: 0.1)
        inner = try conv1d(
          inner, c.weight([6, 8, 3]), bias: c.weight([6]), padding: .uniform(dilation), dilation: PerAxis(dilation))
        inner = try conv1d(inner.leakyReLU(negativeSlope: 0.2), c.weight([8, 6, 5]), padding: .uniform(2))
        y = try inner + y
      }
      return [scaled ? try (y + c.weight([1, 8, 50])) * 0.5 : y]
    }
    let nodes = try compare([1, 8, 50], body)
    #expect(nodes.map(\.operation.name) == ["ResidualUnit", "ResidualUnit"], "\(nodes.map(\.operation.name))")
    let graph = try executable(1, optimizes: true, body).loweredGraph(for: [TensorSpec([1, 8, 50], .float32)])
    let (first, second) = (6 * 8 * 3 * 50, 8 * 6 * 5 * 50)
    #expect(graph.listing.reduce(0) { $0 + $1.multiplyAdds } == 2 * (first + second))
  }

  @Test func aResidualThatBroadcastsIsStillRight() throws {
    let nodes = try compare([2, 4, 5]) { x, c in
      [try x.mean([1, 2], keepsAxes: true) + conv1d(x, c.weight([4, 4, 1]))]
    }
    #expect(nodes.count == 3)
  }

  @Test(arguments: PaddingMode.allCases)
  func padsAreFolded(mode: PaddingMode) throws {
    let nodes = try compare([2, 2, 12, 9]) { x, c in
      [try conv2d(x.padded([(2, 3, 1), (3, 0, 2)], mode: mode), c.weight([3, 2, 3, 3]))]
    }
    #expect(nodes.count == 1)
  }

  @Test func padsOfOtherValuesStay() throws {
    let nodes = try compare([1, 2, 6]) { x, c in
      [try conv1d(x.padded([(2, 1, 1)], value: 2), c.weight([3, 2, 3]))]
    }
    #expect(nodes.count == 2)
  }

  @Test func whatOthersUseIsNotFused() throws {
    let nodes = try compare([1, 2, 50], outputs: 2) { x, c in
      let y = try conv1d(x, c.weight([2, 2, 1]))
      return [try y.relu(), y]
    }
    #expect(nodes.count == 2)
  }

  @Test(arguments: [5, 100_000])
  func chainsOfElementwiseOperationsAreOneNode(count: Int) throws {
    for rows in [1, 2] {
      let nodes = try compare([rows, count], tolerance: 1e-6) { x, c in
        [try (x * x.sigmoid() + 0.5) * c.weight([1, count])]
      }
      #expect(nodes.count == 1)
    }
  }

  /// Attention as exporters write it, with a factor, masks and keys that are transposed views or not.
  @Test func attentionIsOneNodeWithTheBitsOfItsParts() throws {
    for (heads, length, keys, depth) in [(3, 50, 50, 16), (1, 130, 37, 8), (2, 1, 300, 64)] {
      for way in 0..<4 {
        let nodes = try compare([2, heads, length, depth], tolerance: 0) { x, c in
          let k = try c.weight([2, heads, keys, depth]) * x.slice(axis: 2, 0..<1).sigmoid()
          let v = try c.weight([2, heads, keys, depth + 3]) + x.slice(axis: 3, 0..<1).slice(axis: 2, 0..<1)
          var scores = try x.matmul(k.transposed(-1, -2))
          if way > 0 { scores = try scores / 8 }
          if way > 1 { scores = try scores + c.weight([length, keys]) }
          if way > 2 { scores = try c.weight([2, 1, 1, keys]) + scores }
          return [try scores.softmax(axis: -1).matmul(v)]
        }
        #expect(nodes.count { $0.operation is FusedAttention } == 1, "\(way) \(nodes.map(\.operation.name))")
        #expect(!nodes.contains { $0.operation is AxisSoftmax })
      }
    }
  }

  /// A kernel whose outer taps read nothing but padding is cut to those that do not.
  @Test func tapsThatReadOnlyPaddingAreLeftOut() throws {
    let nodes = try compare([1, 3, 7, 9]) { x, c in
      [try conv2d(x, c.weight([4, 3, 3, 3]), bias: c.weight([4]), padding: [8, 2], dilation: [8, 2]).relu()]
    }
    let fused = try #require(nodes.first?.operation as? FusedConvolution)
    #expect(nodes.count == 1 && fused.geometry.kernelSize == [1, 3])
  }

  @Test func normalisationOfReshapedRowsDisappears() throws {
    let nodes = try compare([2, 5, 7]) { x, c in
      let y = try x.matmul(c.weight([7, 6])) + c.weight([6])
      return [try c.normalized(y.reshaped([10, 6]), 6)]
    }
    #expect(nodes.count == 2)
  }

  @Test func productsWithWeightsAreLinear() throws {
    let nodes = try compare([2, 3, 4, 7]) { x, c in
      let y = try x.matmul(c.weight([7, 5])) + c.weight([5])
      return [try y.gelu()]
    }
    #expect(nodes.count == 1)
    let transposed = try compare([4, 7]) { x, c in
      [try x.matmul(c.weight([5, 7]).transposed(0, 1)) * 2 + c.weight([1, 5])]
    }
    #expect(transposed.count == 1)
  }

  /// Activations as exporters write them, with what they are.
  private static let spellings: [(name: String, write: @Sendable (Tensor) throws -> Tensor)] = [
    ("SiLU", { try $0 * $0.sigmoid() }),
    ("Hardswish", { try $0.hardsigmoid() * $0 }),
    ("Hardswish", { try $0 * ($0 + 3).clip(from: 0, to: 6) / 6 }),
    ("Mish", { try $0 * $0.softplus(threshold: 1e30).tanh() }),
    ("GELU", { try $0 * (($0 / 2.0.squareRoot()).erf() + 1) * 0.5 }),
  ]

  @Test(arguments: spellings.indices)
  func activationsOfSeveralOperationsAreRecognised(index: Int) throws {
    let (name, write) = Self.spellings[index]
    let nodes = try compare([2, 4, 50], tolerance: 2e-6) { x, c in
      [try write(conv1d(x, c.weight([6, 4, 3], from: -3, to: 3)))]
    }
    #expect(nodes.map(\.fused) == [[name]])
  }

  @Test(arguments: spellings.indices)
  func partsThatOthersUseAreKept(index: Int) throws {
    // The whole, and what a part of it computes.
    let (name, write) = Self.spellings[index]
    let nodes = try compare([7, 4], outputs: 2) { x, _ in
      switch index {
      case 0: [try write(x), try x.sigmoid()]
      case 1: [try write(x), try x.hardsigmoid()]
      case 2: [try write(x), try x + 3]
      case 3: [try write(x), try x.softplus(threshold: 1e30)]
      default: [try write(x), try x / 2.0.squareRoot()]
      }
    }
    #expect(!nodes.contains { $0.operation.name == name })
  }

  /// A number of more axes than x gives the product more axes too.
  @Test(arguments: spellings.indices)
  func numbersOfMoreAxesStayProducts(index: Int) throws {
    let nodes = try compare([5, 4]) { x, c in
      let one = c.trace.weight(try Tensor.ones([1, 1, 1]), name: "one")
      return [try Self.spellings[index].write(x) * one, try x * x.sigmoid() * one].prefix(1).map { $0 }
    }
    #expect(nodes.count >= 1)
    let silu = try compare([5, 4]) { x, c in
      [try x * x.sigmoid() * c.trace.weight(Tensor.ones([1, 1, 1]), name: "one")]
    }
    #expect(silu.last.map { $0.operation.name != "SiLU" } == true)
  }

  /// A bias that is computed is no constant that may be packed.
  @Test func computedBiasesOfSeparableConvolutionsAreNotKept() throws {
    let body: Body = { x, c in
      let y = try conv2d(x, c.weight([8, 1, 3, 3]), padding: 1, groups: 8)
      return [try conv2d(y, c.weight([8, 8, 1, 1]), bias: x.mean([0, 2, 3]))]
    }
    let (fused, plain) = (executable(1, optimizes: true, body), executable(1, optimizes: false, body))
    var random = RandomSource(seed: 3)
    for _ in 0..<3 {
      let x = try Tensor.randomUniform([1, 8, 12, 12], from: -1, to: 1, using: &random)
      #expect(try fused(x).distance(to: plain(x)).absolute < 1e-5)
    }
  }

  @Test func longChainsAreSeveralSteps() throws {
    let nodes = try compare([3, 50], tolerance: 1e-6) { x, _ in
      [try (0..<100).reduce(x) { y, _ in try (y * 1.01).tanh() }]
    }
    #expect((6...10).contains(nodes.count), "\(nodes.count)")
  }

  @Test func otherNumbersAreNotTheActivation() throws {
    let nodes = try compare([9, 4]) { x, _ in [try x * (x + 2).clip(from: 0, to: 6) * (1.0 / 6)] }
    #expect(nodes.allSatisfy { !$0.fused.contains("Hardswish") && $0.operation.name != "Hardswish" })
  }

  @Test(arguments: [false, true])
  func residualsThatAreWantedAgainKeepTheirValues(isWantedAgain: Bool) throws {
    // x is the residual of the first convolution and the caller's; the second one's is a value of the graph.
    let body: Body = { x, c in
      let sum = try conv1d(x, c.weight([8, 8, 1])) + x
      let third = try conv1d(conv1d(sum, c.weight([8, 8, 1])), c.weight([8, 8, 1]))
      return isWantedAgain ? [try third + sum, sum] : [try third + sum]
    }
    let nodes = try compare([2, 8, 100], outputs: isWantedAgain ? 2 : 1, body)
    #expect(nodes.count == 2 && nodes[1].operation.name == "ResidualUnit")
    let executable = executable(isWantedAgain ? 2 : 1, optimizes: true, body)
    var random = RandomSource(seed: 12)
    let input = try Tensor.randomUniform([2, 8, 100], from: -1, to: 1, using: &random)
    let copy = try input.copied()
    let results = try (0..<2).map { _ in try executable.run([input]) }
    #expect(try input.sameBits(as: copy))
    for (once, twice) in zip(results[0], results[1]) { #expect(try once.sameBits(as: twice)) }
  }

  /// What a step of several convolutions keeps of one call serves the next only where it belongs to it.
  @Test func invertedResidualsTakeEveryInputInTurn() async throws {
    let body: Body = { x, c in
      var y = try conv2d(x, c.weight([24, 8, 1, 1]), bias: c.weight([24])).relu()
      y = try conv2d(y, c.weight([24, 1, 3, 3]), bias: c.weight([24]), padding: 1, groups: 24).relu()
      return [try conv2d(y, c.weight([8, 24, 1, 1])) + x]
    }
    let (joined, plain) = (executable(1, optimizes: true, body), executable(1, optimizes: false, body))
    let nodes = try joined.loweredGraph(for: [TensorSpec([1, 8, 40, 30], .float32)]).nodes
    #expect(nodes.map(\.operation.name) == ["SeparableConvolution"])
    let shapes: [TensorShape] = [
      [1, 8, 40, 30], [1, 8, 40, 30], [2, 8, 40, 30], [1, 8, 7, 7], [1, 8, 7, 7], [3, 8, 33, 1],
    ]
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<3 {
        group.addTask {
          var random = RandomSource(seed: UInt64(20 + task))
          for shape in shapes {
            let input = try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
            let (got, expected) = (try joined(input), try plain(input))
            let distance = try got.distance(to: expected)
            #expect(got.spec == expected.spec && distance.absolute < 1e-4, "\(shape): \(distance)")
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(throws: ToeplitzError.self) { try joined(Tensor.zeros([1, 9, 5, 5])) }
  }

  /// Of two products the second is written over the first; a single row's sums must not be there before that is added.
  @Test(arguments: [1, 2, 5, 70], [48, 64, 300])
  func productsAreAddedUp(rows: Int, columns: Int) throws {
    let nodes = try compare([rows, 64]) { x, c in
      let first = try x.matmul(c.weight([64, columns]))
      let second = try (x * 0.5).matmul(c.weight([64, columns]))
      return [try first + second + c.weight([columns])]
    }
    #expect(
      nodes.map(\.fused).contains(["add", "add"]) || nodes.map(\.fused).contains(["add"]), "\(nodes.map(\.fused))")
  }

  /// Weights of any type whose elements lie anywhere, and which packing takes as they lie.
  @Test(arguments: [1, 2, 3], [false, true])
  func weightsMayLieAnywhere(shift: Int, transposed: Bool) throws {
    var random = RandomSource(seed: 8)
    let weight = try Tensor.randomUniform([8, 8, 5], from: -1, to: 1, using: &random)
    let matrix = try Tensor.randomUniform([12, 40], from: -1, to: 1, using: &random)
    let bias = try Tensor.randomUniform([40], from: -1, to: 1, using: &random)
    let statistics = try (0..<4).map { _ in try Tensor.randomUniform([8], from: 0.5, to: 2, using: &random) }
    let x = try Tensor.randomUniform([2, 8, 12], from: -1, to: 1, using: &random)
    func run(_ change: @escaping (Tensor) throws -> Tensor) throws -> [Tensor] {
      let tensors = try ([weight, matrix, bias] + statistics).map(change)
      let model = executable(2, optimizes: true) { x, c in
        let c = tensors.map { [trace = c.trace] in trace.weight($0, name: "w") }
        let y =
          try transposed
          ? convTranspose1d(x, c[0], padding: .uniform(2)) : conv1d(x, c[0], padding: .uniform(2))
        let z = try y.normalizedChannels(mean: c[3], variance: c[4], weight: c[5], bias: c[6])
        // The weight is also used by an operation that wants it aligned.
        return [try z.matmul(c[1]) + c[2], try c[0] + c[0]]
      }
      let nodes = try model.loweredGraph(for: [x.spec]).nodes
      #expect(nodes.count == 2)
      _ = try model.run([x])
      return try model.run([x])
    }
    let (plain, odd) = (try run { $0 }, try run { try $0.shifted(by: shift) })
    for (a, b) in zip(plain, odd) { #expect(try a.sameBits(as: b)) }
  }
}
