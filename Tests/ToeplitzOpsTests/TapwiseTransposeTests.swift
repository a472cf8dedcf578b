import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// The slow path of transposed convolutions for weights that are infinite or NaN.
@Suite struct TapwiseTransposeTests {
  @Test func itComputesWhatTheStencilComputes() throws {
    var random = RandomSource(seed: 91)
    var tested = 0
    while tested < 80 {
      let c = GeneratedConvolution.random(using: &random, transposed: true)
      let g = c.geometry
      guard g.paddingMode == .zeros else { continue }
      func draw(_ shape: TensorShape) throws -> Tensor { try .randomNormal(shape, dtype: .float64, using: &random) }
      let (x, weight, bias) = try (draw(c.inputShape), draw(g.weightShape), draw([g.outChannels]))
      var fused = FusedConvolution(g)
      fused.epilogue = Epilogue(inputSlope: 0.1, outputScale: 0.5, outputSlope: 0.25)
      let residuals = [try draw(c.outputShape), try draw(c.outputShape)]
      let expected = try fused(x, weight: weight, bias: bias, adding: residuals)
      let y = try Tensor(uninitialized: c.outputShape, dtype: .float64, operation: "test")
      try TapwiseTranspose(geometry: g, weight: weight, bias: bias)
        .run(input: x, output: y, epilogue: fused.epilogue, residuals: residuals)
      let distance = try y.distance(to: expected)
      #expect(distance.absolute <= 1e-12 * max(1, distance.scale), "\(c) \(distance)")
      tested += 1
    }
  }

  @Test func onlyBrokenWeightsOfTransposedConvolutionsTakeIt() throws {
    func takes(_ values: [Float], transposed: Bool = true, kernel: Int = 3) throws -> Bool {
      let g = try ConvolutionGeometry(
        rank: 1, isTransposed: transposed, inChannels: 1, outChannels: 1, kernelSize: PerAxis(kernel))
      let weight = try Tensor(values, shape: [1, 1, kernel])
      let packed = try PackedWeights(g, weight: weight, bias: nil)
      return packed.hasNonFinite && TapwiseTranspose.mayReadOutside(g)
    }
    #expect(try takes([1, .nan, 2]) && takes([1, 2, .infinity]) && takes([-.infinity, 0, 0]))
    #expect(try !takes([1, .greatestFiniteMagnitude, -0.0]))
    #expect(try !takes([1, .nan, 2], transposed: false) && !takes([.nan], kernel: 1))
  }
}
