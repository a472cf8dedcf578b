import ToeplitzTensor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An output file that appears under its name only when it is complete.
///
/// The bytes go to a file of another name in the same directory, which is renamed at the end: a reader sees
/// the old file or the new one, never half of it, and mappings of the old file stay valid. If anything fails,
/// the old file is as it was and the unfinished one is removed.
package struct AtomicFile: ~Copyable {
  private let place: FilePlace
  private let descriptor: Int32
  /// Bytes written so far.
  package private(set) var count = 0

  private init(place: FilePlace, descriptor: Int32) {
    self.place = place
    self.descriptor = descriptor
  }

  /// Creates or replaces the file at `path` with what `body` writes.
  ///
  /// A symbolic link is followed; permissions of a replaced file are kept.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` with the path and the system's reason, or what `body` throws.
  package static func write(to path: String, _ body: (inout AtomicFile) throws -> Void) throws {
    let place = FilePlace(file: path)
    let (target, mode) = try destination(path, place)
    let directory = target.lastIndex(of: "/").map { String(target[...$0]) } ?? ""
    var random = SystemRandomNumberGenerator()
    let aside = directory + ".toeplitz-" + String(random.next(), radix: 16) + ".tmp"
    let descriptor = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure(place) }
    do {
      var file = AtomicFile(place: place, descriptor: descriptor)
      defer { close(descriptor) }
      try body(&file)
      if let mode { _ = fchmod(descriptor, mode) }
      // Without this a crash of the machine soon after could leave an empty file under the final name.
      guard fsync(descriptor) == 0 else { throw failure(place) }
    } catch {
      unlink(aside)
      throw error
    }
    guard rename(aside, target) == 0 else {
      let error = failure(place)
      unlink(aside)
      throw error
    }
  }

  /// Appends `bytes`.
  package mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard let base = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      // Not all systems take more than 2 GiB in one call.
      let written = Self.system(descriptor, base + done, min(bytes.count - done, 1 << 30))
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { throw Self.failure(place) }
      done += written
    }
    count += done
  }

  /// Appends `bytes`.
  package mutating func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try write($0) }
  }

  /// Appends `text` in UTF-8.
  package mutating func write(_ text: String) throws {
    try write(Array(text.utf8))
  }

  private static func system(_ descriptor: Int32, _ base: UnsafeRawPointer, _ count: Int) -> Int {
    #if canImport(Glibc)
      Glibc.write(descriptor, base, count)
    #elseif canImport(Musl)
      Musl.write(descriptor, base, count)
    #else
      Darwin.write(descriptor, base, count)
    #endif
  }

  /// The file that is really meant, and the permissions it has if it exists.
  private static func destination(
    _ path: String, _ place: FilePlace
  ) throws -> (target: String, mode: mode_t?) {
    func refuse(_ got: String) -> ToeplitzError {
      ToeplitzError(.file, place.file, expected: "a path that a file can be written to", got: got)
    }
    guard !path.isEmpty, !path.hasSuffix("/"), !path.utf8.contains(0) else {
      throw refuse("a path without a file name or with a zero byte")
    }
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard errno == ENOENT else { throw failure(place) }
      return (path, nil)
    }
    var target = path
    if status.st_mode & S_IFMT == S_IFLNK {
      guard let resolved = realpath(path, nil) else { throw failure(place) }
      defer { free(resolved) }
      target = String(cString: resolved)
      guard stat(target, &status) == 0 else { throw failure(place) }
    }
    // Renaming over a device such as /dev/null would replace the device itself.
    guard status.st_mode & S_IFMT == S_IFREG else { throw refuse("something that is not a regular file") }
    return (target, status.st_mode & 0o777)
  }

  /// An error with the reason of the system call that just failed.
  private static func failure(_ place: FilePlace) -> ToeplitzError {
    ToeplitzError(
      .file, place.file, expected: "a path that a file can be written to",
      got: String(cString: strerror(errno)))
  }
}
