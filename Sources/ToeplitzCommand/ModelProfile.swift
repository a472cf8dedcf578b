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
    var multiplyAdds = 0
    var bytes = 0
    /// The median over all runs.
    var milliseconds = 0.0

    /// The least it could take: its multiply-adds at the machine's peak, or all its operands and results from memory and back.
    func floor(_ machine: MachineRates) -> Double {
      1e3 * max(2 * Double(multiplyAdds) / machine.arithmetic, Double(bytes) / machine.bandwidth)
    }
  }

  /// The operations, in the order in which they are computed.
  private(set) var rows: [Row]
  private let machine: MachineRates

  /// Runs the model `runs` times, after measuring what the machine can do at best.
  init(_ executable: Executable, _ inputs: [String: ModelValue], runs: Int) throws {
    machine = try MachineRates.measure(threads: ThreadPool.shared.threadCount)
    var rows: [Row] = []
    var times: [[Double]] = []
    let clock = ContinuousClock()
    for run in 0..<runs {
      var index = 0
      var last = clock.now
      _ = try executable.run(values: inputs) { step in
        let time = (clock.now - last) / .milliseconds(1)
        if run == 0 {
          let row = step.row
          rows.append(
            Row(
              name: row.name, operation: row.operation, fused: row.fused, outputs: row.outputs,
              multiplyAdds: row.multiplyAdds, bytes: row.bytes))
          times.append([])
        }
        // Elements may decide how many steps there are, but not for the same inputs.
        if index < times.count { times[index].append(time) }
        index += 1
        last = clock.now
      }
    }
    for index in rows.indices where !times[index].isEmpty {
      rows[index].milliseconds = Spread(times[index]).median
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
    func times(_ row: Row) -> String {
      let floor = row.floor(machine)
      return floor > 1e-4 ? String(format: "%.1f", row.milliseconds / floor) : "-"
    }
    let numbers = [("ms", true), ("share", true)]
    var operations = TextTable(
      columns: numbers + [
        ("× floor", true), ("operation", false), ("output", false), ("fused", false), ("name", false),
      ])
    operations.rows = rows.map { row in
      cells(row.milliseconds) + [
        times(row), row.operation, row.outputs.map(\.description).joined(separator: " "),
        row.fused.joined(separator: ", "),
        row.name,
      ]
    }
    let above = rows.sorted { $0.milliseconds - $0.floor(machine) > $1.milliseconds - $1.floor(machine) }.prefix(3)
    let kinds = Dictionary(grouping: rows, by: \.operation)
      .mapValues { (milliseconds: $0.reduce(0) { $0 + $1.milliseconds }, count: $0.count) }
      .sorted { ($1.value.milliseconds, $0.key) < ($0.value.milliseconds, $1.key) }
    var summary = TextTable(columns: numbers + [("count", true), ("operations", false)])
    summary.rows = kinds.map { cells($0.value.milliseconds) + ["\($0.value.count)", $0.key] }
    summary.rows.append(cells(total) + ["\(rows.count)", "all"])
    let peak = String(
      format: "floor: %.0f GFLOP/s, %.0f GB/s from memory; most time above it: ", machine.arithmetic / 1e9,
      machine.bandwidth / 1e9)
    let worst = above.map {
      String(format: "%.3f ms ", $0.milliseconds - $0.floor(machine)) + ($0.name.isEmpty ? $0.operation : $0.name)
    }
    return operations.lines + [""] + summary.lines + ["", peak + worst.joined(separator: ", ")]
  }
}
