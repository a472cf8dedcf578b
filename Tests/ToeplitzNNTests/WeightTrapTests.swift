import Testing
import Toeplitz
import ToeplitzTestSupport

/// What implementations got wrong before about weights: norms, initial values, loading.
///
/// Expected values come from PyTorch 2.15 (`torch.nn.utils.parametrizations.weight_norm`).
@Suite struct WeightTrapTests {
  /// `arange(1, 13) - 4` in the given shape, doubles.
  private func ramp(_ shape: TensorShape) throws -> Tensor {
    try Tensor.range(from: -3, to: 9, dtype: .float64).reshaped(shape)
  }

  private func layer(transposed: Bool) throws -> ConvolutionLayer {
    let layer: ConvolutionLayer =
      transposed
      ? try ConvTranspose1d(inChannels: 2, outChannels: 3, kernelSize: 2, bias: false, dtype: .float64)
      : try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 2, bias: false, dtype: .float64)
    try layer.load(["weight": ramp(transposed ? [2, 3, 2] : [3, 2, 2])])
    return layer
  }

  private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-9 }
  }

  @Test func trap28WeightNormKeepsAxis0AlsoWhereThatIsTheInput() throws {
    // weight_norm(layer, dim=dim).parametrizations.weight.original0
    let plain: [(dim: Int?, shape: TensorShape, values: [Double])] = [
      (0, [3, 1, 1], [3.7416573868, 5.4772255751, 13.1909059583]),
      (1, [1, 2, 1], [8.8881944173, 11.7898261226]),
      (2, [1, 1, 2], [9.6953597148, 11.1355287257]),
      (nil, [], [14.7648230602]),
      (-1, [], [14.7648230602]),
    ]
    let transposed: [(dim: Int?, shape: TensorShape, values: [Double])] = [
      (0, [2, 1, 1], [4.3588989435, 14.1067359797]),
      (1, [1, 3, 1], [6.164414003, 7.874007874, 10.8627804912]),
      (2, [1, 1, 2], [9.6953597148, 11.1355287257]),
      (nil, [], [14.7648230602]),
      (-1, [], [14.7648230602]),
    ]
    for (isTransposed, cases) in [(false, plain), (true, transposed)] {
      for item in cases {
        let layer = try layer(transposed: isTransposed)
        let before = try layer.weight.value
        try layer.weightNorm(dim: item.dim)
        let g = try #require(layer.stateDictionary()["weight_g"])
        #expect(g.shape == item.shape)
        #expect(try isClose(g.scalars(Double.self), item.values), "dim \(String(describing: item.dim)): \(g)")
        // Writing the weight as a product does not change it.
        #expect(try isClose(layer.weight.value.scalars(Double.self), before.scalars(Double.self)))
      }
    }
    #expect(throws: ToeplitzError.self) { try layer(transposed: false).weightNorm(dim: 3) }
  }

  @Test func trap28TheWeightIsDirectionTimesLength() throws {
    // original0 = [1, 2, 3], then layer.weight
    let conv = try layer(transposed: false).weightNorm()
    try conv.load([
      "weight_g": Tensor([1.0, 2, 3] as [Double], shape: [3, 1, 1]), "weight_v": ramp([3, 2, 2]),
    ])
    #expect(
      try isClose(
        conv.weight.value.scalars(Double.self),
        [
          -0.8017837257, -0.5345224838, -0.2672612419, 0, 0.3651483717, 0.7302967433, 1.095445115,
          1.4605934867,
          1.1371470654, 1.3645764784, 1.5920058915, 1.8194353046,
        ]))
    let up = try layer(transposed: true).weightNorm()
    try up.load(["weight_g": Tensor([1.0, 2] as [Double], shape: [2, 1, 1]), "weight_v": ramp([2, 3, 2])])
    #expect(
      try isClose(
        up.weight.value.scalars(Double.self),
        [
          -0.6882472016, -0.4588314677, -0.2294157339, 0, 0.2294157339, 0.4588314677, 0.425328723,
          0.567104964,
          0.708881205, 0.850657446, 0.992433687, 1.134209928,
        ]))
  }

  @Test func trap29AZeroFilterIsNaNInTrainingAndRefusedAtLoad() throws {
    let model = try Sequential(
      Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1),
      WeightNormConv1d(inChannels: 1, outChannels: 3, kernelSize: 2, bias: false))
    let before = try model.stateDictionary().mapValues { try $0.floats }
    for (g, v) in [
      ("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ] {
      let state = try [
        "0.weight": tensor([5], [1, 1, 1]), "0.bias": tensor([5], [1]),
        "1.\(g)": tensor([1, 1, 1], [3, 1, 1]),
        "1.\(v)": tensor([1, 2, 3, 4, 0, 0], [3, 1, 2]),
      ]
      for strict in [true, false] {
        let text = refusal { try model.load(state, strict: strict) }
        #expect(text.contains("1.weight_v") && text.contains("filter 2"), "\(text)")
        // Also the layer before, which was fine, is as it was.
        #expect(try model.stateDictionary().mapValues { try $0.floats } == before)
      }
      // A layer that holds the weight multiplied out refuses the same.
      let plain = try Conv1d(inChannels: 1, outChannels: 3, kernelSize: 2, bias: false)
      let parts = Dictionary(
        uniqueKeysWithValues: state.filter { $0.key.hasPrefix("1.") }.map {
          (String($0.key.dropFirst(2)), $0.value)
        })
      #expect(refusal { try plain.load(parts) }.contains("filter 2"))
    }
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 2, kernelSize: 1, bias: false)
    for (name, parameter) in layer.namedParameters() where name == "weight_v" {
      try parameter.value.withMutableElements(Float.self) { $0[0] = 0 }
    }
    let weight = try layer.weight.value.floats
    #expect(weight[0].isNaN && !weight[1].isNaN)
  }

  @Test func trap31InitialValuesOfATransposedLayerTakeTheFanInFromAxis1() throws {
    let generator = Generator(seed: 31)
    func largest(_ layer: ConvolutionLayer) throws -> (weight: Float, bias: Float) {
      let state = layer.stateDictionary()
      let top = { (name: String) in try state[name]?.floats.map(abs).max() ?? 0 }
      return (try top("weight"), try top("bias"))
    }
    // The bound is 1 / √(size of axis 1 × taps): 3 × 25 and, transposed, (8 / 2) × 25.
    let conv = try Conv2d(inChannels: 6, outChannels: 200, kernelSize: 5, groups: 2, generator: generator)
    let up = try ConvTranspose2d(
      inChannels: 200, outChannels: 8, kernelSize: 5, groups: 2, generator: generator)
    for (layer, fanIn) in [(conv as ConvolutionLayer, Float(75)), (up, 100)] {
      let bound = 1 / fanIn.squareRoot()
      let top = try largest(layer)
      #expect(top.weight <= bound && top.weight > 0.995 * bound, "\(layer)")
      #expect(top.bias <= bound && top.bias > 0.3 * bound, "\(layer)")
    }
    let weights = try conv.weight.value.floats.map(Double.init)
    let mean = weights.reduce(0, +) / Double(weights.count)
    let variance = weights.reduce(0) { $0 + $1 * $1 } / Double(weights.count)
    #expect(abs(mean) < 0.002)
    #expect(abs(variance - 1 / (3 * 75)) < 0.0001)  // of a uniform distribution
  }

  @Test func trap32LoadingIsNeverSilent() throws {
    let layer = try Conv1d(inChannels: 1, outChannels: 2, kernelSize: 1)
    let before = try layer.stateDictionary().mapValues { try $0.floats }
    let state = try ["bias": tensor([1, 2], [2]), "stray": tensor([1], [1])]
    let text = refusal { try layer.load(state) }
    #expect(text.contains("missing keys: weight") && text.contains("unexpected keys: stray"), "\(text)")
    #expect(try layer.stateDictionary().mapValues { try $0.floats } == before)
    let report = try layer.load(state, strict: false)
    #expect(report.missing == ["weight"] && report.unexpected == ["stray"] && report.misshapen.isEmpty)
    #expect(try layer.stateDictionary()["bias"]?.floats == [1, 2])
    // A wrong shape is an error in either case.
    for strict in [true, false] {
      let text = refusal { try layer.load(["weight": tensor([1, 2], [1, 2, 1])], strict: strict) }
      #expect(text.contains("weight [1, 2, 1] instead of [2, 1, 1]"), "\(text)")
    }
  }
}
