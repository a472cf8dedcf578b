import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Convolutions to one channel in each group, which kernels of their own read in place: depthwise ones of images, and
/// those of sequences.
@Suite struct ImageKernelTests {
  /// The same numbers with channels last in memory, which no kernel can read in place.
  private func channelsLast(_ x: Tensor) throws -> Tensor {
    let last = try x.permuted([0] + Array(2..<x.rank) + [1]).copied()
    return try last.permuted([0, x.rank - 1] + Array(1..<(x.rank - 1)))
  }

  /// Computes a convolution plainly, against the reference, and with something in the store, in place and packed.
  private func check(
    _ g: ConvolutionGeometry, size: [Int], dtype: DType, tolerance: Double, _ random: inout RandomSource
  ) throws {
    func numbers(_ shape: TensorShape) throws -> Tensor {
      try Tensor.randomUniform(shape, from: -1, to: 1, using: &random).cast(to: dtype)
    }
    let x = try numbers(TensorShape([Int.random(in: 1...2, using: &random), g.inChannels] + size))
    let w = try numbers(g.weightShape)
    let b = try numbers([g.outChannels])
    var operation = FusedConvolution(g)
    let plain = try applyAll(operation, [x, w, b])[0]
    let expected = try ReferenceConvolution.forward(g, x: .init(x), weight: .init(w), bias: .init(b))
    let what = "\(InstructionSet.current) \(dtype) \(g) of \(x.shape)"
    #expect(plain.shape.dimensions == expected.shape, "\(what)")
    #expect(Distance(try plain.doubles(), expected.values).absolute < tolerance, "\(what)")
    #expect(try plain.sameBits(as: try applyAll(operation, [channelsLast(x), w, b])[0]), "\(what)")
    let residuals = try (0..<Int.random(in: 0...2, using: &random)).map { _ in try numbers(plain.shape) }
    let activations: [Activation?] = [
      nil, .leakyReLU(slope: 0), .clamp(low: 0, high: 6), .silu, .leakyReLU(slope: 0.1),
    ]
    operation.epilogue = Epilogue(
      outputScale: residuals.isEmpty ? 1 : 0.5,
      activation: activations[Int.random(in: 0...4, using: &random)])
    let inPlace = try operation(x, weight: w, bias: b, adding: residuals)
    let packed = try operation(channelsLast(x), weight: w, bias: b, adding: residuals)
    #expect(try inPlace.sameBits(as: packed), "\(what) fused")
  }

  @Test(arguments: InstructionSet.available)
  func packedAndInPlaceGiveTheSameBits(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 71)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
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
        try check(g, size: size, dtype: .float32, tolerance: 1e-5, &random)
      }
    }
  }

  @Test(arguments: InstructionSet.available, [(DType.float32, 1e-5), (.float64, 1e-12), (.float16, 2e-2)])
  func sequencesInPlaceGiveTheBitsOfPackedOnes(isa: InstructionSet, type: (dtype: DType, tolerance: Double)) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 72)
      func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      var computed = 0
      while computed < 200 {
        let (kernel, groups, channels, dilation) = (
          pick(1...18), pick(1...5), pick(1...4), pick(0...1) == 0 ? 1 : pick(2...4)
        )
        let isTransposed = pick(0...2) == 0
        // Padding may be wider than the reach of the taps, and then whole vectors of outputs see nothing else.
        let most = isTransposed ? (kernel - 1) * dilation : 60
        let g = try ConvolutionGeometry(
          rank: 1, isTransposed: isTransposed, inChannels: groups * channels, outChannels: groups,
          kernelSize: PerAxis(kernel),
          padding: .asymmetric([(pick(0...most), pick(0...most))]), dilation: PerAxis(dilation), groups: groups)
        let size = [pick(1...(computed % 3 == 0 ? 700 : 50))]
        guard let output = try? g.outputSize(size), output[0] > 0 else { continue }
        computed += 1
        try check(g, size: size, dtype: type.dtype, tolerance: type.tolerance, &random)
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
