import Testing
import ToeplitzLegacyGraph
import ToeplitzOps
import ToeplitzTensor

/// Graphs built by hand.
@Suite struct GraphTests {
  private func gain() throws -> Graph {
    var graph = Graph(name: "gain")
    let x = graph.input("x", .float32, ["N", 2, "L"])
    let factor = graph.weight("factor")
    let y = graph.node(ElementwiseNode.multiply, [x, factor], name: "scale")[0]
    graph.output(graph.node(ElementwiseNode.add, [y, x])[0], name: "y")
    return graph
  }

  @Test func aGraphIsComputedWithItsWeights() throws {
    let model = try Executable(try gain(), weights: ["factor": Tensor([2, -1], shape: [2, 1])])
    for length in [1, 3, 100_000] {
      let x = try Tensor.full([3, 2, length], 1.5)
      let y = try #require(try model(["x": x])["y"])
      #expect(y.shape == x.shape)
      #expect(try y.slice(axis: 1, 0..<1).scalars(Float.self).allSatisfy { $0 == 4.5 })
      #expect(try y.slice(axis: 1, 1..<2).scalars(Float.self).allSatisfy { $0 == 0 })
    }
  }

  @Test func aMissingWeightIsNamed() throws {
    let error = #expect(throws: ToeplitzError.self) { try Executable(try gain()) }
    #expect(error?.kind == .checkpoint && error?.got == "none for factor")
  }

  @Test func unfitInputsAreNamed() throws {
    var graph = Graph()
    let (a, b) = (graph.input("a", .float32, ["N", 4]), graph.input("b", .float32, ["N"]))
    graph.output(graph.node(ElementwiseNode.add, [a, b])[0], name: "y")
    let model = try Executable(graph)
    func refuse(_ inputs: [String: Tensor], _ kind: ToeplitzError.Kind, _ words: String...) {
      let error = #expect(throws: ToeplitzError.self) { try model(inputs) }
      #expect(error?.kind == kind)
      for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
    }
    let (good, vector) = (try Tensor.zeros([4, 4]), try Tensor.zeros([4]))
    refuse(["a": good], .argument, "'b'", "float32[N]")
    refuse(["a": good, "b": vector, "c": vector], .argument, "'c'", "a, b")
    refuse(["a": vector, "b": vector], .shape, "'a'", "2 dimensions")
    refuse(["a": try .zeros([4, 5]), "b": vector], .shape, "'a'", "size 4 on axis 1")
    refuse(["a": good, "b": try .zeros([3])], .shape, "'b'", "'N'")
    refuse(["a": try .zeros([4, 4], dtype: .int32), "b": vector], .dtype, "'a'", "float32", "int32")
  }

  @Test func aNodeThatFailsIsNamed() throws {
    let model = try Executable(try gain(), weights: ["factor": Tensor.zeros([5])])
    let error = #expect(throws: ToeplitzError.self) { try model(["x": Tensor.zeros([1, 2, 3])]) }
    #expect(error?.path == "scale" || error?.description.contains("broadcast") == true)
  }

  @Test func valuesMustExistBeforeTheyAreUsed() throws {
    var graph = Graph()
    let lost = graph.value(name: "lost")
    graph.output(graph.node(ElementwiseNode.add, [lost, lost], name: "sum")[0], name: "y")
    let error = #expect(throws: ToeplitzError.self) { try Executable(graph) }
    #expect(error?.path == "sum" && error?.got == "'lost'")
    var empty = Graph()
    let nothing = empty.value()
    empty.output(nothing, name: "y")
    #expect(throws: ToeplitzError.self) { try Executable(empty) }
  }

  @Test func severalThreadsMayCallOneExecutable() async throws {
    var graph = Graph()
    let x = graph.input("x", .float32, [1, 4, "L"])
    var random = RandomSource(seed: 9)
    let weight = graph.constant(try Tensor.randomUniform([4, 4, 3], from: -1, to: 1, using: &random))
    var convolution = ConvolutionNode()
    convolution.padding = .same(restAtEnd: true)
    let y = graph.node(convolution, [x, weight])[0]
    graph.output(graph.node(LeakyNode(slope: 0.1), [y])[0], name: "y")
    let model = try Executable(graph)
    let inputs = try (1...24).map { try Tensor.randomUniform([1, 4, 7 * $0], from: -1, to: 1, using: &random) }
    let expected = try inputs.map { try model(["x": $0])["y"]?.scalars(Float.self) }
    try await withThrowingTaskGroup(of: (Int, [Float]?).self) { group in
      for (index, input) in inputs.enumerated() {
        group.addTask { (index, try model(["x": input])["y"]?.scalars(Float.self)) }
      }
      for try await (index, result) in group { #expect(result == expected[index]) }
    }
  }

  @Test func aNodeChangedAfterItsUseIsComputedAnew() throws {
    var node = ConvolutionNode()
    let operands: [Tensor?] = [try Tensor.ones([1, 1, 9]), try Tensor.ones([1, 1, 3])]
    func shape() throws -> Shape? { try node.evaluate(operands, EvaluationContext())[0]?.shape }
    #expect(try shape() == [1, 1, 7])
    node.strides = [2]
    #expect(try shape() == [1, 1, 4])
    node.padding = .explicit(low: [1], high: [1])
    #expect(try shape() == [1, 1, 5])
    node.isTransposed = true
    #expect(try shape() == [1, 1, 17])
  }

  @Test func constantsAreComputedOnceAndDeadNodesGo() throws {
    var graph = Graph()
    let x = graph.input("x", .float32, ["N"])
    let (a, b) = (graph.constant(try Tensor([1, 2])), graph.constant(try Tensor([3, 4])))
    let sum = graph.node(ElementwiseNode.add, [a, b])[0]
    _ = graph.node(ElementwiseNode.multiply, [x, x])
    let kept = graph.node(IdentityNode(), [x])[0]
    graph.output(graph.node(ElementwiseNode.multiply, [kept, sum])[0], name: "y")
    let model = try Executable(graph)
    #expect(model.graph.nodes.count == 1)
    #expect(model.report.nodesBefore == 4)
    #expect(try model(["x": Tensor([10, 10])])["y"]?.scalars(Float.self) == [40, 60])
  }
}
