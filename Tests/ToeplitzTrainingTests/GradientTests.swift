import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzOps
@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// A convolution, batch normalisation, a rectifier and a linear layer.
final class SmallNetwork: Module, UnaryLayer {
  let conv: Conv1d
  let norm: BatchNorm1d
  let act = LeakyReLU(negativeSlope: 0.1)
  let head: Linear
  init(dtype: DType = .float64, seed: UInt64 = 3) throws {
    let generator = Generator(seed: seed)
    conv = try Conv1d(
      inChannels: 2, outChannels: 3, kernelSize: 3, padding: 1, dtype: dtype, generator: generator)
    norm = try BatchNorm1d(numFeatures: 3, dtype: dtype)
    head = try Linear(inFeatures: 5, outFeatures: 2, dtype: dtype, generator: generator)
  }
  func forward(_ x: Tensor) throws -> Tensor { try head(act(norm(conv(x)))) }
}

func randomTensor(_ shape: TensorShape, seed: UInt64 = 1, dtype: DType = .float64) throws -> Tensor {
  var random = RandomSource(seed: seed)
  return try Tensor.randomNormal(shape, dtype: dtype, using: &random)
}

@Suite struct GradientTests {
  private func loss(_ model: SmallNetwork, _ x: Tensor) throws -> Tensor {
    let y = try model(x)
    return try (y * y * y + y).mean()
  }

  /// The slope of `function` along `direction` of one parameter, by central differences.
  private func slope(_ parameter: Parameter, _ direction: Tensor, _ function: () throws -> Tensor) throws -> Double {
    let value = parameter.value
    defer { parameter.value = value }
    func at(_ step: Double) throws -> Double {
      parameter.value = try value + direction * step
      return try function().item(Double.self)
    }
    return try (at(1e-5) - at(-1e-5)) / 2e-5
  }

  @Test func gradientsOfParametersAgreeWithDifferences() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let (value, gradients) = try valueAndGradient(of: model, strict: true) { try loss($0, x) }
    #expect(try value.item(Double.self) == loss(model, x).item(Double.self))
    #expect(gradients.unreached.isEmpty)
    for (name, parameter) in model.namedParameters() {
      let direction = try randomTensor(parameter.value.shape, seed: 9)
      let gradient = try #require(gradients[parameter])
      let expected = try slope(parameter, direction) { try loss(model, x) }
      let got = try (gradient * direction).sum().item(Double.self)
      #expect(abs(got - expected) < 1e-7 * max(1, abs(expected)), "\(name): \(got), \(expected)")
      #expect(try gradients[name]!.sameBits(as: gradient))
    }
  }

  @Test func nothingOutlivesTheCall() throws {
    let model = try SmallNetwork()
    let before = model.stateDictionary()
    let x = try randomTensor([4, 2, 5])
    _ = try valueAndGradient(of: model) { try loss($0, x) }
    for (name, value) in model.stateDictionary() {
      #expect(!value.isTraced)
      #expect(
        name.contains("running") || name.contains("num_batches") || value.isSameView(as: before[name]!), "\(name)")
    }
  }

  @Test func buffersAreCommittedOnceAndOnlyOnSuccess() throws {
    let (model, other) = (try SmallNetwork(), try SmallNetwork())
    let x = try randomTensor([4, 2, 5])
    _ = try other(x)
    _ = try valueAndGradient(of: model) { try loss($0, x) }
    for (name, value) in other.stateDictionary() {
      #expect(try value.sameBits(as: model.stateDictionary()[name]!), "\(name)")
    }
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try valueAndGradient(of: model) { model -> Tensor in
        _ = try loss(model, x)
        throw Stop()
      }
    }
    for (name, value) in other.stateDictionary() {
      #expect(try value.sameBits(as: model.stateDictionary()[name]!), "\(name)")
    }
  }

  /// Also those of models that nothing is differentiated of.
  @Test func buffersOfOtherModelsAreCommittedToo() throws {
    let (model, other) = (try SmallNetwork(), try SmallNetwork())
    let x = try randomTensor([4, 2, 5])
    _ = try other(x)
    _ = try gradient(at: [x]) { try loss(model, $0[0]) }
    for (name, value) in other.stateDictionary() {
      #expect(try value.sameBits(as: model.stateDictionary()[name]!), "\(name)")
    }
    let outer = try SmallNetwork()
    let step = CompiledStep(outer, try Optimizer(SGD(lr: 0.1))) { outer, _, _ in [try model(x).mean() + outer(x).mean()]
    }
    let error = #expect(throws: ToeplitzError.self) { try step() }
    #expect(error?.got.contains("another") == true)
    #expect(!model.stateDictionary().values.contains { $0.isTraced })
  }

  @Test func valuesMayBeReadInside() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let plain = try valueAndGradient(of: model) { try loss($0, x) }
    var seen = 0.0
    let (value, gradients) = try valueAndGradient(of: model) { model in
      let value = try loss(model, x)
      seen = try value.item(Double.self)
      return seen > 1e9 ? try value * 0 : value
    }
    #expect(try value.item(Double.self) == seen)
    for (name, gradient) in gradients.named { #expect(try gradient.sameBits(as: plain.gradients[name]!)) }
  }

  @Test func secondDerivativesByNesting() throws {
    let x = try randomTensor([6])
    // d/dx Σ (d/dx Σ x⁴)² = d/dx Σ 16 x⁶ = 96 x⁵
    let second = try gradient(at: [x]) { outer in
      let inner = try gradient(at: outer) { try ($0[0] * $0[0] * $0[0] * $0[0]).sum() }[0]
      return try (inner * inner).sum()
    }[0]
    let expected = try x.pow(5) * 96
    #expect(try second.distance(to: expected).absolute < 1e-9)
  }

  /// A gradient penalty: the norm of the gradient with respect to the input, differentiated by parameters.
  @Test func gradientPenaltyAgreesWithDifferences() throws {
    let model = try SmallNetwork().eval()
    let x = try randomTensor([3, 2, 5])
    func penalty(_ model: SmallNetwork) throws -> Tensor {
      let dx = try gradient(at: [x]) { try model($0[0]).pow(3).sum() }[0]
      return try (dx * dx).mean()
    }
    let gradients = try valueAndGradient(of: model) { try penalty($0) }.gradients
    for (name, parameter) in model.namedParameters() {
      let direction = try randomTensor(parameter.value.shape, seed: 9)
      let expected = try slope(parameter, direction) { try penalty(model) }
      let got = try gradients[parameter].map { try ($0 * direction).sum().item(Double.self) } ?? 0
      #expect(abs(got - expected) < 1e-6 * max(1, abs(expected)), "\(name): \(got), \(expected)")
    }
  }

  @Test func severalModelsAndOutputs() throws {
    let (a, b) = (try SmallNetwork(seed: 1), try SmallNetwork(seed: 2))
    let x = try randomTensor([4, 2, 5])
    let result = try valueAndGradient(of: a, b) { (a, b) -> (value: Tensor, outputs: [Tensor]) in
      let (u, v) = (try a(x), try b(x))
      return (value: try (u * v).mean(), outputs: [u, v])
    }
    #expect(result.outputs.map(\.shape) == [[4, 3, 2], [4, 3, 2]])
    #expect(result.gradients["0.conv.weight"] != nil && result.gradients["1.head.bias"] != nil)
    let alone = try valueAndGradient(of: a) { try ($0(x) * result.outputs[1]).mean() }.gradients
    #expect(try alone["head.weight"]!.distance(to: result.gradients["0.head.weight"]!).absolute < 1e-14)
    // Of a model that is no argument nothing is differentiated.
    #expect(alone[b.head.bias!] == nil && alone[a.head.bias!] != nil)
  }

  @Test func vectorJacobianProducts() throws {
    let (a, b) = (try randomTensor([3, 4], seed: 1), try randomTensor([4, 2], seed: 2))
    let c = try randomTensor([3, 2], seed: 3)
    let (results, gradients) = try vjp(at: [a, b]) {
      [try $0[0].matmul($0[1])]
    } cotangents: { _ in
      [c]
    }
    #expect(try results[0].sameBits(as: a.matmul(b)))
    #expect(try gradients[0].distance(to: c.matmul(b.transposed(0, 1))).absolute < 1e-14)
    #expect(try gradients[1].distance(to: a.transposed(0, 1).matmul(c)).absolute < 1e-14)
  }

  @Test func unreachedParametersAreNamed() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let gradients = try valueAndGradient(of: model) { try $0.conv(x).mean() }.gradients
    #expect(gradients.unreached == ["norm.weight", "norm.bias", "head.weight", "head.bias"])
    let strict = #expect(throws: ToeplitzError.self) {
      try valueAndGradient(of: model, strict: true) { try $0.conv(x).mean() }
    }
    #expect(strict?.got.contains("'norm.weight'") == true)
    let none = #expect(throws: ToeplitzError.self) { try valueAndGradient(of: model) { _ in try x.mean() } }
    #expect(none?.got.contains("none") == true)
    let stopped = #expect(throws: ToeplitzError.self) {
      try valueAndGradient(of: model) { try $0(x).stopGradient().mean() }
    }
    #expect(stopped?.got.contains("none") == true)
  }

  /// A layer whose result comes from the bits of its input.
  private final class Opaque: Module, UnaryLayer {
    let conv: Conv1d
    let bits = Bits()
    init() throws {
      conv = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, dtype: .float64)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try bits(conv(x)) }
  }
  private final class Bits: Module, UnaryLayer {
    func forward(_ x: Tensor) throws -> Tensor { try x.reinterpreted(as: .int64).reinterpreted(as: .float64) }
  }

  @Test func operationsWithoutGradientAreNamedWithTheirLayer() throws {
    let error = #expect(throws: ToeplitzError.self) {
      try valueAndGradient(of: Opaque()) { try $0(randomTensor([1, 1, 4])).mean() }
    }
    #expect(error?.operation == "reinterpret" && error?.path == "bits", "\(error.map(String.init(describing:)) ?? "")")
  }

  @Test func valuesMustBeOneNumber() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let error = #expect(throws: ToeplitzError.self) { try valueAndGradient(of: model) { try $0(x) } }
    #expect(error?.got == "float64[4, 3, 2]")
  }

  @Test func nonFiniteNumbersNameTheirLayer() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let bias = model.head.bias!
    bias.value = try Tensor.full([2], .infinity, dtype: .float64)
    let error = #expect(throws: ToeplitzError.self) {
      try valueAndGradient(of: model, onNonFinite: .throw) { try $0(x).mean() }
    }
    #expect(error?.path == "head", "\(error.map(String.init(describing:)) ?? "")")
    let ignored = try valueAndGradient(of: model) { try $0(x).mean() }
    #expect(try !ignored.value.item(Double.self).isFinite)
  }

  @Test func checkpointedSegmentsGiveTheSameBits() throws {
    let (model, other) = (try SmallNetwork(), try SmallNetwork())
    let x = try randomTensor([4, 2, 5])
    let plain = try valueAndGradient(of: model) { try loss($0, x) }
    let saved = try valueAndGradient(of: other) { model in
      let y = try checkpointed { try model.act(model.norm(model.conv(x))) }
      let z = try checkpointed { try model.head(y) }
      return try (z * z * z + z).mean()
    }
    #expect(try plain.value.sameBits(as: saved.value))
    for (name, gradient) in plain.gradients.named {
      #expect(try gradient.sameBits(as: saved.gradients[name]!), "\(name)")
    }
    for (name, value) in model.stateDictionary() {
      #expect(try value.sameBits(as: other.stateDictionary()[name]!), "\(name)")
    }
  }

  /// Float32 has kernels of its own where float64 has not.
  @Test func gradientsOfFloat32AreThoseOfFloat64() throws {
    let pool = try MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
    let norm = try BatchNorm2d(numFeatures: 3)
    let wide = try BatchNorm2d(numFeatures: 3, dtype: .float64)
    let x = try randomTensor([2, 3, 9, 40])
    func loss(_ x: Tensor, _ norm: BatchNorm2d) throws -> Tensor {
      let y = try pool(norm(x).relu())
      return try (y * y * y + y.leakyReLU(negativeSlope: 0.1)).sum()
    }
    let narrow = try gradient(at: [x.cast(to: .float32)]) { try loss($0[0], norm) }[0]
    let exact = try gradient(at: [x]) { try loss($0[0], wide) }[0]
    let distance = try narrow.cast(to: .float64).distance(to: exact)
    #expect(distance.absolute < 1e-5 * distance.scale, "\(distance)")
  }

  @Test func gradientsAreValues() throws {
    let model = try SmallNetwork()
    let x = try randomTensor([4, 2, 5])
    let g = try valueAndGradient(of: model) { try loss($0, x) }.gradients
    func flat(_ gradients: Gradients) throws -> [Double] {
      try model.parameters().flatMap { try gradients[$0]!.scalars(Double.self) }
    }
    let norm = try flat(g).reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(abs(try g.norm().item(Double.self) - norm) < 1e-12 * norm)
    let clipped = try g.clipped(maxNorm: norm / 2)
    #expect(abs(try clipped.gradients.norm().item(Double.self) - norm / 2) < 1e-5 * norm)
    #expect(try flat(g.clipped(maxNorm: norm * 2).gradients) == flat(g))
    #expect(try flat(g.clipped(value: 0.01)).allSatisfy { abs($0) <= 0.01 })
    #expect(try flat(Gradients.average([g, g, g * 4])).elementsEqual(flat(g)) { abs($0 - 2 * $1) < 1e-12 * abs($1) })
    #expect(try g.areFinite() && !(g * .infinity).areFinite())
    let folder = try Fixtures.temporaryFolder()
    try g.save(to: folder.path + "/g.safetensors")
    #expect(try flat(Gradients.load(contentsOf: folder.path + "/g.safetensors", for: model)) == flat(g))
    #expect(throws: ToeplitzError.self) {
      try Gradients.load(
        contentsOf: folder.path + "/g.safetensors", for: Conv1d(inChannels: 2, outChannels: 3, kernelSize: 3))
    }
    #expect(throws: ToeplitzError.self) { try g.clipped(maxNorm: -1) }
    #expect(throws: ToeplitzError.self) { try Gradients.average([]) }
  }
}
