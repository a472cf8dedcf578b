/// A regular expression in the main part of RE2's syntax (<https://github.com/google/re2/wiki/Syntax>), matched without going back.
///
/// Thompson's construction: all ways through the expression are followed at once, so the time is bounded by the lengths of expression
/// and text. Not there: names of Unicode classes, flags but `i` and `s` at the beginning.
struct RegularExpression: Sendable {
  /// What is wrong with a pattern.
  struct Fault: Error {
    var expected: String
  }

  /// Scalars that one place of a pattern stands for.
  private struct Kind: Sendable {
    var ranges: [ClosedRange<UInt32>]
    var isNegated = false

    func contains(_ scalar: UInt32) -> Bool { ranges.contains { $0.contains(scalar) } != isNegated }
  }

  private enum Instruction: Sendable {
    case take(Kind)
    case fork(Int, Int)
    case jump(Int)
    case atStart
    case atEnd
    /// Between a letter, digit or underscore and something else; or not there.
    case atBoundary(Bool)
    case accept
  }

  private indirect enum Node {
    case take(Kind)
    case sequence([Node])
    case choice([Node])
    case repeated(Node, least: Int, most: Int?)
    case start
    case end
    case boundary(Bool)
  }

  private var program: [Instruction] = []
  private var partCount = 0
  private static let mostInstructions = 1 << 14

  init(_ pattern: String) throws {
    var parser = Parser(text: Array(pattern.unicodeScalars))
    try emit(try parser.whole())
    program.append(.accept)
  }

  // MARK: Matching

  /// Whether the expression matches all of `text`.
  func matchesWhole(_ text: String) throws -> Bool {
    let scalars = Array(text.unicodeScalars)
    var states = reached(from: [0], at: 0, of: scalars)
    for (index, scalar) in scalars.enumerated() {
      let next = states.compactMap { state -> Int? in
        if case .take(let kind) = program[state], kind.contains(scalar.value) { state + 1 } else { nil }
      }
      guard !next.isEmpty else { return false }
      states = reached(from: next, at: index + 1, of: scalars)
    }
    return states.contains { if case .accept = program[$0] { true } else { false } }
  }

  private func reached(from starts: [Int], at position: Int, of text: [Unicode.Scalar]) -> [Int] {
    var (open, seen, states) = (starts, Set(starts), [Int]())
    func visit(_ state: Int) { if seen.insert(state).inserted { open.append(state) } }
    while let state = open.popLast() {
      switch program[state] {
      case .take, .accept: states.append(state)
      case .jump(let target): visit(target)
      case .fork(let first, let second):
        visit(first)
        visit(second)
      case .atStart: if position == 0 { visit(state + 1) }
      case .atEnd: if position == text.count { visit(state + 1) }
      case .atBoundary(let isWanted):
        func isWord(_ index: Int) -> Bool {
          text.indices.contains(index) && Self.word.contains { $0.contains(text[index].value) }
        }
        if (isWord(position - 1) != isWord(position)) == isWanted { visit(state + 1) }
      }
    }
    return states
  }

  /// Letters, digits and the underscore.
  private static let word: [ClosedRange<UInt32>] = [48...57, 65...90, 95...95, 97...122]

  // MARK: Program

  private mutating func emit(_ node: Node) throws {
    // Parts that are empty make no instructions, however often they are repeated.
    partCount += 1
    guard program.count < Self.mostInstructions, partCount < 1 << 18 else { throw Fault(expected: "a shorter pattern") }
    switch node {
    case .take(let kind): program.append(.take(kind))
    case .start: program.append(.atStart)
    case .end: program.append(.atEnd)
    case .boundary(let isWanted): program.append(.atBoundary(isWanted))
    case .sequence(let parts): for part in parts { try emit(part) }
    case .choice(let parts):
      var ends: [Int] = []
      for (index, part) in parts.enumerated() {
        let fork = program.count
        if index + 1 < parts.count { program.append(.fork(fork + 1, 0)) }
        try emit(part)
        guard index + 1 < parts.count else { break }
        ends.append(program.count)
        program.append(.jump(0))
        program[fork] = .fork(fork + 1, program.count)
      }
      for end in ends { program[end] = .jump(program.count) }
    case .repeated(let part, let least, let most):
      for _ in 0..<least { try emit(part) }
      guard let most else {
        let fork = program.count
        program.append(.fork(fork + 1, 0))
        try emit(part)
        program.append(.jump(fork))
        program[fork] = .fork(fork + 1, program.count)
        return
      }
      var forks: [Int] = []
      for _ in least..<max(least, most) {
        forks.append(program.count)
        program.append(.fork(0, 0))
        try emit(part)
      }
      for fork in forks { program[fork] = .fork(fork + 1, program.count) }
    }
  }

  // MARK: Syntax

  private struct Parser {
    var text: [Unicode.Scalar]
    var position = 0
    var depth = 0
    var ignoresCase = false
    var dotTakesAll = false

    private var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
      guard next == scalar else { return false }
      position += 1
      return true
    }

    mutating func whole() throws -> Node {
      if text.starts(with: "(?".unicodeScalars), let end = text.firstIndex(of: ")"), end > 2,
        text[2..<end].allSatisfy({ $0 == "i" || $0 == "s" })
      {
        (ignoresCase, dotTakesAll) = (text[2..<end].contains("i"), text[2..<end].contains("s"))
        position = end + 1
      }
      let node = try choice()
      guard next == nil else { throw Fault(expected: "a parenthesis that opens before one that closes") }
      return node
    }

    private mutating func choice() throws -> Node {
      depth += 1
      defer { depth -= 1 }
      guard depth <= 64 else { throw Fault(expected: "groups nested at most 64 deep") }
      var parts = [try sequence()]
      while take("|") { parts.append(try sequence()) }
      return parts.count == 1 ? parts[0] : .choice(parts)
    }

    private mutating func sequence() throws -> Node {
      var parts: [Node] = []
      while let scalar = next, scalar != "|", scalar != ")" { parts.append(try repeated(atom())) }
      return .sequence(parts)
    }

    private mutating func repeated(_ atom: Node) throws -> Node {
      var (result, count) = (atom, 0)
      while let bounds = try bounds() {
        count += 1
        guard count <= 2 else { throw Fault(expected: "one repetition of a part") }
        // Which way is tried first does not matter to a match of all.
        _ = take("?")
        result = .repeated(result, least: bounds.least, most: bounds.most)
      }
      return result
    }

    private mutating func bounds() throws -> (least: Int, most: Int?)? {
      if take("*") { return (0, nil) }
      if take("+") { return (1, nil) }
      if take("?") { return (0, 1) }
      guard next == "{", let end = text[position...].firstIndex(of: "}") else { return nil }
      let inside = String(String.UnicodeScalarView(text[(position + 1)..<end]))
      let parts = inside.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      // A brace that bounds nothing stands for itself.
      guard parts.count <= 2, let least = Int(parts[0]) else { return nil }
      let most = parts.count == 1 ? least : parts[1].isEmpty ? nil : Int(parts[1])
      guard parts.count == 1 || parts[1].isEmpty || most != nil else { return nil }
      guard (0...1000).contains(least), most.map({ $0 >= least && $0 <= 1000 }) ?? true else {
        throw Fault(expected: "repetitions from 0 to 1000")
      }
      position = end + 1
      return (least, most)
    }

    private mutating func atom() throws -> Node {
      guard let scalar = next else { throw Fault(expected: "more") }
      position += 1
      switch scalar {
      case "(":
        if take("?") {
          if take("P") || next == "<" {
            guard take("<"), let end = text[position...].firstIndex(of: ">") else {
              throw Fault(expected: "a name of a group")
            }
            position = end + 1
          } else if !take(":") {
            throw Fault(expected: "no flags inside the pattern")
          }
        }
        let inner = try choice()
        guard take(")") else { throw Fault(expected: "a parenthesis that closes") }
        return inner
      case "[": return .take(try cased(set()))
      case ".": return .take(dotTakesAll ? Kind(ranges: [], isNegated: true) : Kind(ranges: [10...10], isNegated: true))
      case "^": return .start
      case "$": return .end
      case "*", "+", "?": throw Fault(expected: "something before \(scalar)")
      case "\\":
        if take("A") { return .start }
        if take("z") { return .end }
        if take("b") { return .boundary(true) }
        if take("B") { return .boundary(false) }
        return .take(cased(try escape()))
      default: return .take(cased(Kind(ranges: [scalar.value...scalar.value])))
      }
    }

    /// Letters of the other case, of the Latin alphabet's first part.
    private func cased(_ kind: Kind) -> Kind {
      guard ignoresCase else { return kind }
      var kind = kind
      for range in kind.ranges {
        for (low, high, shift) in [(65 as UInt32, 90 as UInt32, 32 as UInt32), (97, 122, 0 &- 32)] {
          let (first, last) = (max(range.lowerBound, low), min(range.upperBound, high))
          if first <= last { kind.ranges.append((first &+ shift)...(last &+ shift)) }
        }
      }
      return kind
    }

    private static let classes: [Unicode.Scalar: [ClosedRange<UInt32>]] = [
      "d": [48...57], "s": [9...10, 12...13, 32...32], "w": word,
    ]
    private static let controls: [Unicode.Scalar: UInt32] = ["n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7]

    private mutating func escape() throws -> Kind {
      guard let scalar = next else { throw Fault(expected: "something after a backslash") }
      position += 1
      if let ranges = Self.classes[scalar] { return Kind(ranges: ranges) }
      if let lower = scalar.properties.lowercaseMapping.unicodeScalars.first, lower != scalar,
        let ranges = Self.classes[lower]
      {
        return Kind(ranges: ranges, isNegated: true)
      }
      if let value = Self.controls[scalar] { return Kind(ranges: [value...value]) }
      if scalar == "x" { return try hexadecimal() }
      guard !scalar.properties.isAlphabetic, !(48...57).contains(scalar.value) else {
        throw Fault(expected: "a known escape")
      }
      return Kind(ranges: [scalar.value...scalar.value])
    }

    private mutating func hexadecimal() throws -> Kind {
      var digits = ""
      if take("{") {
        while let scalar = next, scalar != "}", digits.count < 7 {
          digits.unicodeScalars.append(scalar)
          position += 1
        }
        guard take("}") else { throw Fault(expected: "a brace that closes") }
      } else {
        for _ in 0..<2 {
          if let scalar = next {
            digits.unicodeScalars.append(scalar)
            position += 1
          }
        }
      }
      guard let value = UInt32(digits, radix: 16), value <= 0x10FFFF else {
        throw Fault(expected: "hexadecimal digits")
      }
      return Kind(ranges: [value...value])
    }

    private mutating func set() throws -> Kind {
      var kind = Kind(ranges: [])
      kind.isNegated = take("^")
      var isFirst = true
      while let scalar = next, scalar != "]" || isFirst {
        isFirst = false
        let low = try member(scalar)
        guard next == "-", position + 1 < text.count, text[position + 1] != "]" else {
          kind.ranges += low
          continue
        }
        position += 1
        let high = try member(text[position])
        guard low.count == 1, high.count == 1, low[0].count == 1, high[0].count == 1,
          low[0].lowerBound <= high[0].lowerBound
        else { throw Fault(expected: "a range from a lower to a higher character") }
        kind.ranges.append(low[0].lowerBound...high[0].lowerBound)
      }
      guard take("]") else { throw Fault(expected: "a bracket that closes") }
      return kind
    }

    private static let named: [String: [ClosedRange<UInt32>]] = [
      "alpha": [65...90, 97...122], "digit": [48...57], "alnum": [48...57, 65...90, 97...122], "lower": [97...122],
      "upper": [65...90], "space": [9...13, 32...32], "punct": [33...47, 58...64, 91...96, 123...126],
      "xdigit": [48...57, 65...70, 97...102], "word": word,
    ]

    private mutating func member(_ scalar: Unicode.Scalar) throws -> [ClosedRange<UInt32>] {
      position += 1
      if scalar == "\\" {
        let kind = try escape()
        guard kind.isNegated else { return kind.ranges }
        var (rest, start): ([ClosedRange<UInt32>], UInt32) = ([], 0)
        for range in kind.ranges {
          if range.lowerBound > start { rest.append(start...(range.lowerBound - 1)) }
          start = range.upperBound + 1
        }
        return rest + [start...0x10FFFF]
      }
      if scalar == "[", next == ":", let end = text[position...].firstIndex(of: "]"), end > position + 1,
        text[end - 1] == ":"
      {
        let name = String(String.UnicodeScalarView(text[(position + 1)..<(end - 1)]))
        guard let ranges = Self.named[name] else { throw Fault(expected: "a known class of characters") }
        position = end + 1
        return ranges
      }
      return [scalar.value...scalar.value]
    }
  }
}
