import ToeplitzTensor

/// What the file of a step model says of how to stream it.
package struct StreamMetadata: Sendable {
  /// An output and where the stream's positions lie in it.
  struct Output: Sendable {
    var axis: Int
    /// Positions for each of the input.
    var numerator: Int
    var denominator: Int
    /// Positions before the first.
    var delay: Int
    /// How many more there are in the whole than the ratio tells.
    var rest: Int
  }

  static let statePrefix = "stream.state."
  private static let outputPrefix = "stream.output."

  var block: Int
  /// What the whole length must be a multiple of.
  var multiple: Int
  var axis: Int
  /// The input that tells how long the stream is, if there is one.
  var length: String?
  var outputs: [String: Output]

  /// What the metadata of a model say, if they speak of streaming.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` if they are damaged.
  init?(_ metadata: [String: String]) throws {
    guard let block = metadata["stream.block"] else { return nil }
    func number(_ text: String?, _ range: ClosedRange<Int>) throws -> Int {
      guard let text, let number = Int(text), range.contains(number) else {
        throw ToeplitzError(
          .format, "stepStream", expected: "metadata with numbers in \(range)", got: text.map { "'\($0)'" } ?? "none")
      }
      return number
    }
    let most = 1 << 40
    self.block = try number(block, 1...most)
    multiple = try number(metadata["stream.multiple"], 1...most)
    axis = try number(metadata["stream.axis"], 0...64)
    length = metadata["stream.length"]
    outputs = [:]
    for (key, value) in metadata where key.hasPrefix(Self.outputPrefix) {
      let parts = value.split(separator: " ").map(String.init)
      guard parts.count == 5 else {
        throw ToeplitzError(.format, "stepStream", expected: "five numbers in '\(key)'", got: "'\(value)'")
      }
      outputs[String(key.dropFirst(Self.outputPrefix.count))] = Output(
        axis: try number(parts[0], 0...64), numerator: try number(parts[1], 1...most),
        denominator: try number(parts[2], 1...most), delay: try number(parts[3], 0...most),
        rest: try number(parts[4], -most...most))
    }
  }

  /// The metadata of a model that a plan is written as.
  package static func entries(_ step: StreamStep, _ plan: StreamPlan, chunk: Int) -> [String: String] {
    var entries = [
      "stream.block": "\(chunk)", "stream.multiple": "\(plan.blockSize)", "stream.axis": "\(plan.timeAxis)",
    ]
    entries["stream.length"] = step.length?.name
    for state in step.states { entries[statePrefix + state.pair.input] = state.pair.output }
    for output in step.outputs {
      entries[outputPrefix + output.name] = [
        output.axis, output.ratio.numerator, output.ratio.denominator, output.delay, output.rest,
      ].map(String.init).joined(separator: " ")
    }
    return entries
  }
}
