import ToeplitzTensor

/// An input of a model and the output that takes its place in the next step.
public struct StatePair: Sendable, Hashable {
  /// The name of the input.
  public var input: String
  /// The name of the output.
  public var output: String

  /// A pair of the given names.
  public init(input: String, output: String) { (self.input, self.output) = (input, output) }
}

extension Executable {
  /// The inputs that are a model's state, each with the output that is the state of the next step.
  ///
  /// Names tell: those of a pair are the same but for words such as `in` and `out`, `past` and `present`, `new`, `next` or `N`, as in
  /// `state` and `stateN`, `h0` and `hn`, `cache_in` and `new_cache`. Element types and known sizes must be the same too. A model's
  /// file may tell as well, by metadata `stream.state.INPUT` with the output's name, which a model that
  /// ``StreamPlan`` was exported to has.
  ///
  /// - Parameter named: pairs that the names do not tell, or all of them; these are checked.
  /// - Throws: ``ToeplitzError`` of kind `argument` for a named input or output that there is not, of kind `shape` for a pair whose
  ///   element types or sizes differ.
  public func statePairs(named: [StatePair] = []) throws -> [StatePair] {
    var pairs = named
    for (key, output) in metadata.sorted(by: { $0.key < $1.key }) where key.hasPrefix(StreamMetadata.statePrefix) {
      let input = String(key.dropFirst(StreamMetadata.statePrefix.count))
      if !named.contains(where: { $0.input == input }) { pairs.append(StatePair(input: input, output: output)) }
    }
    for pair in pairs {
      func port(_ name: String, _ ports: [PortDescription], _ what: String) throws -> PortDescription {
        guard let port = ports.first(where: { $0.name == name }) else {
          throw ToeplitzError(
            .argument, "state", expected: "\(what) of " + ports.map(\.name).joined(separator: ", "), got: "'\(name)'")
        }
        return port
      }
      let (input, output) = (
        try port(pair.input, inputs + defaults, "an input"), try port(pair.output, outputs, "an output")
      )
      guard Self.canFollow(input, output) else {
        throw ToeplitzError(
          .shape, "state '\(pair.input)'", expected: "an output of \(input.description)", got: output.description)
      }
    }
    for input in inputs where !pairs.contains(where: { $0.input == input.name }) {
      let key = StateName(input.name).key
      guard !key.isEmpty else { continue }
      let fitting = outputs.filter { output in
        StateName(output.name).key == key && Self.canFollow(input, output)
          && !pairs.contains { $0.output == output.name }
      }
      if fitting.count == 1 { pairs.append(StatePair(input: input.name, output: fitting[0].name)) }
    }
    return pairs
  }

  /// Whether an output can be an input of the next step.
  private static func canFollow(_ input: PortDescription, _ output: PortDescription) -> Bool {
    if let one = input.dtype, let two = output.dtype, one != two { return false }
    guard let one = input.dimensions, let two = output.dimensions else { return true }
    return one.count == two.count
      && zip(one, two).allSatisfy { sizes in
        if case .fixed(let a) = sizes.0, case .fixed(let b) = sizes.1 { a == b } else { true }
      }
  }
}

/// What of a name is left without the words that tell a state from the one after it.
private struct StateName {
  private static let words: Set<String> = [
    "in", "out", "input", "output", "old", "new", "prev", "previous", "past", "present", "last", "cur", "current",
    "next",
    "n", "i", "o", "0", "updated",
  ]

  let key: String

  init(_ name: String) {
    var words = [""]
    var before: Character = "_"
    for character in name {
      // `stateN` and `stateOut` are two words, `h0` and `hn` too.
      if !character.isLetter && !character.isNumber || before.isLowercase && character.isUppercase { words.append("") }
      if character.isLetter || character.isNumber { words[words.count - 1] += character.lowercased() }
      before = character
    }
    words = words.filter { !$0.isEmpty }.map { word in
      ["h0", "hn", "c0", "cn"].contains(word) ? String(word.prefix(1)) : word
    }
    key = words.filter { !Self.words.contains($0) }.joined(separator: "_")
  }
}
