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

  /// The value of an environment variable.
  package static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// The largest resident size this process has had, in bytes.
  package static var peakResidentBytes: Int {
    var usage = rusage()
    #if os(Linux)
      guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
      return usage.ru_maxrss * 1024
    #else
      guard getrusage(RUSAGE_SELF, &usage) == 0 else { return 0 }
      return usage.ru_maxrss
    #endif
  }

  /// Allocates `byteCount` bytes on a 64-byte boundary, or nil.
  package static func allocate(byteCount: Int) -> UnsafeMutableRawPointer? {
    var pointer: UnsafeMutableRawPointer?
    return posix_memalign(&pointer, 64, max(byteCount, 64)) == 0 ? pointer : nil
  }

  /// Returns memory of ``allocate(byteCount:)``.
  package static func deallocate(_ pointer: UnsafeMutableRawPointer) { free(pointer) }
}

/// A file mapped read-only into memory for as long as this object lives.
package final class MappedFile: Sendable {
  /// The first byte.
  package nonisolated(unsafe) let base: UnsafeRawPointer
  /// The length in bytes.
  package let count: Int
  private let mapped: Bool

  /// Maps the whole file.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` that gives the path and the system's reason.
  package init(path: String) throws {
    func refuse(_ reason: String) -> ToeplitzError {
      ToeplitzError(.file, path, expected: "a readable file", got: reason)
    }
    func systemReason() -> String { String(cString: strerror(errno)) }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw refuse(systemReason()) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw refuse(systemReason()) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw refuse("something that is not a regular file") }
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
  }

  deinit {
    if mapped { munmap(UnsafeMutableRawPointer(mutating: base), count) } else { base.deallocate() }
  }

  /// All bytes.
  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
}
