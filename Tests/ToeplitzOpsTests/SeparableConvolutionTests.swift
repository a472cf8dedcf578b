import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// A depthwise convolution and the pointwise one after it, maybe with one before them, computed together.
@Suite struct SeparableConvolutionTests {
  @Test(arguments: InstructionSet.available)
  func theBitsAreThoseOfSingleConvolutions(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 83)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      func tensor(_ shape: TensorShape) throws -> Tensor {
        try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
      }
      var together = [0, 0]
      var fitting = 0
      for index in 0..<120 {
        let isExpanded = index >= 80
        let (channels, outputs) = (pick((isExpanded ? 8 : 1)...(index % 4 == 0 ? 150 : 20)), pick(1...70))
        let (kernel, stride) = ([3, 5, 7][pick(0...2)], pick(1...2))
        let inputs = isExpanded ? pick(1...40) : channels
        var geometries = [
          try ConvolutionGeometry(
            rank: 2, inChannels: channels, outChannels: channels, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
            padding: .uniform(kernel / 2), groups: channels),
          try ConvolutionGeometry(rank: 2, inChannels: channels, outChannels: outputs, kernelSize: 1),
        ]
        if isExpanded {
          geometries.insert(
            try ConvolutionGeometry(rank: 2, inChannels: inputs, outChannels: channels, kernelSize: 1), at: 0)
        }
        let size = [pick(1...(isExpanded ? 80 : 30)), pick(1...(index % 5 == 0 ? 230 : 30))]
        let x = try tensor(TensorShape([pick(1...3), inputs] + size))
        let activations: [Activation?] = [nil, .clamp(low: 0, high: 6), .silu]
        var (value, shape) = (x, x.shape)
        var stages: [ConvolutionStage] = []
        var parts: [SeparablePart] = []
        var added: [Tensor] = []
        var operands = [x]
        for (place, geometry) in geometries.enumerated() {
          let isLast = place + 1 == geometries.count
          let weight = try tensor(geometry.weightShape)
          let bias = pick(0...1) == 0 ? nil : try tensor([geometry.outChannels])
          shape = try TensorShape([shape[0], geometry.outChannels] + geometry.outputSize([shape[2], shape[3]]))
          let residuals = try (0..<(isLast ? pick(0...2) : 0)).map { _ in try tensor(shape) }
          var operation = FusedConvolution(geometry)
          operation.epilogue = Epilogue(activation: activations[pick(0...2)])
          operation.residualCount = residuals.count
          let own = [weight, bias].compactMap { $0 }
          value = try applyAll(operation, [value] + own + residuals)[0]
          operands += own + residuals
          stages.append(ConvolutionStage(operation, hasBias: bias != nil))
          let kept = try operation.pack(geometry, weight, bias, nil)
          parts.append(
            SeparablePart(geometry: geometry, packed: kept.packed, runs: kept.runs, epilogue: operation.epilogue))
          added = residuals
        }
        let got = try applyAll(SeparableConvolution(stages), operands)[0]
        #expect(try got.sameBits(as: value), "\(isa) \(inputs) \(channels) \(outputs) \(kernel) \(stride) \(x.shape)")
        let place = try Tensor.zeros(shape)
        if let run = try SeparableRun.make(parts, input: x, output: place) {
          together[isExpanded ? 1 : 0] += 1
          try run(input: x, output: place, residuals: added)
          #expect(try place.sameBits(as: value), "\(isa) \(inputs) \(channels) \(outputs) \(kernel) \(x.shape)")
          // Again, where everything lies elsewhere.
          let (copy, other) = (try x.copied(), try Tensor.zeros(shape))
          // Not where another test changes the number of threads meanwhile.
          if try run.fits(input: copy, output: other) { fitting += 1 }
          try run(input: copy, output: other, residuals: added.map { try $0.copied() })
          #expect(try other.sameBits(as: value))
        }
      }
      #expect(2 * fitting >= together[0] + together[1], "\(isa): \(fitting), \(together)")
      // Otherwise only the ordinary ways have been compared with themselves. Some images are too small to be worth it.
      #expect(isa == .baseline ? together[0] == 0 : together[0] == 80, "\(isa): \(together)")
      #expect(isa == .baseline ? together[1] == 0 : together[1] > 25, "\(isa): \(together)")
    }
  }

  @Test func wrongShapesAreRefused() throws {
    let one = try ConvolutionGeometry(rank: 2, inChannels: 4, outChannels: 4, kernelSize: 3, groups: 4)
    let two = try ConvolutionGeometry(rank: 2, inChannels: 4, outChannels: 2, kernelSize: 1)
    let both = SeparableConvolution([one, two].map { .init(FusedConvolution($0), hasBias: false) })
    let weights = [try Tensor.ones(one.weightShape), try Tensor.ones(two.weightShape)]
    for shape: TensorShape in [[1, 3, 8, 8], [1, 4, 2, 8], [4, 8], [1, 4, 8]] {
      #expect(throws: ToeplitzError.self) { try applyAll(both, [Tensor.ones(shape)] + weights) }
    }
    #expect(throws: ToeplitzError.self) { try applyAll(both, [Tensor.ones([1, 4, 8, 8]), weights[0]]) }
    #expect(try applyAll(both, [Tensor.ones([4, 8, 8])] + weights)[0].shape == [2, 6, 6])
  }
}
