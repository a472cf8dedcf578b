import CToeplitzKernels
import Testing
import ToeplitzTensor

@testable import ToeplitzCPU
@testable import ToeplitzOps

@Suite struct MachineRatesTests {
  @Test(arguments: InstructionSet.available)
  func `the loops compute what they say`(isa: InstructionSet) throws {
    let table = tz_rates(isa.code).pointee
    // After n turns chain i holds 1/2 + (i - 1/2) / 2ⁿ; all lanes are alike.
    let lanes = Double([InstructionSet.baseline: 4, .avx2: 8, .avx512: 16][isa] ?? 0)
    let chains = table.flops / 2 / lanes
    for turns in [0, 1, 2, 5] {
      let starts = chains * (chains - 1) / 2
      let sum: Double = chains / 2 + (starts - chains / 2) / Double(1 << turns)
      #expect(table.multiply_add(Int64(turns)) == Float(sum * lanes))
    }
    let memory = try Storage(byteCount: 4 * 1280, operation: "test")
    let x = memory.base.assumingMemoryBound(to: Float.self)
    for i in 0..<1280 { x[i] = Float(i) }
    #expect(table.read(x, 1280) == 1279 * 640)
    #expect(table.read(x, 0) == 0)
  }

  @Test(arguments: [1, 2])
  func `rates are those of a machine`(threads: Int) throws {
    let rates = try MachineRates.measure(threads: threads)
    print("\(threads) threads: \(rates.arithmetic / 1e9) GFLOP/s, \(rates.bandwidth / 1e9) GB/s")
    #expect(rates.arithmetic > 1e8 && rates.arithmetic < 1e14)
    #expect(rates.bandwidth > 1e7 && rates.bandwidth < 1e13)
    #expect(Platform.lastLevelCache >= 1 << 15 && Platform.lastLevelCache <= 1 << 34)
    #expect(Platform.secondLevelCache >= 1 << 15 && Platform.secondLevelCache <= Platform.lastLevelCache)
  }
}
