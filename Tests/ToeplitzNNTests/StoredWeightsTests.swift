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

  @Test(arguments: [DType.float32, .float16])
  func residualUnitsGiveTheBitsOfTheirLayers(dtype: DType) throws {
    let generator = Generator(seed: 6)
    func layer(_ i: Int, _ o: Int, _ dilation: Int) throws -> WeightNormConv1d {
      try WeightNormConv1d(
        inChannels: i, outChannels: o, kernelSize: 3, padding: .uniform(dilation), dilation: PerAxis(dilation),
        dtype: dtype, generator: generator)
    }
    for middle in [12, 20] {
      let (first, second) = (try layer(12, middle, 3), try layer(middle, 12, 1))
      for shape in [Shape([2, 12, 301]), [12, 50]] {
        let x = try generator.uniform(shape, from: -1, to: 1, dtype: dtype)
        let more = try generator.uniform(shape, from: -1, to: 1, dtype: dtype)
        let got = try first.residualUnit(x, second, inputSlope: 0.1, middleSlope: 0.2, adding: more, scale: 0.5)
        let inner = try first(x, epilogue: Epilogue(inputSlope: 0.1))
        let expected = try second(inner, epilogue: Epilogue(inputSlope: 0.2, outputScale: 0.5), adding: [x, more])
        #expect(try got.sameBits(as: expected), "\(dtype) \(middle) \(shape)")
      }
    }
  }

  @Test func theUnitOfTwoLayersIsHeardAsBoth() throws {
    final class Block: Module, UnaryLayer {
      let first: Conv1d
      let second: Conv1d
      init(_ generator: Generator) throws {
        first = try Conv1d(inChannels: 8, outChannels: 8, kernelSize: 3, padding: 1, generator: generator)
        second = try Conv1d(inChannels: 8, outChannels: 8, kernelSize: 5, padding: 2, generator: generator)
      }
      func forward(_ x: Tensor) throws -> Tensor {
        try first.residualUnit(x, second, inputSlope: 0.1, middleSlope: 0.1)
      }
    }
    let block = try Block(Generator(seed: 7))
    let (_, summary) = try block.summarized(Tensor.zeros([2, 8, 30]))
    #expect(summary.multiplyAdds == 2 * 30 * 8 * 8 * (3 + 5))
    let error = #expect(throws: ToeplitzError.self) { try block(Tensor.zeros([2, 7, 30])) }
    #expect(error?.path == "first" && error?.got.contains("7") == true, "\(String(describing: error))")
  }
}
