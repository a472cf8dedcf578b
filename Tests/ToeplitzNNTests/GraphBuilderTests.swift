import Testing
import Toeplitz
import ToeplitzTestSupport

/// Graphs by hand, with the examples that Modular MAX, Lucid and OneFlow document: each as a layer, in a graph, and traced.
@Suite struct GraphBuilderTests {
  private func random(_ shape: TensorShape, _ seed: UInt64) throws -> Tensor {
    try Generator(seed: seed).uniform(shape, from: -1, to: 1)
  }

  /// Checks that a layer, traced and in a graph by hand, gives `shape` for an input, and the same each time.
  private func check<Layer: UnaryLayer>(
    _ input: TensorShape, gives shape: TensorShape, _ make: () throws -> sending Layer,
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    let x = try input.contains(32) && input[0] == 1 ? Tensor.ones(input) : random(input, 3)
    let layer = try make()
    layer.eval()
    let expected = try layer(x)
    #expect(expected.shape == shape, sourceLocation: location)
    #expect(try layer.compiled()(x).sameBits(as: expected), sourceLocation: location)
    #expect(try Executable(tracing: make())(x).sameBits(as: expected), sourceLocation: location)
    // The layer in a graph, with the weights of the other by name.
    var graph = GraphBuilder(name: "example")
    let (value, own) = (graph.input("x", .float32, input.map { .fixed($0) }), graph.layer("layer", try make()))
    let weights = Dictionary(uniqueKeysWithValues: layer.stateDictionary().map { ("layer." + $0.key, $0.value) })
    #expect(Set(graph.weightSpecifications.keys) == Set(weights.keys), sourceLocation: location)
    let model = try graph.compiled(weights: weights) { [try $0[own]($0[value])] }
    #expect(try model(["x": x])["y"]?.sameBits(as: expected) == true, sourceLocation: location)
    let constants = try model.graph(for: [x.spec])
    #expect(
      Set(constants.constants.keys.compactMap { constants.names[$0] }).isSubset(
        of: Set(weights.keys).union(["layer.weight"])), sourceLocation: location)
  }

  @Test func documentedLayersGiveTheSameInEveryWay() throws {
    func generator() -> Generator { Generator(seed: 1) }
    // MAX: Conv2d with kernel 3, 3 → 64, bias, on ones.
    try check([1, 3, 32, 32], gives: [1, 64, 30, 30]) {
      try Conv2d(inChannels: 3, outChannels: 64, kernelSize: 3, generator: generator())
    }
    // MAX: Conv1D 64 → 128, kernel 3, no bias.
    try check([2, 64, 32], gives: [2, 128, 30]) {
      try Conv1d(inChannels: 64, outChannels: 128, kernelSize: 3, bias: false, generator: generator())
    }
    // MAX: ConvTranspose1d 16 → 16, kernel 4, stride 2, padding 1.
    try check([2, 16, 32], gives: [2, 16, 64]) {
      try ConvTranspose1d(
        inChannels: 16, outChannels: 16, kernelSize: 4, stride: 2, padding: 1, generator: generator())
    }
    // OneFlow: 64 → 32, kernel 3, padding 1.
    try check([4, 64, 20], gives: [4, 32, 20]) {
      try ConvTranspose1d(inChannels: 64, outChannels: 32, kernelSize: 3, padding: 1, generator: generator())
    }
    // MAX: WeightNormConvTranspose1d.
    try check([2, 16, 32], gives: [2, 16, 64]) {
      try WeightNormConvTranspose1d(
        inChannels: 16, outChannels: 16, kernelSize: 4, stride: 2, padding: 1, generator: generator())
    }
  }

  /// The flow of MAX: an input, a named weight with type and shape, the operation, and weights by name when it is loaded.
  @Test func weightsAreFoundByName() throws {
    func compiled(_ weights: [String: Tensor]) throws -> Executable {
      var graph = GraphBuilder(name: "conv1d")
      let x = graph.input("x", .float32, ["N", 64, "L"])
      let weight = graph.weight("conv1d_weight.weight", .float32, [128, 64, 3])
      return try graph.compiled(weights: weights) { [try conv1d($0[x], $0[weight])] }
    }
    let weight = try random([128, 64, 3], 5)
    let model = try compiled(["conv1d_weight.weight": weight])
    #expect(model.name == "conv1d" && model.inputs.map(\.description) == ["float32[N, 64, L]"])
    // Any length and batch, with shapes inferred.
    for shape in [[2, 64, 32], [1, 64, 3], [3, 64, 100]] as [TensorShape] {
      let x = try random(shape, 6)
      #expect(try model(["x": x])["y"]?.sameBits(as: conv1d(x, weight)) == true)
    }
    func refused(_ weights: [String: Tensor], _ words: String...) {
      let error = #expect(throws: ToeplitzError.self) { try compiled(weights) }
      #expect(error?.kind == .checkpoint)
      for word in words { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
    }
    refused([:], "none for conv1d_weight.weight")
    refused(["conv1d_weight.weight": weight, "bias": try .zeros([128])], "'bias'", "conv1d_weight.weight")
    refused(["conv1d_weight.weight": try random([128, 3, 64], 5)], "[128, 64, 3]", "[128, 3, 64]")
    refused(["conv1d_weight.weight": try weight.cast(to: .float16)], "float32", "float16")
    #expect(throws: ToeplitzError.self) { try model(["x": Tensor.zeros([2, 63, 32])]) }
    #expect(throws: ToeplitzError.self) { try model(["x": Tensor.zeros([2, 64, 2])]) }
  }

  @Test func layersAndOperationsMix() throws {
    var graph = GraphBuilder()
    let (x, y) = (graph.input("x", .float32, ["N", 4, "L"]), graph.input("y", .float32, ["N", 4, "L"]))
    let scale = graph.weight("scale", .float32, [4, 1])
    let conv = graph.layer(
      "conv", try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 3, padding: 1, generator: Generator(seed: 2)))
    let norm = graph.layer("norm", try BatchNorm1d(numFeatures: 4))
    let model = try graph.compiled(
      weights: ["scale": Tensor([1, 2, 3, 4], shape: [4, 1])], outputs: ["sum", "scaled"]
    ) {
      let inner = try $0[norm]($0[conv]($0[x] + $0[y])).relu()
      return [inner, try inner * $0[scale]]
    }
    let inputs = ["x": try random([2, 4, 9], 1), "y": try random([2, 4, 9], 2)]
    let results = try model(inputs)
    let layer = try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 3, padding: 1, generator: Generator(seed: 2))
    let expected = try (layer(inputs["x"]! + inputs["y"]!) / (1 + 1e-5).squareRoot()).relu()
    #expect(try #require(results["sum"]).distance(to: expected).absolute < 1e-5)
    let fourth = try #require(results["scaled"]).slice(axis: 1, 3..<4)
    #expect(try fourth.distance(to: expected.slice(axis: 1, 3..<4) * 4).absolute < 1e-5)
    let error = #expect(throws: ToeplitzError.self) { try model(["x": inputs["x"]!, "y": Tensor.zeros([1, 4, 9])]) }
    #expect(error?.description.contains("'N'") == true)
  }

  @Test func namesMustDiffer() {
    #expect(throws: ToeplitzError.self) {
      var graph = GraphBuilder()
      _ = graph.input("x", .float32, [1])
      let x = graph.weight("x", .float32, [1])
      _ = try graph.compiled(weights: ["x": Tensor([1])]) { [$0[x]] }
    }
  }
}
