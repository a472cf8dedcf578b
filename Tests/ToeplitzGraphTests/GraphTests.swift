import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Executables and the graphs that they show.
@Suite struct GraphTests {
  private func executable(
    _ inputs: [PortDescription], _ body: @escaping ([Tensor], Trace) throws -> [Tensor]
  ) -> Executable {
    nonisolated(unsafe) let source = FunctionSource(inputs: inputs, outputs: ["y"], body)
    return Executable(source, name: "test")
  }

  @Test func unfitInputsAreNamed() throws {
    let model = executable([
      PortDescription(name: "a", dtype: .float32, dimensions: ["N", 4]),
      PortDescription(name: "b", dtype: .float32, dimensions: ["N"]),
    ]) { x, _ in [try x[0] + x[1].unsqueezed(1)] }
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
    #expect(try model(["a": good, "b": vector])["y"]?.shape == [4, 4])
  }

  @Test func severalThreadsMayCallOneExecutable() async throws {
    var random = RandomSource(seed: 9)
    let weight = try Tensor.randomUniform([4, 4, 3], from: -1, to: 1, using: &random)
    let model = executable([PortDescription(name: "x", dtype: .float32, dimensions: [1, 4, "L"])]) { x, trace in
      [try conv1d(x[0], trace.weight(weight, name: "w"), padding: 1).leakyReLU(negativeSlope: 0.1)]
    }
    let inputs = try (1...48).map { try Tensor.randomUniform([1, 4, 7 * $0], from: -1, to: 1, using: &random) }
    let expected = try inputs.map { try model($0).scalars(Float.self) }
    try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
      for (index, input) in inputs.enumerated() {
        group.addTask { (index, try model(input).scalars(Float.self)) }
      }
      for try await (index, result) in group { #expect(result == expected[index]) }
    }
  }

  @Test func constantsAreComputedOnceAndDeadNodesGo() throws {
    let tensors = (try Tensor([1, 2]), try Tensor([3, 4]))
    let model = executable([PortDescription(name: "x")]) { x, trace in
      let (a, b) = (trace.weight(tensors.0, name: "a"), trace.weight(tensors.1, name: "b"))
      _ = try x[0] * x[0]
      // Equal operations on equal operands are one, and a reshape to the same shape is none.
      return [try (x[0] * (a + b)).reshaped([2]) + x[0] * (a + b)]
    }
    let spec = TensorSpec([2], .float32)
    let graph = try model.graph(for: [spec])
    #expect(graph.nodes.map(\.operation.name) == ["multiply", "add"])
    #expect(graph.constants.count == 1)
    #expect(try model(Tensor([10, 10])).scalars(Float.self) == [80, 120])
    // Graphs of all shapes share what is computed of constants.
    #expect(
      try model.graph(for: [spec]).constants.first?.value.isSameView(as: #require(graph.constants.first?.value)) == true
    )
  }

  @Test func errorsNameTheOperation() throws {
    let model = executable([PortDescription(name: "x")]) { x, _ in [try x[0].matmul(x[0])] }
    let error = #expect(throws: ToeplitzError.self) { try model(Tensor.ones([2, 3])) }
    #expect(error?.description.contains("as many columns left as rows right") == true)
    let other = executable([PortDescription(name: "x")]) { _, _ in [] }
    #expect(throws: ToeplitzError.self) { try other(Tensor.ones([2])) }
  }

  /// A trace keeps what was traced: it is neither mixed with another nor used afterwards.
  @Test func tracedTensorsStayInTheirTrace() throws {
    nonisolated(unsafe) var escaped: Tensor?
    let model = executable([PortDescription(name: "x")]) { x, _ in
      if let escaped { return [try x[0] + escaped] }
      escaped = x[0]
      return [x[0]]
    }
    #expect(try model(Tensor.ones([3])).scalars(Float.self) == [1, 1, 1])
    let error = #expect(throws: ToeplitzError.self) { try model(Tensor.ones([4])) }
    #expect(error?.description.contains("another") == true || error?.kind == .shape, "\(String(describing: error))")
    let kept = try #require(escaped)
    #expect(kept.isTraced)
    #expect(throws: ToeplitzError.self) { try kept.scalars(Float.self) }
    #expect(throws: ToeplitzError.self) { try kept + kept }
  }

  /// An executable within code that is traced becomes part of its graph.
  @Test func executablesNest() throws {
    let inner = executable([PortDescription(name: "x")]) { x, _ in [try x[0].relu() * 2] }
    let outer = executable([PortDescription(name: "x")]) { x, _ in [try inner(x[0] + 1) - 1] }
    #expect(try outer(Tensor([-3, 1])).scalars(Float.self) == [-1, 3])
    let names = try outer.graph(for: [TensorSpec([2], .float32)]).nodes.map(\.operation.name)
    #expect(names == ["add", "ReLU", "multiply", "subtract"])
  }

  /// Outputs that are inputs or constants, and outputs that are the same.
  @Test func outputsMayBeAnything() throws {
    nonisolated(unsafe) let source = FunctionSource(
      inputs: [PortDescription(name: "x")], outputs: ["same", "constant", "twice", "again"]
    ) { x, trace in
      let y = try x[0] * 2
      return [x[0], trace.weight(try Tensor([5, 6]), name: "c"), y, y]
    }
    let model = Executable(source)
    let x = try Tensor([1, 2])
    let results = try model(["x": x])
    #expect(try results["same"]?.scalars(Float.self) == [1, 2])
    #expect(try results["constant"]?.scalars(Float.self) == [5, 6])
    #expect(try results["twice"]?.scalars(Float.self) == [2, 4])
    #expect(try results["again"]?.scalars(Float.self) == [2, 4])
    let graph = try model.graph(for: [x.spec])
    #expect(graph.outputs.map(\.name) == ["same", "constant", "twice", "again"] && graph.nodes.count == 1)
  }

  @Test func aDrawingShowsEveryNode() throws {
    let model = executable([PortDescription(name: "<x>")]) { x, _ in [try (x[0] + x[0]).softmax(axis: 0)] }
    var graph = try model.graph(for: [TensorSpec([4], .float32)])
    graph.name = "a & b"
    let svg = graph.svg
    for text in ["&lt;x&gt;: float32[4]", ">add<", ">y<", "</svg>"] { #expect(svg.contains(text), "\(text)\n\(svg)") }
    #expect(svg.components(separatedBy: "<rect").count == 5 && svg.components(separatedBy: "<path").count == 5)
    #expect(graph.dot.contains("digraph \"a & b\"") && graph.dot.contains("n0 -> n1"))
  }
}
