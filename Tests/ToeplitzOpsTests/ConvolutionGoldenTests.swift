import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// One case of `golden/convolution.json`.
private struct GoldenCase: Decodable, CustomStringConvertible {
  var id: String
  var name: String
  var rank: Int
  var transposed: Bool
  var groups: Int
  var stride: [Int]
  var dilation: [Int]
  var paddingLow: [Int]
  var paddingHigh: [Int]
  var paddingMode: String
  var outputPadding: [Int]
  var inputShape: [Int]
  var weightShape: [Int]
  var outputShape: [Int]

  var description: String { "case \(id) (\(name))" }
  var kernel: [Int] { Array(weightShape.dropFirst(2)) }
  /// Products that are added for one output, at most.
  var reduction: Double { Double((inputShape[1] / groups) * kernel.reduce(1, *)) }

  func geometry() throws -> ConvolutionGeometry {
    try ConvolutionGeometry(
      rank: rank, isTransposed: transposed, inChannels: inputShape[1], outChannels: outputShape[1],
      kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: padding,
      outputPadding: PerAxis(outputPadding), dilation: PerAxis(dilation), groups: groups,
      paddingMode: #require(PaddingMode(rawValue: paddingMode)))
  }

  var padding: Padding { .asymmetric(zip(paddingLow, paddingHigh).map { ($0, $1) }) }

  /// The geometry that sends output gradients back to the input.
  func adjoint() throws -> ConvolutionGeometry {
    // What the last window did not reach: the adjoint has to add it at the end.
    let extra = (0..<rank).map { axis in
      let extent = dilation[axis] * (kernel[axis] - 1) + 1
      let reached = (outputShape[axis + 2] - 1) * stride[axis] + extent - paddingLow[axis] - paddingHigh[axis]
      return transposed ? 0 : inputShape[axis + 2] - reached
    }
    return try ConvolutionGeometry(
      rank: rank, isTransposed: !transposed, inChannels: outputShape[1], outChannels: inputShape[1],
      kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: padding, outputPadding: PerAxis(extra),
      dilation: PerAxis(dilation), groups: groups)
  }
}

private struct GoldenData {
  private struct Index: Decodable { var cases: [GoldenCase] }
  let cases: [GoldenCase]
  let tensors: Checkpoint

  init() throws {
    let json = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("golden/convolution.json")))
    cases = try JSONDecoder().decode(Index.self, from: json).cases
    tensors = try Safetensors.read(contentsOf: Fixtures.path("golden/convolution.safetensors"))
  }

  func tensor(_ item: GoldenCase, _ part: String) throws -> Tensor {
    try #require(tensors["\(item.id).\(part)"], "\(item) has no \(part)")
  }

  func bias(_ item: GoldenCase) -> Tensor? { tensors["\(item.id).bias"] }
}

/// Every case of the golden data: values of PyTorch in float64, rounded to float32.
@Suite struct ConvolutionGoldenTests {
  /// The bound on the error, for one product in the sum, relative to the largest output.
  private static let tolerance = 1e-6
  private let golden: GoldenData

  init() throws { golden = try GoldenData() }

  private func run(
    _ geometry: ConvolutionGeometry, _ x: Tensor, _ weight: Tensor, _ bias: Tensor?,
    layout: TensorLayout = .channelsFirst
  ) throws -> Tensor {
    let inputs = [layout == .channelsFirst ? x : try channelsLast(x), weight] + (bias.map { [$0] } ?? [])
    let y = try applyAll(ConvolutionOperation(geometry, layout: layout), inputs)[0]
    return layout == .channelsFirst ? y : try channelsFirst(y)
  }

  private func channelsLast(_ x: Tensor) throws -> Tensor {
    try x.permuted([0] + Array(2..<x.rank) + [1]).contiguous()
  }

  private func channelsFirst(_ x: Tensor) throws -> Tensor {
    try x.permuted([0, x.rank - 1] + Array(1..<(x.rank - 1)))
  }

  @Test func theFileHoldsTheCasesItShould() {
    #expect(golden.cases.count == 210)
    #expect(golden.cases.filter(\.transposed).count == 107)
    #expect(Set(golden.cases.map(\.rank)) == [1, 2, 3])
    #expect(Set(golden.cases.map(\.paddingMode)) == ["zeros", "reflect", "replicate", "circular"])
  }

  @Test func theReferenceGivesTheStoredValuesToTheirRounding() throws {
    var ran = 0
    for item in golden.cases {
      let x = try golden.tensor(item, "input")
      let weight = try golden.tensor(item, "weight")
      let bias = try golden.bias(item).map { try ReferenceConvolution.Array($0) }
      let y = try ReferenceConvolution.forward(
        item.geometry(), x: .init(x), weight: .init(weight), bias: bias)
      let stored = try golden.tensor(item, "output").doubles()
      #expect(y.shape == item.outputShape, "\(item)")
      let scale = stored.reduce(0) { max($0, abs($1)) }
      // Half a unit in the last place of a float32, and what float64 sums may differ by.
      let wrong = zip(y.values, stored).filter { abs($0 - $1) > abs($1) * 0x1p-24 + 1e-13 * scale }
      #expect(y.values.count == stored.count && wrong.isEmpty, "\(item): \(wrong.count) values differ")
      ran += 1
    }
    print("golden convolution: reference against PyTorch, \(ran) cases")
    #expect(ran == golden.cases.count)
  }

  @Test(arguments: InstructionSet.available, [TensorLayout.channelsFirst, .channelsLast])
  func singlePrecisionMatchesPyTorch(isa: InstructionSet, layout: TensorLayout) throws {
    try InstructionSet.$override.withValue(isa) {
      var worst = (ratio: 0.0, name: "")
      for item in golden.cases {
        let y = try run(
          item.geometry(), golden.tensor(item, "input"), golden.tensor(item, "weight"), golden.bias(item),
          layout: layout)
        #expect(y.shape.dimensions == item.outputShape, "\(item)")
        let distance = try y.distance(to: golden.tensor(item, "output"))
        let bound = Self.tolerance * item.reduction.squareRoot() * distance.scale
        // One case is all zeros, which leaves no room at all.
        let ratio = distance.absolute == 0 ? 0 : distance.absolute / bound
        if ratio > worst.ratio { worst = (ratio, "\(item)") }
        #expect(ratio <= 1 && distance.sameSpecials, "\(isa) \(layout) \(item): \(distance)")
      }
      print(
        "golden convolution: float32 \(isa) \(layout), \(golden.cases.count) cases, "
          + "worst error \(worst.ratio) of the bound in \(worst.name)")
    }
  }

  @Test(arguments: InstructionSet.available)
  func doublePrecisionMatchesTheReference(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var worst = 0.0
      for item in golden.cases {
        let x = try golden.tensor(item, "input").cast(to: .float64)
        let weight = try golden.tensor(item, "weight").cast(to: .float64)
        let bias = try golden.bias(item)?.cast(to: .float64)
        let expected = try ReferenceConvolution.forward(
          item.geometry(), x: .init(x), weight: .init(weight), bias: bias.map { try .init($0) })
        let y = try run(item.geometry(), x, weight, bias)
        #expect(y.shape.dimensions == expected.shape, "\(item)")
        let distance = Distance(try y.doubles(), expected.values)
        if distance.scale > 0 { worst = max(worst, distance.absolute / distance.scale) }
        #expect(distance.absolute <= 1e-12 * distance.scale, "\(isa) \(item): \(distance)")
      }
      print("golden convolution: float64 \(isa), \(golden.cases.count) cases, worst error \(worst)")
    }
  }

  @Test(arguments: InstructionSet.available)
  func inputGradientsAreTheOtherDirectionsForward(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var ran = 0
      var viaOutputSize = 0
      for item in golden.cases where item.paddingMode == "zeros" {
        let adjoint = try item.adjoint()
        let inputSize = Array(item.outputShape.dropFirst(2))
        let wanted = Array(item.inputShape.dropFirst(2))
        if adjoint.isTransposed {
          // The public way to say "of that size", where the shortest size is legal by itself.
          let plain = try ConvolutionGeometry(
            rank: item.rank, isTransposed: true, inChannels: adjoint.inChannels,
            outChannels: adjoint.outChannels, kernelSize: PerAxis(item.kernel), stride: PerAxis(item.stride),
            padding: item.padding, dilation: PerAxis(item.dilation), groups: item.groups)
          if let sized = try? plain.withOutputSize(wanted, inputSize: inputSize) {
            #expect(sized == adjoint, "\(item)")
            viaOutputSize += 1
          }
        }
        let expected = try golden.tensor(item, "inputGradient").cast(to: .float64)
        var gradient = try run(
          adjoint, golden.tensor(item, "outputGradient").cast(to: .float64),
          golden.tensor(item, "weight").cast(to: .float64), nil)
        // An output padding of a stride or more lets one more window fit.
        for axis in 0..<item.rank {
          gradient = try gradient.slice(axis: axis + 2, 0..<wanted[axis])
        }
        let distance = try gradient.distance(to: expected)
        #expect(distance.absolute <= 0x1p-23 * distance.scale, "\(isa) \(item): \(distance)")
        ran += 1
      }
      print("golden convolution: input gradients \(isa), \(ran) cases, \(viaOutputSize) by outputSize")
      #expect(ran == 188)
      #expect(viaOutputSize > 70)
    }
  }
}
