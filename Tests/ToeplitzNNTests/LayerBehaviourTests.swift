import Testing
import Toeplitz
import ToeplitzTestSupport

/// What golden data does not show: state, modes, element types, large tensors.
@Suite struct LayerBehaviourTests {
  private func random(_ shape: TensorShape, _ seed: UInt64 = 1, _ dtype: DType = .float32) throws -> Tensor {
    var source = RandomSource(seed: seed)
    return try Tensor.randomNormal(shape, dtype: dtype, using: &source)
  }

  @Test func stateDictionaryKeys() throws {
    func keys(_ module: Module) -> [String] { module.stateDictionary().keys.sorted() }
    let statistics = ["num_batches_tracked", "running_mean", "running_var"]
    #expect(try keys(Linear(inFeatures: 2, outFeatures: 3)) == ["bias", "weight"])
    #expect(try keys(Linear(inFeatures: 2, outFeatures: 3, bias: false)) == ["weight"])
    #expect(
      try keys(Linear(inFeatures: 2, outFeatures: 3).weightNorm()) == ["bias", "weight_g", "weight_v"])
    #expect(try keys(BatchNorm2d(numFeatures: 3)) == (["bias", "weight"] + statistics).sorted())
    #expect(try keys(BatchNorm2d(numFeatures: 3, affine: false)) == statistics)
    #expect(try keys(BatchNorm2d(numFeatures: 3, trackRunningStats: false)) == ["bias", "weight"])
    #expect(try keys(BatchNorm2d(numFeatures: 3, bias: false, trackRunningStats: false)) == ["weight"])
    #expect(try keys(InstanceNorm1d(numFeatures: 3)).isEmpty)
    #expect(try keys(InstanceNorm1d(numFeatures: 3, trackRunningStats: true)) == statistics)
    #expect(try keys(GroupNorm(numGroups: 1, numChannels: 2)) == ["bias", "weight"])
    #expect(try keys(LayerNorm(normalizedShape: [2], bias: false)) == ["weight"])
    #expect(try keys(PReLU()) == ["weight"])
    #expect(try keys(Snake(channels: 2)) == ["alpha"])
    #expect(try keys(Embedding(numEmbeddings: 2, embeddingDim: 2)) == ["weight"])
    #expect(try BatchNorm1d(numFeatures: 3).namedBuffers().map(\.name).sorted() == statistics)
    #expect(try BatchNorm1d(numFeatures: 3).parameterCount == 6)
    #expect(try keys(Sequential(Upsample(scaleFactor: 2), ZeroPad1d(padding: 1), Dropout())).isEmpty)
  }

  @Test(arguments: [DType.float64, .float16, .bfloat16])
  func conversionKeepsWholeNumbers(dtype: DType) throws {
    let layer = try BatchNorm1d(numFeatures: 3).to(dtype)
    _ = try layer(random([4, 3, 5], 1, dtype))
    let state = layer.stateDictionary()
    #expect(state["num_batches_tracked"]?.dtype == .int64)
    #expect(try state["num_batches_tracked"]?.item(Int64.self) == 1)
    for key in ["weight", "bias", "running_mean", "running_var"] { #expect(state[key]?.dtype == dtype) }
  }

  @Test func convertedLinearIsPackedAnew() throws {
    let layer = try Linear(inFeatures: 7, outFeatures: 5, generator: Generator(seed: 3))
    let x = try random([4, 7])
    let y = try layer(x)
    try layer.to(.float64)
    let wide = try layer(x.cast(to: .float64))
    #expect(wide.dtype == .float64)
    #expect(try wide.distance(to: y.cast(to: .float64)).absolute < 1e-5)
    try layer.weight.set(Tensor.zeros([5, 7], dtype: .float64))
    let zero = try layer(x.cast(to: .float64))
    let bias = try #require(layer.bias).value.expanded(to: [4, 5]).contiguous()
    #expect(try zero.sameBits(as: bias))
  }

  @Test func linearCountsItsWork() throws {
    let model = try Sequential(Flatten(startDim: 0, endDim: 1), Linear(inFeatures: 7, outFeatures: 5))
    let summary = try model.summary(inputShape: [2, 3, 7])
    #expect(summary.multiplyAdds == 6 * 7 * 5)
    #expect(summary.parameters == 40)
  }

  @Test func dropoutKeepsTheMean() throws {
    let count = 100_000
    let x = try Tensor.ones([count])
    for p in [0.1, 0.5, 0.9] {
      let layer = try Dropout(p: p, generator: Generator(seed: 7))
      let y = try layer(x).scalars(Float.self)
      let zeros = Double(y.filter { $0 == 0 }.count) / Double(count)
      // Five standard deviations.
      #expect(abs(zeros - p) < 5 * (p * (1 - p) / Double(count)).squareRoot(), "p \(p)")
      #expect(y.allSatisfy { $0 == 0 || $0 == Float(1 / (1 - p)) })
      #expect(try layer.eval()(x).sameBits(as: x))
      let again = try Dropout(p: p, generator: Generator(seed: 7))
      #expect(try again(x).scalars(Float.self) == y)
      #expect(try again(x).scalars(Float.self) != y)
    }
    #expect(try Dropout(p: 0.5)(random([4, 3], 1, .bfloat16)).dtype == .bfloat16)
  }

  /// Three batches with momentum nil: the running statistics are the means of the batches'.
  @Test func cumulativeStatisticsAreMeans() throws {
    let layer = try BatchNorm1d(numFeatures: 2, momentum: nil, dtype: .float64)
    var means = try Tensor.zeros([2], dtype: .float64)
    var variances = try Tensor.zeros([2], dtype: .float64)
    for seed in 1...3 {
      let x = try random([5, 2, 4], UInt64(seed), .float64)
      _ = try layer(x)
      means = try means + x.mean([0, 2]) / 3
      variances = try variances + x.variance([0, 2]) / 3
    }
    #expect(try layer.runningMean?.value.distance(to: means).absolute ?? 1 < 1e-14)
    #expect(try layer.runningVar?.value.distance(to: variances).absolute ?? 1 < 1e-14)
    #expect(try layer.numBatchesTracked?.value.item(Int64.self) == 3)
  }

  @Test func emptyBatches() throws {
    let empty = try Tensor.zeros([0, 4, 6])
    let layers: [any UnaryLayer] = try [
      BatchNorm1d(numFeatures: 4), InstanceNorm1d(numFeatures: 4), GroupNorm(numGroups: 2, numChannels: 4),
      LayerNorm(normalizedShape: [6]), ReLU6(), PReLU(numParameters: 4), Snake(channels: 4), Softmax(dim: 1),
      MaxPool1d(kernelSize: 1), AvgPool1d(kernelSize: 1), AdaptiveAvgPool1d(outputSize: 6),
      Upsample(scaleFactor: 1.1),
      Linear(inFeatures: 6, outFeatures: 6), Dropout(), ZeroPad1d(padding: 0),
      AdaptiveMaxPool1d(outputSize: 6),
      Upsample(scaleFactor: 1.1, mode: .linear),
    ]
    for layer in layers {
      #expect(try layer(empty).shape == [0, 4, 6], "\(layer)")
      #expect(try layer.eval()(empty).shape == [0, 4, 6], "\(layer)")
    }
  }

  /// Large inputs are computed in pieces by several threads: each sample gives what it gives alone.
  @Test func piecesGiveWhatTheWholeGives() throws {
    let x = try random([6, 8, 40, 70], 5)
    let layers: [any UnaryLayer] = try [
      BatchNorm2d(numFeatures: 8).eval(), InstanceNorm2d(numFeatures: 8),
      GroupNorm(numGroups: 2, numChannels: 8),
      LayerNorm(normalizedShape: [40, 70]), LayerNorm(normalizedShape: [70]), ReLU6(), Hardswish(),
      Softsign(),
      PReLU(numParameters: 8), PReLU(), Snake(channels: 8), Softmax(dim: 1), LogSoftmax(dim: -1), GLU(),
      MaxPool2d(kernelSize: 3, stride: 2, padding: 1), AvgPool2d(kernelSize: 3, stride: 1, padding: 1),
      AdaptiveAvgPool2d(outputSize: 7), AdaptiveMaxPool2d(outputSize: 1), Upsample(scaleFactor: 2),
      Upsample(scaleFactor: 2, mode: .bilinear), Upsample(scaleFactor: 1.5, mode: .bicubic),
      Linear(inFeatures: 70, outFeatures: 9), ReflectionPad2d(padding: 2), PixelShuffle(upscaleFactor: 2),
    ]
    for layer in layers {
      let whole = try layer(x)
      for sample in [0, 5] {
        let alone = try layer(x.slice(axis: 0, sample..<(sample + 1)))
        let part = try whole.slice(axis: 0, sample..<(sample + 1)).contiguous()
        #expect(try part.sameBits(as: alone.contiguous()), "\(layer)")
      }
    }
  }

  @Test func wholeNumbersPoolExactly() throws {
    let values: [Int64] = [Int64.min, 3, Int64.max - 1, Int64.max, 5, -7]
    let y = try MaxPool1d(kernelSize: 2)(Tensor(values, shape: [1, 6]))
    #expect(try y.scalars(Int64.self) == [3, Int64.max, 5])
    let bytes = try AdaptiveMaxPool1d(outputSize: 2)(Tensor([UInt8(200), 3, 255, 0], shape: [1, 4]))
    #expect(try bytes.scalars(UInt8.self) == [200, 255])
  }

  @Test func notANumberWins() throws {
    let x = try Tensor([Float.nan, 1, 2, .nan, .infinity, 3], shape: [1, 6])
    let pooled = try AdaptiveMaxPool1d(outputSize: 3)(x).scalars(Float.self)
    #expect(pooled[0].isNaN && pooled[1].isNaN && pooled[2] == .infinity)
    let soft = try Softmax(dim: 0)(Tensor([Float.infinity, 1, -Float.infinity])).scalars(Float.self)
    #expect(soft.allSatisfy { $0.isNaN })
    #expect(try ReLU()(Tensor([-Float.infinity, -1, .infinity])).scalars(Float.self) == [0, 0, .infinity])
  }
}
