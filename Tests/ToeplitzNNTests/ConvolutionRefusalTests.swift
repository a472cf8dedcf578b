import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

/// One entry of `refused` in `golden/convolution.json`: options that PyTorch refuses too.
private struct RefusedCase: Decodable {
  /// A number, or the word `same`.
  enum PaddingOption: Decodable {
    case number(Int)
    case word(String)

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let number = try? container.decode(Int.self) {
        self = .number(number)
      } else {
        self = .word(try container.decode(String.self))
      }
    }
  }

  var why: String
  var layer: String
  var inChannels: Int
  var outChannels: Int
  var kernelSize: Int
  var stride: Int?
  var dilation: Int?
  var padding: PaddingOption?
  var outputPadding: Int?
  var groups: Int?
  var paddingMode: String?
  var input: [Int]?

  static func all() throws -> [RefusedCase] {
    struct Index: Decodable { var refused: [RefusedCase] }
    let json = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("golden/convolution.json")))
    return try JSONDecoder().decode(Index.self, from: json).refused
  }

  func makeLayer() throws -> ConvolutionLayer {
    let padding: Padding =
      switch self.padding {
      case .number(let value): .uniform(value)
      case .word: .same
      case nil: 0
      }
    let (stride, dilation) = (PerAxis(stride ?? 1), PerAxis(dilation ?? 1))
    let mode = try #require(PaddingMode(rawValue: paddingMode ?? "zeros"))
    func convolution<R: SpatialRank>(_ rank: R.Type) throws -> ConvolutionLayer {
      try Conv<R>(
        inChannels: inChannels, outChannels: outChannels, kernelSize: PerAxis(kernelSize), stride: stride,
        padding: padding, dilation: dilation, groups: groups ?? 1, paddingMode: mode)
    }
    switch layer {
    case "Conv1d": return try convolution(Rank1.self)
    case "Conv2d": return try convolution(Rank2.self)
    default:
      return try ConvTranspose1d(
        inChannels: inChannels, outChannels: outChannels, kernelSize: PerAxis(kernelSize), stride: stride,
        padding: padding, outputPadding: PerAxis(outputPadding ?? 0), dilation: dilation,
        groups: groups ?? 1, paddingMode: mode)
    }
  }
}

/// What is not legal ends in an error that says so.
@Suite struct ConvolutionRefusalTests {
  /// For each entry's reason, words that the error must contain.
  private static let words = [
    "groups does not divide the input channels": ["inChannels", "groups", "3", "4"],
    "groups does not divide the output channels": ["outChannels", "groups", "3", "4"],
    "groups must be positive": ["groups", "0"],
    "stride must be positive": ["stride", "0"],
    "dilation must be positive": ["dilation", "0"],
    "padding must not be negative": ["padding", "-1"],
    "output padding must be smaller than stride or dilation": ["outputPadding", "stride", "dilation", "2"],
    "kernel larger than the padded input": ["9", "kernel", "axis 0", "5"],
    "channel count of the input differs": ["4", "channels", "5"],
    "rank of the input differs": ["dimensions", "[N, C, L]", "[1, 4, 9, 9, 9]"],
    "output would be empty or negative": ["output", "axis 0", "length 2", "padding 3"],
    "reflect padding not smaller than the input": ["reflect", "5", "axis 0"],
    "transposed convolution has no reflect padding": ["reflect", "transposed"],
    "padding same needs stride 1": ["stride", "same", "2"],
  ]

  @Test func everyCaseThatPyTorchRefusesIsAnErrorThatNamesTheCause() throws {
    let cases = try RefusedCase.all()
    #expect(cases.count == 14)
    for item in cases {
      let words = try #require(Self.words[item.why], "no key words for: \(item.why)")
      let error = #expect(throws: ToeplitzError.self, "\(item.why)") {
        let layer = try item.makeLayer()
        // Reached only where the options are legal by themselves.
        #expect(item.input != nil, "accepted by init: \(item.why)")
        _ = try layer(Tensor.zeros(TensorShape(item.input ?? [])))
      }
      let text = error?.description ?? ""
      #expect(text.hasPrefix(item.layer), "\(item.why): \(text)")
      for word in words { #expect(text.contains(word), "\(item.why): no \(word) in: \(text)") }
    }
  }

  @Test(arguments: [1 << 62, Int.max, Int.max - 1, 1 << 32])
  func hugeOptionsAreErrorsOrExact(huge: Int) throws {
    let x = try Tensor([1, 2, 3, 4, 5] as [Float], shape: [1, 1, 5])
    let option = PerAxis(huge)
    // A stride beyond the input leaves one window.
    let strided = try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, stride: option, bias: false)
    try strided.load(["weight": Tensor([10, 1] as [Float], shape: [1, 1, 2])])
    #expect(try strided(x).scalars(Float.self) == [12])
    for mode in PaddingMode.allCases {
      let padded = try Conv1d(
        inChannels: 1, outChannels: 1, kernelSize: 2, stride: option, padding: 1, bias: false,
        paddingMode: mode)
      try padded.load(["weight": Tensor([10, 1] as [Float], shape: [1, 1, 2])])
      let before: [PaddingMode: Float] = [.zeros: 0, .reflect: 2, .replicate: 1, .circular: 5]
      #expect(try padded(x).scalars(Float.self) == [(before[mode] ?? 0) * 10 + 1], "\(mode)")
    }
    #expect(throws: ToeplitzError.self) {
      try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, dilation: option)(x)
    }
    #expect(throws: ToeplitzError.self) {
      try ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 3, stride: option)(x)
    }
    #expect(throws: ToeplitzError.self) {
      try Conv1d(inChannels: 1, outChannels: 1, kernelSize: 2, padding: .uniform(1 << 60))(x)
    }
    #expect(throws: ToeplitzError.self) {
      try Conv1d(inChannels: huge, outChannels: huge, kernelSize: option)
    }
  }

  @Test func aStrideWithoutEndIsRefusedWhereItWouldNeedAPhaseForEachPosition() throws {
    // One input position: the output length does not depend on the stride, the number of phases does.
    let layer = try ConvTranspose1d(
      inChannels: 1, outChannels: 1, kernelSize: 3, stride: PerAxis(1 << 62), bias: false)
    #expect(try layer.outputLength(for: 1) == 3)
    let error = #expect(throws: ToeplitzError.self) { try layer(.ones([1, 1, 1])) }
    #expect(error?.kind == .memory && error?.description.contains("stride") == true)
  }

  @Test func tapsTooFarApartAreRefused() throws {
    // Cropping brings the output back to a few positions, but the taps lie 2^40 inputs apart.
    let layer = try ConvTranspose1d(
      inChannels: 1, outChannels: 1, kernelSize: 2, padding: .uniform(1 << 39), dilation: PerAxis(1 << 40))
    #expect(try layer.outputLength(for: 3) == 3)
    let error = #expect(throws: ToeplitzError.self) { try layer(.ones([1, 1, 3])) }
    #expect(error?.kind == .memory && error?.description.contains("taps") == true)
  }

  @Test func aPhaseBeyond32BitsIsComputed() throws {
    // Offset −1 with a stride of 2^40 is phase 2^40 − 1 of the window before.
    let layer = try Conv1d(
      inChannels: 1, outChannels: 1, kernelSize: 3, stride: PerAxis(1 << 40), padding: 1, bias: false)
    try layer.load(["weight": Tensor([100, 10, 1] as [Float], shape: [1, 1, 3])])
    #expect(try layer(Tensor([1, 2, 3] as [Float], shape: [1, 1, 3])).scalars(Float.self) == [12])
  }

  @Test func sizesBeyondTheRangeOfIntegersHaveNoInverse() throws {
    let wide = try ConvolutionGeometry(
      rank: 1, isTransposed: true, inChannels: 1, outChannels: 1, kernelSize: 2, padding: .causal,
      dilation: PerAxis(Int.max / 4))
    for length in [Int.min, -1, 0, Int.max / 4 - 1, Int.max - 1, Int.max] {
      _ = wide.inputLengths(for: length)
    }
    let skipping = try ConvolutionGeometry(
      rank: 1, inChannels: 1, outChannels: 1, kernelSize: 1, stride: PerAxis(Int.max))
    #expect(skipping.inputLengths(for: 1) == 1..<Int.max)
    #expect(skipping.inputLengths(for: 2).isEmpty)
    #expect(skipping.inputLengths(for: 1, axis: 1).isEmpty && skipping.inputLengths(for: 1, axis: -1).isEmpty)
    let error = #expect(throws: ToeplitzError.self) {
      try ConvolutionGeometry(
        rank: 1, isTransposed: true, inChannels: 1, outChannels: 1, kernelSize: 1,
        stride: PerAxis(Int.max - 1)
      ).withOutputSize([0], inputSize: [2])
    }
    #expect(error?.description.contains("\(Int.max)") == true)
    #expect(throws: ToeplitzError.self) { try wide.multiplyAdds(inputSize: []) }
    #expect(Module().inputLengths(for: Int.max).isEmpty)
    #expect(Sequential([]).inputLengths(for: Int.max).isEmpty)
  }
}
