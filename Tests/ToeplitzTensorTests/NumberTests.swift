import Testing

@testable import ToeplitzTensor

/// Random numbers and the small floating-point types.
@Suite struct NumberTests {
  @Test func randomBitsAreThoseOfXoshiro256() {
    // From an independent implementation of SplitMix64 and xoshiro256**.
    let expected: [UInt64: [UInt64]] = [
      0: [0x99ec_5f36_cb75_f2b4, 0xbf6e_1f78_4956_452a, 0x1a5f_849d_4933_e6e0, 0x6aa5_94f1_262d_2d2c],
      1: [0xb3f2_af6d_0fc7_10c5, 0x853b_5596_4736_4cea, 0x92f8_9756_082a_4514, 0x642e_1c7b_c266_a3a7],
      42: [0x1578_0b2e_0c2e_c716, 0x6104_d986_6d11_3a7e, 0xae17_5332_39e4_99a1, 0xecb8_ad47_03b3_60a1],
      .max: [0x8f55_20d5_2a7e_ad08, 0xc476_a018_caa1_802d, 0x81de_31c0_d260_469e, 0xbf65_8d7e_065f_3c2f],
    ]
    for (seed, numbers) in expected {
      var random = RandomSource(seed: seed)
      let drawn = numbers.map { _ in random.next() }
      #expect(drawn == numbers, "seed \(seed)")
    }
  }

  @Test func randomNumbersFollowFromTheBits() throws {
    var random = RandomSource(seed: 42)
    let units = (0..<3).map { _ in random.nextUnit() }
    #expect(units == [0.08386297105988216, 0.3789802506626686, 0.6800434110281394])
    random = RandomSource(seed: 42)
    for expected in [-0.303263064678738, 1.3438117634372806, 0.3834617912676943] {
      let drawn = random.nextNormal()
      #expect(abs(drawn - expected) < 1e-14)
    }
    // A tensor takes them one after another, whatever its type.
    for dtype in [DType.float64, .float32, .float16] {
      random = RandomSource(seed: 42)
      let x = try Tensor.randomUniform([3], from: -1, to: 3, dtype: dtype, using: &random)
      func values<T: TensorScalar>(_ type: T.Type) throws -> [Double] {
        try x.scalars(type).map(\.doubleValue)
      }
      let got = try values(dtype.scalarType)
      #expect(zip(got, units).allSatisfy { abs($0 - (4 * $1 - 1)) < (dtype == .float16 ? 1e-3 : 1e-7) })
    }
  }

  @Test func distributionsHaveTheirMoments() throws {
    var random = RandomSource(seed: 7)
    let uniform = try Tensor.randomUniform([50_000], from: -2, to: 4, dtype: .float64, using: &random)
    let normal = try Tensor.randomNormal(
      [50_000], mean: 3, standardDeviation: 2, dtype: .float64, using: &random)
    func moments(_ x: Tensor) throws -> (mean: Double, variance: Double) {
      let values = try x.scalars(Double.self)
      let mean = values.reduce(0, +) / Double(values.count)
      return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count))
    }
    let (a, b) = try (moments(uniform), moments(normal))
    #expect(abs(a.mean - 1) < 0.03 && abs(a.variance - 3) < 0.07)
    #expect(abs(b.mean - 3) < 0.04 && abs(b.variance - 4) < 0.1)
    #expect(try uniform.scalars(Double.self).allSatisfy { $0 >= -2 && $0 < 4 })
  }

  @Test func generatorsGiveTheSameNumbersForTheSameSeed() throws {
    let (a, b, c) = (Generator(seed: 3), Generator(seed: 3), Generator(seed: 4))
    let first = try a.uniform([5], from: 0, to: 1).scalars(Float.self)
    #expect(try b.uniform([5], from: 0, to: 1).scalars(Float.self) == first)
    #expect(try c.uniform([5], from: 0, to: 1).scalars(Float.self) != first)
    #expect(try a.uniform([5], from: 0, to: 1).scalars(Float.self) != first, "it goes on")
    #expect(
      try Generator().normal([5]).scalars(Float.self) != Generator().normal([5]).scalars(Float.self))
    #expect(throws: ToeplitzError.self) { try a.uniform([-1], from: 0, to: 1) }
  }

  @Test func bfloat16RoundsToNearestEven() {
    // torch.tensor(value).bfloat16().view(torch.int16)
    let cases: [(Float, UInt16)] = [
      (1, 0x3f80), (1.00390625, 0x3f80), (1.01171875, 0x3f82), (1.005859375, 0x3f81), (-1.00390625, 0xbf80),
      (3.3895313892515355e38, 0x7f7f), (3.4e38, 0x7f80), (Float(bitPattern: 71362), 1), (0.1, 0x3dcd),
      (.infinity, 0x7f80),
      (65535, 0x4780), (0, 0), (-0.0, 0x8000),
    ]
    for (value, bits) in cases { #expect(BFloat16(value).bitPattern == bits, "\(value)") }
    #expect(BFloat16(.nan).floatValue.isNaN && BFloat16(converting: .nan).doubleValue.isNaN)
    // A NaN whose upper bits are those of infinity, or that rounding would carry into the sign.
    #expect(BFloat16(Float(bitPattern: 0x7f80_0001)).floatValue.isNaN)
    #expect(BFloat16(Float(bitPattern: 0xffff_ffff)).floatValue.isNaN)
    for bits in UInt16.min...UInt16.max {
      let value = BFloat16(bitPattern: bits).floatValue
      if !value.isNaN, BFloat16(value).bitPattern != bits { Issue.record("\(bits) does not come back") }
    }
  }

  @Test func bfloat16ComparesByValue() {
    #expect(BFloat16(0) == BFloat16(-0.0))
    #expect(BFloat16(0).hashValue == BFloat16(-0.0).hashValue)
    #expect(BFloat16(.nan) != BFloat16(.nan))
    #expect(BFloat16(1) < BFloat16(2) && BFloat16(-1) < BFloat16(-0.5) && BFloat16(3) == BFloat16(3))
    #expect(BFloat16.sum(BFloat16(256), BFloat16(1)).floatValue == 256, "rounds once")
    #expect(BFloat16.product(BFloat16(3), BFloat16(0.5)).floatValue == 1.5)
    #expect(BFloat16.difference(BFloat16(3), BFloat16(0.5)).floatValue == 2.5)
    #expect(BFloat16.quotient(BFloat16(3), BFloat16(2)).floatValue == 1.5)
  }

  @Test func integersWrapInsteadOfTrapping() {
    #expect(Int8.sum(127, 1) == -128 && Int8.difference(-128, 1) == 127 && Int8.product(64, 4) == 0)
    #expect(Int64.quotient(.min, -1) == .min && Int64.quotient(-7, 2) == -3)
    #expect(Int8(converting: 1e9) == 127 && UInt8(converting: -1) == 0)
    #expect(Int32(converting: -.infinity) == .min)
    #expect(Int64(converting: 9.3e18) == .max && Int64(converting: -9.3e18) == .min)
  }
}
