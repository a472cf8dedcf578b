import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN

/// The convolution layers as modules: weights, spelling, description, lengths.
@Suite struct ConvolutionLayerTests {
  private typealias State = [String: Tensor]

  /// The three spellings of a normed weight, and the weight multiplied out.
  private func spellings(_ layer: ConvolutionLayer, axis: Int?, seed: UInt64) throws -> [State] {
    var random = RandomSource(seed: seed)
    let shape = layer.geometry.weightShape
    let v = try Tensor.randomNormal(shape, using: &random)
    let gShape = axis.map { axis in TensorShape(shape.indices.map { $0 == axis ? shape[$0] : 1 }) } ?? []
    let g = try Tensor.randomUniform(gShape, from: 0.5, to: 2, using: &random)
    let normed = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1)  // only holds the weight
    normed.weight.form = .normalized(g: Parameter(g), v: Parameter(v), axis: axis)
    return [
      ["weight_g": g, "weight_v": v],
      ["parametrizations.weight.original0": g, "parametrizations.weight.original1": v],
      ["weight": try normed.weight.value],
    ]
  }

  @Test(arguments: [0, 1, 2, nil] as [Int?])
  func threeSpellingsOfANormedWeightGiveTheSameBits(axis: Int?) throws {
    let make: [() throws -> ConvolutionLayer] = [
      { try Conv1d(inChannels: 4, outChannels: 6, kernelSize: 5, bias: false) },
      { try ConvTranspose1d(inChannels: 4, outChannels: 6, kernelSize: 5, bias: false) },
    ]
    let x = try counting([1, 4, 20])
    for make in make {
      for isNormed in [false, true] {
        let results = try spellings(make(), axis: axis, seed: 9).map { state in
          let layer = try make()
          if isNormed { try layer.weightNorm(dim: axis) }
          #expect(try layer.load(state).isClean)
          return (weight: try layer.weight.value, output: try layer(x))
        }
        for other in results.dropFirst() {
          #expect(try other.weight.sameBits(as: results[0].weight), "axis \(String(describing: axis))")
          #expect(try other.output.sameBits(as: results[0].output), "axis \(String(describing: axis))")
        }
      }
    }
  }

  @Test func aPlainWeightInANormedLayerIsKeptExactly() throws {
    let layer = try WeightNormConv1d(inChannels: 2, outChannels: 2, kernelSize: 3, bias: false)
    let weight = try counting([2, 2, 3]) / Tensor(scalar: Float(7))
    try layer.load(["weight": weight])
    #expect(try layer.weight.value.sameBits(as: weight))
    let state = layer.stateDictionary()
    #expect(try state["weight_v"]?.sameBits(as: weight) == true)
    #expect(state["weight_g"]?.shape == [2, 1, 1])
    // And comes back the same as a plain weight.
    try layer.removeWeightNorm()
    #expect(try layer.stateDictionary()["weight"]?.sameBits(as: weight) == true)
    #expect(!layer.weight.isNormalized)
  }

  @Test func changingEitherPartOfANormedWeightChangesTheOutput() throws {
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 1, kernelSize: 2, bias: false)
    try layer.load(["weight_g": tensor([5], [1, 1, 1]), "weight_v": signal([3, 4])])
    let x = try signal([1, 1])
    #expect(try layer(x).floats == [7])
    let parts = Dictionary(uniqueKeysWithValues: layer.namedParameters().map { ($0.name, $0.parameter) })
    try parts["weight_g"]?.value.withMutableElements(Float.self) { $0[0] = 10 }
    #expect(try layer(x).floats == [14])
    parts["weight_v"]?.value = try signal([4, -3])
    #expect(try layer(x).floats == [2])
  }

  @Test func thePackedWeightFollowsTheParameters() throws {
    let layer = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2)
    try layer.load(["weight": signal([1, 10]), "bias": tensor([100], [1])])
    let x = try signal([1, 2, 3])
    #expect(layer.packedByteCount == 0)
    #expect(try layer(x).floats == [121, 132])
    #expect(layer.packedByteCount > 0)
    let parameters = Dictionary(uniqueKeysWithValues: layer.namedParameters().map { ($0.name, $0.parameter) })
    let weight = try #require(parameters["weight"])
    // Assigned, written in place (several times), and the bias alone.
    weight.value = try signal([2, 20])
    #expect(try layer(x).floats == [142, 164])
    for factor in [Float(3), 4, 5] {
      try weight.value.withMutableElements(Float.self) { $0[0] = factor }
      #expect(try layer(x).floats == [140 + factor, 160 + 2 * factor])
    }
    try parameters["bias"]?.value.withMutableElements(Float.self) { $0[0] = -1 }
    #expect(try layer(x).floats == [44, 69])
    try layer.to(.float64)
    #expect(try layer(x.cast(to: .float64)).scalars(Double.self) == [44, 69])
    try layer.setWeight(inMAXOrder: Tensor([1.0, 0] as [Double], shape: [2, 1, 1]))
    #expect(try layer(x.cast(to: .float64)).scalars(Double.self) == [0, 1])
    try layer.weightNorm()
    try layer.load(["weight": Tensor([0.0, 1] as [Double], shape: [1, 1, 2])], strict: false)
    #expect(try layer(x.cast(to: .float64)).scalars(Double.self) == [1, 2])
  }

  @Test func initialValuesFollowTheSeed() throws {
    func make(_ seed: UInt64) throws -> [Float] {
      let generator = Generator(seed: seed)
      let layers = try (0..<2).map { _ in
        try Conv1d(inChannels: 3, outChannels: 5, kernelSize: 7, generator: generator)
      }
      return try layers.flatMap { try $0.weight.value.floats + ($0.bias?.value.floats ?? []) }
    }
    let first = try make(4)
    #expect(try make(4) == first)
    #expect(try make(5) != first)
    #expect(Array(first.prefix(110)) != Array(first.suffix(110)))
    let bound = 1 / Float(21).squareRoot()
    #expect(first.allSatisfy { abs($0) <= bound } && Set(first).count > 200)
    let random = try Conv1d(inChannels: 3, outChannels: 5, kernelSize: 7).weight.value.floats
    #expect(try random != Conv1d(inChannels: 3, outChannels: 5, kernelSize: 7).weight.value.floats)
  }

  @Test func aNormedLayerStartsWithTheWeightOfThePlainOne() throws {
    let plain = try ConvTranspose1d(
      inChannels: 3, outChannels: 2, kernelSize: 4, generator: Generator(seed: 8))
    let normed = try WeightNormConvTranspose1d(
      inChannels: 3, outChannels: 2, kernelSize: 4, generator: Generator(seed: 8))
    #expect(normed.weight.isNormalized && normed.stateDictionary()["weight_g"]?.shape == [3, 1, 1])
    let distance = try normed.weight.value.distance(to: plain.weight.value)
    #expect(distance.absolute <= 1e-7)
  }

  @Test func weightsInMAXOrderComeBackUnchanged() throws {
    let generator = Generator(seed: 2)
    let layers: [(ConvolutionLayer, TensorShape)] = [
      (try Conv1d(inChannels: 4, outChannels: 6, kernelSize: 3, groups: 2, generator: generator), [3, 2, 6]),
      (
        try ConvTranspose1d(inChannels: 4, outChannels: 6, kernelSize: 3, groups: 2, generator: generator),
        [3, 3, 4]
      ),
      (try Conv2d(inChannels: 2, outChannels: 5, kernelSize: [3, 4], generator: generator), [3, 4, 2, 5]),
      (
        try ConvTranspose3d(inChannels: 2, outChannels: 5, kernelSize: [3, 4, 1], generator: generator),
        [3, 4, 1, 5, 2]
      ),
    ]
    for (layer, shape) in layers {
      let before = try layer.weight.value
      let turned = try layer.weightInMAXOrder()
      #expect(turned.shape == shape)
      let rank = layer.geometry.rank
      for index in 0..<rank {
        // Element (…k, b, a) is element (a, b, k…).
        var kernel = [Int](repeating: 0, count: rank)
        kernel[index] = shape[index] - 1
        let pick = { (tensor: Tensor, at: [Int]) in
          try at.reduce(tensor) { try $0.select(axis: 0, $1) }.item(Float.self)
        }
        let (a, b) = (before.shape[0] - 1, before.shape[1] - 2)
        #expect(try pick(turned, kernel + [b, a]) == pick(before, [a, b] + kernel))
      }
      try layer.setWeight(inMAXOrder: turned)
      #expect(try layer.weight.value.sameBits(as: before))
      #expect(throws: ToeplitzError.self) { try layer.setWeight(inMAXOrder: before) }
    }
  }

  @Test func descriptionsReadLikePyTorchs() throws {
    let conv = try Conv1d(
      inChannels: 4, outChannels: 8, kernelSize: 4, stride: 2, padding: 3, dilation: 2, groups: 2,
      bias: false,
      paddingMode: .reflect)
    #expect(
      conv.description
        == "Conv1d(4, 8, kernel_size=(4,), stride=(2,), padding=(3,), dilation=(2,), groups=2, bias=False, "
        + "padding_mode=reflect)")
    let up = try ConvTranspose2d(
      inChannels: 3, outChannels: 8, kernelSize: [3, 5], stride: 2, outputPadding: 1, layout: .channelsLast)
    #expect(
      up.description
        == "ConvTranspose2d(3, 8, kernel_size=(3, 5), stride=(2, 2), output_padding=(1, 1), layout=channelsLast)"
    )
    let causal = try WeightNormConv1d(inChannels: 1, outChannels: 1, kernelSize: 2, padding: .causal)
    let lopsided = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, padding: .asymmetric([(1, 0)]))
    #expect(
      Sequential(causal, Sequential(lopsided)).description == """
        Sequential(
          (0): WeightNormConv1d(1, 1, kernel_size=(2,), stride=(1,), padding=causal)
          (1): Sequential(
            (0): Conv1d(1, 1, kernel_size=(2,), stride=(1,), padding=((1, 0)))
          )
        )
        """)
  }

  @Test func aSummaryListsCallsWithShapesAndCounts() throws {
    let model = try Sequential(
      Conv1d(inChannels: 2, outChannels: 4, kernelSize: 3),
      WeightNormConvTranspose1d(inChannels: 4, outChannels: 1, kernelSize: 4, stride: 2, bias: false))
    #expect(model.isTraining)
    let summary = try model.summary(inputShape: [3, 2, 12])
    #expect(model.isTraining)
    #expect(summary.rows.map(\.path) == ["0", "1", ""])
    #expect(summary.rows.map(\.type) == ["Conv1d", "WeightNormConvTranspose1d", "Sequential"])
    #expect(summary.rows.map(\.output) == [[3, 4, 10], [3, 1, 22], [3, 1, 22]])
    // 3 × 10 outputs × 4 × 2 × 3, and 3 × 10 inputs × 4 × 1 × 4.
    #expect(summary.rows.map(\.multiplyAdds) == [720, 480, 0])
    #expect(summary.rows.map(\.parameters) == [28, 20, 0] && summary.parameters == 48)
    #expect(summary.multiplyAdds == 1200)
    let lines = summary.description.split(separator: "\n")
    #expect(lines.count == 7 && Set(lines.map(\.count)).count == 1, "\(summary)")
    #expect(lines[2].contains("Conv1d") && lines[2].hasSuffix("720") && lines[4].contains("(model)"))
    #expect(throws: ToeplitzError.self) { try model.summary(inputShape: [3, 5, 12]) }
    #expect(model.isTraining)
  }
}
