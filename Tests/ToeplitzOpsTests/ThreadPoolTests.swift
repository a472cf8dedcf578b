import CToeplitzKernels
import Synchronization
import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Counts how often each item was run and whether two calls ever had the same thread number at once.
private final class Tally: Sendable {
  private let runs: [Atomic32]
  private let busy: [Atomic32]
  private let clashes = Atomic(0)
  private let highest = Atomic(-1)

  /// An atomic counter that can live in an array.
  private final class Atomic32: Sendable {
    let value = Atomic<Int>(0)
  }

  init(items: Int, threads: Int = 256) {
    runs = (0..<items).map { _ in Atomic32() }
    busy = (0..<threads).map { _ in Atomic32() }
  }

  func note(_ item: Int, _ thread: Int) {
    if busy[thread].value.add(1, ordering: .relaxed).oldValue != 0 { clashes.add(1, ordering: .relaxed) }
    runs[item].value.add(1, ordering: .relaxed)
    highest.max(thread, ordering: .relaxed)
    busy[thread].value.subtract(1, ordering: .relaxed)
  }

  var everyItemRanOnce: Bool { runs.allSatisfy { $0.value.load(ordering: .relaxed) == 1 } }
  var clashCount: Int { clashes.load(ordering: .relaxed) }
  var highestThread: Int { highest.load(ordering: .relaxed) }
}

/// The pool is one for the process and other suites compute beside these tests, which is part of the test.
@Suite(.serialized) struct ThreadPoolTests {
  private let pool = ThreadPool.shared

  /// Runs `body` with another number of threads.
  private func withThreads<R>(_ count: Int, _ body: () throws -> R) rethrows -> R {
    let before = pool.threadCount
    pool.threadCount = count
    defer { pool.threadCount = before }
    return try body()
  }

  @Test(arguments: [0, 1, 2, 7, 1000, 65_535, 65_536, 100_000])
  func everyItemOfARegionRunsOnce(items: Int) {
    withThreads(4) {
      let tally = Tally(items: items)
      pool.run(items, threads: 4) { item, thread in tally.note(item, thread) }
      #expect(tally.everyItemRanOnce)
      #expect(tally.clashCount == 0 && tally.highestThread < 4)
    }
  }

  @Test func aRegionUsesAtMostTheThreadsItWasBegunWith() {
    // The number of threads of the pool changes between sizing the scratch memory and the region.
    withThreads(8) {
      for _ in 0..<200 {
        let tally = Tally(items: 64, threads: 2)
        pool.run(64, threads: 2) { item, thread in tally.note(item, thread) }
        #expect(tally.highestThread < 2 && tally.everyItemRanOnce)
      }
    }
  }

  // Which threads an inner region gets depends on what runs beside: if the outer one found the pool taken, an inner
  // one may be the first to get it.
  @Test(arguments: [1, 2, 3, 8])
  func threadsThatTakeTurnsGetTheItemsThatAreForetold(threads: Int) {
    let items = 50
    var (first, end, turn) = (0, items, 0)
    var foretold: [Int: Int] = [:]
    while first < end {
      let thread = turn % threads
      let item = thread % 2 == 0 ? first : end - 1
      if thread % 2 == 0 { first += 1 } else { end -= 1 }
      if turn >= threads { #expect(foretold[thread] == item) }
      foretold[thread] = ThreadPool.itemAfter(item, of: items, thread: thread, threads: threads)
      turn += 1
    }
    #expect(ThreadPool.itemAfter(items - 1, of: items, thread: 0, threads: threads) == nil)
  }

  @Test func nestedRegionsComputeEveryItemOnce() {
    withThreads(4) {
      for _ in 0..<50 {
        let inner = (0..<16).map { _ in Tally(items: 40) }
        let outer = Tally(items: 16)
        pool.run(16) { item, thread in
          pool.run(40) { nested, innerThread in
            inner[item].note(nested, innerThread)
          }
          outer.note(item, thread)
        }
        #expect(outer.everyItemRanOnce && inner.allSatisfy { $0.everyItemRanOnce && $0.clashCount == 0 })
      }
    }
  }

  #if os(Linux)
    @Test(arguments: [0, 1, 2, 255])
    func aPinnedThreadHasOneProcessor(index: Int) async {
      let seen: (isPinned: Bool, processors: Int32) = await withCheckedContinuation { continuation in
        let hasStarted = Platform.startThread {
          let isPinned = tz_pin_thread(Int32(index))
          continuation.resume(returning: (isPinned, tz_processor_count()))
        }
        if !hasStarted { continuation.resume(returning: (false, 0)) }
      }
      #expect(seen.isPinned && seen.processors == 1)
    }
  #endif

  @Test func theNumberOfThreadsStaysInItsRange() {
    withThreads(3) {
      #expect(pool.threadCount == 3)
      for (asked, given) in [(0, 1), (-5, 1), (Int.min, 1), (256, 256), (Int.max, 256)] {
        pool.threadCount = asked
        #expect(pool.threadCount == given)
      }
    }
  }

  /// Else a closure that may not escape would be found to have, and what it holds would live on.
  @Test func noThreadHoldsTheBodyAfterItsRegion() {
    final class Token: Sendable {}
    var held = 0
    withThreads(4) {
      for _ in 0..<20_000 {
        var token = Token()
        func run(_ token: Token) { pool.run(4) { _, _ in withExtendedLifetime(token) {} } }
        run(token)
        if !isKnownUniquelyReferenced(&token) { held += 1 }
      }
    }
    #expect(held == 0)
  }

  @Test func concurrentCallersGetTheSameBits() async throws {
    var random = RandomSource(seed: 3)
    let x = try Tensor.randomNormal([1, 48, 900], using: &random)
    let w = try Tensor.randomNormal([40, 48, 5], using: &random)
    let up = try Tensor.randomNormal([48, 16, 8], using: &random)
    let expected = try withThreads(1) {
      (try conv1d(x, w, padding: 2), try convTranspose1d(x, up, stride: 4))
    }
    let before = pool.threadCount
    defer { pool.threadCount = before }
    try await withThrowingTaskGroup(of: Int.self) { group in
      for task in 0..<8 {
        group.addTask {
          var wrong = 0
          for round in 0..<12 {
            // Changed under the feet of all the others.
            ThreadPool.shared.threadCount = 1 + (task + round) % 6
            if try !conv1d(x, w, padding: 2).sameBits(as: expected.0) { wrong += 1 }
            if try !convTranspose1d(x, up, stride: 4).sameBits(as: expected.1) { wrong += 1 }
          }
          return wrong
        }
      }
      for try await wrong in group { #expect(wrong == 0) }
    }
  }

  @Test func manySmallRegionsOfManyCallersAreComplete() async {
    let before = pool.threadCount
    pool.threadCount = 4
    defer { pool.threadCount = before }
    await withTaskGroup(of: Bool.self) { group in
      for task in 0..<8 {
        group.addTask {
          for round in 0..<500 {
            let items = 1 + (task * 31 + round) % 97
            let sum = Atomic(0)
            ThreadPool.shared.run(items) { item, _ in sum.add(item + 1, ordering: .relaxed) }
            if sum.load(ordering: .relaxed) != items * (items + 1) / 2 { return false }
          }
          return true
        }
      }
      for await isComplete in group { #expect(isComplete) }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 8])
  func bitsDoNotDependOnTheNumberOfThreads(threads: Int) throws {
    var random = RandomSource(seed: 4)
    let x = try Tensor.randomNormal([2, 32, 700], using: &random)
    let w = try Tensor.randomNormal([24, 32, 7], using: &random)
    let b = try Tensor.randomNormal([24], using: &random)
    let one = try withThreads(1) { try conv1d(x, w, bias: b, stride: 2, padding: 3) }
    let many = try withThreads(threads) { try conv1d(x, w, bias: b, stride: 2, padding: 3) }
    #expect(try many.sameBits(as: one))
  }
}

/// Subnormal numbers and the floating-point state.
@Suite struct DenormalTests {
  @Test func theCallersFloatingPointStateIsUnchanged() throws {
    let before = tz_floating_point_state()
    let x = try Tensor.full([1, 32, 400], 1e-40)
    _ = try conv1d(x, .full([32, 32, 5], 1e-3))
    #expect(tz_floating_point_state() == before)
    ThreadPool.shared.run(100) { _, _ in }
    #expect(tz_floating_point_state() == before)
    // Inside a region it is another.
    let inside = Atomic<UInt64>(before)
    ThreadPool.shared.run(1) { _, _ in inside.store(tz_floating_point_state(), ordering: .relaxed) }
    let seen = inside.load(ordering: .relaxed)
    #expect(seen != before)
    // Also where the caller had flushed denormals itself.
    let state = tz_flush_denormals()
    let flushed = tz_floating_point_state()
    #expect(flushed != before)
    _ = try conv1d(x, .full([32, 32, 5], 1e-3))
    #expect(tz_floating_point_state() == flushed)
    tz_restore_denormals(state)
    #expect(tz_floating_point_state() == before)
    // And after an error.
    #expect(throws: ToeplitzError.self) { try conv1d(x, .ones([32, 31, 5])) }
    #expect(tz_floating_point_state() == before)
  }

  @Test(arguments: InstructionSet.available)
  func subnormalInputsAndWeightsCountAsZero(isa: InstructionSet) throws {
    let tiny = Float(bitPattern: 71362)  // about 1e-40
    let huge = Float(1e38)
    let least = Float.leastNormalMagnitude
    #expect(tiny > 0 && tiny * huge > 0)
    // A product that IEEE 754 puts at 0.01, results below the normal range, and a normal one.
    let cases: [(x: Float, w: Float, y: Float)] = [
      (tiny, huge, 0), (huge, tiny, 0), (-tiny, huge, 0), (1e-20, 1e-20, 0), (least, 1, least),
      (1, least, least),
    ]
    try InstructionSet.$override.withValue(isa) {
      for (x, w, y) in cases {
        for channels in [1, 16] {
          // One tap of all: the products stand alone.
          var weights = [Float](repeating: 0, count: channels * channels * 3)
          for channel in 0..<channels { weights[(channel * channels + channel) * 3 + 1] = w }
          let weight = try Tensor(weights, shape: [channels, channels, 3])
          let input = try Tensor.full([1, channels, 99], Double(x))
          let forward = try conv1d(input, weight, padding: 1).scalars(Float.self)
          #expect(forward.allSatisfy { $0 == y }, "\(x) \(w) gives \(forward[0])")
          let up = try convTranspose1d(input, weight, stride: 2, padding: 1).scalars(Float.self)
          #expect(Set(up.map(abs)) == (y == 0 ? [0] : [0, y]), "\(x) \(w) gives \(up[0])")
        }
      }
    }
  }
}
