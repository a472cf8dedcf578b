import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Weights that begin at any byte, as they do in an ONNX file, through every way to prepare them.
@Suite struct UnalignedWeightTests {
  struct Way: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var geometry: ConvolutionGeometry
    var input: TensorShape
    var storage = WeightStorage.full
    /// Whether as few multiplications as can be are wanted.
    var isFast = false
    /// Whether a weight is NaN, which transposed convolutions compute tap by tap.
    var hasNaN = false
  }

  private static func ways() throws -> [Way] {
    func plain(_ inputs: Int, _ outputs: Int, _ kernel: Int, rank: Int = 1, groups: Int = 1) throws
      -> ConvolutionGeometry
    {
      try ConvolutionGeometry(
        rank: rank, inChannels: inputs, outChannels: outputs, kernelSize: PerAxis(kernel), padding: .uniform(1),
        groups: groups)
    }
    func turned(_ rank: Int, groups: Int = 1) throws -> ConvolutionGeometry {
      try ConvolutionGeometry(
        rank: rank, isTransposed: true, inChannels: 12, outChannels: 20, kernelSize: 4, stride: 2, padding: .uniform(1),
        groups: groups)
    }
    return [
      Way(testDescription: "wide", geometry: try plain(40, 70, 3), input: [1, 40, 5]),
      Way(testDescription: "wide, one tap", geometry: try plain(40, 70, 1), input: [1, 40, 3]),
      Way(testDescription: "wide, 16 bits", geometry: try plain(40, 70, 3), input: [1, 40, 5], storage: .bfloat16),
      Way(testDescription: "wide, 8 bits", geometry: try plain(40, 70, 3), input: [1, 40, 5], storage: .int8),
      Way(testDescription: "narrow", geometry: try plain(12, 20, 3), input: [2, 12, 300]),
      Way(testDescription: "two axes", geometry: try plain(12, 20, 3, rank: 2, groups: 2), input: [1, 12, 20, 30]),
      Way(testDescription: "three axes", geometry: try plain(4, 6, 3, rank: 3), input: [1, 4, 6, 7, 8]),
      Way(testDescription: "depthwise", geometry: try plain(16, 16, 7, groups: 16), input: [1, 16, 90]),
      Way(testDescription: "transposed", geometry: try turned(1), input: [1, 12, 60]),
      Way(testDescription: "transposed, two axes", geometry: try turned(2, groups: 2), input: [1, 12, 9, 8]),
      Way(testDescription: "tap by tap", geometry: try turned(1), input: [1, 12, 60], hasNaN: true),
      Way(testDescription: "Toom-Cook", geometry: try plain(12, 20, 5), input: [1, 12, 300], isFast: true),
      Way(
        testDescription: "Toom-Cook, square", geometry: try plain(12, 20, 3, rank: 2), input: [1, 12, 20, 30],
        isFast: true),
      Way(testDescription: "Toom-Cook, transposed", geometry: try turned(1), input: [1, 12, 90], isFast: true),
    ]
  }

  private func bits(_ tensor: Tensor) throws -> [UInt32] { try tensor.scalars(Float.self).map(\.bitPattern) }

  private func compute(_ way: Way, _ x: Tensor, _ weight: Tensor) throws -> Tensor {
    try Numerics.$current.withValue(way.isFast ? .fast : .invariant) {
      try ToomCookPlan.$always.withValue(way.isFast) {
        var operation = FusedConvolution(way.geometry)
        operation.weightStorage = way.storage
        return try applyAll(operation, [x, weight])[0]
      }
    }
  }

  @Test(arguments: try ways(), [1, 2, 3])
  func convolutions(way: Way, shift: Int) throws {
    var random = RandomSource(seed: 5)
    let x = try Tensor.randomUniform(way.input, from: -1, to: 1, using: &random)
    var weight = try Tensor.randomUniform(way.geometry.weightShape, from: -1, to: 1, using: &random)
    if way.hasNaN { try weight.withMutableElements(Float.self) { $0[7] = .nan } }
    let odd = try weight.shifted(by: shift)
    #expect(!odd.isAligned)
    let expected = try compute(way, x, weight)
    #expect(try bits(compute(way, x, odd)) == bits(expected))
    #expect(try expected.hasNonFinite() == way.hasNaN)
  }

  @Test(arguments: [1, 2, 3])
  func residualUnits(shift: Int) throws {
    var random = RandomSource(seed: 6)
    let geometry = try ConvolutionGeometry(
      rank: 1, inChannels: 16, outChannels: 16, kernelSize: 3, padding: .uniform(1))
    let unit = ResidualUnit(geometry, geometry, hasBias: (false, false), inputSlope: 0.1, middleSlope: 0.1)
    let x = try Tensor.randomUniform([1, 16, 500], from: -1, to: 1, using: &random)
    let weights = try (0..<2).map { _ in
      try Tensor.randomUniform(geometry.weightShape, from: -1, to: 1, using: &random)
    }
    for together in [true, false] {
      try ResidualUnitRun.$isForced.withValue(together) {
        let odd = try applyAll(unit, [x] + weights.map { try $0.shifted(by: shift) })[0]
        #expect(try bits(odd) == bits(applyAll(unit, [x] + weights)[0]))
      }
    }
  }

  @Test(arguments: [0, 1, 3], [(5, 40), (300, 9), (2, 100)])
  func matricesSeenTransposed(shift: Int, sizes: (rows: Int, columns: Int)) throws {
    var random = RandomSource(seed: 7)
    let x = try Tensor.randomUniform([1, 24, sizes.rows], from: -1, to: 1, using: &random)
    let matrix = try Tensor.randomUniform([24, sizes.columns], from: -1, to: 1, using: &random).shifted(by: shift)
    let seen = matrix.view(shape: [sizes.columns, 24, 1], strides: [1, sizes.columns, 1], offset: 0)
    let operation = ConvolutionOperation(
      try ConvolutionGeometry(rank: 1, inChannels: 24, outChannels: sizes.columns, kernelSize: 1))
    let expected = try applyAll(operation, [x, seen.contiguous()])[0]
    #expect(try bits(applyAll(operation, [x, seen])[0]) == bits(expected))
  }

  @Test(arguments: [1, 2, 3])
  func copiesAndConversions(shift: Int) throws {
    var random = RandomSource(seed: 8)
    for dtype in [DType.float32, .float64] {
      var values = try Tensor.randomUniform([6, 5, 7], from: -1, to: 1, dtype: dtype, using: &random)
      for isFinite in [true, false] {
        if !isFinite { values = try values / Tensor.zeros([], dtype: dtype) }
        let odd = try values.shifted(by: shift)
        for view in [odd, try odd.transposed(0, 2), try odd.slice(axis: 2, 1..<3)] {
          #expect(try view.copied().isAligned && view.hasNonFinite() != isFinite)
        }
        #expect(
          try odd.transposed(0, 1).copied().cast(to: .float64).scalars(Double.self)
            == values.transposed(0, 1).cast(to: .float64).scalars(Double.self))
        #expect(
          try bits(odd.cast(to: .bfloat16).cast(to: .float32)) == bits(values.cast(to: .bfloat16).cast(to: .float32)))
      }
    }
  }
}
