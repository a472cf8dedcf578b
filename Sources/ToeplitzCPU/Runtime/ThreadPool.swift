import CToeplitzKernels
import Synchronization
import ToeplitzOps
import ToeplitzTensor

/// The threads that share the work of one operation.
///
/// One pool serves the process. A parallel region hands out numbered items from one atomic ticket, to half of the threads
/// from the front and to the others from the back: operations number their items alike, by sample and position, so a
/// thread mostly finds in its own cache what it wrote in the operation before. The calling thread takes part, and a region
/// begun while another is running (by another thread of the application, or from inside an item) runs on its caller alone:
/// the cores are busy then anyway. Workers wait for the next region for some hundred microseconds awake, then sleep.
///
/// Which thread computes an item never changes its result.
public final class ThreadPool: Sendable {
  /// The pool of this process: as many threads as `TOEPLITZ_NUM_THREADS` says, or as the machine has processors.
  public static let shared = ThreadPool()

  /// How often a waiting thread looks again before it sleeps: 0.3 to 0.9 milliseconds, longer than operations that run on
  /// their caller alone, since to wake a thread takes as long as a small convolution.
  private static let spins = 20000
  private static let yieldsFrom = 500
  private static let mostThreads = 256
  /// Whether each worker stays on a processor of its own.
  private static let pinsWorkers = EnvironmentVariable.pinnedThreads.value == "1"

  /// What a region computes, for the workers to find.
  private struct Job {
    var body: ((Int, Int) -> Void)?
  }

  // The state of the running region in one word, so that a worker that comes late cannot mix two regions:
  // generation in the upper 32 bits, then the end of the items that are left (16), then the first of them (16).
  private let ticket = Atomic<UInt64>(0)
  private let unfinished = Atomic<Int>(0)
  private let occupied = Atomic<Bool>(false)
  private let sleepers = Atomic<Int>(0)
  private let limit: Atomic<Int>
  /// Whether regions stay on their caller: of a thread that works beside the one which the workers are for.
  @TaskLocal package static var staysOnCaller = false
  private let regionThreads = Atomic<Int>(0)
  private let started = Lock(0)
  private let signal = Signal()
  private nonisolated(unsafe) let job = UnsafeMutablePointer<Job>.allocate(capacity: 1)

  private init() {
    job.initialize(to: Job())
    let wanted = EnvironmentVariable.threads.value.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    limit = Atomic(min(wanted ?? Int(tz_processor_count()), Self.mostThreads))
  }

  /// How many threads take part in a region, the caller included.
  public var threadCount: Int {
    get { limit.load(ordering: .relaxed) }
    set { limit.store(max(1, min(newValue, Self.mostThreads)), ordering: .relaxed) }
  }

  /// Calls `body(item, thread)` for each item in `0..<items`, on several threads where that pays.
  ///
  /// `thread` is below `threads` (``threadCount`` unless given) and never the same for two calls at one time; it selects
  /// scratch memory.
  /// Subnormal numbers count as zero inside `body`; the caller's floating-point state is restored afterwards.
  func run(_ items: Int, threads most: Int? = nil, _ body: @escaping (_ item: Int, _ thread: Int) -> Void) {
    let state = tz_flush_denormals()
    defer { tz_restore_denormals(state) }
    let threads = min(most ?? threadCount, items)
    guard threads > 1, !Self.staysOnCaller, !occupied.exchange(true, ordering: .acquiring) else {
      for item in 0..<items { body(item, 0) }
      return
    }
    startWorkers(threads - 1)
    regionThreads.store(threads, ordering: .relaxed)
    // The ticket counts to 65 535: longer regions go in rounds of that many items.
    let round = Int(UInt16.max)
    if items <= round {
      region(items, body)
    } else {
      for first in stride(from: 0, to: items, by: round) {
        region(min(round, items - first)) { item, thread in body(first + item, thread) }
      }
    }
    occupied.store(false, ordering: .releasing)
  }

  // Escaping, because it is kept where workers find it; when this returns nobody holds it any more.
  private func region(_ items: Int, _ body: @escaping (Int, Int) -> Void) {
    job.pointee.body = body
    unfinished.store(items, ordering: .relaxed)
    let generation = ((ticket.load(ordering: .relaxed) >> 32) &+ 1) & 0xFFFF_FFFF
    ticket.store(generation << 32 | UInt64(items) << 16, ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 { signal.wakeAll() }
    work(generation: generation, thread: 0)
    var spins = 0
    while unfinished.load(ordering: .acquiring) > 0 { Self.wait(&spins) }
    job.pointee.body = nil
  }

  /// One turn of a waiting loop, the `spins`-th.
  ///
  /// Where there are more threads than free processors, who is waited for may need the one that this thread holds: after some
  /// ten microseconds it is offered again and again.
  private static func wait(_ spins: inout Int) {
    spins += 1
    if spins > yieldsFrom, spins % 32 == 0 {
      tz_yield()
    } else {
      tz_pause()
    }
  }

  /// Takes items of the given region until none is left.
  private func work(generation: UInt64, thread: Int) {
    let done = takeItems(generation: generation, thread: thread)
    if done > 0 { unfinished.subtract(done, ordering: .releasing) }
  }

  /// The same, without counting them as done.
  ///
  /// Before they count this thread must have let go of the job, which may not outlive its region: nothing of it is left
  /// when this returns, and it is not inlined. Threads fight for what all of them write: each counts its items by itself,
  /// and retains the job once.
  @inline(never)
  private func takeItems(generation: UInt64, thread: Int) -> Int {
    let fromFront = Self.goesForward(thread)
    var body: ((Int, Int) -> Void)?
    var done = 0
    var seen = ticket.load(ordering: .acquiring)
    while seen >> 32 == generation {
      let (first, end) = (seen & 0xFFFF, (seen >> 16) & 0xFFFF)
      guard first < end else { break }
      let next = fromFront ? first : end - 1
      let (exchanged, original) = ticket.weakCompareExchange(
        expected: seen, desired: fromFront ? seen + 1 : seen - 1 << 16, ordering: .acquiringAndReleasing)
      guard exchanged else {
        seen = original
        continue
      }
      // This item is unfinished, so the region cannot end and its job cannot change before it is counted.
      if body == nil { body = job.pointee.body }
      body?(Int(next), thread)
      done += 1
      seen = ticket.load(ordering: .acquiring)
    }
    return done
  }

  private static func goesForward(_ thread: Int) -> Bool { thread % 2 == 0 }

  /// What a thread of a region is handed out after an item, if threads take turns.
  ///
  /// - Parameter threads: how many there are; half of them go on from the front, the others from the back.
  static func itemAfter(_ item: Int, of items: Int, thread: Int, threads: Int) -> Int? {
    let next = goesForward(thread) ? item + (threads + 1) / 2 : item - threads / 2
    return (0..<items).contains(next) ? next : nil
  }

  private func startWorkers(_ count: Int) {
    started.withLock { started in
      while started < count {
        let thread = started + 1
        guard Platform.startThread({ [unowned self] in self.live(thread) }) else { return }
        started += 1
      }
    }
  }

  /// The life of a worker: wait for a region, take part, wait again.
  private func live(_ thread: Int) {
    _ = tz_flush_denormals()
    if Self.pinsWorkers { _ = tz_pin_thread(Int32(thread)) }
    var last: UInt64 = 0
    while true {
      var spins = 0
      var generation = ticket.load(ordering: .acquiring) >> 32
      while generation == last {
        if spins < Self.spins {
          Self.wait(&spins)
        } else {
          sleep(while: last)
        }
        generation = ticket.load(ordering: .acquiring) >> 32
      }
      last = generation
      // Workers beyond the number a region was begun with leave it alone: scratch memory is sized for that many.
      if thread < regionThreads.load(ordering: .relaxed) { work(generation: generation, thread: thread) }
    }
  }

  private func sleep(while generation: UInt64) {
    sleepers.add(1, ordering: .sequentiallyConsistent)
    signal.wait { ticket.load(ordering: .sequentiallyConsistent) >> 32 == generation }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
  }
}
