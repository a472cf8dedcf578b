import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

/// Networks of people, streamed.
@Suite struct StreamedModelTests {
  private func compare(
    _ plan: StreamPlan, _ x: Tensor, _ whole: Tensor, chunks: [Int], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for chunk in chunks {
      var stream = try plan.makeStream()
      var pieces: [Tensor] = []
      for first in stride(from: 0, to: x.shape[plan.timeAxis], by: chunk) {
        let end = min(first + chunk, x.shape[plan.timeAxis])
        pieces.append(try stream.push(x.slice(axis: plan.timeAxis, first..<end)))
      }
      pieces.append(try stream.finish())
      let joined = try Tensor.concatenate(pieces, axis: plan.outputAxes[0])
      #expect(joined.shape == whole.shape, sourceLocation: sourceLocation)
      #expect(try joined.copied().sameBits(as: whole.copied()), "chunk \(chunk)", sourceLocation: sourceLocation)
    }
  }

  @Test func theBundledVocoderStreamsToTheBit() throws {
    let generator = try Vocoder(
      configuration: Fixtures.bundled("config.json"), weights: Fixtures.bundled("generator.safetensors")
    ).generator
    let plan = try generator.streamPlan()
    #expect(plan.blockSize == 1 && plan.outputRatio.description == "256")
    var random = RandomSource(seed: 1)
    let mel = try Tensor.randomUniform([1, 80, 40], from: -6, to: 1, using: &random)
    try compare(plan, mel, generator.eval()(mel), chunks: [1, 3, 40])
    #expect(plan.description.contains("latency") && plan.stateBytes > 0)
  }

  /// Snake, weight norm, residual units and transposed convolutions, as in DAC's decoder.
  @Test func aDecoderWithSnakeStreams() throws {
    final class Unit: Module, UnaryLayer {
      let snake1, snake2: Snake
      let conv1, conv2: WeightNormConv1d
      init(_ c: Int, dilation: Int) throws {
        snake1 = try Snake(channels: c)
        conv1 = try WeightNormConv1d(
          inChannels: c, outChannels: c, kernelSize: 7, padding: 3 * dilation, dilation: dilation)
        snake2 = try Snake(channels: c)
        conv2 = try WeightNormConv1d(inChannels: c, outChannels: c, kernelSize: 1)
        super.init()
      }
      func forward(_ x: Tensor) throws -> Tensor { try x + conv2(snake2(conv1(snake1(x)))) }
    }
    final class Decoder: Module, UnaryLayer {
      let first: WeightNormConv1d
      let up: WeightNormConvTranspose1d
      let units: ModuleList<Unit>
      init() throws {
        first = try WeightNormConv1d(inChannels: 4, outChannels: 16, kernelSize: 7, padding: 3)
        up = try WeightNormConvTranspose1d(inChannels: 16, outChannels: 8, kernelSize: 8, stride: 4, padding: 2)
        units = ModuleList(try [1, 3, 9].map { try Unit(8, dilation: $0) })
        super.init()
      }
      func forward(_ x: Tensor) throws -> Tensor { try units.reduce(up(first(x))) { try $1($0) } }
    }
    let decoder = try Decoder()
    let plan = try decoder.streamPlan(shape: [2, 4, nil])
    var random = RandomSource(seed: 2)
    let x = try Tensor.randomUniform([2, 4, 50], from: -1, to: 1, using: &random)
    try compare(plan, x, decoder.eval()(x), chunks: [1, 7, 50])
    #expect(plan.outputRatio.description == "4")
    // Three taps after the middle at dilations 1, 3 and 9; the transposed layer's overlap; three frames of the first.
    #expect(plan.latency == 3 * (1 + 3 + 9) + 2 + 4 * 3, "\(plan)")
  }

  @Test func recurrentLayersCarryTheirState() throws {
    final class Net: Module, UnaryLayer {
      let conv: Conv1d
      let lstm: LSTM
      init() throws {
        conv = try Conv1d(inChannels: 3, outChannels: 6, kernelSize: 4, stride: 2, padding: 1)
        lstm = try LSTM(inputSize: 6, hiddenSize: 5)
        super.init()
      }
      func forward(_ x: Tensor) throws -> Tensor {
        try lstm(conv(x).permuted([2, 0, 1])).permuted([1, 2, 0])
      }
    }
    let net = try Net()
    let plan = try net.streamPlan(shape: [1, 3, nil])
    var random = RandomSource(seed: 3)
    let x = try Tensor.randomUniform([1, 3, 60], from: -1, to: 1, using: &random)
    try compare(plan, x, net.eval()(x), chunks: [1, 2, 9, 60])
    #expect(plan.blockSize == 2)
  }

  @Test func whatCannotStreamIsNamedWithItsLayer() throws {
    let model = try Sequential(
      Conv1d(inChannels: 2, outChannels: 4, kernelSize: 3, padding: 1), GroupNorm(numGroups: 2, numChannels: 4))
    do {
      _ = try model.streamPlan(shape: [1, 2, nil])
      Issue.record("a norm over time streams")
    } catch let error as ToeplitzError {
      #expect(error.kind == .unsupported && error.path.contains("1") && error.got.contains("all positions"), "\(error)")
    }
    #expect(throws: ToeplitzError.self) { try model.streamPlan(shape: [1, 2, 30]) }
  }
}
