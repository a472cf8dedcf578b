import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

private struct Pair { var conv: Conv1d }

private enum Choice { case conv(Conv1d), none }

/// Modules where nothing finds them.
private final class Hidden<Value>: Module, UnaryLayer {
  let value: Value
  init(_ value: Value) { self.value = value }
  func forward(_ x: Tensor) throws -> Tensor { x }
}

private final class Lazy: Module, UnaryLayer {
  lazy var conv = try? Conv1d(1, 1, kernelSize: 1)
  func forward(_ x: Tensor) throws -> Tensor { x }
}

private final class Normed: Module, UnaryLayer {
  let conv: Conv1d
  let convNCHW: BatchNorm1d
  let headKeys: Linear
  init() throws {
    conv = try Conv1d(2, 4, kernelSize: 3, padding: 1)
    convNCHW = try BatchNorm1d(4)
    headKeys = try Linear(4, 2)
  }
  override func key(forProperty name: String) -> String { name == "headKeys" ? "fc" : super.key(forProperty: name) }
  func forward(_ x: Tensor) throws -> Tensor { try headKeys(convNCHW(conv(x)).transposed(1, 2)).transposed(1, 2) }
}

/// Texts that handlers of other threads may add to.
private final class Heard: @unchecked Sendable {
  private let lock = NSLock()
  private var texts: [String] = []
  func add(_ text: String) { lock.withLock { texts.append(text) } }
  var all: [String] { lock.withLock { texts } }
}

@Suite struct ModuleSurfaceTests {
  private func inFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }

  private func message(_ body: () throws -> some Any) -> String {
    do { _ = try body() } catch { return "\(error)" }
    return "nothing was thrown"
  }

  // MARK: - Weights

  @Test func weightsAreReplacedInOneWay() throws {
    let conv = try WeightNormConv1d(2, 3, kernelSize: 2)
    let weight = try Generator(seed: 1).normal([3, 2, 2])
    try conv.weight.assign(weight)
    #expect(try conv.weight.value.allClose(weight))
    #expect(conv.weightG?.value.shape == [3, 1, 1] && conv.weightV?.value.shape == [3, 2, 2])
    try conv.bias?.assign([1, 2, 3])
    try conv.weightG?.assign(Tensor.ones([3, 1, 1]))
    #expect(try conv.weight.value[0].pow(2).sum().allClose(Tensor(scalar: 1 as Float)))
    #expect(message { try conv.weight.assign(Tensor.ones([3, 2])) }.contains("a value of shape [3, 2, 2], got [3, 2]"))
    let bias = try #require(conv.bias)
    #expect(message { try bias.assign(Tensor.ones([4])) }.contains("got [4]"))
    #expect(try Conv1d(1, 1, kernelSize: 1).weightG == nil)
    #expect(
      conv.filter === conv.weight && conv.conv.bias === conv.bias && conv.device == .cpu && conv.dtype == .float32)
  }

  @Test(arguments: ["conv1d", "named", "filter", "transposed", "bare", "weightnorm"])
  func stateDictionariesOfMAXLoadAndSaveBack(_ name: String) throws {
    let layer: ConvolutionLayer =
      switch name {
      case "conv1d": try Conv1d(4, 6, kernelSize: 3, stride: 2, padding: 1, groups: 2)
      case "named": try Conv1d(3, 5, kernelSize: 3, name: "up")
      case "filter": try Conv2d(3, 4, kernelSize: [3, 2], padding: [1, 0])
      case "transposed": try ConvTranspose1d(6, 4, kernelSize: 4, stride: 2, padding: 1, groups: 2)
      case "bare": try ConvTranspose1d(3, 2, kernelSize: 4, stride: 2, bias: false)
      default: try WeightNormConvTranspose1d(6, 4, kernelSize: 4, stride: 2, padding: 1)
      }
    let path = Fixtures.path("max/\(name).safetensors")
    let state = try Checkpoint(contentsOf: path).tensors
    try layer.load(state, weightOrder: .max)
    let values = try Checkpoint(contentsOf: Fixtures.path("max/\(name).values.safetensors")).tensors
    let (x, y) = (try #require(values["x"]), try #require(values["y"]))
    #expect(try layer(x).allClose(y, rtol: 1e-4, atol: 1e-5))

    try inFolder { folder in
      try layer.save(to: "\(folder)/a.safetensors", weightOrder: .max)
      try Safetensors.write(
        Dictionary(uniqueKeysWithValues: state.map { ($0.key == "filter" ? "weight" : $0.key, $0.value) }),
        to: "\(folder)/b.safetensors")
      let url = URL(fileURLWithPath: folder)
      let (a, b) = (
        try Data(contentsOf: url.appendingPathComponent("a.safetensors")),
        try Data(contentsOf: url.appendingPathComponent("b.safetensors"))
      )
      #expect(a == b)
    }
    // PyTorch's own order is not taken for MAX's, where the shapes tell.
    #expect(message { try layer.load(layer.stateDictionary(), weightOrder: .max) }.contains("in MAX's order"))
  }

  // MARK: - Files

  @Test func modulesAreSavedAndLoadedByPathAndURL() throws {
    try inFolder { folder in
      let model = try Normed()
      #expect(
        model.stateDictionary().keys.sorted() == [
          "conv.bias", "conv.weight", "conv_nchw.bias", "conv_nchw.num_batches_tracked", "conv_nchw.running_mean",
          "conv_nchw.running_var", "conv_nchw.weight", "fc.bias", "fc.weight",
        ])
      let url = URL(fileURLWithPath: folder).appendingPathComponent("model.safetensors")
      try model.save(to: url)
      try model.save(to: "\(folder)/model.npz")
      let x = try Generator(seed: 3).normal([1, 2, 8])
      let expected = try model.eval()(x)
      for load in [
        { try $0.load(contentsOf: url) }, { try $0.load(contentsOf: "\(folder)/model.npz") },
        { try $0.load(Checkpoint(contentsOf: url)) },
      ] as [(Normed) throws -> LoadReport] {
        let other = try Normed().eval()
        #expect(try load(other).isClean)
        #expect(try other(x).allClose(expected))
      }
      #expect(message { try model.save(to: "\(folder)/model.pt") }.contains("PyTorch reads both"))
      #expect(
        message { try model.load(contentsOf: URL(string: "https://example.org/a.pt")!) }.contains("on this machine"))
    }
  }

  @Test func weightsComeFromMemoryAndGoThere() throws {
    let (model, other) = (try Linear(3, 2), try Linear(3, 2))
    let bytes = try Safetensors.bytes(model.stateDictionary(), metadata: ["epoch": "3"])
    try inFolder { folder in
      try Safetensors.write(model.stateDictionary(), metadata: ["epoch": "3"], to: "\(folder)/a.safetensors")
      #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/a.safetensors")) == Data(bytes))
    }
    for checkpoint in [try Checkpoint(bytes: bytes), try Checkpoint(bytes: ([7] + Data(bytes))[1...])] {
      #expect(checkpoint.metadata == ["epoch": "3"])
      #expect(try other.load(checkpoint).isClean && (other.weight.value == model.weight.value).all())
    }
    #expect(message { try Checkpoint(bytes: [1, 2, 3], source: "upload") }.hasPrefix("upload"))
    #expect(message { try Checkpoint(bytes: Data()) }.contains("checkpoint"))
    let index = #"{"weight_map": {"weight": "/etc/passwd"}}"#
    #expect(message { try Checkpoint(bytes: Data(index.utf8)) }.contains("an index of other files"))
  }

  @Test func errorsHaveTheirTextAsLocalizedDescription() {
    do {
      _ = try Conv1d(3, 4, kernelSize: 3, groups: 2)
    } catch {
      #expect(error.localizedDescription == "\(error)" && error.localizedDescription.hasPrefix("Conv1d: expected"))
    }
  }

  @Test func devicesAreAskedForByName() throws {
    let model = try Normed()
    #expect(try model.to(.cpu) === model)
    #expect(message { try model.to(.gpu) }.contains("gpu(0)"))
    #expect(try model.to(.float64).conv.dtype == .float64)
  }

  // MARK: - What would be missed in silence

  @Test func modulesThatNothingFindsAreErrors() throws {
    let conv = try Conv1d(1, 1, kernelSize: 1)
    #expect(message { try Hidden((conv, conv)).load([:]) }.contains("the tuple 'value'"))
    #expect(message { try Hidden(Pair(conv: conv)).load([:]) }.contains("the struct 'value'"))
    #expect(message { try Hidden([Pair(conv: conv)]).load([:]) }.contains("the struct 'value'"))
    #expect(message { try Hidden(Choice.conv(conv)).load([:]) }.contains("the enum 'value'"))
    #expect(message { try Lazy().load([:]) }.contains("the lazy property 'conv'"))
    #expect(message { try Executable(tracing: Hidden((ReLU(), 1))) }.contains("the tuple"))
    #expect(message { try Sequential(Hidden(Pair(conv: conv))).save(to: "/nowhere/x") }.contains("(0)"))
    for found in [[conv], [conv][...] as Any, ["a": conv], Optional(conv) as Any, (1, "two"), Choice.none] as [Any] {
      let text = message { try Hidden(found).load([:], strict: false) }
      #expect(text == "nothing was thrown" || text.contains("missing"), "\(found): \(text)")
    }
  }

  @Test func aLoadedModelInTrainingModeIsToldOnce() throws {
    let heard = Heard()
    let before = ModeReminder.handler
    ModeReminder.handler = { if $0.contains("Normed") { heard.add($0) } }
    defer { ModeReminder.handler = before }
    let state = try Normed().stateDictionary()
    let x = try Tensor.ones([1, 2, 8])
    let model = try Normed()
    try model.load(state)
    for _ in 0..<3 { _ = try model(x) }
    #expect(heard.all.count == 1)
    #expect(heard.all.first?.contains("BatchNorm1d 'conv_nchw'") == true, "\(heard.all)")
    for mode in [true, false] {
      let other = try Normed()
      other.train(mode)
      try other.load(state)
      _ = try other(x)
    }
    _ = try Normed()(x)
    #expect(heard.all.count == 1)
  }

  @Test func compiledModulesUseEvaluationWhateverTheModeIs() throws {
    let model = try Normed()
    let x = try Generator(seed: 3).normal([1, 2, 8])
    let compiled = model.compiled()
    let y = try compiled(x)
    #expect(model.isTraining && model.convNCHW.isTraining)
    #expect(try model.convNCHW.numBatchesTracked?.value.item(Int64.self) == 0)
    #expect(try model.eval()(x).allClose(y, atol: 1e-5))
  }

  // MARK: - Containers and sizes

  @Test func containersGrow() throws {
    let body = try Sequential(Conv1d(1, 4, kernelSize: 3, padding: 1), Lambda { try relu($0) })
    body.append(try Conv1d(4, 1, kernelSize: 1))
    body.append { try $0 * 2 }
    #expect(body.layers.count == 4 && (body[2] as? Conv1d)?.inChannels == 4)
    let x = try Tensor.ones([1, 1, 5])
    let y = try body(x)
    body[3] = Identity()
    #expect(try (body(x) * 2).allClose(y))
    let list = try ModuleList(Linear(2, 3), Linear(3, 4))
    list.append(try Linear(4, 5))
    list[0] = try Linear(1, 3)
    #expect(list.map(\.inFeatures) == [1, 3, 4])
    #expect(list.stateDictionary().keys.contains("2.weight") && ModuleList<Linear>().isEmpty)
  }

  @Test func sizesOfAnyLayerAreFoundByTracing() throws {
    final class Net: Module, UnaryLayer {
      let down, up: ConvolutionLayer
      init() throws {
        down = try Conv1d(3, 8, kernelSize: 4, stride: 2, padding: 1)
        up = try ConvTranspose1d(8, 2, kernelSize: 9, stride: 4)
      }
      func forward(_ x: Tensor) throws -> Tensor { try up(relu(down(x)))[.ellipsis, 1..<(-1)] }
    }
    let net = try Net()
    let x = try Tensor.ones([1, 3, 20])
    #expect(try net.outputLength(for: 20) == net(x).shape[2])
    #expect(try net.traced(TensorSpec([5, 3, 20], .float32)).shape == net(Tensor.ones([5, 3, 20])).shape)
    #expect(message { try net.outputLength(for: 1) }.contains("Conv1d"))
    let body = try Sequential(Conv1d(1, 4, kernelSize: 3), Lambda { try $0[.ellipsis, 1...] }, MaxPool1d(2))
    #expect(try body.outputLength(for: 20) == body(Tensor.ones([1, 1, 20])).shape[2])
    #expect(message { try body.outputLength(for: 2) }.contains("Conv1d"))
    #expect(message { try Hidden(1).outputLength(for: 3) }.contains("override of outputSize"))
  }

  @Test func receptiveFieldsAreFoundByTracing() throws {
    final class Residual: Module, UnaryLayer {
      let near, far: Conv1d
      init() throws {
        near = try Conv1d(4, 4, kernelSize: 3, padding: 1)
        far = try Conv1d(4, 4, kernelSize: 3, padding: 8, dilation: 8)
      }
      func forward(_ x: Tensor) throws -> Tensor { try near(x) + far(relu(near(x))) }
    }
    let residual = try Residual()
    #expect(try residual.receptiveField() == 19)
    #expect(try Sequential(Conv1d(4, 4, kernelSize: 4, stride: 2), residual).receptiveField() == 2 * 18 + 4)
    #expect(try ConvTranspose1d(2, 2, kernelSize: 9, stride: 4).receptiveField() == 3)
    #expect(try Conv1d(2, 2, kernelSize: 5, layout: .channelsLast).receptiveField() == 5)
    let plane = try Sequential(Conv2d(3, 8, kernelSize: [3, 5], padding: [1, 2]), MaxPool2d(2))
    #expect(try plane.receptiveField() == 4 && plane.receptiveField(axis: 1, inputSize: [8, 8]) == 6)
    #expect(try MaxPool1d(3).receptiveField(shape: [1, 2, nil]) == 3)
    // Only what is read counts: changing an input that far away changes the output, one further away does not.
    let x = try Tensor.randomNormal([1, 4, 60])
    let y = try residual(x)[0, 0..., 30]
    for (distance, isRead) in [(9, true), (10, false)] {
      var other = x
      try other.assign(100, at: .ellipsis, 30 + distance)
      #expect(try residual(other)[0, 0..., 30].allClose(y) != isRead)
    }

    #expect(message { try MaxPool1d(3).receptiveField() }.contains("receptiveField(shape:"))
    #expect(message { try plane.receptiveField(axis: 2) }.contains("axis in 0..<2"))
    let whole = try Sequential(Conv1d(1, 1, kernelSize: 3), AdaptiveAvgPool1d(outputSize: 1))
    #expect(message { try whole.receptiveField() }.contains("AdaptiveAvgPool1d"))
  }
}
