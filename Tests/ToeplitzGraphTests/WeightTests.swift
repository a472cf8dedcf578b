import Foundation
import Testing
import ToeplitzLegacyGraph
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

/// Where weights lie in memory.
@Suite struct WeightTests {
  @Test(arguments: [1, 2, 3], [false, true])
  func weightsMayLieAnywhere(shift: Int, transposed: Bool) throws {
    var random = RandomSource(seed: 8)
    let weight = try Tensor.randomUniform([8, 8, 5], from: -1, to: 1, using: &random)
    let matrix = try Tensor.randomUniform([40, 12], from: -1, to: 1, using: &random)
    let bias = try Tensor.randomUniform([40], from: -1, to: 1, using: &random)
    let x = try Tensor.randomUniform([2, 8, 12], from: -1, to: 1, using: &random)
    func run(_ change: (Tensor) throws -> Tensor) throws -> [Tensor] {
      var graph = Graph()
      let input = graph.input("x", .float32, ["N", 8, "L"])
      var convolution = ConvolutionNode()
      convolution.isTransposed = transposed
      convolution.padding = .explicit(low: [2], high: [2])
      let (w, m, b) = try (
        graph.constant(change(weight)), graph.constant(change(matrix)), graph.constant(change(bias))
      )
      let y = graph.node(convolution, [input, w])[0]
      graph.output(graph.node(LinearNode(name: "Gemm", isTransposed: true), [y, m, b])[0], name: "z")
      // The weight is also used by an operation that wants it aligned.
      graph.output(graph.node(ElementwiseNode.add, [w, w])[0], name: "twice")
      let model = try Executable(graph)
      for value in model.graph.values { #expect(value.constant?.isAligned ?? true) }
      _ = try model.run(["x": x])
      return try model.run(["x": x])
    }
    let (plain, odd) = (try run { $0 }, try run { try $0.shifted(by: shift) })
    for (a, b) in zip(plain, odd) { #expect(try a.scalars(Float.self) == b.scalars(Float.self)) }
  }

  @Test(arguments: [false, true])
  func weightsThatAreRearrangedAreNotCopied(transposed: Bool) throws {
    var random = RandomSource(seed: 9)
    let weight = try Tensor.randomUniform([8, 8, 3], from: -1, to: 1, using: &random)
    let matrix = try Tensor.randomUniform([60, 60], from: -1, to: 1, using: &random)
    let x = try Tensor.randomUniform([1, 8, 60], from: -1, to: 1, using: &random)
    func run(_ change: (Tensor) throws -> Tensor) throws -> (Executable, Tensor) {
      var graph = Graph()
      let input = graph.input("x", .float32, [1, 8, 60])
      let (first, second) = try (graph.constant(change(weight)), graph.constant(change(weight)))
      var convolution = ConvolutionNode()
      convolution.padding = .explicit(low: [1], high: [1])
      let leaky = graph.node(LeakyNode(name: "LeakyRelu", slope: 0.1), [input])[0]
      let between = graph.node(convolution, [leaky, first])[0]
      let again = graph.node(LeakyNode(name: "LeakyRelu", slope: 0.1), [between])[0]
      let sum = graph.node(ElementwiseNode.add, [graph.node(convolution, [again, second])[0], input])[0]
      let product = graph.node(
        LinearNode(name: "MatMul", isTransposed: transposed), [sum, graph.constant(try change(matrix))])[0]
      graph.output(product, name: "y")
      let model = try Executable(graph)
      return (model, try model.run(["x": x])[0])
    }
    let (_, expected) = try run { $0 }
    let (model, y) = try run { try $0.shifted(by: 1) }
    #expect(model.graph.nodes.map(\.operation.name) == ["ResidualUnit", "MatMul"])
    #expect(model.graph.values.compactMap(\.stored).filter { !$0.isAligned }.count == 3)
    #expect(try y.scalars(Float.self) == expected.scalars(Float.self))
  }

  /// Normalisations after convolutions, alone and in a residual unit.
  @Test(arguments: [(1, false), (2, false), (1, true), (2, true)])
  func weightsInFilesAreScaledWhenTheyArePrepared(groups: Int, transposed: Bool) throws {
    var random = RandomSource(seed: 10)
    let weight = try Tensor.randomUniform([8, 8 / groups, 3], from: -1, to: 1, using: &random)
    let statistics = try (0..<4).map { _ in try Tensor.randomUniform([8], from: 0.5, to: 2, using: &random) }
    let x = try Tensor.randomUniform([1, 8, 60], from: -1, to: 1, using: &random)
    func run(_ change: (Tensor) throws -> Tensor) throws -> (Executable, Tensor) {
      var graph = Graph()
      let input = graph.input("x", .float32, [1, 8, 60])
      var convolution = ConvolutionNode()
      (convolution.isTransposed, convolution.groups) = (transposed, groups)
      convolution.padding = .explicit(low: [1], high: [1])
      func normalized(_ x: ValueID) throws -> ValueID {
        let leaky = graph.node(LeakyNode(slope: 0.1), [x])[0]
        let y = graph.node(convolution, [leaky, graph.constant(try change(weight))])[0]
        let z = graph.node(BatchNormNode(eps: 1e-5), [y] + statistics.map { graph.constant($0) })[0]
        // A second factor a channel.
        return graph.node(ElementwiseNode.multiply, [z, graph.constant(try statistics[0].reshaped([8, 1]))])[0]
      }
      let sum = graph.node(ElementwiseNode.add, [try normalized(normalized(input)), input])[0]
      graph.output(sum, name: "y")
      let model = try Executable(graph)
      return (model, try model.run(["x": x])[0])
    }
    let (_, expected) = try run { $0 }
    let (model, y) = try run { try $0.shifted(by: 1) }
    #expect(model.graph.nodes.map(\.operation.name) == (transposed ? ["Conv", "Conv"] : ["ResidualUnit"]))
    #expect(model.graph.values.compactMap(\.stored).filter { $0.count == weight.count && !$0.isBorrowed }.isEmpty)
    #expect(try y.distance(to: expected).absolute < 1e-4)
  }

  @Test func whatIsForgottenIsReadAgain() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "forget-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try Data(bytes).write(to: URL(filePath: path))
    let file = try MappedFile(path: path)
    for range in [0..<100_000, 5000..<5001, 99_999..<100_000, 10..<10] {
      file.forget(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
      #expect(file.bytes.elementsEqual(bytes))
    }
    // Memory of others is left alone.
    bytes.withUnsafeBytes { file.forget($0) }
    #expect(bytes[99_999] == UInt8(truncatingIfNeeded: 99_999 &* 7))
  }

  @Test func constantsThatNobodyUsesAreDropped() throws {
    var graph = Graph()
    let x = graph.input("x", .float32, [4])
    let unused = graph.constant(try Tensor.ones([4]))
    let two = graph.constant(try Tensor.full([4], 2))
    graph.output(graph.node(ElementwiseNode.multiply, [x, two])[0], name: "y")
    let model = try Executable(graph)
    #expect(model.graph.constant(of: unused) == nil && model.graph.constant(of: two) != nil)
  }

  @Test func aDrawingShowsEveryNode() throws {
    var graph = Graph()
    let x = graph.input("<x>", .float32, [4])
    let y = graph.node(ElementwiseNode.add, [x, x])[0]
    graph.output(graph.node(ActivationNode(name: "Tanh", .tanh), [y])[0], name: "a & b")
    let svg = graph.svg
    for text in ["&lt;x&gt;: float32[4]", ">Add<", ">Tanh<", "a &amp; b", "</svg>"] { #expect(svg.contains(text)) }
    #expect(svg.components(separatedBy: "<rect").count == 5 && svg.components(separatedBy: "<path").count == 5)
  }
}
