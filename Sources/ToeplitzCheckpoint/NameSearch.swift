/// Finds the names somebody may have meant.
enum NameSearch {
  /// Longer names and further ones are not looked at, so that a hostile file cannot make an error slow.
  private static let longestName = 128
  private static let mostNames = 4096

  /// Up to three of `names` that are like `wanted`, the likest first.
  static func names(near wanted: String, in names: some Collection<String>) -> [String] {
    let target = Array(wanted.utf8)
    guard target.count <= longestName else { return [] }
    let limit = max(2, target.count / 4)
    var found: [(distance: Int, name: String)] = []
    for name in names.prefix(mostNames) {
      let candidate = Array(name.utf8.prefix(longestName + 1))
      guard candidate.count <= longestName, !candidate.isEmpty else { continue }
      // A prefix such as `generator.` too many or too few is the commonest mistake of all.
      if wanted.hasSuffix(".\(name)") || name.hasSuffix(".\(wanted)") {
        found.append((1, name))
      } else if let distance = distance(target, candidate, limit: limit) {
        found.append((distance, name))
      }
    }
    return found.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(3).map(\.name)
  }

  /// The edits between two texts (Levenshtein), or nil if they are more than `limit`.
  private static func distance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
    guard abs(a.count - b.count) <= limit else { return nil }
    var row = Array(0...b.count)
    for (i, left) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      var smallest = row[0]
      for (j, right) in b.enumerated() {
        let edits = min(diagonal + (left == right ? 0 : 1), row[j] + 1, row[j + 1] + 1)
        diagonal = row[j + 1]
        row[j + 1] = edits
        smallest = min(smallest, edits)
      }
      if smallest > limit { return nil }
    }
    return row[b.count] <= limit ? row[b.count] : nil
  }
}
