import Testing
import Toeplitz
import ToeplitzTestSupport

/// A network with every way to hold a module.
private final class Vocoder: Module, UnaryLayer {
  let convPre: WeightNormConv1d
  let ups: [ConvTranspose1d]
  let resBlocks: ModuleList<Sequential>
  let postNet: Sequential
  var projection: Conv1d?
  let scale: Parameter
  let runningMean: Parameter
  let hopLength = 4

  init(generator: Generator, projected: Bool = false) throws {
    func conv(_ kernel: PerAxis, name: String? = nil) throws -> Conv1d {
      try Conv1d(
        inChannels: 2, outChannels: 2, kernelSize: kernel, padding: .same, name: name, generator: generator)
    }
    convPre = try WeightNormConv1d(
      inChannels: 1, outChannels: 2, kernelSize: 3, padding: 1, generator: generator)
    ups = try (0..<2).map { _ in
      try ConvTranspose1d(
        inChannels: 2, outChannels: 2, kernelSize: 4, stride: 2, padding: 1, generator: generator)
    }
    resBlocks = try ModuleList([Sequential(conv(3), conv(5)), Sequential(conv(7))])
    postNet = try Sequential(conv(1, name: "linear"))
    projection = projected ? try conv(1) : nil
    scale = Parameter(try .ones([1]))
    runningMean = Parameter(try .zeros([2]), isBuffer: true)
  }

  func forward(_ x: Tensor) throws -> Tensor {
    var y = try convPre(x)
    for (index, up) in ups.enumerated() { y = try resBlocks[index](up(y)) }
    y = try postNet(y) * scale.value
    return try projection?(y) ?? y
  }
}

/// Names, loading and the tree of modules.
@Suite struct ModuleTests {
  private func names(_ module: Module) -> [String] { module.stateDictionary().keys.sorted() }

  private func values(_ module: Module) throws -> [String: [Float]] {
    try module.stateDictionary().mapValues { try $0.floats }
  }

  private static let vocoderNames = [
    "conv_pre.bias", "conv_pre.weight_g", "conv_pre.weight_v", "post_net.0.linear.bias",
    "post_net.0.linear.weight", "res_blocks.0.0.bias", "res_blocks.0.0.weight", "res_blocks.0.1.bias",
    "res_blocks.0.1.weight", "res_blocks.1.0.bias", "res_blocks.1.0.weight", "running_mean", "scale",
    "ups.0.bias", "ups.0.weight", "ups.1.bias", "ups.1.weight",
  ]

  @Test func namesFollowThePropertiesThroughArraysListsAndBaseNames() throws {
    let model = try Vocoder(generator: Generator(seed: 1))
    #expect(names(model) == Self.vocoderNames)
    #expect(
      try names(Vocoder(generator: Generator(seed: 1), projected: true))
        == (Self.vocoderNames + ["projection.bias", "projection.weight"]).sorted())
    #expect(model.namedBuffers().map(\.name) == ["running_mean"])
    // A module's own parameters, then its children's, as in PyTorch.
    #expect(
      model.namedParameters().prefix(4).map(\.name)
        == ["scale", "conv_pre.weight_g", "conv_pre.weight_v", "conv_pre.bias"])
    #expect(model.children.map(\.key) == ["conv_pre", "ups.0", "ups.1", "res_blocks", "post_net"])
    #expect(
      model.namedModules().map(\.path) == [
        "", "conv_pre", "ups.0", "ups.1", "res_blocks", "res_blocks.0", "res_blocks.0.0", "res_blocks.0.1",
        "res_blocks.1", "res_blocks.1.0", "post_net", "post_net.0",
      ])
    #expect(model.resBlocks.count == 2 && model.resBlocks.displayName == "ModuleList")
  }

  @Test func aBaseNameAlsoStandsBeforeTheOtherSpellings() throws {
    let layer = try WeightNormConv1d(inChannels: 1, outChannels: 1, kernelSize: 1, bias: false, name: "conv")
    #expect(names(layer) == ["conv.weight_g", "conv.weight_v"])
    try layer.load([
      "conv.parametrizations.weight.original0": tensor([3], [1, 1, 1]),
      "conv.parametrizations.weight.original1": tensor([-2], [1, 1, 1]),
    ])
    #expect(try layer.weight.value.floats == [-3])
    try layer.load(["conv.weight": tensor([7], [1, 1, 1])])
    #expect(try layer.weight.value.floats == [7])
  }

  @Test func aStateDictionaryOfOneModelMakesAnotherEqual() throws {
    let first = try Vocoder(generator: Generator(seed: 1)).eval()
    let second = try Vocoder(generator: Generator(seed: 2)).eval()
    let x = try counting([1, 1, 9])
    #expect(try first(x).floats != second(x).floats)
    let report = try second.load(first.stateDictionary())
    #expect(report.isClean && report.description == "all keys fit")
    #expect(try first(x).sameBits(as: second(x)))
    #expect(try first(x).shape == [1, 2, 36])
  }

  @Test func everyProblemIsReportedAtOnceAndNothingChanges() throws {
    let model = try Vocoder(generator: Generator(seed: 1))
    let before = try values(model)
    var state = try Vocoder(generator: Generator(seed: 2)).stateDictionary()
    state["ups.0.bias"] = nil
    state["res_blocks.1.0.weight"] = nil
    state["ups.1.bias"] = try .zeros([3])
    state["conv_pre.weight_v"] = try .zeros([2, 1, 5])
    state["stray.one"] = try .zeros([1])
    state["stray.two"] = try .zeros([1])
    let text = refusal { try model.load(state) }
    for word in [
      "missing keys: ups.0.bias, res_blocks.1.0.weight", "unexpected keys: stray.one, stray.two",
      "ups.1.bias [3] instead of [2]", "conv_pre.weight_v [2, 1, 5] instead of [2, 1, 3]",
    ] {
      #expect(text.contains(word), "\(text)")
    }
    #expect(try values(model) == before)
    // Wrong shapes are errors also where missing names are not.
    #expect(refusal { try model.load(state, strict: false) }.contains("instead of"))
    #expect(try values(model) == before)
    state["ups.1.bias"] = nil
    state["conv_pre.weight_v"] = nil
    let report = try model.load(state, strict: false)
    #expect(
      report.missing.sorted() == ["conv_pre.weight_v", "res_blocks.1.0.weight", "ups.0.bias", "ups.1.bias"])
    #expect(report.unexpected == ["stray.one", "stray.two"])
    let after = try values(model)
    #expect(try after["ups.0.weight"] == state["ups.0.weight"]?.floats)
    #expect(after["ups.0.bias"] == before["ups.0.bias"])
  }

  @Test func longListsOfNamesAreCut() throws {
    let layer = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1)
    var state = layer.stateDictionary()
    for index in 10..<30 { state["extra\(index)"] = try .zeros([1]) }
    let text = refusal { try layer.load(state) }
    #expect(text.contains("extra17 and 12 more") && !text.contains("extra18"), "\(text)")
  }

  @Test func valuesAreConvertedToTheLayersType() throws {
    let layer = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, bias: false)
    try layer.load(["weight": Tensor([0.1, 0.2] as [Double], shape: [1, 1, 2])])
    #expect(try layer.weight.value.floats == [0.1, 0.2])
    // One element fits one element whatever the rank.
    let scale = try Vocoder(generator: Generator(seed: 1))
    try scale.load(["scale": Tensor(scalar: Float(3))], strict: false)
    #expect(try scale.scale.value.floats == [3] && scale.scale.value.shape == [1])
  }

  @Test func theTypeOfAllFloatingPointValuesChanges() throws {
    let model = try Vocoder(generator: Generator(seed: 1)).eval()
    let x = try counting([1, 1, 8])
    let single = try model(x)
    for dtype in [DType.float64, .float16, .bfloat16, .float32] {
      try model.to(dtype)
      #expect(model.stateDictionary().values.allSatisfy { $0.dtype == dtype })
      let y = try model(x.cast(to: dtype))
      #expect(y.dtype == dtype)
      let distance = try y.cast(to: .float32).distance(to: single)
      let tolerance: [DType: Double] = [.float64: 1e-5, .float16: 0.02]
      #expect(distance.absolute <= (tolerance[dtype] ?? 0.1) * distance.scale, "\(dtype) \(distance)")
      #expect(throws: ToeplitzError.self, "\(dtype)") { try model(x.cast(to: .int32)) }
    }
    #expect(throws: ToeplitzError.self) { try model.to(.int32) }
    #expect(throws: ToeplitzError.self) { try model.to(.bool) }
  }

  @Test func trainingModeReachesEveryModule() throws {
    let model = try Vocoder(generator: Generator(seed: 1))
    #expect(model.namedModules().allSatisfy { $0.module.isTraining })
    model.eval()
    #expect(model.namedModules().allSatisfy { !$0.module.isTraining })
    model.resBlocks[0].train()
    #expect(model.resBlocks[0].isTraining && !model.resBlocks[1].isTraining && !model.isTraining)
    #expect(model.train() === model && model.namedModules().allSatisfy { $0.module.isTraining })
  }

  @Test func parametersAreCountedOnceAndBuffersNot() throws {
    let model = try Vocoder(generator: Generator(seed: 1))
    // conv_pre: v 6, g 2, bias 2; two ups of 16 + 2; kernels 3, 5, 7, 1 of 4 weights each and four biases; scale.
    #expect(model.parameterCount == 10 + 36 + 4 * 16 + 8 + 1)
    let shared = try Conv1d(inChannels: 2, outChannels: 2, kernelSize: 1)
    let twice = Sequential(shared, shared)
    #expect(twice.parameterCount == 6)
    #expect(twice.stateDictionary().count == 4 && twice.parameters().count == 2)
  }

  @Test func aWeightUsedByTwoLayersIsSharedUntilOneIsChanged() throws {
    let weight = try counting([2, 2, 3])
    let layers = try (0..<2).map { _ in
      try Conv1d(inChannels: 2, outChannels: 2, kernelSize: 3, bias: false)
    }
    for layer in layers { try layer.load(["weight": weight]) }
    let x = try counting([1, 2, 5])
    let before = try layers[0](x)
    #expect(try before.sameBits(as: layers[1](x)))
    try layers[0].parameters()[0].value.withMutableElements(Float.self) { $0[0] += 1 }
    #expect(try !layers[0](x).sameBits(as: before))
    #expect(try layers[1](x).sameBits(as: before))
    #expect(try weight.floats == counting([12]).floats)
    // The same module twice, in contrast, has one weight.
    let twice = Sequential(layers[0], layers[0])
    try twice.load(["0.weight": weight, "1.weight": weight])
    #expect(try layers[0](x).sameBits(as: before))
  }

  @Test func errorsCarryThePathOfTheLayer() throws {
    let model = try Vocoder(generator: Generator(seed: 1)).eval()
    let wrong = try Conv1d(inChannels: 3, outChannels: 2, kernelSize: 1)
    let nested = Sequential(Sequential(model.resBlocks[0], wrong))
    nested.eval()
    let error = #expect(throws: ToeplitzError.self) { try nested(.ones([1, 2, 9])) }
    #expect(error?.path == "0.1" && error?.description.contains("Conv1d (0.1)") == true)
    _ = model.namedModules()
    let first = #expect(throws: ToeplitzError.self) { try model(.ones([1, 7, 9])) }
    #expect(first?.path == "conv_pre")
    #expect(error?.inside("decoder").path == "decoder.0.1")
    let order = #expect(throws: ToeplitzError.self) {
      try model.ups[1].setWeight(inMAXOrder: .ones([4, 2, 3]))
    }
    #expect(order?.path == "ups.1")
  }
}
