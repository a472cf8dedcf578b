import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Convolutions of float16 and bfloat16 give the bits of a float32 convolution whose input has been widened and whose
/// output has been rounded, on every kernel path of this machine.
@Suite struct HalfStorageTests {
  private func tensor(_ shape: TensorShape, _ dtype: DType, _ random: inout RandomSource, scale: Double = 1) throws
    -> Tensor
  {
    try Tensor.randomUniform(shape, from: -scale, to: scale, dtype: dtype, using: &random)
  }

  /// The same with the usual and the strange numbers of `dtype` in some places.
  private func sprinkled(_ x: Tensor, _ random: inout RandomSource) throws -> Tensor {
    let strange: [UInt16] =
      x.dtype == .float16
      ? [0, 0x8000, 1, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFD01]
      : [0, 0x8000, 1, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0xFF81]
    let result = try x.copied()
    let words = result.elements.assumingMemoryBound(to: UInt16.self)
    for _ in 0..<max(1, x.count / 40) {
      words[Int.random(in: 0..<x.count, using: &random)] = strange[Int.random(in: 0..<strange.count, using: &random)]
    }
    return result
  }

  /// The words of a half-precision tensor; all NaN are one.
  private func words(_ x: Tensor) throws -> [UInt16] {
    try x.cast(to: .float32).scalars(Float.self).enumerated().map { index, value in
      let word = x.elements.assumingMemoryBound(to: UInt16.self)[index]
      return value.isNaN ? 0x7FFF : word
    }
  }

  private func expectBits(
    _ operation: FusedConvolution, _ inputs: [Tensor], _ comment: String, _ location: SourceLocation
  ) throws {
    let dtype = inputs[0].dtype
    let expected = try applyAll(operation, inputs.map { try $0.cast(to: .float32) })[0].cast(to: dtype)
    let got = try applyAll(operation, inputs)[0]
    #expect(got.dtype == dtype && got.shape == expected.shape)
    let (a, b) = (try words(got.contiguous()), try words(expected.contiguous()))
    let first = zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }
    #expect(
      first == nil, "\(comment): at \(first?.offset ?? 0) \(first.map { "\($0.element)" } ?? "")",
      sourceLocation: location)
  }

  /// What may be fused: the rectifiers, an activation, residuals.
  private func fuse(
    _ operation: inout FusedConvolution, _ index: Int, _ shape: TensorShape, _ dtype: DType,
    _ random: inout RandomSource
  ) throws -> [Tensor] {
    let activations: [Activation?] = [
      nil, .leakyReLU(slope: 0), .clamp(low: 0, high: 6), .tanh, nil, .silu, .clamp(low: -0.5, high: 0.75),
    ]
    let residuals = try (0..<(index % 3)).map { _ in try tensor(shape, dtype, &random) }
    operation.residualCount = residuals.count
    operation.epilogue = Epilogue(
      inputSlope: [1, 0.1, 1, 0][index % 4], outputScale: index % 5 == 0 ? 0.75 : 1,
      outputSlope: index % 6 == 1 ? 0.2 : 1, activation: activations[index % activations.count])
    return residuals
  }

  private static let halves = [DType.float16, .bfloat16]

  @Test(arguments: InstructionSet.available, halves)
  func randomGeometriesHaveTheBitsOfSeparateConversions(isa: InstructionSet, dtype: DType) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 81)
      for index in 0..<100 {
        let c = GeneratedConvolution.random(using: &random, largest: 500)
        let g = c.geometry
        var x = try tensor(c.inputShape, dtype, &random)
        if index % 4 == 3 { x = try sprinkled(x, &random) }
        let w = try tensor(g.weightShape, dtype, &random)
        let b = index % 3 == 0 ? [] : [try tensor([g.outChannels], dtype, &random)]
        var operation = FusedConvolution(g)
        var residuals = try fuse(&operation, index, c.outputShape, dtype, &random)
        try expectBits(operation, [x, w] + b + residuals, "\(isa) \(dtype) \(index) \(c)", #_sourceLocation)
        // Channels last, and views.
        let toLast = [0] + Array(2..<(g.rank + 2)) + [1]
        residuals = try residuals.map { try $0.permuted(toLast).contiguous() }
        operation.convolution.layout = .channelsLast
        let last = try x.permuted(toLast)
        try expectBits(
          operation, [last.contiguous(), w] + b + residuals, "last \(isa) \(dtype) \(c)", #_sourceLocation)
        try expectBits(operation, [last, w] + b + residuals, "view \(isa) \(dtype) \(c)", #_sourceLocation)
        let flipped = try last.flipped([0, 1]).contiguous().flipped([0, 1])
        try expectBits(operation, [flipped, w] + b + residuals, "flipped \(isa) \(dtype) \(c)", #_sourceLocation)
      }
    }
  }

  @Test(arguments: InstructionSet.available, halves)
  func manyChannelsHaveThemToo(isa: InstructionSet, dtype: DType) throws {
    // Wide blocks, sums in several parts, pointwise convolutions that would read float32 where it is, depthwise ones.
    let cases: [(ConvolutionGeometry, [Int])] = try [
      (.init(rank: 1, inChannels: 70, outChannels: 64, kernelSize: 3, padding: 1), [13]),
      (.init(rank: 1, inChannels: 200, outChannels: 24, kernelSize: 5, padding: 2), [150]),
      (.init(rank: 1, isTransposed: true, inChannels: 64, outChannels: 40, kernelSize: 8, stride: 4, padding: 2), [11]),
      (.init(rank: 1, isTransposed: true, inChannels: 16, outChannels: 8, kernelSize: 4, stride: 2, padding: 1), [150]),
      (.init(rank: 2, inChannels: 96, outChannels: 48, kernelSize: 1), [14, 14]),
      (.init(rank: 2, inChannels: 24, outChannels: 24, kernelSize: 3, padding: 1, groups: 24), [20, 37]),
      (.init(rank: 2, inChannels: 40, outChannels: 40, kernelSize: 3, padding: 1), [7, 7]),
      (.init(rank: 1, inChannels: 32, outChannels: 1, kernelSize: 7, padding: 3), [500]),
      (.init(rank: 3, inChannels: 9, outChannels: 16, kernelSize: 3, stride: 2, padding: 1), [6, 9, 20]),
    ]
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 82)
      for (index, (g, size)) in cases.enumerated() {
        for numerics in [Numerics.invariant, .fast] {
          try Numerics.$current.withValue(numerics) {
            let x = try tensor(TensorShape([2, g.inChannels] + size), dtype, &random)
            let w = try tensor(g.weightShape, dtype, &random)
            let b = try tensor([g.outChannels], dtype, &random)
            for round in 0..<3 {
              var operation = FusedConvolution(g)
              let output = try TensorShape([2, g.outChannels] + g.outputSize(size))
              let residuals = try fuse(&operation, round * 5 + index, output, dtype, &random)
              let comment = "\(isa) \(dtype) \(numerics) \(index)"
              try expectBits(operation, [x, w, b] + residuals, comment, #_sourceLocation)
              try ToomCookPlan.$always.withValue(true) {
                try expectBits(operation, [x, w, b] + residuals, "always \(comment)", #_sourceLocation)
              }
            }
          }
        }
      }
    }
  }

  @Test(arguments: InstructionSet.available, halves)
  func strangeNumbersComeThrough(isa: InstructionSet, dtype: DType) throws {
    // Weights of a power of two give sums that are subnormal, overflow, or lie halfway between two numbers.
    let g = try ConvolutionGeometry(rank: 1, inChannels: 2, outChannels: 9, kernelSize: 1)
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 83)
      let words = (0..<(2 * 32768)).map { UInt16($0) }
      let x = try Tensor(words, shape: [1, 2, 32768]).reinterpreted(as: dtype)
      for scale in [1, 0x1p-12, 0x1p12] {
        let w = try (tensor(g.weightShape, .float32, &random) * scale).cast(to: dtype)
        try expectBits(FusedConvolution(g), [x, w], "\(isa) \(dtype) \(scale)", #_sourceLocation)
        let residual = try x.reshaped([2, 32768]).slice(axis: 0, 1..<2).expanded(to: [9, 32768])
        var operation = FusedConvolution(g)
        operation.residualCount = 1
        let whole = try residual.copied().reshaped([1, 9, 32768])
        try expectBits(operation, [x, w, whole], "residual \(isa) \(dtype) \(scale)", #_sourceLocation)
      }
      // Weights that are not finite, of a convolution that reads beyond its input.
      let transposed = try ConvolutionGeometry(
        rank: 1, isTransposed: true, inChannels: 3, outChannels: 2, kernelSize: 5, stride: 2, padding: 1)
      let y = try sprinkled(tensor([2, 3, 40], dtype, &random), &random)
      let w = try sprinkled(tensor(transposed.weightShape, dtype, &random), &random)
      var operation = FusedConvolution(transposed)
      let residuals = try fuse(&operation, 3 * 7, TensorShape([2, 2] + transposed.outputSize([40])), dtype, &random)
      try expectBits(operation, [y, w] + residuals, "tapwise \(isa) \(dtype)", #_sourceLocation)
    }
  }

  @Test(arguments: InstructionSet.available)
  func conversionsAreExactAndRoundToNearestEven(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      let all = try Tensor((0...65535).map { UInt16($0) }, shape: [65536])
      let halves = try all.reinterpreted(as: .float16).cast(to: .float32).scalars(Float.self)
      let brains = try all.reinterpreted(as: .bfloat16).cast(to: .float32).scalars(Float.self)
      for word in UInt16.min...UInt16.max {
        let (half, brain) = (Float(Float16(bitPattern: word)), BFloat16(bitPattern: word).floatValue)
        let isSame =
          (halves[Int(word)].bitPattern == half.bitPattern || half.isNaN && halves[Int(word)].isNaN)
          && brains[Int(word)].bitPattern == brain.bitPattern
        if !isSame { Issue.record("\(isa) \(word): \(halves[Int(word)]) \(brains[Int(word)])") }
      }
      // Halfway between neighbours, a little above and below, and numbers of all sizes.
      var random = RandomSource(seed: 84)
      var values = halves.flatMap { value in
        [0x1000, 0x0FFF, 0x1001, 0x800, 0x17FF].map { Float(bitPattern: value.bitPattern &+ $0) }
      }
      values += brains.flatMap { value in
        [0x8000, 0x7FFF, 0x8001].map { Float(bitPattern: value.bitPattern &+ $0) }
      }
      values += (0..<100_000).map { _ in Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &random)) }
      let x = try Tensor(values, shape: [values.count])
      let narrow = try x.cast(to: .float16).scalars(Float16.self)
      let short = try x.cast(to: .bfloat16).scalars(BFloat16.self)
      for (index, value) in values.enumerated() {
        let (half, brain) = (Float16(value), BFloat16(value))
        let isSame =
          (narrow[index].bitPattern == half.bitPattern || half.isNaN && narrow[index].isNaN)
          && short[index].bitPattern == brain.bitPattern
        if !isSame { Issue.record("\(isa) \(value): \(narrow[index]) \(short[index].floatValue)") }
      }
    }
  }
}
