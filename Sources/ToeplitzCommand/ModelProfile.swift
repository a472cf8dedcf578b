import Foundation
import Toeplitz
import ToeplitzGraph

/// The time that each operation of a model takes.
struct ModelProfile {
  /// One operation.
  struct Row {
    var name: String
    var operation: String
    /// What was fused into it.
    var fused: [String]
    var outputs: [TensorSpec] = []
    /// The median over all runs.
    var milliseconds = 0.0
  }

  /// The operations, in the order in which they are computed.
  private(set) var rows: [Row]

  /// Runs the model `runs` times.
  init(_ executable: Executable, _ inputs: [String: Tensor], runs: Int) throws {
    var rows: [Row] = []
    var times: [[Double]] = []
    let clock = ContinuousClock()
    for run in 0..<runs {
      var index = 0
      var last = clock.now
      _ = try executable.run(inputs) { step in
        let time = (clock.now - last) / .milliseconds(1)
        if run == 0 {
          let row = step.row
          rows.append(Row(name: row.name, operation: row.operation, fused: row.fused, outputs: row.outputs))
          times.append([])
        }
        // Elements may decide how many steps there are, but not for the same inputs.
        if index < times.count { times[index].append(time) }
        index += 1
        last = clock.now
      }
    }
    for index in rows.indices where !times[index].isEmpty {
      rows[index].milliseconds = times[index].sorted()[times[index].count / 2]
    }
    self.rows = rows
  }

  /// A table of the operations and one of their kinds, the dearest first.
  var lines: [String] {
    let total = rows.reduce(0) { $0 + $1.milliseconds }
    func cells(_ milliseconds: Double) -> [String] {
      let share = total > 0 ? 100 * milliseconds / total : 0
      return [String(format: "%.3f", milliseconds), String(format: "%.1f %%", share)]
    }
    let numbers = [("ms", true), ("share", true)]
    var operations = TextTable(
      columns: numbers + [("operation", false), ("output", false), ("fused", false), ("name", false)])
    operations.rows = rows.map { row in
      cells(row.milliseconds) + [
        row.operation, row.outputs.map(\.description).joined(separator: " "), row.fused.joined(separator: ", "),
        row.name,
      ]
    }
    let kinds = Dictionary(grouping: rows, by: \.operation)
      .mapValues { (milliseconds: $0.reduce(0) { $0 + $1.milliseconds }, count: $0.count) }
      .sorted { ($1.value.milliseconds, $0.key) < ($0.value.milliseconds, $1.key) }
    var summary = TextTable(columns: numbers + [("count", true), ("operations", false)])
    summary.rows = kinds.map { cells($0.value.milliseconds) + ["\($0.value.count)", $0.key] }
    summary.rows.append(cells(total) + ["\(rows.count)", "all"])
    return operations.lines + [""] + summary.lines
  }
}
