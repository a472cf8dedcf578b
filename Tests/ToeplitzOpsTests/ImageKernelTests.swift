import Testing
import ToeplitzTestSupport

@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Depthwise convolutions of images, which kernels of their own read in place.
@Suite struct ImageKernelTests {
  /// The same numbers with channels last in memory, which no kernel can read in place.
  private func channelsLast(_ x: Tensor) throws -> Tensor {
    let last = try x.permuted([0, 2, 3, 1]).copied()
    return try last.permuted([0, 3, 1, 2])
  }

  @Test(arguments: InstructionSet.available)
  func packedAndInPlaceGiveTheSameBits(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 71)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      let activations: [Activation?] = [
        nil, .leakyReLU(slope: 0), .clamp(low: 0, high: 6), .silu, .leakyReLU(slope: 0.1),
      ]
      var computed = 0
      while computed < 300 {
        let (kernel, stride, groups) = ([3, 5, 7][pick(0...2)], pick(1...2), pick(1...5))
        let g = try ConvolutionGeometry(
          rank: 2, inChannels: groups, outChannels: groups, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
          padding: .asymmetric([(pick(0...kernel), pick(0...kernel)), (pick(0...kernel), pick(0...kernel))]),
          groups: groups)
        let size = [pick(1...40), pick(1...(computed % 3 == 0 ? 150 : 40))]
        guard let output = try? g.outputSize(size), output.allSatisfy({ $0 > 0 }) else { continue }
        computed += 1
        let x = try Tensor.randomUniform(Shape([pick(1...2), groups] + size), from: -1, to: 1, using: &random)
        let w = try Tensor.randomUniform(g.weightShape, from: -1, to: 1, using: &random)
        let b = try Tensor.randomUniform([groups], from: -1, to: 1, using: &random)
        var operation = ConvolutionOperation(g)
        let plain = try applyAll(operation, [x, w, b])[0]
        let expected = try ReferenceConvolution.forward(g, x: .init(x), weight: .init(w), bias: .init(b))
        #expect(plain.shape.dimensions == expected.shape)
        #expect(Distance(try plain.doubles(), expected.values).absolute < 1e-5, "\(isa) \(g.kernelSize) \(size)")
        let residuals = try (0..<pick(0...2)).map { _ in
          try Tensor.randomUniform(plain.shape, from: -1, to: 1, using: &random)
        }
        operation.fusion = ConvolutionFusion(
          residuals: residuals, outputScale: residuals.isEmpty ? 1 : 0.5, activation: activations[pick(0...4)])
        let inPlace = try applyAll(operation, [x, w, b])[0]
        let packed = try applyAll(operation, [channelsLast(x), w, b])[0]
        #expect(
          try inPlace.sameBits(as: packed),
          "\(isa) kernel \(kernel) stride \(stride) padding \(g.paddingLow) \(g.paddingHigh) size \(size)")
      }
    }
  }

  @Test(arguments: InstructionSet.available)
  func infiniteWeightsMeetThePadding(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      // Infinity times a zero of the padding is NaN, as for every other way to compute it.
      let g = try ConvolutionGeometry(
        rank: 2, inChannels: 1, outChannels: 1, kernelSize: 3, padding: 1)
      let w = try Tensor([Float.infinity] + Array(repeating: Float(1), count: 8), shape: [1, 1, 3, 3])
      let y = try applyAll(ConvolutionOperation(g), [Tensor.ones([1, 1, 4, 4]), w])[0].scalars(Float.self)
      for (index, value) in y.enumerated() {
        let isEdge = index < 4 || index % 4 == 0
        #expect(isEdge ? value.isNaN : value == .infinity, "\(isa) \(index)")
      }
    }
  }
}
