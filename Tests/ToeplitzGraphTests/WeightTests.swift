import Foundation
import Testing
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

/// Where weights lie in memory.
@Suite struct WeightTests {
  /// Bytes that somebody else owns.
  private final class Bytes: Sendable {
    nonisolated(unsafe) let base: UnsafeMutableRawPointer
    init(_ count: Int) { base = .allocate(byteCount: count, alignment: 64) }
    deinit { base.deallocate() }
  }

  /// The same values `shift` bytes beside where their type wants them.
  private func shifted(_ tensor: Tensor, by shift: Int) -> Tensor {
    let byteCount = tensor.count * tensor.dtype.byteSize
    let bytes = Bytes(byteCount + shift)
    (bytes.base + shift).copyMemory(from: tensor.elements, byteCount: byteCount)
    let storage = Storage(borrowing: bytes.base + shift, byteCount: byteCount, owner: bytes)
    return Tensor(storage: storage, shape: tensor.shape, strides: tensor.strides, offset: 0, dtype: tensor.dtype)
  }

  @Test(arguments: [1, 2, 3], [false, true])
  func weightsMayLieAnywhere(shift: Int, transposed: Bool) throws {
    var random = RandomSource(seed: 8)
    let weight = try Tensor.randomUniform([8, 8, 5], from: -1, to: 1, using: &random)
    let matrix = try Tensor.randomUniform([40, 12], from: -1, to: 1, using: &random)
    let bias = try Tensor.randomUniform([40], from: -1, to: 1, using: &random)
    let x = try Tensor.randomUniform([2, 8, 12], from: -1, to: 1, using: &random)
    func run(_ change: (Tensor) -> Tensor) throws -> [Tensor] {
      var graph = Graph()
      let input = graph.input("x", .float32, ["N", 8, "L"])
      var convolution = ConvolutionNode()
      convolution.isTransposed = transposed
      convolution.padding = .explicit(low: [2], high: [2])
      let (w, m, b) = (graph.constant(change(weight)), graph.constant(change(matrix)), graph.constant(change(bias)))
      let y = graph.node(convolution, [input, w])[0]
      graph.output(graph.node(LinearNode(name: "Gemm", isTransposed: true), [y, m, b])[0], name: "z")
      // The weight is also used by an operation that wants it aligned.
      graph.output(graph.node(ElementwiseNode.add, [w, w])[0], name: "twice")
      let model = try Executable(graph)
      for value in model.graph.values { #expect(value.constant?.isAligned ?? true) }
      _ = try model.run(["x": x])
      return try model.run(["x": x])
    }
    let (plain, odd) = (try run { $0 }, try run { shifted($0, by: shift) })
    for (a, b) in zip(plain, odd) { #expect(try a.scalars(Float.self) == b.scalars(Float.self)) }
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
