#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Paths behind which there is no regular file: standard input and output, pipes and devices.
package enum Streams {
  /// The path of standard input.
  package static let standardInput = "/dev/stdin"
  /// The path of standard output.
  package static let standardOutput = "/dev/stdout"

  /// The descriptor of this process that a path names.
  ///
  /// To open such a path again does not always work (sockets), is not always allowed (files of another user), and would
  /// begin anew where a shell has appended.
  static func descriptor(_ path: String) -> Int32? {
    switch path {
    case standardInput: return 0
    case standardOutput: return 1
    case "/dev/stderr": return 2
    default:
      for folder in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(folder) {
        return Int32(path.dropFirst(folder.count)).flatMap { $0 >= 0 ? $0 : nil }
      }
      return nil
    }
  }

  /// Whether there is a pipe or a device at a path, neither a file nor a folder nor nothing.
  package static func isStream(_ path: String) -> Bool {
    var status = stat()
    guard descriptor(path).map({ fstat($0, &status) }) ?? stat(path, &status) == 0 else { return false }
    return ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT)
  }

  /// All that a stream gave.
  final class Content: Sendable {
    nonisolated(unsafe) let base: UnsafeMutableRawPointer
    let count: Int

    fileprivate init(_ base: UnsafeMutableRawPointer, _ count: Int) { (self.base, self.count) = (base, count) }

    deinit { free(base) }
  }

  /// What descriptors of this process gave, which cannot be had a second time.
  private static let descriptors = Lock<[Int32: Content]>([:])

  private struct Pipe {
    weak var content: Content?
  }
  /// What pipes with names gave, as long as somebody holds it.
  private static let pipes = Lock<[String: Pipe]>([:])

  /// What a descriptor of this process gives, or gave to an earlier call.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be read or is a terminal, of kind `memory` if it does not end.
  static func content(of descriptor: Int32, path: String) throws -> Content {
    try descriptors.withLock { descriptors in
      if let content = descriptors[descriptor] { return content }
      let content = try readAll(descriptor, path)
      descriptors[descriptor] = content
      return content
    }
  }

  /// What the pipe or device at a path gives, or gave to somebody who still holds it.
  ///
  /// - Throws: As ``content(of:path:)``, or if it cannot be opened.
  static func content(at path: String) throws -> Content {
    if let content = pipes.withLock({ $0[path]?.content }) { return content }
    // Opening a pipe waits for its writer, and nobody should wait for that with the lock.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else {
      throw ToeplitzError(.file, path, expected: "a readable file", got: String(cString: strerror(errno)))
    }
    defer { close(descriptor) }
    let content = try readAll(descriptor, path)
    pipes.withLock {
      $0 = $0.filter { $0.value.content != nil }
      $0[path] = Pipe(content: content)
    }
    return content
  }

  private static func readAll(_ descriptor: Int32, _ path: String) throws -> Content {
    guard isatty(descriptor) == 0 else {
      throw ToeplitzError(.file, path, expected: "a file or a pipe to read from", got: "a terminal")
    }
    // A device may have no end.
    let limit = min(Platform.memoryLimit, Platform.physicalMemory / 4)
    var (capacity, count) = (1 << 16, 0)
    func refuse(_ expected: String, _ got: String, _ kind: ToeplitzError.Kind = .file) -> ToeplitzError {
      ToeplitzError(kind, path, expected: expected, got: got)
    }
    guard var base = malloc(capacity) else { throw refuse("memory to read into", "none", .memory) }
    while true {
      if count == capacity {
        guard capacity < limit, let larger = realloc(base, capacity * 2) else {
          free(base)
          throw refuse("a stream of at most \(limit) bytes", "more", .memory)
        }
        (base, capacity) = (larger, capacity * 2)
      }
      let got = systemRead(descriptor, base + count, capacity - count)
      if got == 0 { break }
      if got < 0, errno == EINTR { continue }
      if got < 0, errno == EAGAIN, wait(for: descriptor, Int16(POLLIN)) { continue }
      guard got > 0 else {
        let reason = String(cString: strerror(errno))
        free(base)
        throw refuse("a stream that can be read", reason)
      }
      count += got
    }
    Platform.noteFile(count)
    return Content(realloc(base, max(count, 1)) ?? base, count)
  }

  /// `read` of the system, which methods elsewhere hide.
  static func systemRead(_ descriptor: Int32, _ target: UnsafeMutableRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
      Glibc.read(descriptor, target, count)
    #elseif canImport(Musl)
      Musl.read(descriptor, target, count)
    #else
      Darwin.read(descriptor, target, count)
    #endif
  }

  /// Sleeps until a descriptor that must not block is ready.
  static func wait(for descriptor: Int32, _ events: Int16) -> Bool {
    var request = pollfd(fd: descriptor, events: events, revents: 0)
    while true {
      if poll(&request, 1, -1) >= 0 { return true }
      guard errno == EINTR else { return false }
    }
  }
}
