import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzNN
@testable import ToeplitzCPU
@testable import ToeplitzOps

/// Layers whose prepared weights are kept in fewer bits, and residual units of layers.
@Suite struct StoredWeightsTests {
  @Test func allConvolutionsInsideChangeAndNothingElse() throws {
    let generator = Generator(seed: 4)
    let network = Sequential(
      try ConvTranspose1d(inChannels: 40, outChannels: 16, kernelSize: 8, stride: 4, generator: generator), ReLU(),
      try WeightNormConv1d(inChannels: 16, outChannels: 64, kernelSize: 3, generator: generator))
    let x = try generator.uniform([1, 40, 3], from: -1, to: 1)
    let exact = try network(x)
    let state = network.stateDictionary()
    func held() -> Int { network.layers.reduce(0) { $0 + (($1 as? ConvolutionLayer)?.packedByteCount ?? 0) } }
    let full = held()
    for storage in [WeightStorage.bfloat16, .int8] {
      #expect(network.storeWeights(as: storage) === network)
      let y = try network(x)
      let distance = try y.distance(to: exact)
      #expect(distance.absolute > 0 && distance.absolute < 0.03 * distance.scale, "\(storage): \(distance)")
      #expect(held() < full)
    }
    for (key, tensor) in network.stateDictionary() { #expect(try tensor.sameBits(as: state[key] ?? x)) }
    network.storeWeights(as: .full)
    #expect(try network(x).sameBits(as: exact))
  }

  @Test func aChangedWeightIsStoredAnew() throws {
    let layer = try Conv1d(inChannels: 8, outChannels: 40, kernelSize: 3, generator: Generator(seed: 5))
    layer.weightStorage = .int8
    let x = try Tensor.ones([1, 8, 5])
    let before = try layer(x)
    try layer.weight.set(layer.weight.value() * 2)
    let bias = try #require(layer.bias).value.reshaped([40, 1])
    // Scales double with the weights, which are then rounded as before.
    #expect(try (layer(x) - bias).distance(to: (before - bias) * 2).absolute < 1e-5)
  }
}
