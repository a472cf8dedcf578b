import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzONNX
import ToeplitzTensor
import ToeplitzTestSupport

/// Models with inputs and outputs recorded by the ONNX project's reference and by PyTorch.
@Suite struct ModelTests {
  static let names: [String] = {
    ["", "runtime/"].flatMap { folder in
      let files = (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("onnx/" + folder))) ?? []
      return files.filter { $0.hasSuffix(".onnx") }.map { folder + $0.dropLast(5) }.sorted()
    }
  }()

  @Test func thereAreModels() { #expect(Self.names.count >= 100) }

  @Test(arguments: names, [true, false])
  func outputsAreThoseRecorded(_ name: String, optimizes: Bool) throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/\(name).onnx"), optimizes: optimizes)
    let data = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/\(name).npz"))
    var inputs: [String: Tensor] = [:]
    for (index, port) in model.inputs.enumerated() {
      inputs[port.name] = try data.tensor("input_\(index)").cast(to: port.dtype ?? .float32)
    }
    for (index, got) in try model.run(inputs).enumerated() {
      let stored = try data.tensor("output_\(index)")
      #expect(got.shape == stored.shape)
      // Narrow numbers are stored as float32.
      let (a, b) = (try got.cast(to: .float64).doubles(), try stored.cast(to: .float64).doubles())
      for (x, y) in zip(a, b) {
        let isClose = x == y || x.isNaN && y.isNaN || abs(x - y) <= 1e-3 * abs(y) + 2e-6
        #expect(isClose, "\(x) instead of \(y)")
        if !isClose { return }
      }
    }
  }

  /// Weights of bytes and activations of float32: ONNX Runtime quantises the activations too.
  @Test func quantizedRecurrenceIsClose() throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/approximate/dynamic_quantize_lstm.onnx"))
    let data = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/approximate/dynamic_quantize_lstm.npz"))
    let got = try model.run([model.inputs[0].name: data.tensor("input_0")])[0].doubles()
    let stored = try data.tensor("output_0").doubles()
    #expect(got.count == stored.count && zip(got, stored).allSatisfy { abs($0 - $1) < 0.02 })
  }

  @Test func quantizedConvolutionsUseWholeNumbers() throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/quantized_convolutions.onnx"))
    let data = try NumPy.readArchive(contentsOf: Fixtures.path("onnx/quantized_convolutions.npz"))
    let inputs = try Dictionary(
      uniqueKeysWithValues: model.inputs.enumerated().map { ($1.name, try data.tensor("input_\($0)")) })
    let names = try model.executedGraph(inputs).nodes.map(\.operation.name)
    // All but the one whose weights are no int8.
    #expect(names.filter { $0.hasPrefix("Quantized") }.count == 6, "\(names)")
  }

  @Test func compilationJoinsWhatStandsAroundConvolutions() throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/residual.onnx"))
    let x = try Tensor.zeros([1, 3, 9, 11])
    let (recorded, graph) = (try model.graph(for: [x.spec]), try model.executedGraph(["x": x]))
    let names = graph.nodes.map(\.operation.name)
    #expect(!names.contains("BatchNormalization") && !names.contains("pad") && !names.contains("ReLU"), "\(names)")
    #expect(graph.nodes.count < recorded.nodes.count / 2)
    let rows = graph.listing
    // The first convolution: 8 × 3 × 3 × 3 multiply-adds for each of 8 × 12 positions.
    #expect(rows[0].multiplyAdds == 8 * 27 * 8 * 12 && rows[0].fused.contains("Pad"))
    #expect(graph.dot.contains("digraph"))
  }

  @Test func anExecutableServesAllSizes() throws {
    let model = try Executable(contentsOf: Fixtures.path("onnx/residual.onnx"))
    var random = RandomSource(seed: 2)
    for (batch, height, width) in [(1, 4, 4), (3, 17, 5), (2, 9, 40), (1, 4, 4)] {
      let x = try Tensor.randomUniform([batch, 3, height, width], using: &random)
      let all = try model.run(["x": x])[0]
      #expect(all.shape[0] == batch)
      // A sample alone gives the same bits.
      let last = try model.run(["x": x.slice(axis: 0, (batch - 1)..<batch)])[0]
      #expect(try all.slice(axis: 0, (batch - 1)..<batch).contiguous().sameBits(as: last))
    }
  }
}
