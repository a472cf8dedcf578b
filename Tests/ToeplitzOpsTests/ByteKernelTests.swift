import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps

/// Kernels of quantised networks against their definitions.
@Suite struct ByteKernelTests {
  /// A product with the reciprocal would be off by one where a quotient lies near the middle of two whole numbers.
  @Test(arguments: InstructionSet.available)
  func quantisationDivides(isa: InstructionSet) throws {
    var random = RandomSource(seed: 5)
    try InstructionSet.$override.withValue(isa) {
      for round in 0..<200 {
        // Also scales whose reciprocal is subnormal.
        let exponent = Double.random(in: round % 10 == 0 ? -126...127 : -20...10, using: &random)
        let scale = Float(sign: .plus, exponent: Int(exponent), significand: Float.random(in: 1..<2, using: &random))
        guard scale.isFinite, scale > 0 else { continue }
        var numbers: [Float] = [.infinity, -.infinity, .nan, 0, -0.0, .greatestFiniteMagnitude, .leastNonzeroMagnitude]
        for _ in 0..<500 {
          var near = (Float(Int.random(in: -200...200, using: &random)) + 0.5) * scale
          for _ in 0..<Int.random(in: 0...2, using: &random) { near = near.nextUp }
          for _ in 0..<Int.random(in: 0...2, using: &random) { near = near.nextDown }
          numbers.append(near)
        }
        let codes = try Tensor(numbers, shape: nil, device: .cpu).quantized(
          scale: Tensor(scalar: scale), zeroPoint: Tensor(scalar: UInt8(100)))
        let expected = numbers.map { number -> UInt8 in
          guard !number.isNaN, abs(number) >= Float.leastNormalMagnitude || number == 0 else {
            return number.isNaN ? 0 : 100
          }
          let quotient = max(-1e6, min(1e6, number / scale))
          return UInt8(min(255, max(0, quotient.rounded(.toNearestOrEven) + 100)))
        }
        #expect(try codes.scalars(UInt8.self) == expected, "\(isa) \(scale)")
      }
    }
  }

  @Test(arguments: InstructionSet.available)
  func theLargestBytesAreThoseOfNumbers(isa: InstructionSet) throws {
    var random = RandomSource(seed: 6)
    func pick(_ values: [Int]) -> Int { values[Int.random(in: values.indices, using: &random)] }
    try InstructionSet.$override.withValue(isa) {
      for _ in 0..<80 {
        let kernel = [pick([1, 2, 3, 5]), pick([1, 2, 3, 5])]
        let padding = kernel.map { pick(Array(0...($0 / 2))) }
        let geometry = try PoolGeometry(
          name: "MaxPool2d",
          rank: 2, kernelSize: PerAxis(kernel), stride: PerAxis([pick([1, 2, 3]), pick([1, 2, 3])]),
          padding: PerAxis(padding), dilation: PerAxis([pick([1, 2]), pick([1, 2])]), ceilMode: pick([0, 1]) == 1)
        let type = pick([0, 1]) == 0 ? DType.uint8 : .int8
        let range = type == .uint8 ? 0.0...255 : -128...127
        let shape = TensorShape([pick([1, 2]), pick([9, 14]), pick([10, 23]), pick([1, 3, 70])])
        let last = try Tensor.randomUniform(
          shape, from: range.lowerBound, to: range.upperBound, dtype: .float32, using: &random
        ).round().cast(to: type)
        // Channels lie last in memory, also where pixels have a gap between them.
        var x = try last.permuted([0, 3, 1, 2])
        if pick([0, 1]) == 1, shape[3] > 1 { x = try x.slice(axis: 1, 1..<shape[3]) }
        let expected = try x.cast(to: .float32).maxPooled(geometry)
        #expect(try x.maxPooled(geometry).doubles() == expected.doubles(), "\(isa) \(geometry) \(type) \(shape)")
      }
    }
  }
}
