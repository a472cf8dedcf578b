#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `write` of the system, which a method here hides.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

/// An output file that appears under its name only when it is complete.
///
/// The bytes go to a file of another name in the same directory, which ``commit()`` renames: a reader sees the old file
/// or the new one, never half of it, and mappings of the old file stay valid. Whoever lets go of the object before
/// that leaves nothing behind.
///
/// A pipe, a device and `/dev/stdout` take the bytes in order instead, as they come.
package final class AtomicFile {
  private let path: String
  private let target: String
  private let aside: String
  private let mode: mode_t?
  /// Whether the bytes go into a pipe or device, where nothing can be changed any more.
  package let isStream: Bool
  /// Whether the bytes stay in memory and there is no file.
  private let isInMemory: Bool
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private var flushed = 0
  private static let bufferSize = 1 << 16

  /// Bytes written so far.
  package var count: Int { flushed + buffer.count }
  /// Whether bytes can still be written.
  package var isOpen: Bool { descriptor >= 0 }

  private static let asidePrefix = ".toeplitz-"
  private static let asideSuffix = ".tmp"

  /// Whether a file of this name is what a process that was killed has left of another.
  package static func isLeftover(_ name: String) -> Bool {
    name.hasPrefix(asidePrefix) && name.hasSuffix(asideSuffix)
  }

  /// Creates the file aside.
  ///
  /// A symbolic link is followed; permissions of a replaced file are kept.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` with the path and the system's reason, or if `path` is a folder, a disk or
  ///   a terminal.
  package init(path: String) throws {
    self.path = path
    isInMemory = false
    if let stream = try Self.stream(path) {
      (target, aside, mode, descriptor, isStream) = (path, "", nil, stream, true)
      return
    }
    isStream = false
    let (target, mode) = try Self.destination(path)
    self.target = target
    self.mode = mode
    let directory = target.lastIndex(of: "/").map { String(target[...$0]) } ?? ""
    var random = SystemRandomNumberGenerator()
    aside = directory + Self.asidePrefix + String(random.next(), radix: 16) + Self.asideSuffix
    descriptor = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw Self.failure(path) }
  }

  /// Bytes that are kept, see ``contents``, under a name for errors.
  package init(inMemory name: String) {
    (path, target, aside, mode, descriptor) = (name, "", "", nil, 0)
    (isStream, isInMemory) = (false, true)
  }

  deinit { cancel() }

  /// The bytes that `body` writes.
  package static func bytes(_ name: String, _ body: (AtomicFile) throws -> Void) throws -> [UInt8] {
    let file = AtomicFile(inMemory: name)
    try body(file)
    return file.contents
  }

  /// What was written in memory.
  package var contents: [UInt8] { buffer }

  /// Creates or replaces the file at `path` with what `body` writes.
  ///
  /// - Throws: As ``init(path:)`` and ``commit()``, or what `body` throws.
  package static func write(to path: String, _ body: (AtomicFile) throws -> Void) throws {
    let file = try AtomicFile(path: path)
    do {
      try body(file)
      try file.commit()
    } catch {
      file.cancel()
      throw error
    }
  }

  /// Appends `bytes`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    if isInMemory || buffer.count + bytes.count < Self.bufferSize {
      buffer.append(contentsOf: bytes)
    } else {
      try flush()
      try put(bytes, at: flushed)
      flushed += bytes.count
    }
  }

  /// Appends `bytes`.
  package func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

  /// Appends `text` in UTF-8.
  package func write(_ text: String) throws { try write(Array(text.utf8)) }

  /// Replaces bytes at `offset`, which have been written before; not of a stream.
  package func overwrite(_ bytes: [UInt8], at offset: Int) throws {
    guard !isStream else {
      throw ToeplitzError(.file, path, expected: "a file in which bytes can be replaced", got: "a stream")
    }
    if isInMemory { return buffer.replaceSubrange(offset..<(offset + bytes.count), with: bytes) }
    try flush()
    try bytes.withUnsafeBytes { try put($0, at: offset) }
  }

  /// Gives the complete file its name.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` with the system's reason; the file aside is removed then.
  package func commit() throws {
    if isInMemory {
      descriptor = -1
      return
    }
    try flush()
    if isStream {
      close(descriptor)
      descriptor = -1
      return
    }
    if let mode { _ = fchmod(descriptor, mode) }
    // Without this a crash of the machine soon after could leave an empty file under the final name.
    guard fsync(descriptor) == 0, rename(aside, target) == 0 else {
      let error = Self.failure(path)
      cancel()
      throw error
    }
    close(descriptor)
    descriptor = -1
  }

  /// Removes the file aside; harmless after ``commit()``.
  package func cancel() {
    guard isOpen else { return }
    if isInMemory {
      descriptor = -1
      return
    }
    close(descriptor)
    descriptor = -1
    if !isStream { unlink(aside) }
  }

  /// Hands on what was written so far; readers of a stream get it then.
  package func flush() throws {
    if isInMemory { return }
    try buffer.withUnsafeBytes { try put($0, at: flushed) }
    flushed += buffer.count
    buffer.removeAll(keepingCapacity: true)
  }

  private func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
    guard let base = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      // Not all systems take more than 2 GiB in one call.
      let count = min(bytes.count - done, 1 << 30)
      let written =
        isStream
        ? systemWrite(descriptor, base + done, count) : pwrite(descriptor, base + done, count, off_t(offset + done))
      if written < 0, errno == EINTR { continue }
      if written < 0, errno == EAGAIN, Streams.wait(for: descriptor, Int16(POLLOUT)) { continue }
      guard written > 0 else { throw Self.failure(path) }
      done += written
    }
  }

  /// A descriptor of the stream that is at `path`, if there is one.
  private static func stream(_ path: String) throws -> Int32? {
    var status = stat()
    var stream: Int32
    if let own = Streams.descriptor(path) {
      stream = fcntl(own, F_DUPFD_CLOEXEC, 0)
    } else {
      guard !path.isEmpty, !path.utf8.contains(0), stat(path, &status) == 0,
        [S_IFIFO, S_IFCHR].contains(status.st_mode & S_IFMT)
      else { return nil }
      // Opening a pipe waits for its reader.
      stream = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
    }
    guard stream >= 0 else { throw failure(path) }
    guard isatty(stream) == 0 else {
      close(stream)
      throw ToeplitzError(
        .file, path, expected: "a file or a pipe for what no terminal can show", got: "a terminal")
    }
    return stream
  }

  /// The file that is really meant, and the permissions it has if it exists.
  private static func destination(_ path: String) throws -> (target: String, mode: mode_t?) {
    func refuse(_ got: String) -> ToeplitzError {
      ToeplitzError(.file, path, expected: "a path that a file can be written to", got: got)
    }
    guard !path.isEmpty, !path.hasSuffix("/"), !path.utf8.contains(0) else {
      throw refuse("a path without a file name or with a zero byte")
    }
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard errno == ENOENT else { throw failure(path) }
      return (path, nil)
    }
    var target = path
    if status.st_mode & S_IFMT == S_IFLNK {
      guard let resolved = realpath(path, nil) else { throw failure(path) }
      defer { free(resolved) }
      target = String(cString: resolved)
      guard stat(target, &status) == 0 else { throw failure(path) }
    }
    // Renaming over a device such as /dev/null would replace the device itself.
    guard status.st_mode & S_IFMT == S_IFREG else { throw refuse("something that is not a regular file") }
    return (target, status.st_mode & 0o777)
  }

  /// An error with the reason of the system call that just failed.
  private static func failure(_ path: String) -> ToeplitzError {
    ToeplitzError(
      .file, path, expected: "a path that a file can be written to", got: String(cString: strerror(errno)))
  }
}
