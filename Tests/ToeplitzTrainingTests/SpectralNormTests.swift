import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// A tensor of a golden file, with its shape.
func goldenTensor(_ value: GoldenValue) throws -> Tensor {
  try Tensor(doubles(value["values"]), shape: TensorShape(value["shape"].ints ?? []), device: .cpu)
}

private func goldenTensors(_ value: GoldenValue) throws -> [String: Tensor] {
  try (value.object ?? [:]).mapValues(goldenTensor)
}

@Suite struct SpectralNormTests {
  private func layer(_ item: GoldenValue) throws -> any WeightedLayer & UnaryLayer {
    let layer: any WeightedLayer & UnaryLayer
    switch item["layer"].string {
    case "Conv1d": layer = try Conv1d(4, 6, kernelSize: 3, groups: 2, dtype: .float64)
    case "ConvTranspose1d": layer = try ConvTranspose1d(4, 6, kernelSize: 4, stride: 2, dtype: .float64)
    case "Linear": layer = try Linear(inFeatures: 5, outFeatures: 3, dtype: .float64)
    default: layer = try Conv2d(2, 3, kernelSize: [3, 2], dtype: .float64)
    }
    return try layer.spectralNorm(
      iterations: try #require(item["iterations"].int), parametrized: item["parametrized"].bool ?? false)
  }

  private func compiled<Layer: UnaryLayer>(_ layer: Layer, _ x: Tensor) throws -> Tensor { try layer.compiled()(x) }

  @Test func stepsAreThoseOfPyTorch() throws {
    let cases = try #require(try goldenValue("adversarial")["spectral"].array)
    #expect(cases.count == 16)
    for item in cases {
      let layer = try layer(item)
      let place = "\(item["layer"]) \(item["parametrized"])"
      try layer.load(goldenTensors(item["start"]))
      layer.train()
      let (x, outputs) = (try goldenTensor(item["input"]), try #require(item["outputs"].array))
      for output in outputs.dropLast() {
        #expect(try layer(x).distance(to: goldenTensor(output)).absolute < 1e-12, "\(place)")
      }
      let last = try goldenTensor(outputs[2])
      let weights = try Tensor(
        (0..<last.count).map { -1 + 2 * Double($0) / Double(last.count - 1) }, shape: last.shape, device: .cpu)
      let found = try valueAndGradient(of: layer as Module) { _ in
        let y = try layer(x)
        return (value: try (y * weights).sum(), outputs: [y])
      }
      #expect(try found.outputs[0].distance(to: last).absolute < 1e-12, "\(place)")
      for (name, wanted) in try goldenTensors(item["gradients"]) {
        let got = try #require(found.gradients[name])
        #expect(try got.distance(to: wanted).absolute < 1e-11, "\(place) \(name)")
      }
      for (name, wanted) in try goldenTensors(item["end"]) {
        let got = try #require(layer.stateDictionary()[name])
        #expect(try got.distance(to: wanted).absolute < 1e-12, "\(place) \(name)")
      }
      layer.eval()
      let before = layer.stateDictionary()
      let evaluated = try goldenTensor(item["evaluated"])
      #expect(try layer(x).distance(to: evaluated).absolute < 1e-12, "\(place)")
      for (name, value) in layer.stateDictionary() { #expect(value.isSameView(as: try #require(before[name]))) }
      #expect(try compiled(layer, x).distance(to: evaluated).absolute < 1e-12, "\(place)")
    }
  }

  /// Either spelling goes into a layer of either kind, and into one that holds its weight as it is.
  @Test func bothSpellingsAreRead() throws {
    for item in try #require(try goldenValue("adversarial")["spectral"].array) {
      let (state, x) = (try goldenTensors(item["end"]), try goldenTensor(item["input"]))
      let evaluated = try goldenTensor(item["evaluated"])
      for isParametrized in [false, true] {
        let other = try layer(.object((item.object ?? [:]).merging(["parametrized": .bool(isParametrized)]) { $1 }))
        #expect(try other.load(state).isClean)
        #expect(try other.eval()(x).distance(to: evaluated).absolute < 1e-12)
        #expect(
          Set(other.stateDictionary().keys).isSuperset(
            of: isParametrized ? ["parametrizations.weight.0._u"] : ["weight_u"]))
      }
      let plain = try layer(item)
      try plain.removeSpectralNorm()
      try plain.load(state)
      #expect(try plain(x).distance(to: evaluated).absolute < 1e-12, "\(item["layer"])")
      #expect(plain.stateDictionary()["weight"] != nil)
    }
  }

  @Test func missingPartsAreNamed() throws {
    let layer = try Linear(inFeatures: 5, outFeatures: 3).spectralNorm()
    let state = layer.stateDictionary()
    for name in ["weight_orig", "weight_u", "weight_v"] {
      var broken = state
      broken[name] = nil
      let error = #expect(throws: ToeplitzError.self) { try layer.load(broken) }
      #expect("\(error as Any)".contains(name))
    }
    var whole = state
    whole["weight"] = whole.removeValue(forKey: "weight_orig")
    #expect(throws: ToeplitzError.self) { try layer.load(whole) }
    #expect(throws: ToeplitzError.self) { try layer.spectralNorm() }
    #expect(throws: ToeplitzError.self) { try Linear(inFeatures: 2, outFeatures: 2).spectralNorm(iterations: 0) }
    #expect(throws: ToeplitzError.self) { try Linear(inFeatures: 2, outFeatures: 2).spectralNorm(dim: 2) }
    #expect(throws: ToeplitzError.self) { try Linear(inFeatures: 2, outFeatures: 2).weightNorm().spectralNorm() }
  }

  /// The estimate goes to the largest singular value: the weight's becomes 1.
  @Test func valuesConverge() throws {
    let layer = try Linear(inFeatures: 6, outFeatures: 4, bias: false, dtype: .float64)
      .spectralNorm(iterations: 200, generator: Generator(seed: 1))
    _ = try layer(randomTensor([1, 6]))
    var x = try randomTensor([6, 1], seed: 3)
    let weight = try layer.weight.value
    for _ in 0..<200 {
      x = try weight.transposed(0, 1).matmul(weight.matmul(x))
      x = try x / (x * x).sum().sqrt()
    }
    let y = try weight.matmul(x)
    #expect(abs(try (y * y).sum().item(Double.self) - 1) < 1e-9)
  }
}
