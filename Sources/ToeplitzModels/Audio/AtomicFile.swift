import ToeplitzTensor

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file that appears under its name only when it is complete.
///
/// Bytes go to a temporary file in the same folder, which ``commit()`` renames; until then a file that had
/// the name stays as it was. Whoever lets go of the object without that leaves nothing behind.
final class AtomicFile {
  private let path: String
  private let target: String
  private let temporary: String
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private static let bufferSize = 1 << 16

  /// Creates the temporary file.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if the folder cannot be written, or if `path` is something
  ///   other than a regular file, such as a folder or a device, which a rename would replace.
  init(path: String) throws {
    self.path = path
    var status = stat()
    var target = path
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else {
        throw ToeplitzError(
          .file, path, expected: "a regular file to replace, or none", got: "a folder or a device")
      }
      // Through a symbolic link, or the rename would replace the link and not the file.
      if let resolved = realpath(path, nil) {
        target = String(cString: resolved)
        free(resolved)
      }
    }
    self.target = target
    let nameStart = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
    guard nameStart < target.endIndex else {
      throw ToeplitzError(.file, path, expected: "the name of a file", got: "'\(path)'")
    }
    let random = String(UInt64.random(in: 0 ... .max), radix: 16)
    temporary = "\(target[..<nameStart]).\(target[nameStart...]).\(random).tmp"
    descriptor = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw Self.systemError(path) }
  }

  deinit { cancel() }

  /// Whether bytes can still be written.
  var isOpen: Bool { descriptor >= 0 }

  /// Puts bytes at the end.
  func append(_ bytes: some Sequence<UInt8>) throws {
    buffer.append(contentsOf: bytes)
    if buffer.count >= Self.bufferSize { try flush() }
  }

  /// Replaces bytes at `offset`, which have been written before.
  func overwrite(_ bytes: [UInt8], at offset: Int) throws {
    try flush()
    var done = 0
    while done < bytes.count {
      let written = bytes.withUnsafeBytes { raw in
        raw.baseAddress.map { pwrite(descriptor, $0 + done, raw.count - done, off_t(offset + done)) } ?? 0
      }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw Self.systemError(path) }
      done += written
    }
  }

  /// Gives the complete file its name.
  func commit() throws {
    try flush()
    let closing = descriptor
    descriptor = -1
    guard close(closing) == 0, rename(temporary, target) == 0 else {
      let error = Self.systemError(path)
      unlink(temporary)
      throw error
    }
  }

  /// Removes the temporary file; harmless after ``commit()``.
  func cancel() {
    guard isOpen else { return }
    close(descriptor)
    descriptor = -1
    unlink(temporary)
  }

  private func flush() throws {
    var done = 0
    while done < buffer.count {
      let written = buffer.withUnsafeBytes { raw in
        raw.baseAddress.map { write(descriptor, $0 + done, raw.count - done) } ?? 0
      }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw Self.systemError(path) }
      done += written
    }
    buffer.removeAll(keepingCapacity: true)
  }

  private static func systemError(_ path: String) -> ToeplitzError {
    ToeplitzError(.file, path, expected: "a file that can be written", got: String(cString: strerror(errno)))
  }
}
