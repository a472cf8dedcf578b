#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The bytes of a file, a pipe or a device in order, as they come.
package final class StreamReader {
  private let path: String
  private let descriptor: Int32
  /// What ends the bytes once it can be read from, so that a wait for a pipe can be broken off; −1 for nothing.
  private let stop: Int32

  /// Opens what is at `path`; `/dev/stdin` goes on where it is.
  ///
  /// - Parameter stop: a descriptor that ends the bytes once it can be read from.
  /// - Throws: ``ToeplitzError`` of kind `file` with the system's reason, or if it is a terminal.
  package init(path: String, stop: Int32 = -1) throws {
    (self.path, self.stop) = (path, stop)
    descriptor =
      Streams.descriptor(path).map { fcntl($0, F_DUPFD_CLOEXEC, 0) } ?? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else { throw failure() }
    guard isatty(descriptor) == 0 else {
      close(descriptor)
      throw ToeplitzError(.file, path, expected: "a file or a pipe to read from", got: "a terminal")
    }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// Takes the next bytes: those that are there, at least one, and at most as many as there is room for; none at the end.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` with the system's reason.
  package func read(into room: UnsafeMutableRawBufferPointer) throws -> Int {
    guard room.count > 0 else { return 0 }
    while true {
      var requests = [
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
      ]
      if poll(&requests, 2, -1) < 0 {
        guard errno == EINTR else { throw failure() }
        continue
      }
      if requests[1].revents != 0 { return 0 }
      let got = Streams.systemRead(descriptor, room.baseAddress, room.count)
      if got >= 0 { return got }
      guard errno == EINTR || errno == EAGAIN else { throw failure() }
    }
  }

  /// Fills `bytes` up to `count`, or with what there is.
  package func fill(_ bytes: inout [UInt8], to count: Int) throws {
    var filled = bytes.count
    guard filled < count else { return }
    bytes += repeatElement(0, count: count - filled)
    while filled < count {
      let got = try bytes.withUnsafeMutableBytes {
        try read(into: UnsafeMutableRawBufferPointer(rebasing: $0[filled...]))
      }
      if got == 0 { break }
      filled += got
    }
    bytes.removeLast(count - filled)
  }

  private func failure() -> ToeplitzError {
    ToeplitzError(.file, path, expected: "a readable file", got: String(cString: strerror(errno)))
  }
}
