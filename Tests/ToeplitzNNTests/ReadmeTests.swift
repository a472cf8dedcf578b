import Testing
import Toeplitz

/// The README's example of library use.
private final class Encoder: Module, UnaryLayer {
  let conv1: WeightNormConv1d
  let act = LeakyReLU(negativeSlope: 0.1)
  init(channels: Int) throws {
    conv1 = try WeightNormConv1d(inChannels: 1, outChannels: channels, kernelSize: 7, padding: .causal)
  }
  func forward(_ x: Tensor) throws -> Tensor { try act(conv1(x)) }
}

@Suite struct ReadmeTests {
  @Test func theExampleWorks() throws {
    let up = try ConvTranspose1d(inChannels: 512, outChannels: 256, kernelSize: 16, stride: 8, padding: 4)
    let y = try up(Tensor.ones([2, 512, 5]))
    #expect(y.shape == [2, 256, 40])

    let model = try Encoder(channels: 64)
    let saved = model.stateDictionary()
    #expect(Set(saved.keys) == ["conv1.weight_g", "conv1.weight_v", "conv1.bias"])
    try Encoder(channels: 64).load(saved)
    #expect(try model.summary(inputShape: [1, 1, 16000]).multiplyAdds == 64 * 7 * 16000)
    let compiled = model.eval().compiled()
    let features = try compiled(Tensor.zeros([1, 1, 16000]))
    #expect(features.shape == [1, 64, 16000])
    #expect(
      model.description.contains("(conv1): WeightNormConv1d(1, 64, kernel_size=(7,), stride=(1,), padding=causal)"))
  }
}
