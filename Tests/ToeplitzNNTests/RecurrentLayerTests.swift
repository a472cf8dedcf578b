import Testing
import Toeplitz
import ToeplitzTestSupport

/// Recurrent layers against PyTorch's; see `Fixtures/layers/generate_recurrent.py`.
@Suite struct RecurrentLayerTests {
  private static let golden: GoldenFile? = try? GoldenFile("layers/recurrent")

  private func layer(_ item: GoldenValue, dtype: DType) throws -> RecurrentLayer {
    let o = item["options"]
    let (layers, bias) = (o["num_layers"].int ?? 1, o["bias"].bool ?? true)
    let (first, both) = (o["batch_first"].bool ?? false, o["bidirectional"].bool ?? false)
    switch item["layer"].string {
    case "RNN":
      return try RNN(
        inputSize: 5, hiddenSize: 4, numLayers: layers,
        nonlinearity: o["nonlinearity"].string == "relu" ? .relu : .tanh, bias: bias, batchFirst: first,
        bidirectional: both, dtype: dtype)
    case "GRU":
      return try GRU(
        inputSize: 5, hiddenSize: 4, numLayers: layers, bias: bias, batchFirst: first, bidirectional: both, dtype: dtype
      )
    default:
      return try LSTM(
        inputSize: 5, hiddenSize: 4, numLayers: layers, bias: bias, batchFirst: first, bidirectional: both,
        projSize: o["proj_size"].int ?? 0, dtype: dtype)
    }
  }

  @Test func allCasesAreThere() throws { #expect(try #require(Self.golden).cases.count == 28) }

  @Test(arguments: golden?.cases.compactMap { $0["id"].string } ?? [], [DType.float32, .float64])
  func outputsAndStatesArePyTorchs(identifier: String, dtype: DType) throws {
    let golden = try #require(Self.golden)
    let item = try #require(golden.cases.first { $0["id"].string == identifier })
    func tensor(_ name: String) throws -> Tensor { try golden.tensor("\(identifier).\(name)").cast(to: dtype) }
    let layer = try layer(item, dtype: dtype)
    let names = try #require(item["parameters"].array).compactMap(\.string)
    let state = try Dictionary(uniqueKeysWithValues: names.map { ($0, try tensor("parameter.\($0)")) })
    #expect(Set(layer.stateDictionary().keys) == Set(names))
    #expect(try layer.load(state).isClean)
    layer.eval()
    let x = try tensor("input")
    let parts = layer is LSTM ? 2 : 1
    let given = try item["state"].bool == true ? (0..<parts).map { try tensor("state.\($0)") } : nil
    let (output, last) = try results(layer, x, given)
    let unit = dtype == .float64 ? 1e-6 : 2e-6
    let distance = try output.distance(to: tensor("output"))
    #expect(distance.absolute < unit * max(1, distance.scale))
    for (index, part) in last.enumerated() {
      let distance = try part.distance(to: tensor("last.\(index)"))
      #expect(distance.absolute < unit * max(1, distance.scale), "\(index)")
    }
    guard given == nil else { return }
    #expect(try layer(x).sameBits(as: output))
    #expect(try layer.compiled()(x).sameBits(as: output))
  }

  private func results(
    _ layer: RecurrentLayer, _ x: Tensor, _ state: [Tensor]?
  ) throws -> (Tensor, [Tensor]) {
    switch layer {
    case let layer as RNN:
      let results = try layer(x, hidden: state?[0])
      return (results.output, [results.hidden])
    case let layer as GRU:
      let results = try layer(x, hidden: state?[0])
      return (results.output, [results.hidden])
    case let layer as LSTM:
      let results = try layer(x, state: state.map { ($0[0], $0[1]) })
      return (results.output, [results.state.hidden, results.state.cell])
    default: throw ToeplitzError(.argument, "test", expected: "a known layer", got: "\(layer)")
    }
  }

  @Test func illegalOptionsAndInputsAreRefused() throws {
    func refused(_ mention: String, _ body: () throws -> Void) {
      let error = #expect(throws: ToeplitzError.self) { try body() }
      #expect(error?.description.contains(mention) == true, "\(error?.description ?? "no error")")
    }
    refused("inputSize") { _ = try GRU(inputSize: 0, hiddenSize: 3) }
    refused("numLayers") { _ = try RNN(inputSize: 1, hiddenSize: 3, numLayers: -1) }
    refused("projSize") { _ = try LSTM(inputSize: 1, hiddenSize: 3, projSize: 3) }
    refused("floating-point") { _ = try LSTM(inputSize: 1, hiddenSize: 3, dtype: .int64) }
    let layer = try LSTM(inputSize: 2, hiddenSize: 3)
    refused("2 elements") { _ = try layer(Tensor.zeros([4, 1, 3])) }
    refused("[1, 1, 3]") { _ = try layer(Tensor.zeros([4, 1, 2]), state: (.zeros([1, 2, 3]), .zeros([1, 1, 3]))) }
    #expect(try layer(Tensor.zeros([0, 1, 2])).shape == [0, 1, 3])
    #expect("\(layer)" == "LSTM(2, 3)")
  }
}
