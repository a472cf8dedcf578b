import Testing
import Toeplitz

/// Illegal options are refused when a layer is made, unfit inputs when it is called.
@Suite struct LayerErrorTests {
  private func expect(
    _ kind: ToeplitzError.Kind, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Any
  ) {
    do {
      _ = try body()
      Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as ToeplitzError {
      #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
      for word in words {
        #expect(error.description.contains(word), "\(error) lacks \(word)", sourceLocation: sourceLocation)
      }
    } catch {
      Issue.record("\(error)", sourceLocation: sourceLocation)
    }
  }

  private func zeros(_ shape: TensorShape, _ dtype: DType = .float32) throws -> Tensor {
    try Tensor.zeros(shape, dtype: dtype)
  }

  @Test func illegalOptions() {
    expect(.argument, "inFeatures") { try Linear(inFeatures: 0, outFeatures: 3) }
    expect(.argument, "outFeatures", "-1") { try Linear(inFeatures: 2, outFeatures: -1) }
    expect(.device, "gpu") { try Linear(inFeatures: 2, outFeatures: 1, device: .gpu(0)) }
    expect(.argument, "numFeatures") { try BatchNorm1d(numFeatures: 0) }
    expect(.argument, "eps") { try BatchNorm1d(numFeatures: 2, eps: -1) }
    expect(.dtype, "int32") { try InstanceNorm2d(numFeatures: 2, dtype: .int32) }
    expect(.argument, "numGroups 4", "6") { try GroupNorm(numGroups: 4, numChannels: 6) }
    expect(.argument, "numGroups") { try GroupNorm(numGroups: 0, numChannels: 6) }
    expect(.argument, "normalizedShape") { try LayerNorm(normalizedShape: []) }
    expect(.argument, "normalizedShape") { try LayerNorm(normalizedShape: [3, 0]) }
    expect(.argument, "numParameters") { try PReLU(numParameters: 0) }
    expect(.argument, "alpha") { try CELU(alpha: 0) }
    expect(.argument, "beta") { try Softplus(beta: 0) }
    expect(.argument, "maxVal", "minVal") { try Hardtanh(minVal: 1, maxVal: 1) }
    expect(.argument, "channels") { try Snake(channels: 0) }
    expect(.argument, "kernelSize") { try MaxPool1d(kernelSize: 0) }
    expect(.argument, "stride") { try MaxPool2d(kernelSize: 2, stride: [1, 0]) }
    expect(.argument, "padding", "axis 0") { try MaxPool1d(kernelSize: 2, padding: 2) }
    expect(.argument, "dilation") { try MaxPool1d(kernelSize: 2, dilation: 0) }
    expect(.argument, "2") { try AvgPool2d(kernelSize: [1, 2, 3]) }
    expect(.argument, "divisorOverride") { try AvgPool2d(kernelSize: 2, divisorOverride: 0) }
    expect(.argument, "outputSize") { try AdaptiveAvgPool1d(outputSize: 0) }
    expect(.argument, "outputSize", "3 numbers") { try AdaptiveMaxPool2d(outputSize: [1, 2, nil]) }
    expect(.argument, "neither") { try Upsample() }
    expect(.argument, "both") { try Upsample(size: 2, scaleFactor: 2) }
    expect(.argument, "alignCorners") { try Upsample(scaleFactor: 2, alignCorners: false) }
    expect(.argument, "recomputeScaleFactor") { try Upsample(size: 2, recomputeScaleFactor: true) }
    expect(.argument, "factors") { try Upsample(scaleFactor: 0) }
    expect(.argument, "factors") { try Upsample(scaleFactor: ScaleFactor(.infinity)) }
    expect(.argument, "sizes") { try Upsample(size: [3, 0]) }
    expect(.argument, "3") { try Upsample(size: [3, 1, 2], mode: .bilinear) }
    expect(.argument, "padding", "4") { try ZeroPad2d(padding: [1, 2]) }
    expect(.argument, "p in 0...1") { try Dropout(p: 1.5) }
    expect(.argument, "p in 0...1") { try Dropout(p: .nan) }
    expect(.argument, "sizes") { try Unflatten(dim: 1, unflattenedSize: [-1, -1]) }
    expect(.argument, "numEmbeddings") { try Embedding(numEmbeddings: 0, embeddingDim: 2) }
    expect(.argument, "paddingIdx", "7") { try Embedding(numEmbeddings: 7, embeddingDim: 2, paddingIdx: 7) }
    expect(.argument, "upscaleFactor") { try PixelShuffle(upscaleFactor: 0) }
    expect(.argument, "downscaleFactor") { try PixelUnshuffle(downscaleFactor: -2) }
  }

  @Test func unfitInputs() throws {
    let linear = try Linear(inFeatures: 3, outFeatures: 2)
    expect(.shape, "size 3", "[2, 4]") { try linear(zeros([2, 4])) }
    expect(.shape, "[]") { try linear(zeros([])) }
    expect(.dtype, "float64") { try linear(zeros([2, 3], .float64)) }
    expect(.shape, "BatchNorm1d", "4 channels on axis 1", "3") {
      try BatchNorm1d(numFeatures: 4)(zeros([2, 3, 5]))
    }
    expect(.shape, "4 dimensions") { try BatchNorm2d(numFeatures: 3)(zeros([2, 3, 5])) }
    expect(.dtype, "float64") { try BatchNorm1d(numFeatures: 3)(zeros([2, 3, 5], .float64)) }
    expect(.dtype, "int64") { try BatchNorm1d(numFeatures: 3, affine: false)(zeros([2, 3, 5], .int64)) }
    expect(.shape, "3 channels on axis 0") { try InstanceNorm1d(numFeatures: 3)(zeros([2, 5])) }
    expect(.shape, "6 channels") { try GroupNorm(numGroups: 2, numChannels: 6)(zeros([2, 5])) }
    expect(.shape, "[4, 5]") { try LayerNorm(normalizedShape: [4, 5])(zeros([5, 4])) }
    expect(.shape, "3 channels on axis 1", "4") { try PReLU(numParameters: 3)(zeros([2, 4, 5])) }
    expect(.shape, "Snake", "[4]") { try Snake(channels: 4)(zeros([4])) }
    expect(.argument, "axis 2") { try Softmax(dim: 2)(zeros([4, 3])) }
    expect(.shape, "even", "axis 1", "5") { try GLU()(zeros([4, 5])) }
    expect(.dtype, "int32") { try Tanh()(zeros([4], .int32)) }
    expect(.shape, "axis 1", "window of 3") { try MaxPool2d(kernelSize: 3)(zeros([1, 1, 4, 2])) }
    expect(.shape, "[N, C, L]") { try MaxPool1d(kernelSize: 1)(zeros([4])) }
    expect(.dtype, "bool") { try MaxPool1d(kernelSize: 1)(zeros([1, 4], .bool)) }
    expect(.dtype, "int32") { try AvgPool1d(kernelSize: 1)(zeros([1, 4], .int32)) }
    expect(.shape, "axis 1") { try AdaptiveAvgPool2d(outputSize: 1)(zeros([1, 3, 0])) }
    expect(.shape, "bilinear") { try Upsample(scaleFactor: 2, mode: .bilinear)(zeros([1, 2, 3])) }
    expect(.shape, "axis 0") { try Upsample(scaleFactor: 0.1)(zeros([1, 2, 3])) }
    expect(.shape, "2 spatial sizes") { try Upsample(scaleFactor: [2, 1])(zeros([1, 2, 3])) }
    expect(.shape, "at most 3", "axis 0") { try ReflectionPad1d(padding: [0, 4])(zeros([1, 2, 4])) }
    expect(.shape, "at most 4", "5") { try CircularPad1d(padding: 5)(zeros([1, 2, 4])) }
    expect(.shape, "axis 0") { try ZeroPad1d(padding: -2)(zeros([1, 2, 4])) }
    expect(.shape, "2 or 3") { try ReplicationPad1d(padding: 2)(zeros([4])) }
    expect(.dtype, "Dropout") { try Dropout()(zeros([4], .int64)) }
    expect(.argument, "axis") { try Flatten(startDim: 2)(zeros([4, 3])) }
    expect(.argument, "first axis") { try Flatten(startDim: 1, endDim: 0)(zeros([4, 3])) }
    expect(.shape, "axis 1", "[2, 3]") { try Unflatten(dim: 1, unflattenedSize: [2, 3])(zeros([4, 5])) }
    expect(.shape, "[2, -1]") { try Unflatten(dim: 1, unflattenedSize: [2, -1])(zeros([4, 5])) }
    expect(.dtype, "whole-number") { try Embedding(numEmbeddings: 3, embeddingDim: 2)(zeros([2])) }
    expect(.argument, "0..<3", "-1") { try Embedding(numEmbeddings: 3, embeddingDim: 2)(Tensor([Int64(-1)])) }
    expect(.argument, "0..<3", "3") { try Embedding(numEmbeddings: 3, embeddingDim: 2)(Tensor([Int64(3)])) }
    expect(.shape, "multiple of 4", "[6, 2, 2]") { try PixelShuffle(upscaleFactor: 2)(zeros([6, 2, 2])) }
    expect(.shape, "axis 1", "3") { try PixelUnshuffle(downscaleFactor: 2)(zeros([1, 2, 3])) }
  }

  /// Statistics of a single value have no variance: PyTorch refuses them, and so do we.
  @Test func statisticsNeedMoreThanOneValue() throws {
    expect(.shape, "more than 1 value per channel", "[1, 3]") {
      try BatchNorm1d(numFeatures: 3)(zeros([1, 3]))
    }
    expect(.shape, "more than 1 value") { try BatchNorm2d(numFeatures: 3)(zeros([1, 3, 1, 1])) }
    expect(.shape, "more than 1 value") {
      try BatchNorm1d(numFeatures: 3, trackRunningStats: false).eval()(zeros([1, 3]))
    }
    expect(.shape, "more than 1 spatial element") { try InstanceNorm1d(numFeatures: 3)(zeros([2, 3, 1])) }
    expect(.shape, "more than 1 spatial element") {
      try InstanceNorm1d(numFeatures: 3).eval()(zeros([3, 1]))
    }
    expect(.shape, "more than 1 value per group") {
      try GroupNorm(numGroups: 2, numChannels: 2)(zeros([1, 2]).slice(axis: 0, 0..<1))
    }
    #expect(try BatchNorm1d(numFeatures: 3).eval()(zeros([1, 3])).shape == [1, 3])
    #expect(
      try InstanceNorm1d(numFeatures: 3, trackRunningStats: true).eval()(zeros([2, 3, 1])).shape == [2, 3, 1])
  }

  @Test func errorsCarryThePath() throws {
    let model = try Sequential(ReLU(), Sequential(Linear(inFeatures: 3, outFeatures: 2)))
    _ = model.namedModules()
    expect(.shape, "Linear (1.0)") { try model(zeros([2, 4])) }
  }
}
