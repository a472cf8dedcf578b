import Testing
import ToeplitzOps
@testable import ToeplitzTensor

/// Padding, resampling and signs at the edge of what is legal; beyond it they refuse and never trap.
@Suite struct StructureOperationTests {
  private static let modes: [PaddingMode] = [.zeros, .reflect, .replicate, .circular]

  private func padded(_ values: [Float], _ low: Int, _ high: Int, _ mode: PaddingMode) throws -> [Float] {
    try Tensor(values).padded([(axis: 0, low: low, high: high)], mode: mode, value: 7).scalars(Float.self)
  }

  @Test func paddingIsFilledFromTheInput() throws {
    let x: [Float] = [1, 2, 3, 4]
    #expect(try padded(x, 2, 3, .zeros) == [7, 7, 1, 2, 3, 4, 7, 7, 7])
    #expect(try padded(x, 2, 3, .reflect) == [3, 2, 1, 2, 3, 4, 3, 2, 1])
    #expect(try padded(x, 2, 3, .replicate) == [1, 1, 1, 2, 3, 4, 4, 4, 4])
    #expect(try padded(x, 2, 4, .circular) == [3, 4, 1, 2, 3, 4, 1, 2, 3, 4])
    // Circular padding wraps around what cropping leaves, as in PyTorch; it does not change what else an end is filled with.
    #expect(try padded(x, -1, 2, .circular) == [2, 3, 4, 2, 3])
    #expect(try padded(x, 2, -1, .circular) == [2, 3, 1, 2, 3])
    #expect(try padded(x, 1, -3, .reflect) == [2, 1])
    #expect(try padded(x, -4, 2, .zeros) == [7, 7])
    #expect(try padded([], 1, 1, .zeros) == [7, 7])
    let plane = try Tensor.range(from: 0, to: 12).reshaped([2, 3, 2]).transposed(1, 2)
    let wide = try plane.padded([(axis: 2, low: 1, high: 1)], mode: .reflect)
    #expect(try wide.scalars(Float.self) == [2, 0, 2, 4, 2, 3, 1, 3, 5, 3, 8, 6, 8, 10, 8, 9, 7, 9, 11, 9])
  }

  @Test(arguments: modes)
  func paddingBeyondTheMemoryIsRefusedAtOnce(mode: PaddingMode) throws {
    // Half of the memory, and as much again at both ends.
    let half = Platform.physicalMemory / 8
    let long = try Tensor.zeros([1]).expanded(to: [half])
    let error = #expect(throws: ToeplitzError.self) {
      try long.padded([(axis: 0, low: half - 1, high: half - 1)], mode: mode)
    }
    #expect(error?.kind == .memory)
  }

  @Test(arguments: modes)
  func paddingOfExtremeSizesIsRefused(mode: PaddingMode) throws {
    let extremes = [
      (Int.min, 0), (0, Int.min), (Int.min, Int.max), (Int.max, Int.min), (Int.min, Int.min), (Int.max, Int.max),
      (0, Int.max), (Int.max / 2, 0), (-5, 0), (-5, 1), (9, -5), (-2, -3),
    ]
    for (low, high) in extremes {
      #expect(throws: ToeplitzError.self, "\(low), \(high)") { try padded([1, 2, 3, 4], low, high, mode) }
    }
  }

  @Test(arguments: Interpolation.allCases)
  func aFactorThatIsNoFactorIsRefused(interpolation: Interpolation) throws {
    let x = try Tensor([1, 2, 3, 4] as [Float])
    for factor in [0, -0.0, -1, .nan, .infinity, -.infinity, .leastNonzeroMagnitude] {
      let error = #expect(throws: ToeplitzError.self, "\(factor)") {
        try x.resampled(axis: 0, size: 5, interpolation, factor: factor)
      }
      #expect(error?.kind == .argument)
    }
  }

  @Test func extremeFactorsReadTheFirstAndTheLastSample() throws {
    let x = try Tensor([1, 2, 3, 4] as [Float])
    func resampled(_ interpolation: Interpolation, _ factor: Double) throws -> [Float] {
      try x.resampled(axis: 0, size: 3, interpolation, factor: factor).scalars(Float.self)
    }
    for factor in [1e-300, 1e-40, 1e-25, 1e-12] {
      #expect(try resampled(.nearest, factor) == [1, 4, 4], "\(factor)")
      #expect(try resampled(.nearestExact, factor) == [4, 4, 4], "\(factor)")
      #expect(try resampled(.linear, factor) == [4, 4, 4], "\(factor)")
      #expect(try resampled(.cubic, factor) == [4, 4, 4], "\(factor)")
    }
    for factor in [1e12, 1e300] {
      #expect(try resampled(.nearest, factor) == [1, 1, 1], "\(factor)")
      #expect(try resampled(.linear, factor) == [1, 1, 1], "\(factor)")
      #expect(try resampled(.cubic, factor).allSatisfy { abs($0 - 1) < 0.2 }, "\(factor)")
    }
  }

  @Test func signsChangeWithoutTouchingTheOtherBits() throws {
    // The first is a signalling NaN, which a detour through double precision would quieten.
    let bits: [UInt32] = [0x7FA0_0001, 0xFFA0_0001, 0x8000_0000, 0, 0xFF80_0000, 0x0000_0001, 0xBF80_0000]
    let x = try Tensor(bits.map(Float.init(bitPattern:)))
    #expect(try x.negated().scalars(Float.self).map(\.bitPattern) == bits.map { $0 ^ 0x8000_0000 })
    #expect(try x.abs().scalars(Float.self).map(\.bitPattern) == bits.map { $0 & 0x7FFF_FFFF })
    for dtype in [DType.float64, .float16, .bfloat16, .int8, .int32, .int64] {
      let y = try Tensor([-2, 0, 3] as [Float]).cast(to: dtype)
      #expect(try y.negated().cast(to: .float32).scalars(Float.self) == [2, 0, -3], "\(dtype)")
      #expect(try y.abs().cast(to: .float32).scalars(Float.self) == [2, 0, 3], "\(dtype)")
      #expect(try y.negated().dtype == dtype && y.abs().dtype == dtype)
    }
    #expect(throws: ToeplitzError.self) { try x.cast(to: .bool).negated() }
  }
}

/// Operands of several devices.
@Suite struct DeviceTests {
  /// Memory that says it is another device's.
  private final class Block: Sendable {
    let bytes: [Float] = [1, 2, 3, 4]
  }

  private func tensor(on device: Device) throws -> Tensor {
    let block = Block()
    return try block.bytes.withUnsafeBytes { bytes in
      let start = try #require(bytes.baseAddress)
      return Tensor(
        storage: Storage(borrowing: start, byteCount: 16, device: device, owner: block), shape: [4],
        strides: [1], offset: 0, dtype: .float32)
    }
  }

  @Test func operandsOfTwoDevicesAreRefusedByName() throws {
    let (here, there) = (try Tensor([1, 2, 3, 4]), try tensor(on: .gpu(1)))
    #expect(here.device == .cpu && there.device == .gpu(1))
    for operands in [(here, there), (there, here)] {
      let error = #expect(throws: ToeplitzError.self) { try operands.0 + operands.1 }
      #expect(error?.kind == .device && error?.got == "\(operands.0.device) and \(operands.1.device)")
    }
    // No kernels for that device are here.
    let error = #expect(throws: ToeplitzError.self) { try there.relu() }
    #expect(error?.kind == .device && error?.description.contains("gpu(1)") == true)
    #expect(throws: ToeplitzError.self) { try Tensor([1], device: .gpu(0)) }
  }
}
