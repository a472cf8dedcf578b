import ToeplitzCheckpoint
import ToeplitzTensor

/// What an operator takes and gives, from a version of its domain on: numbers of operands and results, names and kinds of
/// attributes.
///
/// The rules are those of the `onnx` package; ``table`` is written by `Scripts/make-onnx-schemas.py`.
struct OperatorSchema {
  /// The fewest operands.
  private var least: Int
  /// A letter for each operand: `r` must be there, `o` may be missing, `*` is any number of further ones.
  private var operands: Substring
  private var results: ClosedRange<Int>
  /// The letter of each attribute's kind.
  private var attributes: [Substring: Character]
  private var needed: [Substring]

  /// What follows an operator's name in its line, by domain and name.
  private static let lines: [String: Substring] = {
    var (lines, domain): ([String: Substring], Substring) = ([:], "")
    for line in table.split(separator: "\n") {
      if line.first == "@" {
        domain = line.dropFirst()
      } else {
        let name = line.prefix { $0 != " " }
        lines["\(domain)/\(name)"] = line.dropFirst(name.count + 1)
      }
    }
    return lines
  }()

  /// The signature of an operator at a version of its domain; nil if the table does not have it.
  ///
  /// An operator that came with a later version is taken as it was then.
  static func find(_ domain: String, _ operation: String, version: Int) -> OperatorSchema? {
    guard let line = lines["\(domain)/\(operation)"] else { return nil }
    let versions = line.split(separator: "|").map { $0.split(separator: " ") }
    return (versions.last { $0.first.flatMap { Int($0) } ?? 1 <= version } ?? versions.first).flatMap(Self.init)
  }

  private init?(_ parts: [Substring]) {
    guard parts.count >= 3 else { return nil }
    let inputs = parts[1].split(separator: ":", omittingEmptySubsequences: false)
    least = Int(inputs[0]) ?? 0
    operands = inputs.count > 1 ? inputs[1] : ""
    let range = parts[2].split(separator: "-")
    let fewest = Int(range[0]) ?? 0
    results = fewest...max(fewest, range.count > 1 ? Int(range[1]) ?? fewest : Int.max)
    (attributes, needed) = ([:], [])
    for entry in parts[3...] {
      let name = entry.prefix { $0 != ":" }
      let kind = entry.dropFirst(name.count + 1)
      attributes[name] = kind.first
      if kind.last == "!" { needed.append(name) }
    }
  }

  /// Refuses a node that does not fit.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` that says what was expected.
  func check(_ node: ONNXNode, _ place: FilePlace) throws {
    func refuse(_ expected: String, _ got: String) -> any Error {
      place.malformed("\(node.operation) with \(expected)", got: got)
    }
    let most = operands.last == "*" ? nil : operands.count
    let range = most.map { $0 == least ? "\(least)" : "\(least) to \($0)" } ?? "at least \(least)"
    guard node.inputs.count >= least, node.inputs.count <= most ?? Int.max else {
      throw refuse("\(range) inputs", "\(node.inputs.count)")
    }
    for (index, (letter, input)) in zip(operands, node.inputs).enumerated() where letter == "r" && input.isEmpty {
      throw refuse("an input number \(index + 1)", "none")
    }
    guard results.contains(node.outputs.count) else {
      let many = results.upperBound == Int.max ? "at least \(results.lowerBound)" : "at most \(results.upperBound)"
      throw refuse(
        "\(node.outputs.count < results.lowerBound ? "at least \(results.lowerBound)" : many) outputs",
        "\(node.outputs.count)")
    }
    for (name, attribute) in node.attributes.sorted(by: { $0.key < $1.key }) {
      guard let kind = attributes[name[...]] else {
        let known = attributes.keys.sorted().joined(separator: ", ")
        throw refuse(known.isEmpty ? "no attributes" : "attributes of \(known)", name.quoted)
      }
      guard attribute.letter == kind else {
        throw refuse("attribute \(name) as \(Self.kinds[kind] ?? "another kind")", attribute.kind)
      }
    }
    if let missing = needed.first(where: { node.attributes[String($0)] == nil }) {
      throw refuse("an attribute \(missing)", "none")
    }
  }

  /// What the letters of the table stand for.
  fileprivate static let kinds: [Character: String] = [
    "f": "a number", "i": "a whole number", "s": "text", "t": "a tensor", "g": "a graph", "x": "a sparse tensor",
    "p": "a type", "F": "numbers", "I": "whole numbers", "S": "texts", "T": "tensors", "G": "graphs",
    "X": "sparse tensors", "P": "types",
  ]
}

extension ONNXAttribute {
  /// The letter of its kind in ``OperatorSchema/table``.
  fileprivate var letter: Character? {
    switch self {
    case .float: "f"
    case .int: "i"
    case .string: "s"
    case .tensor: "t"
    case .graph: "g"
    case .floats: "F"
    case .ints: "I"
    case .strings: "S"
    case .tensors: "T"
    case .graphs: "G"
    case .sparse: "x"
    case .type: "p"
    case .reference, .other: nil
    }
  }

  /// What it is, for errors.
  fileprivate var kind: String { letter.flatMap { OperatorSchema.kinds[$0] } ?? "another kind" }
}
