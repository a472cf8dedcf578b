import Foundation
import Synchronization
import ToeplitzTensor

/// Ends the process with an error where work takes longer than the files that asked for it let expect.
///
/// A few bytes of a model can ask for any amount of work without breaking a rule. No loop inside has to look at a clock:
/// nothing is half done when the process ends, because outputs are written after ``meet()``.
final class Deadline: Sendable {
  /// Seconds that any work may take, and bytes of files for which it may take a second more.
  private static let (least, bytesPerSecond) = (8.0, 0x1p20)
  private static let tick = 0.05
  private let isMet = Atomic(false)

  /// Begins to wait.
  ///
  /// - Parameter seconds: how long; by the size of the files that have been opened if nil.
  init(seconds: Double?) {
    Platform.leaveContinuations()
    _ = Platform.startThread { [self] in
      Platform.countContinuations()
      var passed = 0.0
      var last = Self.moment()
      while passed <= seconds ?? (Self.least + Double(Platform.bytesOfFiles) / Self.bytesPerSecond) {
        Thread.sleep(forTimeInterval: Self.tick)
        let now = Self.moment()
        // The time in which the process was stopped does not count; that in which others had the processor does.
        let elapsed = (now.time - last.time) / .seconds(1)
        passed += now.continuations == last.continuations ? elapsed : min(elapsed, Self.tick)
        last = now
        if isMet.load(ordering: .relaxed) { return }
      }
      // Whoever comes first, the work or the end, keeps the other from happening.
      guard isMet.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
      let text = "error: expected a result within \(Int(passed)) s (--time-limit), got none\n"
      FileHandle.standardError.write(Data(text.utf8))
      _exit(1)
    }
  }

  /// The time, and how often the process had been continued by then.
  private static func moment() -> (time: ContinuousClock.Instant, continuations: Int) {
    while true {
      let before = Platform.continuations
      let time = ContinuousClock().now
      if Platform.continuations == before { return (time, before) }
    }
  }

  /// The work is done.
  func meet() {
    guard isMet.exchange(true, ordering: .relaxed) else { return }
    // The process is about to end.
    while true { Thread.sleep(forTimeInterval: 1) }
  }
}
