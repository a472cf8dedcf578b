import Foundation
import Toeplitz

/// Columns of text for a terminal.
struct TextTable {
  /// The heading of each column, and whether its cells stand at the right.
  var columns: [(title: String, isNumber: Bool)]
  /// The cells of each row.
  var rows: [[String]] = []

  /// The table as lines; the last column is not filled up.
  var lines: [String] {
    let table = [columns.map(\.title)] + rows.map { $0.map(\.oneLine) }
    let widths = columns.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    return table.map { cells in
      let padded = zip(cells, columns).enumerated().map { index, cell in
        let space = String(repeating: " ", count: widths[index] - cell.0.count)
        return cell.1.isNumber ? space + cell.0 : index == columns.count - 1 ? cell.0 : cell.0 + space
      }
      return padded.joined(separator: "  ")
    }
  }
}
