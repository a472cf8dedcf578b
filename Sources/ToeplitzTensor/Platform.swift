import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What Toeplitz asks of the operating system below Foundation, in one place.
package enum Platform {
  /// Bytes of physical memory.
  package static let physicalMemory: Int = {
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    let size = sysconf(Int32(_SC_PAGESIZE))
    let (bytes, overflow) = pages.multipliedReportingOverflow(by: size)
    return pages > 0 && size > 0 && !overflow ? bytes : 1 << 34
  }()

  /// The most bytes of this process that have been in memory at one time so far.
  package static var peakMemory: Int {
    var usage = rusage()
    #if canImport(Darwin)
      return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0
    #elseif canImport(Glibc)
      return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss << 10 : 0
    #else
      return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss << 10 : 0
    #endif
  }

  /// Bytes of the largest cache that a processor of this machine sees; 32 MiB where the system does not say.
  package static let lastLevelCache: Int = {
    #if canImport(Darwin)
      let sizes = ["hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"].map(systemNumber)
    #else
      let sizes = (0..<8).map { cacheNumber("size", $0) }
    #endif
    return sizes.max().flatMap { $0 > 0 ? $0 : nil } ?? 1 << 25
  }()

  /// Bytes of the second-level cache of a processor; 1 MiB where the system does not say.
  package static let secondLevelCache: Int = {
    #if canImport(Darwin)
      let sizes = ["hw.perflevel0.l2cachesize", "hw.l2cachesize"].map(systemNumber)
    #else
      let sizes = (0..<8).filter { cacheNumber("level", $0) == 2 }.map { cacheNumber("size", $0) }
    #endif
    return sizes.first { $0 > 0 } ?? 1 << 20
  }()

  #if canImport(Darwin)
    private static func systemNumber(_ name: String) -> Int {
      var value: Int64 = 0
      var length = MemoryLayout<Int64>.size
      return sysctlbyname(name, &value, &length, nil, 0) == 0 ? Int(value) : 0
    }
  #else
    /// What the system says of a cache, 0 if nothing: a line such as `32768K` (`sysconf` multiplies by the number of caches on
    /// some machines).
    private static func cacheNumber(_ name: String, _ index: Int) -> Int {
      guard let file = fopen("/sys/devices/system/cpu/cpu0/cache/index\(index)/\(name)", "r") else { return 0 }
      defer { fclose(file) }
      var line = [CChar](repeating: 0, count: 32)
      guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
      let text = line.prefix { $0 != 0 && $0 != 10 }.map { Character(UnicodeScalar(UInt8(bitPattern: $0))) }
      let factor = text.last == "K" ? 1 << 10 : text.last == "M" ? 1 << 20 : 1
      return (Int(String(text.prefix { $0.isNumber })) ?? 0).multipliedReportingOverflow(by: factor).partialValue
    }
  #endif

  private static let tensorLimit = Atomic(
    EnvironmentVariable.memoryLimit.value.flatMap { Int($0) }.map { max(0, min($0, 1 << 40)) << 20 } ?? Int.max)
  private static let fileAllowance = Atomic(0)
  private static let openedBytes = Atomic(0)

  /// The most bytes that all tensors together may take: those of the machine's memory, or fewer if a program or the
  /// environment variable `TOEPLITZ_MEMORY_LIMIT` (in megabytes) says so.
  package static var memoryLimit: Int {
    let opened = openedBytes.load(ordering: .relaxed)
    let (extra, overflow) = opened.multipliedReportingOverflow(by: fileAllowance.load(ordering: .relaxed))
    let (limit, beyond) = tensorLimit.load(ordering: .relaxed).addingReportingOverflow(extra)
    return overflow || beyond ? physicalMemory : min(physicalMemory, limit)
  }

  /// What errors say of the bound, and of what raises it.
  package static var memoryBound: String {
    let limit = memoryLimit
    let remedy = limit >= physicalMemory ? "all that this machine has" : memoryOption.withLock { $0 }
    return "at most \(limit) bytes for all tensors (\(remedy))"
  }

  /// What a user can raise the bound with.
  private static let memoryOption = Lock("TOEPLITZ_MEMORY_LIMIT")

  /// Says what errors shall name as that which raises the bound.
  package static func nameMemoryOption(_ name: String) { memoryOption.withLock { $0 = name } }

  /// Bounds the bytes of all tensors together.
  ///
  /// - Parameters:
  ///   - bytes: the bound.
  ///   - perByte: by how much each byte of an opened file raises it.
  package static func limitMemory(to bytes: Int, perByteOfFiles perByte: Int = 0) {
    tensorLimit.store(max(0, bytes), ordering: .relaxed)
    fileAllowance.store(max(0, perByte), ordering: .relaxed)
  }

  /// How many bytes the files have that were opened so far.
  package static var bytesOfFiles: Int { openedBytes.load(ordering: .relaxed) }

  /// Counts bytes as those of an opened file; compressed files count as what comes out of them, too.
  package static func noteFile(_ byteCount: Int) { openedBytes.wrappingAdd(max(0, byteCount), ordering: .relaxed) }

  /// The value of an environment variable.
  package static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// Allocates `byteCount` bytes on a 64-byte boundary, or nil.
  ///
  /// Large blocks ask for huge pages: the system clears and maps a fresh block page by page on first touch, which takes
  /// longer than computing into it, and 512 times fewer pages cost about a third. Kernels that write many rows at a time
  /// are slower on small pages too, so what would fill half of a last huge page gets it whole.
  package static func allocate(byteCount: Int) -> UnsafeMutableRawPointer? {
    var pointer: UnsafeMutableRawPointer?
    let hugePage = 1 << 21
    let isLarge = byteCount >= hugePage / 2 * 3
    var byteCount = max(byteCount, 64)
    let (tail, none) = (byteCount % hugePage, byteCount.addingReportingOverflow(hugePage).overflow)
    if isLarge, !none, tail >= hugePage / 2 { byteCount += hugePage - tail }
    guard posix_memalign(&pointer, isLarge ? hugePage : 64, byteCount) == 0 else { return nil }
    #if os(Linux)
      // MADV_HUGEPAGE, a request that the system may ignore.
      if isLarge, let pointer { madvise(pointer, byteCount, 14) }
    #endif
    return pointer
  }

  /// Returns memory of ``allocate(byteCount:)``.
  package static func deallocate(_ pointer: UnsafeMutableRawPointer) { free(pointer) }
}

/// A file mapped read-only into memory for as long as this object lives, or all that came out of a stream.
package final class MappedFile: Sendable {
  /// The first byte.
  package nonisolated(unsafe) let base: UnsafeRawPointer
  /// The length in bytes.
  package let count: Int
  private let mapped: Bool
  /// Holds the bytes of a stream.
  private let content: Streams.Content?

  /// Maps the whole file; reads a pipe, a device or `/dev/stdin` to its end.
  ///
  /// What descriptors of this process (`/dev/stdin`, `/dev/fd/3`) gave is kept, so that it can be opened again.
  ///
  /// What a pipe with a name gave is kept as long as one of those who opened it is there.
  ///
  /// - Parameters:
  ///   - onlyRegular: refuse pipes and devices, which paths out of a file must not reach.
  ///   - isCounted: whether its bytes raise the bounds of what a command may use; who opens it again sets it false.
  /// - Throws: ``ToeplitzError`` of kind `file` that gives the path and the system's reason.
  package init(path: String, onlyRegular: Bool = false, isCounted: Bool = true) throws {
    func refuse(_ reason: String) -> ToeplitzError {
      ToeplitzError(.file, path, expected: "a readable file", got: reason)
    }
    func systemReason() -> String { String(cString: strerror(errno)) }
    if !onlyRegular, let content = try Self.content(at: path) {
      base = UnsafeRawPointer(content.base)
      count = content.count
      mapped = false
      self.content = content
      return
    }
    let own = onlyRegular ? nil : Streams.descriptor(path)
    let descriptor = own ?? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw refuse(systemReason()) }
    defer { if own == nil { close(descriptor) } }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw refuse(systemReason()) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw refuse(status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "something that is not a regular file")
    }
    content = nil
    let size = Int(status.st_size)
    if size == 0 {
      base = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))
      count = 0
      mapped = false
      return
    }
    guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
      throw refuse(systemReason())
    }
    base = UnsafeRawPointer(address)
    count = size
    mapped = true
    if isCounted { Platform.noteFile(size) }
  }

  /// Bytes in memory in the place of a file; they are copied.
  package init(copying bytes: UnsafeRawBufferPointer) {
    let copy = UnsafeMutableRawPointer.allocate(byteCount: Swift.max(bytes.count, 1), alignment: 1)
    if let source = bytes.baseAddress { copy.copyMemory(from: source, byteCount: bytes.count) }
    (base, count, mapped, content) = (UnsafeRawPointer(copy), bytes.count, false, nil)
  }

  /// What the stream at `path` gives; nil if there is a file or a folder, or nothing.
  private static func content(at path: String) throws -> Streams.Content? {
    guard Streams.isStream(path) else { return nil }
    return try Streams.descriptor(path).map { try Streams.content(of: $0, path: path) } ?? Streams.content(at: path)
  }

  /// Lets the system take back the memory that holds a part of the file; what is read again later comes from the file.
  ///
  /// Weights are read once, into an order of their own, and would otherwise be in memory twice.
  package func forget(_ bytes: UnsafeRawBufferPointer) {
    guard mapped, let start = bytes.baseAddress, start >= base, bytes.count <= count else { return }
    let page = sysconf(Int32(_SC_PAGESIZE))
    guard page > 0 else { return }
    let first = (start - base) / page * page
    let end = min((start - base + bytes.count + page - 1) / page * page, count)
    // Private pages that were never written: nothing is lost.
    madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, Int32(MADV_DONTNEED))
  }

  deinit {
    if mapped {
      munmap(UnsafeMutableRawPointer(mutating: base), count)
    } else if content == nil {
      base.deallocate()
    }
  }

  /// All bytes.
  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
}

/// Lets threads sleep until a condition that others change may hold.
package final class Signal: Sendable {
  private nonisolated(unsafe) let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private nonisolated(unsafe) let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  /// A signal nobody waits for.
  package init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Sleeps as long as `blocked` holds; it is asked again after each ``wakeAll()``.
  package func wait(while blocked: () -> Bool) {
    pthread_mutex_lock(mutex)
    while blocked() { pthread_cond_wait(condition, mutex) }
    pthread_mutex_unlock(mutex)
  }

  /// Wakes all sleepers.
  package func wakeAll() {
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }
}

/// What a new thread runs; boxed so that it can pass through the C interface.
private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

extension Platform {
  /// Starts a thread that nobody joins.
  ///
  /// - Returns: False if the system refuses.
  package static func startThread(_ run: @escaping @Sendable () -> Void) -> Bool {
    let body = Unmanaged.passRetained(ThreadBody(run))
    #if canImport(Darwin)
      var thread: pthread_t?
      let status = pthread_create(&thread, nil, { enterThread($0) }, body.toOpaque())
      if status == 0, let thread { pthread_detach(thread) }
    #else
      var thread = pthread_t()
      let status = pthread_create(&thread, nil, { $0.flatMap { enterThread($0) } }, body.toOpaque())
      if status == 0 { pthread_detach(thread) }
    #endif
    if status != 0 { body.release() }
    return status == 0
  }
}

/// Tells how long a thread has had a processor.
package struct ThreadClock: Sendable {
  #if canImport(Darwin)
    private let thread = pthread_mach_thread_np(pthread_self())
  #else
    private let clock: clockid_t?
  #endif

  /// The clock of the calling thread.
  package init() {
    #if !canImport(Darwin)
      var clock = clockid_t()
      self.clock = pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : nil
    #endif
  }

  /// Seconds of processor time so far; 0 if the system does not say.
  package var seconds: Double {
    #if canImport(Darwin)
      var info = thread_basic_info()
      var count = mach_msg_type_number_t(MemoryLayout<thread_basic_info>.size / MemoryLayout<integer_t>.size)
      let status = withUnsafeMutablePointer(to: &info) {
        $0.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
          thread_info(thread, thread_flavor_t(THREAD_BASIC_INFO), $0, &count)
        }
      }
      guard status == KERN_SUCCESS else { return 0 }
      let (user, system) = (info.user_time, info.system_time)
      return Double(user.seconds + system.seconds) + Double(user.microseconds + system.microseconds) * 1e-6
    #else
      return clock.map(Platform.seconds) ?? 0
    #endif
  }
}

extension Platform {
  /// Seconds of processor time that all threads of the process together have had.
  package static var processorSeconds: Double { seconds(CLOCK_PROCESS_CPUTIME_ID) }

  fileprivate static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    return clock_gettime(clock, &time) == 0 ? Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9 : 0
  }
}

/// The C entry of a thread.
private func enterThread(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
  return nil
}

// MARK: - Messages

/// Writes a text to standard error, as far as that takes it.
package func writeToStandardError(_ text: String) {
  var bytes = Array(text.utf8)[...]
  while !bytes.isEmpty {
    let written = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    guard written > 0 else { return }
    bytes = bytes.dropFirst(written)
  }
}
