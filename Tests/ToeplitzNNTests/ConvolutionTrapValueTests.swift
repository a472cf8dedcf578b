import Testing
import Toeplitz
import ToeplitzTestSupport

/// What implementations of convolutions got wrong before, continued: padding, special values, types and weights.
///
/// Expected values come from PyTorch 2.15; the expression stands beside them.
@Suite struct ConvolutionTrapValueTests {
  private static let nan = Float.nan

  private func convolve(
    _ x: [Float], _ w: [Float], stride: Int = 1, padding: Padding, dilation: Int = 1,
    mode: PaddingMode = .zeros
  ) throws -> [Float] {
    try conv1d(
      signal(x), signal(w), stride: PerAxis(stride), padding: padding, dilation: PerAxis(dilation),
      paddingMode: mode
    ).floats
  }

  @Test func trap17PaddingSamePutsTheOddZeroOnTheRight() throws {
    let x: [Float] = [1, 2, 3, 4, 5]
    let w: [Float] = [1, 10, 100, 1000]
    // F.conv1d(x, w, padding='same'), and with dilation=3
    #expect(try convolve(x, w, padding: .same) == [3210, 4321, 5432, 543, 54])
    #expect(try convolve(x, w, padding: .same, dilation: 3) == [300, 410, 520, 30, 41])
    // nn.Conv1d(1, 1, 4, padding='same', padding_mode=…)
    #expect(try convolve(x, w, padding: .same, mode: .reflect) == [3212, 4321, 5432, 4543, 3454])
    #expect(try convolve(x, w, padding: .same, mode: .replicate) == [3211, 4321, 5432, 5543, 5554])
    #expect(try convolve(x, w, padding: .same, mode: .circular) == [3215, 4321, 5432, 1543, 2154])
    #expect(
      refusal { _ = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 3, stride: 2, padding: .same) }
        .contains("same"))
  }

  @Test func trap20TransposedConvolutionsKnowSameAndCircularAndRefuseOtherModes() throws {
    for stride in 1...4 {
      for kernel in 1...6 {
        let up = try ConvTranspose1d(
          inChannels: 1, outChannels: 1, kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: .same)
        #expect(try up(.ones([1, 1, 7])).shape == [1, 1, 7 * stride])
      }
    }
    // x.grad of nn.Conv1d(1, 1, 3, padding=2, padding_mode='circular', stride=2), the gradient being 1 … 4.
    let circular = try ConvTranspose1d(
      inChannels: 1, outChannels: 1, kernelSize: 3, stride: 2, padding: 2, outputPadding: 1, bias: false,
      paddingMode: .circular)
    try circular.load(["weight": signal([1, 10, 100])])
    #expect(try circular(signal([1, 2, 3, 4])).floats == [502, 20, 203, 30, 305, 50])
    for mode in [PaddingMode.reflect, .replicate] {
      let text = refusal {
        _ = try ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 3, paddingMode: mode)
      }
      #expect(text.contains("paddingMode"), "\(text)")
    }
  }

  @Test func trap21PaddingModesHaveTheirLimits() throws {
    let x: [Float] = [0, 1, 2, 3]
    // nn.Conv1d(1, 1, 1, padding=3, padding_mode=…) of [0, 1, 2, 3]
    #expect(try convolve(x, [1], padding: 3, mode: .reflect) == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    #expect(try convolve(x, [1], padding: 3, mode: .replicate) == [0, 0, 0, 0, 1, 2, 3, 3, 3, 3])
    #expect(try convolve(x, [1], padding: 3, mode: .circular) == [1, 2, 3, 0, 1, 2, 3, 0, 1, 2])
    #expect(refusal { _ = try convolve(x, [1], padding: 4, mode: .reflect) }.contains("reflect"))
    #expect(try convolve(x, [1], padding: 4, mode: .circular) == x + x + x)
    #expect(refusal { _ = try convolve(x, [1], padding: 5, mode: .circular) }.contains("circular"))
    #expect(try convolve([7], [1], padding: 9, mode: .replicate) == [Float](repeating: 7, count: 19))
    for mode in PaddingMode.allCases {
      _ = refusal("\(mode)") {
        _ = try conv1d(.zeros([1, 1, 0]), signal([1]), padding: 1, paddingMode: mode)
      }
      #expect(try conv1d(.zeros([0, 1, 4]), signal([1]), padding: 1, paddingMode: mode).shape == [0, 1, 6])
    }
    // nn.Conv2d(1, 1, (2, 3), padding=(1, 2), padding_mode='reflect', stride=(1, 2)) of arange(1, 10)
    let plane = try conv2d(
      counting([1, 1, 3, 3]), tensor([1, 10, 100, 1000, 1e4, 1e5], [1, 1, 2, 3]), stride: [1, 2],
      padding: [1, 2], paddingMode: .reflect)
    #expect(
      try plane.floats == [
        123456, 321654, 123456, 456123, 654321, 456123, 789456, 987654, 789456, 456789, 654987, 456789,
      ])
  }

  @Test func trap22ANaNPoisonsItsWindowsOnlyAndAlsoThroughZeroWeights() throws {
    let nan = Self.nan
    for isa in InstructionSet.available {
      try InstructionSet.$override.withValue(isa) {
        // F.conv1d([[[1, 2, nan, 4, 5, 6, 7]]], [[[1, 0, 1]]], padding=1)
        let y = try conv1d(signal([1, 2, nan, 4, 5, 6, 7]), signal([1, 0, 1]), padding: 1)
        #expect(try y.equals([2, nan, nan, nan, 10, 12, 6]), "\(isa) \(y)")
        // F.conv_transpose1d([[[1, inf, 3, 4]]], [[[1, 0, 2]]], stride=2)
        let up = try convTranspose1d(signal([1, .infinity, 3, 4]), signal([1, 0, 2]), stride: 2)
        #expect(try up.equals([1, 0, .infinity, nan, .infinity, 0, 10, 0, 8]), "\(isa) \(up)")
        // Never into another group.
        var values = [Float](repeating: 1, count: 2 * 40)
        values[7] = nan
        let grouped = try conv1d(tensor(values, [1, 2, 40]), .ones([2, 1, 5]), groups: 2).floats
        #expect(grouped[36...].allSatisfy { $0 == 5 })
        #expect((0..<36).allSatisfy { grouped[$0].isNaN == (3...7).contains($0) })
        #expect(try signal([nan, -1]).leakyReLU(negativeSlope: 0.1).floats[0].isNaN)
      }
    }
  }

  @Test func trap23PaddingIsMultipliedByTheWeight() throws {
    let nan = Self.nan
    let inf = Float.infinity
    // F.conv1d([[[1, 2, 3, 4]]], [[[nan, 0, 1]]], padding=1), with inf, and [[[inf]]]
    let x = try signal([1, 2, 3, 4])
    #expect(try conv1d(x, signal([nan, 0, 1]), padding: 1).equals([nan, nan, nan, nan]))
    #expect(try conv1d(x, signal([inf, 0, 1]), padding: 1).equals([nan, inf, inf, inf]))
    #expect(try conv1d(x, signal([inf]), padding: 1).equals([nan, inf, inf, inf, inf, nan]))
  }

  @Test func trap23InsertedAndCroppedZerosOfATransposedConvolutionAreNotMultiplied() throws {
    let nan = Self.nan
    let x = try signal([1, 2])
    // F.conv_transpose1d([[[1, 2]]], [[[1, nan, 1]]], stride=2), [[[nan, 1, 1]]], and [[[1, 10, nan]]], padding=1
    #expect(try convTranspose1d(x, signal([1, nan, 1]), stride: 2).equals([1, nan, 3, nan, 2]))
    #expect(try convTranspose1d(x, signal([nan, 1, 1])).equals([nan, nan, 3, 2]))
    #expect(try convTranspose1d(x, signal([1, 10, nan]), padding: 1).equals([12, nan]))
    // With bias, output padding that no tap reaches, groups, channels last and a second axis.
    let inf = Float.infinity
    #expect(
      try convTranspose1d(x, signal([inf]), bias: Tensor([7]), stride: 2, outputPadding: 1)
        .equals([inf, 7, inf, 7]))
    let grouped = try convTranspose1d(
      tensor([1, 2, 3, 4], [1, 2, 2]), tensor([1, 10, nan, 1], [2, 1, 2]), groups: 2)
    #expect(try grouped.equals([1, 12, 20, nan, nan, 4]))
    let last = try convTranspose1d(tensor([1, 2], [1, 2, 1]), signal([nan, 1, 1]), layout: .channelsLast)
    #expect(try last.equals([nan, nan, 3, 2]) && last.shape == [1, 4, 1])
    let plane = try convTranspose2d(
      tensor([1, 2], [1, 1, 1, 2]), tensor([1, nan, 10, 100], [1, 1, 2, 2]), stride: [2, 1])
    #expect(try plane.equals([1, nan, nan, 10, 120, 200]))
    // Circular folds the ends, and NaN with them: positions −1 and 3 come back at the other end.
    let circular = try convTranspose1d(
      signal([1, 2, 3]), signal([nan, 1, 1]), padding: 1, paddingMode: .circular)
    #expect(try circular.equals([nan, nan, nan]))
    // The same numbers as the fast path where nothing is special.
    var random = RandomSource(seed: 23)
    let input = try Tensor.randomNormal([2, 4, 9], dtype: .float64, using: &random)
    var weight = try Tensor.randomNormal([4, 6, 5], dtype: .float64, using: &random)
    let expected = try convTranspose1d(input, weight, stride: 3, padding: 4, outputPadding: 2, dilation: 2)
    // Channel 5 is broken, the others are as before.
    try weight.withMutableElements(Double.self) { $0[5 * 5 + 1] = .nan }
    let broken = try convTranspose1d(input, weight, stride: 3, padding: 4, outputPadding: 2, dilation: 2)
    let (a, b) = try (broken.slice(axis: 1, 0..<5), expected.slice(axis: 1, 0..<5))
    #expect(try a.distance(to: b).absolute < 1e-13)
    #expect(try broken.select(axis: 1, 5).scalars(Double.self).contains { $0.isNaN })
  }

  @Test func trap24HugeSizesAreNotNarrowed() throws {
    let huge = 1 << 62
    let strided = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, stride: PerAxis(huge))
    #expect(strided.geometry.stride == [huge])
    #expect(try strided.outputLength(for: 9) == 1)
    let dilated = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, dilation: PerAxis(huge))
    #expect(refusal { _ = try dilated(.ones([1, 1, 9])) }.contains("\(huge + 1)"))
    let padded = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, padding: .uniform(1 << 48))
    let error = #expect(throws: ToeplitzError.self) { try padded(.ones([1, 1, 9])) }
    #expect(error?.kind == .memory)
  }

  @Test func trap25ViewsGiveTheValuesOfTheirCopies() throws {
    var random = RandomSource(seed: 25)
    let base = try Tensor.randomNormal([3, 8, 31, 2], using: &random)
    let views = [
      try base.select(axis: 3, 1), try base.select(axis: 3, 0).slice(axis: 2, 3..<29, step: 2),
      try base.select(axis: 3, 0).flipped([1, 2]),
      try base.select(axis: 3, 1).transposed(0, 1).transposed(0, 1),
      try base.select(axis: 3, 1).slice(axis: 1, 0..<1).expanded(to: [3, 8, 31]),
    ]
    let weights = try Tensor.randomNormal([8, 8, 10], using: &random)
    for (index, x) in views.enumerated() {
      for w in [
        try weights.slice(axis: 2, 4..<9), try weights.slice(axis: 2, 0..<9, step: 2),
        try weights.transposed(0, 1).flipped([2]).slice(axis: 2, 1..<6),
        try weights.slice(axis: 2, 3..<4).expanded(to: [8, 8, 5]),
      ] {
        let bias = try weights.select(axis: 0, 2).select(axis: 1, 3)
        let (a, b) = try (x.copied(), w.copied())
        #expect(
          try conv1d(x, w, bias: bias, padding: 2).sameBits(
            as: conv1d(a, b, bias: bias.copied(), padding: 2)),
          "view \(index)")
        #expect(
          try convTranspose1d(x, w, bias: bias, stride: 2)
            .sameBits(as: convTranspose1d(a, b, bias: bias.copied(), stride: 2)), "view \(index)")
      }
    }
  }

  @Test func trap26TypesMustAgreeAndIntegersStay() throws {
    let x = try Tensor([1, 2, 3] as [Int8], shape: [1, 1, 3])
    let w = try Tensor([100, 100] as [Int8], shape: [1, 1, 2])
    #expect(try conv1d(x, w).scalars(Int8.self) == [44, -12])  // 300 and 500 wrap around, as in PyTorch
    let wide = try conv1d(x.cast(to: .int64), w.cast(to: .int64))
    #expect(try wide.scalars(Int64.self) == [300, 500])
    let error = #expect(throws: ToeplitzError.self) { try conv1d(x, w.cast(to: .float32)) }
    #expect(error?.kind == .dtype)
    let bias = #expect(throws: ToeplitzError.self) {
      try conv1d(signal([1]), signal([1]), bias: Tensor([1.0] as [Double]))
    }
    #expect(bias?.kind == .dtype)
    let truth = try Tensor([true, false], shape: [1, 1, 2])
    #expect(throws: ToeplitzError.self) { try conv1d(truth, truth) }
    #expect(throws: ToeplitzError.self) {
      try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 1, dtype: .bool)
    }
  }

  @Test(arguments: [(64, 64, 7), (512, 256, 16)])
  func trap27TheErrorGrowsWithTheRootOfTheReduction(inChannels: Int, outChannels: Int, kernel: Int) throws {
    var random = RandomSource(seed: 27)
    let x = try Tensor.randomNormal([1, inChannels, 40], dtype: .float64, using: &random).cast(to: .float32)
    let w = try Tensor.randomNormal([outChannels, inChannels, kernel], dtype: .float64, using: &random)
      .cast(to: .float32)
    let exact = try conv1d(x.cast(to: .float64), w.cast(to: .float64))
    let distance = try conv1d(x, w).cast(to: .float64).distance(to: exact)
    let reduction = Double(inChannels * kernel)
    #expect(distance.absolute <= 0x1p-23 * reduction.squareRoot() * distance.scale, "\(distance)")
    // Far from exact: the bound must be able to fail.
    #expect(distance.absolute > 0)
  }

  @Test func trap33CausalPaddingKnowsTheStride() throws {
    let w: [Float] = [1, 10, 100, 1000]
    // F.conv1d(F.pad(arange(1, 8), (4 − 2, 0)), w, stride=2)
    #expect(try convolve([1, 2, 3, 4, 5, 6, 7], w, stride: 2, padding: .causal) == [2100, 4321, 6543])
    // F.conv_transpose1d([1, 2, 3], w, stride=2)[:, :, :−2]
    #expect(
      try convTranspose1d(signal([1, 2, 3]), signal(w), stride: 2, padding: .causal).floats
        == [1, 10, 102, 1020, 203, 2030])
    // No output depends on a later input.
    for stride in 1...3 {
      let x = try counting([1, 1, 24])
      let short = try x.slice(axis: 2, 0..<12)
      let step = PerAxis(stride)
      let long = try conv1d(x, signal(w), stride: step, padding: .causal, dilation: 2)
      let early = try conv1d(short, signal(w), stride: step, padding: .causal, dilation: 2)
      #expect(early.shape[2] == 12 / stride)
      #expect(try early.floats == Array(long.floats.prefix(12 / stride)))
      let up = try convTranspose1d(short, signal(w), stride: step, padding: .causal).floats
      #expect(up.count == 12 * stride)
      #expect(
        try Array(convTranspose1d(x, signal(w), stride: step, padding: .causal).floats.prefix(up.count)) == up
      )
    }
  }
}
