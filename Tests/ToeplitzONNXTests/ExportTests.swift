import Foundation
import Testing
import ToeplitzGraph
import ToeplitzNN
import ToeplitzONNX
import ToeplitzOps
import ToeplitzTensor
import ToeplitzTestSupport

/// Modules written as ONNX and read again.
@Suite struct ExportTests {
  /// Layers with the inputs they take; exporting compares the model with the layer on another input.
  private static func layers() throws -> [(layer: any UnaryLayer, shape: TensorShape)] {
    let g = Generator(seed: 3)
    return [
      (
        try Conv1d(inChannels: 4, outChannels: 6, kernelSize: 3, stride: 2, padding: 1, groups: 2, generator: g),
        [2, 4, 17]
      ),
      (
        try Conv1d(inChannels: 4, outChannels: 4, kernelSize: 5, padding: .causal, dilation: 2, generator: g),
        [1, 4, 20]
      ),
      (
        try Conv2d(
          inChannels: 3, outChannels: 5, kernelSize: [3, 2], padding: [1, 1], paddingMode: .reflect, generator: g),
        [2, 3, 6, 7]
      ),
      (
        try Conv2d(inChannels: 3, outChannels: 5, kernelSize: 3, layout: .channelsLast, generator: g), [2, 6, 7, 3]
      ),
      (try Conv3d(inChannels: 2, outChannels: 3, kernelSize: 2, generator: g), [1, 2, 4, 5, 6]),
      (
        try Conv2d(inChannels: 2, outChannels: 3, kernelSize: 3, padding: 1, paddingMode: .circular, generator: g),
        [1, 2, 5, 6]
      ),
      (
        try Conv1d(
          inChannels: 4, outChannels: 6, kernelSize: 5, stride: 2, padding: 4, dilation: 2, groups: 2,
          paddingMode: .circular, generator: g), [2, 4, 9]
      ),
      (
        try Conv2d(
          inChannels: 2, outChannels: 3, kernelSize: 3, padding: [2, 1], paddingMode: .circular, layout: .channelsLast,
          generator: g), [1, 5, 6, 2]
      ),
      (
        try ConvTranspose2d(
          inChannels: 2, outChannels: 3, kernelSize: 3, stride: 2, padding: 1, paddingMode: .circular, generator: g),
        [1, 2, 4, 5]
      ),
      (
        try ConvTranspose1d(
          inChannels: 4, outChannels: 2, kernelSize: 4, padding: 3, groups: 2, paddingMode: .circular, generator: g),
        [2, 4, 7]
      ),
      (try CircularPad2d(padding: 2), [1, 2, 4, 5]),
      (
        try ConvTranspose1d(
          inChannels: 4, outChannels: 6, kernelSize: 4, stride: 3, padding: 1, outputPadding: 1, groups: 2, generator: g
        ),
        [2, 4, 9]
      ),
      (
        try ConvTranspose2d(inChannels: 3, outChannels: 2, kernelSize: 4, stride: 2, padding: 1, generator: g),
        [1, 3, 5, 5]
      ),
      (try WeightNormConv1d(inChannels: 2, outChannels: 3, kernelSize: 3, generator: g), [1, 2, 8]),
      (try Linear(inFeatures: 5, outFeatures: 4, generator: g), [3, 2, 5]),
      (ReLU(), [4, 5]), (LeakyReLU(negativeSlope: 0.3), [4, 5]), (ELU(alpha: 0.7), [4, 5]), (SELU(), [4, 5]),
      (Sigmoid(), [4, 5]), (Tanh(), [4, 5]), (SiLU(), [4, 5]), (Mish(), [4, 5]), (GELU(), [4, 5]),
      (GELU(approximate: .tanh), [4, 5]), (try Softplus(), [4, 5]), (Hardswish(), [4, 5]), (Hardsigmoid(), [4, 5]),
      (ReLU6(), [4, 5]), (LogSigmoid(), [4, 5]), (Softsign(), [4, 5]),
    ]
  }

  @Test func layersComeBack() throws {
    for (layer, shape) in try Self.layers() {
      var random = RandomSource(seed: 6)
      let x = try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
      let bytes = try layer.onnxModel(input: x) { try layer($0) }
      let model = try Executable(onnx: bytes)
      let distance = try model.run(["x": x])[0].distance(to: layer(x))
      #expect(distance.absolute < 1e-5 && distance.sameSpecials, "\(layer): \(distance)")
    }
  }

  /// Layers that a convolution computes in its own pass are written all the same.
  @Test func activationsAfterConvolutionsComeBack() throws {
    let activations: [any UnaryLayer] = [
      ReLU(), ReLU6(), LeakyReLU(negativeSlope: 0.3), ELU(alpha: 0.7), SELU(), SiLU(), Mish(), GELU(), Tanh(),
      try CELU(alpha: 0.6), LogSigmoid(), Sigmoid(), Hardswish(), Hardsigmoid(), Softsign(),
      try Softplus(beta: 2, threshold: 3),
      GELU(approximate: .tanh), try Hardtanh(minVal: -0.1, maxVal: 0.2),
    ]
    for activation in activations {
      let layer = Sequential(
        try Conv1d(inChannels: 3, outChannels: 4, kernelSize: 3, generator: Generator(seed: 2)), activation)
      var random = RandomSource(seed: 9)
      let x = try Tensor.randomUniform([2, 3, 11], from: -2, to: 2, using: &random)
      let model = try Executable(onnx: layer.onnxModel(input: x) { try layer($0) })
      let distance = try model.run(["x": x])[0].distance(to: layer(x))
      #expect(distance.absolute < 1e-5, "\(activation): \(distance)")
    }
  }

  /// A network with views, sums and normalisations.
  private final class Network: Module, UnaryLayer {
    let first: Conv2d
    let norm = try? BatchNorm2d(numFeatures: 6)
    let group = try? GroupNorm(numGroups: 3, numChannels: 6)
    let pool = try? MaxPool2d(kernelSize: 2)
    let last: Linear

    init(_ generator: Generator) throws {
      first = try Conv2d(inChannels: 3, outChannels: 6, kernelSize: 3, padding: 1, generator: generator)
      last = try Linear(inFeatures: 24, outFeatures: 5, generator: generator)
    }

    func forward(_ x: Tensor) throws -> Tensor {
      var y = try first(x)
      if let norm, let group, let pool { y = try pool(group(norm(y)).relu()) }
      y = try y + y.flipped([3]) * 0.5
      y = try Tensor.concatenate([y.slice(axis: 2, 0..<1), y.slice(axis: 2, 1..<2)], axis: 3)
      return try last(y.flattened(from: 1)).softmax(axis: 1)
    }
  }

  @Test func aNetworkComesBack() throws {
    let network = try Network(Generator(seed: 8)).eval()
    var random = RandomSource(seed: 7)
    let x = try Tensor.randomUniform([2, 3, 4, 4], using: &random)
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "network.onnx").path
    try network.exportONNX(to: path, input: x)
    let model = try Executable(contentsOf: path)
    #expect(model.inputs.map(\.description) == ["float32[2, 3, 4, 4]"])
    let expected = try network(x)
    for optimizes in [true, false] {
      let got = try Executable(contentsOf: path, optimizes: optimizes).run(["x": x])[0]
      #expect(try got.distance(to: expected).absolute < 1e-5)
    }
    let graph = try model.graph(for: [x.spec])
    #expect(Set(["first.weight", "last.bias"]).isSubset(of: Set(graph.constants.keys.compactMap { graph.names[$0] })))
  }

  /// A layer whose result depends on values in a way that no recorded operation shows.
  private final class Reader: Module, UnaryLayer {
    func forward(_ x: Tensor) throws -> Tensor { try x * Double(x.scalars(Float.self).reduce(0, +)) }
  }

  @Test func whatCannotBeRecordedIsRefused() throws {
    let reader = Reader()
    let error = #expect(throws: ToeplitzError.self) {
      try reader.onnxModel(input: Tensor([1, 2, 3])) { try reader($0) }
    }
    #expect(error?.description.contains("only shapes are known") == true)
    let uneven = try AdaptiveAvgPool1d(outputSize: 3)
    let other = #expect(throws: ToeplitzError.self) {
      try uneven.onnxModel(input: Tensor.zeros([1, 1, 8])) { try uneven($0) }
    }
    #expect(other?.got.contains("different sizes") == true)
  }
}
