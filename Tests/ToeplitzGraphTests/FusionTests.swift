import Testing
import ToeplitzLegacyGraph
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

/// What compilation joins gives the values of the operations one by one.
@Suite struct FusionTests {
  /// A graph under construction with random numbers.
  private struct Builder {
    var graph = Graph()
    var random = RandomSource(seed: 4)

    mutating func weight(_ shape: Shape, from low: Double = -1, to high: Double = 1) throws -> ValueID {
      graph.constant(try Tensor.randomUniform(shape, from: low, to: high, using: &random))
    }

    mutating func normalization(_ x: ValueID, _ channels: Int) throws -> ValueID {
      let operands = [
        x, try weight([channels]), try weight([channels]), try weight([channels]),
        try weight([channels], from: 0.5, to: 2),
      ]
      return graph.node(BatchNormNode(eps: 1e-5), operands)[0]
    }

    mutating func pad(_ x: ValueID, _ low: Int, _ high: Int, _ mode: PaddingMode = .zeros) -> ValueID {
      graph.node(PadNode(mode: mode) { _ in [(axis: 2, low: low, high: high)] }, [x])[0]
    }
  }

  /// Compares both ways of computing a graph and gives the names of the nodes that are left.
  private func compare(_ graph: Graph, _ shape: Shape, tolerance: Double = 1e-5) throws -> [Graph.Node] {
    var random = RandomSource(seed: 11)
    let x = try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
    let (fast, plain) = (try Executable(graph), try Executable(graph, optimizes: false))
    #expect(plain.graph.nodes.count == graph.nodes.count)
    let (a, b) = (try fast.run(["x": x]), try plain.run(["x": x]))
    for (got, expected) in zip(a, b) {
      #expect(got.spec == expected.spec)
      let distance = try got.distance(to: expected)
      #expect(distance.absolute <= tolerance * max(1, distance.scale) && distance.sameSpecials, "\(distance)")
    }
    return fast.graph.nodes
  }

  @Test(arguments: [false, true], [1, 2])
  func normalisationBiasAndActivationDisappear(transposed: Bool, groups: Int) throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4, "L"])
    var convolution = ConvolutionNode()
    convolution.isTransposed = transposed
    convolution.groups = groups
    convolution.strides = [2]
    let shape: Shape = transposed ? [4, 6 / groups, 3] : [6, 4 / groups, 3]
    var y = b.graph.node(convolution, [x, try b.weight(shape), try b.weight([6])])[0]
    y = try b.normalization(y, 6)
    y = b.graph.node(ElementwiseNode.add, [try b.weight([6, 1]), y])[0]
    y = b.graph.node(ElementwiseNode.multiply, [y, b.graph.constant(try Tensor(scalar: Float(0.7)))])[0]
    y = b.graph.node(LeakyNode(name: "Relu", slope: 0), [y])[0]
    b.graph.output(y, name: "y")
    let nodes = try compare(b.graph, [2, 4, 21])
    #expect(nodes.count == 1)
    #expect(nodes.first?.fused == ["BatchNormalization", "Add", "Mul", "Relu"])
  }

  @Test func residualsScaleAndRectifiersAreJoined() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4, "L"])
    var convolution = ConvolutionNode()
    convolution.padding = .explicit(low: [1], high: [1])
    let before = b.graph.node(LeakyNode(slope: 0.1), [x])[0]
    let first = b.graph.node(convolution, [before, try b.weight([4, 4, 3])])[0]
    let second = b.graph.node(convolution, [before, try b.weight([4, 4, 3]), try b.weight([4])])[0]
    var y = b.graph.node(ElementwiseNode.add, [first, x])[0]
    y = b.graph.node(ElementwiseNode.add, [y, second])[0]
    let three = b.graph.constant(try Tensor(scalar: Float(3)))
    let divide = ElementwiseNode(name: "Div", kind: .divide) { try $0 / $1 }
    y = b.graph.node(divide, [y, three])[0]
    y = b.graph.node(LeakyNode(slope: 0.2), [y])[0]
    b.graph.output(y, name: "y")
    #expect(try compare(b.graph, [2, 4, 33]).map(\.operation.name) == ["Conv", "Conv"])
  }

  /// `x + conv(leaky(conv(leaky(x))))`, more of it in a second unit, with the rectifier between them joined to either.
  @Test(arguments: [false, true])
  func residualUnitsAreOneNode(scaled: Bool) throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 8, "L"])
    func padded(_ count: Int, _ dilation: Int) -> ConvolutionNode {
      var convolution = ConvolutionNode()
      convolution.padding = .explicit(low: [count], high: [count])
      convolution.dilations = [dilation]
      return convolution
    }
    var y = x
    for dilation in [1, 3] {
      var inner = b.graph.node(LeakyNode(slope: 0.1), [y])[0]
      inner = b.graph.node(padded(dilation, dilation), [inner, try b.weight([6, 8, 3]), try b.weight([6])])[0]
      inner = b.graph.node(LeakyNode(slope: 0.2), [inner])[0]
      inner = b.graph.node(padded(2, 1), [inner, try b.weight([8, 6, 5])])[0]
      y = b.graph.node(ElementwiseNode.add, [inner, y])[0]
    }
    if scaled {
      y = b.graph.node(ElementwiseNode.add, [y, try b.weight([1, 8, 50])])[0]
      y = b.graph.node(ElementwiseNode.multiply, [y, b.graph.constant(try Tensor(scalar: Float(0.5)))])[0]
    }
    b.graph.output(y, name: "y")
    let nodes = try compare(b.graph, [1, 8, 50])
    #expect(nodes.map(\.operation.name).filter { $0 == "ResidualUnit" }.count == 2, "\(nodes.map(\.operation.name))")
    #expect(nodes.allSatisfy { $0.operation.name != "Conv" })
    let x0 = try Tensor.zeros([2, 8, 50])
    let listing = try Executable(b.graph).listing(["x": x0])
    let found: Int = listing.reduce(0) { $0 + $1.multiplyAdds }
    let (first, second) = (6 * 8 * 3 * 50, 8 * 6 * 5 * 50)
    // The batch, and two units.
    #expect(found == 2 * 2 * (first + second))
  }

  @Test func convolutionsOfImagesThatAreUsedTwiceStayTwo() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4, "H", "W"])
    var convolution = ConvolutionNode()
    convolution.padding = .explicit(low: [1, 1], high: [1, 1])
    let inner = b.graph.node(convolution, [x, try b.weight([4, 4, 3, 3])])[0]
    let last = b.graph.node(convolution, [inner, try b.weight([4, 4, 3, 3])])[0]
    b.graph.output(b.graph.node(ElementwiseNode.add, [last, x])[0], name: "y")
    #expect(try compare(b.graph, [1, 4, 6, 7]).map(\.operation.name) == ["Conv", "Conv"])
  }

  @Test func aResidualThatBroadcastsIsStillRight() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4, "L"])
    let narrow = b.graph.input("narrow", .float32, ["N", 1, 1])
    let y = b.graph.node(ConvolutionNode(), [x, try b.weight([4, 4, 1])])[0]
    b.graph.output(b.graph.node(ElementwiseNode.add, [narrow, y])[0], name: "y")
    let model = try Executable(b.graph)
    #expect(model.graph.nodes.count == 1)
    let inputs = ["x": try Tensor.zeros([2, 4, 5]), "narrow": try Tensor([3, -1], shape: [2, 1, 1])]
    let result = try #require(try model(inputs)["y"])
    #expect(
      try result.shape == [2, 4, 5]
        && result.scalars(Float.self) == Array(repeating: 3, count: 20) + Array(repeating: -1, count: 20))
  }

  @Test(arguments: PaddingMode.allCases)
  func padsAreFolded(mode: PaddingMode) throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 2, "L"])
    let padded = b.pad(x, 3, 1, mode)
    b.graph.output(b.graph.node(ConvolutionNode(), [padded, try b.weight([3, 2, 3])])[0], name: "y")
    #expect(try compare(b.graph, [2, 2, 12]).count == 1)
  }

  @Test func padsOfOtherValuesStay() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 2, "L"])
    let padded = b.graph.node(PadNode(mode: .zeros, value: 2) { _ in [(axis: 2, low: 1, high: 1)] }, [x])[0]
    b.graph.output(b.graph.node(ConvolutionNode(), [padded, try b.weight([3, 2, 3])])[0], name: "y")
    #expect(try compare(b.graph, [1, 2, 6]).count == 2)
  }

  @Test func whatOthersUseIsNotJoined() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 2, "L"])
    let y = b.graph.node(ConvolutionNode(), [x, try b.weight([2, 2, 1])])[0]
    b.graph.output(b.graph.node(LeakyNode(slope: 0), [y])[0], name: "rectified")
    b.graph.output(y, name: "plain")
    #expect(try compare(b.graph, [1, 2, 50]).count == 2)
  }

  @Test(arguments: [5, 100_000])
  func chainsOfElementwiseOperationsAreOneNode(count: Int) throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", "L"])
    let half = b.graph.constant(try Tensor(scalar: Float(0.5)))
    let row = try b.weight([1, count])
    var sigmoid = FunctionOperation("Sigmoid") { [try $0[0].required("Sigmoid", 0).sigmoid()] }
    sigmoid.isElementwise = true
    let gate = b.graph.node(sigmoid, [x])[0]
    var y = b.graph.node(ElementwiseNode.multiply, [x, gate])[0]
    y = b.graph.node(ElementwiseNode.add, [y, half])[0]
    b.graph.output(b.graph.node(ElementwiseNode.multiply, [y, row])[0], name: "y")
    #expect(try compare(b.graph, [2, count], tolerance: 1e-6).count == 1)
    #expect(try compare(b.graph, [1, count], tolerance: 1e-6).count == 1)
  }

  private func scalar(_ value: Float, _ b: inout Builder) throws -> ValueID {
    b.graph.constant(try Tensor(scalar: value))
  }

  /// Activations as exporters write them, given a value; the number of nodes that each takes.
  private static let spellings: [(name: String, write: @Sendable (inout Graph, ValueID) throws -> ValueID)] = [
    (
      "Silu",
      { graph, x in
        let gate = graph.node(ActivationNode(name: "Sigmoid", .sigmoid), [x])[0]
        return graph.node(ElementwiseNode.multiply, [x, gate])[0]
      }
    ),
    (
      "HardSwish",
      { graph, x in
        let gate = graph.node(ActivationNode(name: "HardSigmoid", .hardsigmoid), [x])[0]
        return graph.node(ElementwiseNode.multiply, [gate, x])[0]
      }
    ),
    (
      "HardSwish",
      { graph, x in
        let sum = graph.node(ElementwiseNode.add, [x, graph.constant(try Tensor(scalar: Float(3)))])[0]
        let clip = graph.node(
          ClipNode(bounds: (0, 6)) { [try $0[0].required("Clip", 0).clamped(from: 0, to: 6)] }, [sum])[0]
        let product = graph.node(ElementwiseNode.multiply, [x, clip])[0]
        let divide = ElementwiseNode(name: "Div", kind: .divide) { try $0 / $1 }
        return graph.node(divide, [product, graph.constant(try Tensor(scalar: Float(6)))])[0]
      }
    ),
    (
      "Mish",
      { graph, x in
        let soft = graph.node(ActivationNode(name: "Softplus", .softplus(beta: 1, threshold: 1e30)), [x])[0]
        let gate = graph.node(ActivationNode(name: "Tanh", .tanh), [soft])[0]
        return graph.node(ElementwiseNode.multiply, [x, gate])[0]
      }
    ),
    (
      "Gelu",
      { graph, x in
        let divide = ElementwiseNode(name: "Div", kind: .divide) { try $0 / $1 }
        let scaled = graph.node(divide, [x, graph.constant(try Tensor(scalar: Float(2).squareRoot()))])[0]
        let erf = graph.node(FunctionOperation("Erf") { [try $0[0].required("Erf", 0).errorFunction()] }, [scaled])[0]
        let sum = graph.node(ElementwiseNode.add, [erf, graph.constant(try Tensor(scalar: Float(1)))])[0]
        let product = graph.node(ElementwiseNode.multiply, [x, sum])[0]
        return graph.node(ElementwiseNode.multiply, [product, graph.constant(try Tensor(scalar: Float(0.5)))])[0]
      }
    ),
  ]

  @Test(arguments: spellings.indices)
  func activationsOfSeveralOperationsAreJoined(index: Int) throws {
    let (name, write) = Self.spellings[index]
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4, "L"])
    let y = b.graph.node(ConvolutionNode(), [x, try b.weight([6, 4, 3], from: -3, to: 3)])[0]
    b.graph.output(try write(&b.graph, y), name: "y")
    let nodes = try compare(b.graph, [2, 4, 50], tolerance: 2e-6)
    #expect(nodes.map(\.fused) == [[name]])
  }

  @Test(arguments: spellings.indices)
  func partsThatOthersUseAreKept(index: Int) throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4])
    b.graph.output(try Self.spellings[index].write(&b.graph, x), name: "y")
    // The first operation's result is wanted as well.
    let first = try #require(b.graph.nodes[0].outputs[0])
    b.graph.output(first, name: "z")
    let nodes = try compare(b.graph, [7, 4])
    #expect(nodes.contains { $0.outputs.contains(first) })
  }

  @Test func otherNumbersAreNotTheActivation() throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 4])
    let sum = b.graph.node(ElementwiseNode.add, [x, try scalar(2, &b)])[0]
    let clip = b.graph.node(
      ClipNode(bounds: (0, 6)) { [try $0[0].required("Clip", 0).clamped(from: 0, to: 6)] }, [sum])[0]
    let product = b.graph.node(ElementwiseNode.multiply, [x, clip])[0]
    b.graph.output(b.graph.node(ElementwiseNode.multiply, [product, try scalar(1.0 / 6, &b)])[0], name: "y")
    #expect(
      try compare(b.graph, [9, 4]).allSatisfy { !$0.fused.contains("HardSwish") && $0.operation.name != "HardSwish" })
  }

  @Test(arguments: [false, true])
  func residualsThatAreWantedAgainKeepTheirValues(isWantedAgain: Bool) throws {
    // x is the residual of the first convolution and the caller's; the second one's is a value of the graph.
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 8, "L"])
    let first = b.graph.node(ConvolutionNode(), [x, try b.weight([8, 8, 1])])[0]
    let sum = b.graph.node(ElementwiseNode.add, [first, x])[0]
    let second = b.graph.node(ConvolutionNode(), [sum, try b.weight([8, 8, 1])])[0]
    let third = b.graph.node(ConvolutionNode(), [second, try b.weight([8, 8, 1])])[0]
    let y = b.graph.node(ElementwiseNode.add, [third, sum])[0]
    b.graph.output(y, name: "y")
    if isWantedAgain { b.graph.output(sum, name: "sum") }
    let nodes = try compare(b.graph, [2, 8, 100])
    #expect(nodes.map(\.operation.name) == ["Conv", "ResidualUnit"])
    let executable = try Executable(b.graph)
    var random = RandomSource(seed: 12)
    let input = try Tensor.randomUniform([2, 8, 100], from: -1, to: 1, using: &random)
    let copy = try input.copied()
    let results = try (0..<2).map { _ in try executable.run(["x": input]) }
    #expect(try input.sameBits(as: copy))
    for (once, twice) in zip(results[0], results[1]) { #expect(try once.sameBits(as: twice)) }
  }

  /// What a node of joined convolutions keeps of one call serves the next only where it belongs to it.
  @Test func invertedResidualsTakeEveryInputInTurn() async throws {
    var b = Builder()
    let x = b.graph.input("x", .float32, ["N", 8, "H", "W"])
    var depthwise = ConvolutionNode()
    depthwise.groups = 24
    depthwise.padding = .explicit(low: [1, 1], high: [1, 1])
    var y = b.graph.node(ConvolutionNode(), [x, try b.weight([24, 8, 1, 1]), try b.weight([24])])[0]
    y = b.graph.node(LeakyNode(name: "Relu", slope: 0), [y])[0]
    y = b.graph.node(depthwise, [y, try b.weight([24, 1, 3, 3]), try b.weight([24])])[0]
    y = b.graph.node(LeakyNode(name: "Relu", slope: 0), [y])[0]
    y = b.graph.node(ConvolutionNode(), [y, try b.weight([8, 24, 1, 1])])[0]
    b.graph.output(b.graph.node(ElementwiseNode.add, [y, x])[0], name: "y")
    let (joined, plain) = (try Executable(b.graph), try Executable(b.graph, optimizes: false))
    #expect(joined.graph.nodes.map(\.operation.name) == ["InvertedResidual"])
    let shapes: [Shape] = [
      [1, 8, 40, 30], [1, 8, 40, 30], [2, 8, 40, 30], [1, 8, 7, 7], [1, 8, 7, 7], [3, 8, 33, 1],
    ]
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<3 {
        group.addTask {
          var random = RandomSource(seed: UInt64(20 + task))
          for shape in shapes {
            let input = try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
            let (got, expected) = (try joined.run(["x": input])[0], try plain.run(["x": input])[0])
            let distance = try got.distance(to: expected)
            #expect(got.spec == expected.spec && distance.absolute < 1e-4, "\(shape): \(distance)")
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(throws: ToeplitzError.self) { try joined.run(["x": Tensor.zeros([1, 9, 5, 5])]) }
  }
}
