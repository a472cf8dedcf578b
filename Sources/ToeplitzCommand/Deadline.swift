import Foundation
import Synchronization
import ToeplitzTensor

/// Ends the process with an error where work takes longer than the files that asked for it let expect.
///
/// A few bytes of a model can ask for any amount of work without breaking a rule. No loop inside has to look at a clock:
/// nothing is half done when the process ends, because outputs are written after ``meet()``.
///
/// What counts is processor time: while the machine is busy with others, while the process is stopped and while it waits for
/// a file nothing passes.
final class Deadline: Sendable {
  /// Seconds that any work may take, and bytes of files for which it may take a second more.
  private static let (least, bytesPerSecond) = (8.0, 0x1p20)
  private static let tick = 0.05
  private let isMet = Atomic(false)

  /// Begins to count the time of the calling thread, which does the work or takes part in it.
  ///
  /// - Parameters:
  ///   - seconds: how long; by the size of the files that have been opened if nil.
  ///   - threads: how many threads work. While the caller waits for others a share of what all of them take counts, so that
  ///     no work goes on without end.
  init(seconds: Double?, threads: Int = 1) {
    let caller = ThreadClock()
    let (callerBefore, allBefore) = (caller.seconds, Platform.processorSeconds)
    _ = Platform.startThread { [self] in
      var passed = 0.0
      while passed <= seconds ?? (Self.least + Double(Platform.bytesOfFiles) / Self.bytesPerSecond) {
        Thread.sleep(forTimeInterval: Self.tick)
        passed = max(
          caller.seconds - callerBefore, (Platform.processorSeconds - allBefore) / Double(max(1, threads)))
        if isMet.load(ordering: .relaxed) { return }
      }
      // Whoever comes first, the work or the end, keeps the other from happening.
      guard isMet.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
      let text = "error: expected a result within \(Int(passed)) s of processor time (--time-limit), got none\n"
      FileHandle.standardError.write(Data(text.utf8))
      _exit(1)
    }
  }

  /// The work is done.
  func meet() {
    guard isMet.exchange(true, ordering: .relaxed) else { return }
    // The process is about to end.
    while true { Thread.sleep(forTimeInterval: 1) }
  }
}
