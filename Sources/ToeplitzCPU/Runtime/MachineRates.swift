import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// What this machine can do at best, measured: what a computation's own speed is compared with.
package struct MachineRates: Sendable {
  /// Floating-point operations a second of multiply-adds that stay in registers, with the instruction set in use.
  package var arithmetic: Double
  /// Bytes a second of reading memory that lies in no cache, front to back.
  package var bandwidth: Double

  /// Measures with `threads` threads at once; takes about a quarter of a second.
  ///
  /// The best of several runs counts: whatever else the machine does only slows one down.
  ///
  /// - Throws: ``ToeplitzError`` of kind `memory` if there is no room for data beyond the caches.
  package static func measure(threads: Int, isa: InstructionSet = .current) throws -> MachineRates {
    let threads = max(threads, 1)
    let table = tz_rates(isa.code).pointee
    // 2²⁰ turns take about 5 ms.
    let turns: Int64 = 1 << 20
    let arithmetic = fastest(of: 12, threads: threads) { _ in _ = table.multiply_add(turns) }

    let wanted = min(max(4 * Platform.lastLevelCache, 1 << 27), max(Platform.physicalMemory / 8, 1 << 20))
    // Whole pages for each thread.
    let share = max(wanted / threads & ~4095, 4096)
    // Not as a tensor: the bound of a model's tensors says nothing of what measuring a large cache takes.
    guard let memory = Platform.allocate(byteCount: share * threads) else {
      throw ToeplitzError(
        .memory, "MachineRates", expected: "\(share * threads) bytes beyond the caches", got: "no room")
    }
    defer { Platform.deallocate(memory) }
    let floats = share / 4
    let start = memory.assumingMemoryBound(to: Float.self)
    func part(_ item: Int) -> UnsafeMutablePointer<Float> { start + item * floats }
    // Each thread's first touch, which also is what maps the memory.
    ThreadPool.shared.run(threads, threads: threads) { item, _ in
      part(item).initialize(repeating: 1, count: floats)
    }
    let reading = fastest(of: 8, threads: threads) { item in _ = table.read(part(item), floats) }
    return MachineRates(
      arithmetic: table.flops * Double(turns) * Double(threads) / arithmetic,
      bandwidth: Double(share * threads) / reading)
  }

  /// The least seconds of `runs` runs in which each of `threads` threads calls `body` with its number.
  private static func fastest(of runs: Int, threads: Int, _ body: @escaping (Int) -> Void) -> Double {
    let clock = ContinuousClock()
    return (0..<runs).reduce(Double.infinity) { least, _ in
      let start = clock.now
      ThreadPool.shared.run(threads, threads: threads) { item, _ in body(item) }
      return min(least, (clock.now - start) / .seconds(1))
    }
  }
}
