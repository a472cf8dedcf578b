import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN

/// Batch normalisation multiplied into the convolution before it, against the two layers called one after the other.
@Suite struct FoldedNormTests {
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

  /// Compares `layer(x, normalizedBy: norm)` with `norm(layer(x))` and returns whether the bits are the same.
  private func compare(
    _ layer: ConvolutionLayer, _ norm: any BatchNormLayer, _ size: [Int], _ epilogue: Epilogue = .init()
  ) throws -> Bool {
    let dtype = layer.weight.spec.dtype
    let x = try Generator(seed: 3).normal(Shape([2, layer.geometry.inChannels] + size), dtype: dtype)
    let apart = try epilogue.finish(norm(layer(x)))
    let folded = try layer.normalized(x, norm, epilogue)
    let distance = try folded.distance(to: apart)
    #expect(distance.absolute <= (dtype == .float64 ? 1e-13 : 3e-6) * (1 + distance.scale), "\(layer) \(distance)")
    return try folded.sameBits(as: apart)
  }

  @Test func `folded is the same as one after the other`() throws {
    let source = Generator(seed: 1)
    for dtype in [DType.float32, .float64] {
      for groups in [1, 3] {
        _ = try compare(
          Conv2d(
            inChannels: 6, outChannels: 9, kernelSize: [3, 2], padding: 1, groups: groups, bias: groups == 1,
            dtype: dtype, generator: source), norm(Rank2.self, 9, dtype: dtype), [7, 9])
        _ = try compare(
          ConvTranspose2d(
            inChannels: 6, outChannels: 9, kernelSize: [4, 3], stride: 2, groups: groups, bias: groups == 3,
            dtype: dtype, generator: source), norm(Rank2.self, 9, bias: false, dtype: dtype), [5, 4])
      }
      _ = try compare(
        WeightNormConv1d(inChannels: 4, outChannels: 5, kernelSize: 3, dtype: dtype, generator: source),
        norm(Rank1.self, 5, affine: false, dtype: dtype), [40])
      _ = try compare(
        WeightNormConvTranspose1d(
          inChannels: 4, outChannels: 6, kernelSize: 4, stride: 2, groups: 2, dtype: dtype, generator: source),
        norm(Rank1.self, 6, dtype: dtype), [40])
      _ = try compare(
        Conv3d(inChannels: 2, outChannels: 3, kernelSize: 2, dtype: dtype, generator: source),
        norm(Rank3.self, 3, dtype: dtype), [4, 5, 6])
    }
  }

  @Test func `what follows the normalisation is fused too`() throws {
    let layer = try Conv2d(inChannels: 4, outChannels: 8, kernelSize: 3, generator: Generator(seed: 1))
    let norm = try norm(Rank2.self, 8)
    let x = try Generator(seed: 3).normal([2, 4, 8, 8])
    let residual = try Generator(seed: 4).normal([2, 8, 6, 6])
    let epilogue = Epilogue(inputSlope: 0.1, outputScale: 0.5, outputSlope: 0)
    let apart = try ((norm(layer(x.leakyReLU(negativeSlope: 0.1))) + residual) * 0.5).relu()
    let folded = try layer(x, normalizedBy: norm, epilogue: epilogue, adding: [residual])
    #expect(try folded.distance(to: apart).absolute < 1e-5)
    #expect(try folded.scalars(Float.self).contains(0))
    // In training nothing can be folded, and the same call gives the batch's own statistics.
    norm.train()
    let means = try layer(x, normalizedBy: norm, epilogue: Epilogue(inputSlope: 0.1))
    let fresh = try self.norm(Rank2.self, 8).train()
    #expect(try means.sameBits(as: fresh(layer(x.leakyReLU(negativeSlope: 0.1)))))
  }

  @Test func `changed values are noticed`() throws {
    let layer = try Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, generator: Generator(seed: 1))
    let norm = try norm(Rank1.self, 4)
    let x = try Generator(seed: 3).normal([1, 3, 50])
    #expect(layer.packedByteCount == 0)
    var last = try layer(x, normalizedBy: norm)
    #expect(try layer(x, normalizedBy: norm).sameBits(as: last))
    #expect(layer.packedByteCount >= 4 * (3 * 4 * 3 + 4))
    let parameters =
      layer.namedParameters().map(\.parameter)
      + (norm.namedParameters() + norm.namedBuffers()).map(\.parameter).filter { $0.value.dtype == .float32 }
    #expect(parameters.count == 6)
    for parameter in parameters {
      // Once in place, once by another tensor.
      try parameter.value.withMutableElements(Float.self) { $0[1] += 0.5 }
      for _ in 0..<2 {
        let now = try layer(x, normalizedBy: norm)
        #expect(try !now.sameBits(as: last))
        #expect(try now.distance(to: norm(layer(x))).absolute < 1e-5)
        last = now
        parameter.value = try parameter.value * 1.25
      }
      last = try layer(x, normalizedBy: norm)
    }
    // Another normalisation after the same layer.
    let other = try self.norm(Rank1.self, 4, seed: 9)
    #expect(try layer(x, normalizedBy: other).distance(to: other(layer(x))).absolute < 1e-5)
    #expect(try layer(x, normalizedBy: norm).sameBits(as: last))
  }

  /// Somebody's own layers, whose values only they know.
  private final class Doubled: Conv<Rank1> {
    override func forward(_ x: Tensor) throws -> Tensor { try super.forward(x) * 2 }
  }
  private final class Shifted: BatchNorm<Rank1> {
    override func forward(_ x: Tensor) throws -> Tensor { try super.forward(x) + 1 }
  }

  @Test func `what cannot be folded is computed apart`() throws {
    let conv = try Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, generator: Generator(seed: 1))
    #expect(try !compare(conv, norm(Rank1.self, 4), [50]))
    #expect(
      try compare(
        Doubled(inChannels: 3, outChannels: 4, kernelSize: 3), norm(Rank1.self, 4), [50], .init(outputSlope: 0))
    )
    #expect(try compare(conv, Shifted(numFeatures: 4).eval(), [50]))
    #expect(try compare(conv, BatchNorm1d(numFeatures: 4, trackRunningStats: false).eval(), [50]))
    let half = try Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, dtype: .float16)
    #expect(try compare(half, norm(Rank1.self, 4, dtype: .float16), [50]))
    // Channels last: the normalisation takes axis 1 for the channels.
    let last = try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 1, layout: .channelsLast)
    #expect(try compare(last, norm(Rank1.self, 4), [4]))
  }

  @Test func `what does not fit is refused`() throws {
    let conv = try Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3)
    let x = try Tensor.ones([1, 3, 9])
    #expect(refusal { _ = try conv(x, normalizedBy: norm(Rank1.self, 5)) }.contains("5 channels"))
    #expect(refusal { _ = try conv(x.squeezed(0), normalizedBy: norm(Rank1.self, 4)) }.contains("channels on axis 1"))
    #expect(refusal { _ = try conv(x, normalizedBy: norm(Rank1.self, 4, dtype: .float64)) }.contains("float32"))
    #expect(
      refusal { _ = try conv(Tensor.ones([1, 2, 9]), normalizedBy: norm(Rank1.self, 4)) }.contains("3 input"))
  }

  @Test func `a sequence fuses convolutions with what follows`() throws {
    let source = Generator(seed: 2)
    let layers: [any UnaryLayer] = [
      try Conv2d(inChannels: 3, outChannels: 8, kernelSize: 3, bias: false, generator: source),
      try norm(Rank2.self, 8), ReLU(),
      try ConvTranspose2d(inChannels: 8, outChannels: 4, kernelSize: 2, stride: 2, generator: source),
      LeakyReLU(negativeSlope: 0.2),
      try Conv2d(inChannels: 4, outChannels: 4, kernelSize: 3, generator: source), try norm(Rank2.self, 4, seed: 8),
      ReLU6(), try norm(Rank2.self, 4), ReLU(),
      try Conv2d(inChannels: 4, outChannels: 2, kernelSize: 1, generator: source),
    ]
    let model = Sequential(layers).eval()
    let x = try Generator(seed: 3).normal([2, 3, 12, 12])
    let apart = try layers.reduce(x) { try $1($0) }
    #expect(try model(x).distance(to: apart).absolute < 2e-5)
    // A fused rectifier changes no bit.
    #expect(
      try Sequential(Array(layers[3...4])).eval()(model.layers[0](x)).sameBits(as: layers[4](layers[3](layers[0](x)))))
    // Every layer still is a call of its own for who listens, under the same keys.
    let summary = try model.summary(inputShape: [1, 3, 12, 12])
    #expect(summary.rows.map(\.path) == (0..<11).map { "\($0)" } + [""])
    #expect(model.stateDictionary().keys.filter { $0.hasPrefix("1.") }.count == 5)
    #expect(model.children.count == 11)
    // In training the statistics are the batch's, which moves the running ones.
    let before = try #require(model.stateDictionary()["1.running_mean"])
    model.train()
    _ = try model(x)
    #expect(try model.stateDictionary()["1.running_mean"]?.sameBits(as: before) == false)
  }

  @Test func `a sequence keeps half precision and errors as they are`() throws {
    let source = Generator(seed: 2)
    let layers: [any UnaryLayer] = [
      try Conv1d(inChannels: 3, outChannels: 8, kernelSize: 3, dtype: .float16, generator: source),
      LeakyReLU(negativeSlope: 0.3),
    ]
    let x = try Generator(seed: 3).normal([2, 3, 12], dtype: .float16)
    #expect(try Sequential(layers)(x).sameBits(as: layers.reduce(x) { try $1($0) }))
    let model = try Sequential(ReLU(), Conv1d(inChannels: 3, outChannels: 8, kernelSize: 3), ReLU())
    let error = #expect(throws: ToeplitzError.self) { try model(Tensor.ones([1, 2, 9])) }
    #expect(error?.path == "1")
  }

  @Test func activationsAfterConvolutionsAreComputedInTheSamePass() throws {
    let activations: [any UnaryLayer] = [
      ReLU(), ReLU6(), LeakyReLU(negativeSlope: 0.3), ELU(alpha: 0.5), SELU(), GELU(), GELU(approximate: .tanh),
      Sigmoid(),
      SiLU(), Mish(), Tanh(), Hardswish(), Hardsigmoid(), Softsign(), try Softplus(beta: 2), try Hardtanh(minVal: -0.1),
    ]
    let generator = Generator(seed: 9)
    for activation in activations {
      let layer = try Conv2d(inChannels: 3, outChannels: 10, kernelSize: 3, generator: generator)
      let x = try generator.normal([2, 3, 9, 11])
      #expect(fusedActivation(activation) != nil, "\(activation)")
      #expect(try Sequential(layer, activation)(x).sameBits(as: activation(layer(x))), "\(activation)")
    }
    // A subclass may compute something else.
    final class Shifted: ReLU {
      override func forward(_ x: Tensor) throws -> Tensor { try x + Tensor([1], shape: [1]) }
    }
    #expect(fusedActivation(Shifted()) == nil)
  }
}
