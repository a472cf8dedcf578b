import Foundation

/// Whether Ctrl-C has been pressed; the first time asks for an end, the second ends at once.
final class Interruption {
  private let source: any DispatchSourceSignal
  private let count = Counter()
  private let pipe = Pipe()

  private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0
    func add() -> Int {
      lock.withLock {
        value += 1
        return value
      }
    }
    var current: Int { lock.withLock { value } }
  }

  init() {
    signal(SIGINT, SIG_IGN)
    source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    let (count, pipe) = (count, pipe)
    source.setEventHandler {
      if count.add() > 1 { exit(130) }
      pipe.fileHandleForWriting.write(Data([0]))
    }
    source.resume()
  }

  var isRequested: Bool { count.current > 0 }

  /// Can be read from once an end is asked for.
  var descriptor: Int32 { pipe.fileHandleForReading.fileDescriptor }
}
