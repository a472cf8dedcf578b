import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzNN
@testable import ToeplitzOps

/// Modules traced and compiled, against the same modules called layer by layer.
@Suite struct CompiledModuleTests {
  private func specs(_ x: Tensor) -> [TensorSpec] { [x.spec] }

  /// A normalisation in evaluation mode with random numbers everywhere.
  private func norm<R: SpatialRank>(
    _ rank: R.Type, _ features: Int, affine: Bool = true, bias: Bool = true, dtype: DType = .float32, seed: UInt64 = 5
  ) throws -> BatchNorm<R> {
    let norm = try BatchNorm<R>(numFeatures: features, eps: 1e-3, affine: affine, bias: bias, dtype: dtype)
    let source = Generator(seed: seed)
    for (name, parameter) in norm.namedParameters() + norm.namedBuffers() where parameter.value.dtype == dtype {
      parameter.value = try source.uniform([features], from: name == "running_var" ? 0.1 : -2, to: 2, dtype: dtype)
    }
    return norm.eval()
  }

  /// Checks that a model compiled gives what it gives layer by layer, in `steps` steps.
  private func check(
    _ model: Sequential, _ shape: TensorShape, dtype: DType = .float32, steps: Int, isExact: Bool = false,
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    model.eval()
    let x = try Generator(seed: 3).normal(shape, dtype: dtype)
    let compiled = model.compiled()
    let (expected, got) = (try model(x), try compiled(x))
    let nodes = try compiled.loweredGraph(for: [x.spec]).nodes
    #expect(nodes.count == steps, "\(nodes.map(\.operation.name))", sourceLocation: location)
    if isExact {
      #expect(try got.sameBits(as: expected), sourceLocation: location)
    } else {
      let distance = try got.distance(to: expected)
      let unit = dtype == .float64 ? 1e-13 : dtype == .float32 ? 4e-6 : 4e-3
      #expect(distance.absolute <= unit * (1 + distance.scale), "\(distance)", sourceLocation: location)
    }
  }

  @Test(arguments: [DType.float32, .float64, .float16])
  func normalisationsDisappearInConvolutions(dtype: DType) throws {
    let source = Generator(seed: 1)
    for groups in [1, 3] {
      try check(
        Sequential(
          Conv2d(
            inChannels: 6, outChannels: 9, kernelSize: [3, 2], padding: 1, groups: groups, bias: groups == 1,
            dtype: dtype, generator: source), norm(Rank2.self, 9, dtype: dtype)), [2, 6, 7, 9], dtype: dtype, steps: 1)
      try check(
        Sequential(
          ConvTranspose2d(
            inChannels: 6, outChannels: 9, kernelSize: [4, 3], stride: 2, groups: groups, bias: groups == 3,
            dtype: dtype, generator: source), norm(Rank2.self, 9, bias: false, dtype: dtype)), [2, 6, 5, 4],
        dtype: dtype, steps: 1)
    }
    try check(
      Sequential(
        WeightNormConv1d(inChannels: 4, outChannels: 5, kernelSize: 3, dtype: dtype, generator: source),
        norm(Rank1.self, 5, affine: false, dtype: dtype)), [2, 4, 40], dtype: dtype, steps: 1)
    try check(
      Sequential(
        Conv3d(inChannels: 2, outChannels: 3, kernelSize: 2, dtype: dtype, generator: source),
        norm(Rank3.self, 3, dtype: dtype)), [2, 2, 4, 5, 6], dtype: dtype, steps: 1)
  }

  @Test func activationsAreAppliedByTheConvolution() throws {
    let activations: [any UnaryLayer] = [
      ReLU(), ReLU6(), LeakyReLU(negativeSlope: 0.3), ELU(alpha: 0.5), SELU(), GELU(), GELU(approximate: .tanh),
      Sigmoid(), SiLU(), Mish(), Tanh(), Hardswish(), Hardsigmoid(), Softsign(), try Softplus(beta: 2),
      try Hardtanh(minVal: -0.1),
    ]
    let generator = Generator(seed: 9)
    for activation in activations {
      let layer = try Conv2d(inChannels: 3, outChannels: 10, kernelSize: 3, generator: generator)
      try check(Sequential(layer, activation), [2, 3, 9, 11], steps: 1, isExact: true)
      try check(
        Sequential(Linear(inFeatures: 7, outFeatures: 10, generator: generator), activation), [2, 3, 4, 7], steps: 1,
        isExact: true)
    }
  }

  @Test func layersAroundAConvolutionAreFused() throws {
    let source = Generator(seed: 2)
    let conv = try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 3, generator: source)
    try check(Sequential(LeakyReLU(negativeSlope: 0.2), conv), [2, 4, 50], steps: 1, isExact: true)
    try check(Sequential(ZeroPad1d(padding: 2), conv), [2, 4, 50], steps: 1, isExact: true)
    try check(Sequential(ReflectionPad1d(padding: 3), conv, ReLU()), [2, 4, 50], steps: 1, isExact: true)
    let square = try Conv2d(inChannels: 2, outChannels: 4, kernelSize: 3, generator: source)
    try check(Sequential(ReflectionPad2d(padding: 2), square), [2, 2, 20, 9], steps: 1, isExact: true)
    // Padding of another kind, or a pad before a rectifier, stays what it is.
    let padded = try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 3, padding: 1, generator: source)
    try check(Sequential(ReflectionPad1d(padding: 3), padded), [2, 4, 50], steps: 2, isExact: true)
    try check(Sequential(ConstantPad1d(padding: 1, value: 2), conv), [2, 4, 50], steps: 2, isExact: true)
    try check(
      Sequential(conv, norm(Rank1.self, 4), ReLU6(), norm(Rank1.self, 4), ReLU()), [2, 4, 30], steps: 2)
    try check(Sequential(ReLU(), Tanh(), Sigmoid()), [2, 40000], steps: 1, isExact: true)
  }

  /// x + second(leaky(first(leaky(x)))), and another such unit's result added.
  private final class Units: Module, UnaryLayer {
    let layers: ModuleList<WeightNormConv1d>
    init(dtype: DType) throws {
      let generator = Generator(seed: 6)
      layers = try ModuleList(
        (0..<4).map { index in
          try WeightNormConv1d(
            inChannels: index % 2 == 0 ? 12 : 20, outChannels: index % 2 == 0 ? 20 : 12, kernelSize: 3,
            padding: index + 1, dilation: index + 1, dtype: dtype, generator: generator)
        })
    }
    func forward(_ x: Tensor) throws -> Tensor {
      func unit(_ x: Tensor, _ first: Int) throws -> Tensor {
        let inner = try layers[first](x.leakyReLU(negativeSlope: 0.1))
        return try x + layers[first + 1](inner.leakyReLU(negativeSlope: 0.2))
      }
      return try (unit(x, 0) + unit(x, 2)) * 0.5
    }
  }

  @Test(arguments: [DType.float32, .float16])
  func residualUnitsGiveTheBitsOfTheirLayers(dtype: DType) throws {
    let model = try Units(dtype: dtype).eval()
    let compiled = model.compiled()
    for shape in [TensorShape([2, 12, 301]), [12, 50]] {
      let x = try Generator(seed: 7).uniform(shape, from: -1, to: 1, dtype: dtype)
      let (got, expected) = (try compiled(x), try model(x))
      if dtype == .float32 {
        #expect(try got.sameBits(as: expected), "\(shape)")
      } else {
        // Fused, half precision is rounded once.
        #expect(try got.distance(to: expected).absolute < 4e-3, "\(shape)")
      }
      let nodes = try compiled.loweredGraph(for: [x.spec]).nodes
      #expect(nodes.map(\.operation.name) == ["ResidualUnit", "ResidualUnit"])
      #expect(nodes[1].path == "layers.3", "\(nodes[1].path)")
    }
  }

  /// Weights change between calls, by assignment, loading or another mode.
  @Test func changesAreSeen() throws {
    let model = try Sequential(
      Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, generator: Generator(seed: 1)), norm(Rank1.self, 4), ReLU())
    model.eval()
    let compiled = model.compiled()
    let x = try Generator(seed: 2).normal([1, 3, 20])
    let first = try compiled(x)
    #expect(try compiled(x).sameBits(as: first))
    let other = try Sequential(
      Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, generator: Generator(seed: 8)), norm(Rank1.self, 4, seed: 9),
      ReLU())
    try model.load(other.stateDictionary())
    let second = try compiled(x)
    #expect(try second.distance(to: first).absolute > 1e-3)
    #expect(try second.distance(to: model(x)).absolute < 1e-5)
    // The mode changes nothing.
    model.train()
    #expect(try compiled(x).sameBits(as: second))
    #expect(model.isTraining)
  }

  /// Any length, from several tasks, by one executable that owns the model.
  @Test func executablesAreSharedByTasks() async throws {
    func model() throws -> Units { try Units(dtype: .float32).eval() }
    let executable = try Executable(tracing: model())
    let inputs = try (1...12).map { try Generator(seed: UInt64($0)).normal([1, 12, 20 + $0 % 5]) }
    let expected = try inputs.map { try model()($0) }
    let results = try await withThrowingTaskGroup(of: (Int, Tensor).self) { group in
      for (index, x) in inputs.enumerated() { group.addTask { (index, try executable(x)) } }
      return try await group.reduce(into: [Int: Tensor]()) { $0[$1.0] = $1.1 }
    }
    for (index, result) in results { #expect(try result.sameBits(as: expected[index])) }
  }

  /// What cannot be traced is refused, naming the operation and the layer.
  @Test func readingElementsIsRefused() throws {
    final class Reader: Module, UnaryLayer {
      let conv: Conv1d
      init() {
        conv = try! Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1)
      }
      func forward(_ x: Tensor) throws -> Tensor {
        let y = try conv(x)
        return try y.scalars(Float.self)[0] > 0 ? y : y.negated()
      }
    }
    let model = Reader().eval()
    let error = #expect(throws: ToeplitzError.self) { try model.compiled()(Tensor.ones([1, 1, 4])) }
    #expect(error?.description.contains("Conv1d of 'conv'") == true, "\(String(describing: error))")
    // The model is as it was.
    #expect(!model.conv.weight.spec.shape.isEmpty)
    #expect(try model(Tensor.ones([1, 1, 4])).count == 4)
  }

  @Test func assignedBuffersAreRefused() throws {
    final class Counter: Module, UnaryLayer {
      let total = Parameter(try! Tensor.zeros([1]), isBuffer: true)
      func forward(_ x: Tensor) throws -> Tensor {
        total.value = try total.value + x
        return total.value
      }
    }
    let model = Counter().eval()
    let error = #expect(throws: ToeplitzError.self) { try model.compiled()(Tensor.ones([1])) }
    #expect(error?.description.contains("'total'") == true, "\(String(describing: error))")
    #expect(try model.total.value.item(Float.self) == 0)
  }

  /// A model that calls a compiled part of itself is compiled as a whole.
  @Test func compiledPartsNest() throws {
    final class Whole: Module, UnaryLayer {
      let body: Conv1d
      lazy var fast = body.compiled()
      init(_ generator: Generator) throws {
        body = try Conv1d(inChannels: 2, outChannels: 2, kernelSize: 3, padding: 1, generator: generator)
      }
      func forward(_ x: Tensor) throws -> Tensor { try fast(x.relu()).relu() }
    }
    let model = try Whole(Generator(seed: 4)).eval()
    let x = try Generator(seed: 5).normal([1, 2, 9])
    let expected = try model(x)
    let compiled = model.compiled()
    for _ in 0..<2 { #expect(try compiled(x).sameBits(as: expected)) }
    #expect(try model(x).sameBits(as: expected))
    #expect(try compiled.loweredGraph(for: [x.spec]).nodes.count <= 2)
  }

  @Test func inputsAreChecked() throws {
    let model = try Conv1d(inChannels: 3, outChannels: 2, kernelSize: 3).eval()
    let compiled = model.compiled()
    let error = #expect(throws: ToeplitzError.self) { try compiled(Tensor.ones([1, 2, 9])) }
    #expect(error?.description.contains("3 input channels") == true)
    #expect(throws: ToeplitzError.self) { try compiled() }
    #expect(throws: ToeplitzError.self) { try compiled(Tensor.ones([1, 3, 9]), Tensor.ones([1, 3, 9])) }
    #expect(try compiled(Tensor.ones([0, 3, 9])).shape == [0, 2, 7])
  }
}
