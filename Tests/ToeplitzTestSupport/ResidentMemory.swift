import Foundation

/// The bytes of this process that are in memory, or another number that Linux tells of it; nil where the system does not.
package func residentBytes(_ field: String = "VmRSS") -> Int? {
  guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
  let line = text.split(separator: "\n").first { $0.hasPrefix(field + ":") }
  return line.flatMap { $0.split(whereSeparator: { !$0.isNumber }).first }.flatMap { Int($0) }.map { $0 << 10 }
}
