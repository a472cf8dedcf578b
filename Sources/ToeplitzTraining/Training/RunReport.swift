import Foundation
import ToeplitzImage
import ToeplitzTensor

/// What `metrics.jsonl` of a run holds: for each name the steps and numbers.
struct MetricCurves {
  /// The points of each name, in the order of steps; numbers that are not finite are left out.
  let points: [(name: String, values: [(step: Int, value: Double)])]

  init(_ text: String) {
    var found: [String: [(step: Int, value: Double)]] = [:]
    for line in text.split(separator: "\n") {
      guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
        let step = object["step"] as? Int
      else { continue }
      for (name, value) in object where name != "step" {
        guard let number = value as? Double, number.isFinite else { continue }
        found[name, default: []].append((step, number))
      }
    }
    points = found.sorted { $0.key < $1.key }.map { (name: $0.key, values: $0.value) }
  }

  /// The means of at most `most` parts of a curve, so that a picture stays small.
  static func thinned(_ values: [(step: Int, value: Double)], most: Int) -> [(step: Int, value: Double)] {
    guard values.count > most else { return values }
    return (0..<most).map { index in
      let part = values[(index * values.count / most)..<((index + 1) * values.count / most)]
      let first = part[part.startIndex]
      return (first.step, part.reduce(0) { $0 + $1.value } / Double(part.count))
    }
  }
}

/// A page about a run that needs no other file, and pictures of its curves.
struct RunReport {
  private let curves: MetricCurves
  private let title: String
  private let settings: [String: String]
  private static let (width, height, margin) = (640, 200, 8)

  init(metrics: String, title: String, settings: [String: String]) {
    curves = MetricCurves(metrics)
    (self.title, self.settings) = (title, settings)
  }

  /// Where the points of a curve lie in a picture.
  private func places(_ values: [(step: Int, value: Double)]) -> [(x: Double, y: Double)] {
    let all = MetricCurves.thinned(values, most: 400)
    let (low, high) = (all.map(\.value).min() ?? 0, all.map(\.value).max() ?? 1)
    let (first, last) = (all.first?.step ?? 0, all.last?.step ?? 1)
    let (width, height) = (Double(Self.width - 2 * Self.margin), Double(Self.height - 2 * Self.margin))
    return all.map { point in
      let x = Double(point.step - first) / Double(max(1, last - first))
      let y = high > low ? (point.value - low) / (high - low) : 0.5
      return (Double(Self.margin) + x * width, Double(Self.margin) + (1 - y) * height)
    }
  }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
  }

  private static func short(_ number: Double) -> String { String(format: "%.5g", number) }

  /// The page.
  var html: String {
    var text = """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><title>\(Self.escaped(title))</title><style>
      body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:42em;padding:0 1em}
      svg{width:100%;height:auto;background:#f6f6f8}
      td{padding:.1em 1em .1em 0} polyline{fill:none;stroke:#2458c5;stroke-width:1.5}
      </style></head><body><h1>\(Self.escaped(title))</h1><table>

      """
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
      text += "<tr><td>\(Self.escaped(name))</td><td>\(Self.escaped(value))</td></tr>\n"
    }
    text += "</table>\n"
    for (name, values) in curves.points {
      guard let first = values.first, let last = values.last else { continue }
      let numbers = values.map(\.value)
      let line = places(values).map { String(format: "%.1f,%.1f", $0.x, $0.y) }.joined(separator: " ")
      text += """
        <h2>\(Self.escaped(name))</h2>
        <p>steps \(first.step) to \(last.step); first \(Self.short(first.value)), last \(Self.short(last.value)), \
        least \(Self.short(numbers.min() ?? 0)), most \(Self.short(numbers.max() ?? 0))</p>
        <svg viewBox="0 0 \(Self.width) \(Self.height)" role="img" aria-label="\(Self.escaped(name)) by step">\
        <polyline points="\(line)"/></svg>

        """
    }
    return text + "</body></html>\n"
  }

  /// Writes `report.html`, and `curve-<name>.png` for each curve.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if a file cannot be written.
  func write(to folder: RunFolder) throws {
    try AtomicFile.write(to: folder.file("report.html")) { try $0.write(html) }
    for (name, values) in curves.points {
      let letters = name.map { $0.isLetter || $0.isNumber ? $0 : "-" }
      try Picture(width: Self.width, height: Self.height, rgb: pixels(values).flatMap { [$0, $0, $0] })
        .save(to: folder.file("curve-\(String(letters)).png"))
    }
  }

  /// A curve in grey, 255 where nothing is.
  private func pixels(_ values: [(step: Int, value: Double)]) -> [UInt8] {
    var pixels = [UInt8](repeating: 255, count: Self.width * Self.height)
    for row in stride(from: Self.margin, through: Self.height - Self.margin, by: (Self.height - 2 * Self.margin) / 4) {
      for column in Self.margin..<(Self.width - Self.margin) { pixels[row * Self.width + column] = 224 }
    }
    let places = places(values)
    for (a, b) in zip(places, places.dropFirst()) {
      let steps = max(1, Int(max(abs(b.x - a.x), abs(b.y - a.y)).rounded(.up)))
      for step in 0...steps {
        let share = Double(step) / Double(steps)
        let (x, y) = (Int(a.x + (b.x - a.x) * share), Int(a.y + (b.y - a.y) * share))
        for (column, row) in [(x, y), (x, y + 1)]
        where (0..<Self.height).contains(row) && (0..<Self.width).contains(column) {
          pixels[row * Self.width + column] = 32
        }
      }
    }
    return pixels
  }
}
