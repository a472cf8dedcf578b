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
    for storage in [WeightStorage.bfloat16, .int8] {
      #expect(network.storeWeights(as: storage) === network)
      let y = try network(x)
      let distance = try y.distance(to: exact)
      #expect(distance.absolute > 0 && distance.absolute < 0.03 * distance.scale, "\(storage): \(distance)")
      // The layout follows the number of threads, which other suites change meanwhile: both are measured again then.
      var isSmaller = false
      for _ in 0..<40 where !isSmaller {
        network.storeWeights(as: .full)
        _ = try network(x)
        let full = held()
        network.storeWeights(as: storage)
        _ = try network(x)
        isSmaller = held() < full
      }
      #expect(isSmaller)
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
    try layer.weight.set(layer.weight.value * 2)
    let bias = try #require(layer.bias).value.reshaped([40, 1])
    // Scales double with the weights, which are then rounded as before.
    #expect(try (layer(x) - bias).distance(to: (before - bias) * 2).absolute < 1e-5)
  }
}
