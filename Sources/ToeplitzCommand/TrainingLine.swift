import Foundation
import Toeplitz
import ToeplitzTraining

/// What a run tells on standard error while it goes on.
enum TrainingLine {
  /// A line that is written over on a terminal; at the end of an epoch a line of its own.
  static func show(_ report: TrainingReport, epochs: Int, prefix: String = "", seconds: Double) {
    let isTerminal = isatty(FileHandle.standardError.fileDescriptor) == 1
    guard isTerminal || report.validation != nil else { return }
    var text = "\(prefix)epoch \(report.epoch + 1)/\(epochs) step \(report.step)/\(report.steps)"
    text += String(format: " loss %.4f", report.loss)
    for numbers in [report.metrics, report.validation ?? [:]] {
      for (name, value) in numbers.sorted(by: { $0.key < $1.key }) { text += String(format: " \(name) %.4f", value) }
    }
    text += String(format: " %.2f s a step, %@ left", seconds, time(seconds * Double(report.steps - report.step)))
    let end = report.validation == nil ? "" : "\n"
    FileHandle.standardError.write(Data("\(isTerminal ? "\r\u{1B}[K" : "")\(text)\(end)".utf8))
  }

  private static func time(_ seconds: Double) -> String {
    let minutes = Int(min(seconds, 1e9) / 60)
    return minutes < 60 ? "\(minutes) min" : "\(minutes / 60) h \(minutes % 60) min"
  }
}

extension Trainer {
  /// Trains until all is done or Ctrl-C is pressed, and shows on standard error how it goes.
  func runShowing(epochs: Int, quiet: Bool, prefix: String = "", until interruption: Interruption) throws
    -> TrainingOutcome
  {
    let clock = ContinuousClock()
    var (start, first): (ContinuousClock.Instant?, Int) = (nil, 0)
    var steps = 0
    let outcome = try run { report in
      steps += 1
      guard let start else {
        // The first step records the graph.
        (start, first) = (clock.now, report.step)
        return
      }
      guard !quiet else { return }
      let seconds = (clock.now - start) / .seconds(1) / Double(max(1, report.step - first))
      TrainingLine.show(report, epochs: epochs, prefix: prefix, seconds: seconds)
    } shouldStop: {
      interruption.isRequested
    }
    if !quiet, sentByteCount > 0, steps > 0 {
      let text = String(
        format: "%@%.3f MB a step sent by each process\n", prefix, Double(sentByteCount) / Double(steps) / 1e6)
      FileHandle.standardError.write(Data(text.utf8))
    }
    return outcome
  }
}
