import Testing
import ToeplitzTestSupport

@testable import ToeplitzOps
@testable import ToeplitzTensor

/// A depthwise convolution and the pointwise one after it, computed together.
@Suite struct SeparableConvolutionTests {
  @Test(arguments: InstructionSet.available)
  func theBitsAreThoseOfTwoConvolutions(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 83)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      func tensor(_ shape: Shape) throws -> Tensor { try Tensor.randomUniform(shape, from: -1, to: 1, using: &random) }
      var together = 0
      for index in 0..<80 {
        let (channels, outputs) = (pick(1...(index % 4 == 0 ? 150 : 20)), pick(1...70))
        let (kernel, stride) = ([3, 5, 7][pick(0...2)], pick(1...2))
        let one = try ConvolutionGeometry(
          rank: 2, inChannels: channels, outChannels: channels, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
          padding: .uniform(kernel / 2), groups: channels)
        let two = try ConvolutionGeometry(rank: 2, inChannels: channels, outChannels: outputs, kernelSize: 1)
        let size = [pick(1...30), pick(1...(index % 5 == 0 ? 230 : 30))]
        let x = try tensor(Shape([pick(1...3), channels] + size))
        let weights = (try tensor(one.weightShape), try tensor(two.weightShape))
        let biases = (index % 2 == 0 ? try tensor([channels]) : nil, index % 3 == 0 ? try tensor([outputs]) : nil)
        let activations: [Activation?] = [nil, .clamp(low: 0, high: 6), .silu]
        var (first, second) = (ConvolutionOperation(one), ConvolutionOperation(two))
        first.fusion = ConvolutionFusion(activation: activations[pick(0...2)])
        let output = try Shape([x.shape[0], outputs] + one.outputSize(size))
        let residuals = try (0..<pick(0...2)).map { _ in try tensor(output) }
        second.fusion = ConvolutionFusion(residuals: residuals, activation: activations[pick(0...2)])
        let operands = ([weights.0, biases.0].compactMap { $0 }, [weights.1, biases.1].compactMap { $0 })
        let middle = try applyAll(first, [x] + operands.0)[0]
        let expected = try applyAll(second, [middle] + operands.1)[0]
        let both = SeparableConvolution(first, second, hasBias: (biases.0 != nil, biases.1 != nil))
        let got = try applyAll(both, [x] + operands.0 + operands.1)[0]
        #expect(try got.sameBits(as: expected), "\(isa) \(channels) \(outputs) \(kernel) \(stride) \(x.shape)")
        let place = try Tensor.zeros(output)
        let parts = try [(first, operands.0), (second, operands.1)].map { operation, operands in
          ConvolutionEngine.Part(
            geometry: operation.geometry,
            packed: try PackedWeights(operation.geometry, weight: operands[0], bias: operands.dropFirst().first),
            fusion: operation.fusion)
        }
        if try ConvolutionEngine.runSeparable(parts[0], parts[1], input: x, output: place) {
          together += 1
          #expect(try place.sameBits(as: expected))
        }
      }
      // Otherwise only the ordinary ways have been compared with themselves.
      #expect(isa == .baseline ? together == 0 : together == 80, "\(isa): \(together)")
    }
  }

  @Test func wrongShapesAreRefused() throws {
    let one = try ConvolutionGeometry(rank: 2, inChannels: 4, outChannels: 4, kernelSize: 3, groups: 4)
    let two = try ConvolutionGeometry(rank: 2, inChannels: 4, outChannels: 2, kernelSize: 1)
    let both = SeparableConvolution(ConvolutionOperation(one), ConvolutionOperation(two), hasBias: (false, false))
    let weights = [try Tensor.ones(one.weightShape), try Tensor.ones(two.weightShape)]
    for shape: Shape in [[1, 3, 8, 8], [1, 4, 2, 8], [4, 8], [1, 4, 8]] {
      #expect(throws: ToeplitzError.self) { try applyAll(both, [Tensor.ones(shape)] + weights) }
    }
    #expect(throws: ToeplitzError.self) { try applyAll(both, [Tensor.ones([1, 4, 8, 8]), weights[0]]) }
    #expect(try applyAll(both, [Tensor.ones([4, 8, 8])] + weights)[0].shape == [2, 6, 6])
  }
}
