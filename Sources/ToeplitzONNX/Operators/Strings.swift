import Foundation
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let strings: [String: ValueMaker] = [
    "StringConcat": { _ in
      { x in
        let (a, b) = (try x.strings(0), try x.strings(1))
        let shape = try TensorShape.broadcast(a.shape, b.shape, operation: x.name)
        try requireFew(shape, x)
        let (left, right) = (try a.expanded(to: shape), try b.expanded(to: shape))
        return [.strings(try StringTensor(zip(left.elements, right.elements).map { $0 + $1 }, shape: shape))]
      }
    },
    "StringSplit": { node in
      let (delimiter, most) = (try node.string("delimiter", ""), try node.int("maxsplit"))
      return { x in
        let input = try x.strings(0)
        let lists = input.elements.map { split($0, delimiter, most) }
        let width = lists.map(\.count).max() ?? 0
        try requireFew([lists.count, width], x)
        let all = lists.flatMap { $0 + Array(repeating: "", count: width - $0.count) }
        let counts = lists.map { Int64($0.count) }
        return [
          .strings(try StringTensor(all, shape: TensorShape(input.shape.dimensions + [width]))),
          .tensor(try Tensor(counts, shape: input.shape, device: .cpu)),
        ]
      }
    },
    "StringNormalizer": { node in
      let action = try node.string("case_change_action", "NONE")
      let (isCaseSensitive, stopWords) = (try node.flag("is_case_sensitive"), try node.strings("stopwords") ?? [])
      guard ["NONE", "LOWER", "UPPER"].contains(action) else {
        throw node.refuse("case_change_action NONE, LOWER or UPPER", got: action)
      }
      let stops = Set(isCaseSensitive ? stopWords : stopWords.map { $0.lowercased() })
      return { x in
        let input = try x.strings(0)
        guard input.shape.rank == 1 || input.shape.rank == 2 && input.shape[0] == 1 else {
          throw x.refuse(.shape, "strings [C] or [1, C]", got: "shape \(input.shape)")
        }
        var kept = input.elements.filter { !stops.contains(isCaseSensitive ? $0 : $0.lowercased()) }
        if action == "LOWER" { kept = kept.map { $0.lowercased() } }
        if action == "UPPER" { kept = kept.map { $0.uppercased() } }
        if kept.isEmpty { kept = [""] }
        return [.strings(try StringTensor(kept, shape: input.shape.rank == 1 ? [kept.count] : [1, kept.count]))]
      }
    },
    "RegexFullMatch": { node in
      let pattern = try node.string("pattern", "")
      let expression: RegularExpression
      do {
        expression = try RegularExpression(pattern)
      } catch let error as RegularExpression.Fault {
        throw node.refuse("a pattern in RE2's syntax: \(error.expected)", got: pattern.quoted)
      }
      return { x in
        let input = try x.strings(0)
        let matches = try input.elements.map { try expression.matchesWhole($0) }
        return [.tensor(try Tensor(matches, shape: input.shape))]
      }
    },
    "TfIdfVectorizer": { node in
      let rule = try GramCounter(node)
      return { x in
        switch try x.value(0) {
        case .strings(let strings): [.tensor(try rule(strings.elements, strings.shape, x))]
        default: [.tensor(try rule(x(0).cast(to: .int64).scalars(Int64.self).map { String($0) }, x(0).shape, x))]
        }
      }
    },
  ]

  /// The parts of a string between delimiters, or between white space.
  private static func split(_ text: String, _ delimiter: String, _ most: Int?) -> [String] {
    let limit = most.map { $0 < 0 ? Int.max : $0 } ?? Int.max
    guard delimiter.isEmpty else {
      var (parts, rest): ([String], Substring) = ([], text[...])
      while parts.count < limit, let found = rest.range(of: delimiter) {
        parts.append(String(rest[..<found.lowerBound]))
        rest = rest[found.upperBound...]
      }
      return parts + [String(rest)]
    }
    return text.split(maxSplits: limit, omittingEmptySubsequences: true) { $0.isWhitespace }.map { part in
      // What is left after the last split keeps the white space inside it.
      String(part.drop { $0.isWhitespace })
    }
  }

  /// Operators that move elements work on strings as on the numbers of the different strings.
  private static let moving: Set<String> = [
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements",
    "GatherND", "Expand", "Tile", "Where", "Unique", "Compress", "ReverseSequence", "ScatterElements", "ScatterND",
    "Scatter", "SpaceToDepth", "DepthToSpace",
  ]

  /// A function that takes strings too, if the operator allows that.
  static func acceptingStrings(_ operation: String, _ function: @escaping ValueFunction) -> ValueFunction {
    guard moving.contains(operation) || ["Equal", "Shape", "Size"].contains(operation) else { return function }
    return { x in
      var all: [String] = []
      for case .strings(let strings) in x.values { all += strings.elements }
      guard x.values.contains(where: { if case .strings = $0 { true } else { false } }) else { return try function(x) }
      let names = Set(all).sorted()
      let numbers = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($0.element, Int64($0.offset)) })
      let values = try x.values.map { value -> ModelValue? in
        guard case .strings(let strings) = value else { return value }
        return .tensor(
          try Tensor(strings.elements.map { numbers[$0] ?? 0 }, shape: strings.shape, device: .cpu))
      }
      let results = try function(Operands(name: x.name, values: values, captured: x.captured))
      guard moving.contains(operation) else { return results }
      return try results.enumerated().map { index, result in
        // Of what Unique gives only the first are elements.
        guard let tensor = result?.tensor, operation != "Unique" || index == 0 else { return result }
        try requireFew(tensor.shape, x)
        let places = try tensor.scalars(Int64.self)
        return .strings(
          try StringTensor(
            places.map { names.indices.contains(Int($0)) ? names[Int($0)] : "" }, shape: tensor.shape))
      }
    }
  }

  /// Refuses more strings than a model can have use for; a few bytes can ask for any number.
  private static func requireFew(_ shape: TensorShape, _ x: Operands) throws {
    guard try shape.elementCount(x.name) <= 1 << 22 else {
      throw x.refuse(.shape, "at most \(1 << 22) strings", got: "shape \(shape)")
    }
  }

  /// The strings at places of an axis.
  static func gatheredStrings(_ strings: StringTensor, _ places: Tensor, axis: Int, _ x: Operands) throws -> ModelValue
  {
    let numbers = try Tensor((0..<strings.elements.count).map { Int64($0) }, shape: strings.shape, device: .cpu)
    let found = try (numbers.rank == 1 ? numbers.unsqueezed(0) : numbers).gathered(places, axis: axis)
    try requireFew(found.shape, x)
    return .strings(try StringTensor(found.scalars(Int64.self).map { strings.elements[Int($0)] }, shape: found.shape))
  }

  /// A conversion from or to strings; nil if neither side is one.
  static func castStrings(_ value: ModelValue, to dtype: DType?, _ x: Operands) throws -> ModelValue? {
    switch (value, dtype) {
    case (.strings, nil): return value
    case (.strings(let strings), let dtype?):
      let numbers = try strings.elements.map { text -> Double in
        let trimmed = text.trimmingCharacters(in: .whitespaces)
        guard let number = Double(trimmed) ?? Double(trimmed.lowercased()) else {
          throw x.refuse("strings of numbers", got: text.quoted)
        }
        return number
      }
      if dtype == .int64 {
        // Exact beyond 2⁵³.
        let exact = zip(strings.elements, numbers).map { text, number in
          Int64(text.trimmingCharacters(in: .whitespaces)) ?? Int64(exactly: number.rounded(.towardZero)) ?? 0
        }
        return .tensor(try Tensor(exact, shape: strings.shape, device: .cpu))
      }
      return .tensor(try Tensor(numbers, shape: strings.shape, device: .cpu).cast(to: dtype))
    case (.tensor(let tensor), nil):
      try requireFew(tensor.shape, x)
      func texts<T: TensorScalar>(_ type: T.Type) throws -> [String] { try tensor.scalars(type).map { "\($0)" } }
      let elements: [String]
      switch tensor.dtype {
      case .bool: elements = try tensor.scalars(Bool.self).map { $0 ? "1" : "0" }
      case .float32: elements = try tensor.scalars(Float.self).map(shortest)
      case .float64: elements = try tensor.scalars(Double.self).map(shortest)
      case .float16, .bfloat16: elements = try tensor.cast(to: .float32).scalars(Float.self).map(shortest)
      default: elements = try texts(tensor.dtype.scalarType)
      }
      return .strings(try StringTensor(elements, shape: tensor.shape))
    default: return nil
    }
  }

  /// The shortest decimal that is read as the number, as NumPy writes it but for a trailing ".0".
  private static func shortest<T: BinaryFloatingPoint & CustomStringConvertible>(_ number: T) -> String {
    if number.isNaN { return "NaN" }
    if number.isInfinite { return number < 0 ? "-INF" : "INF" }
    let text = number.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

extension StringTensor {
  /// Axes of size 1 repeated.
  fileprivate func expanded(to shape: TensorShape) throws -> StringTensor {
    guard shape != self.shape else { return self }
    let numbers = try Tensor(elements.indices.map { Int64($0) }, shape: self.shape, device: .cpu).expanded(to: shape)
    return try StringTensor(numbers.scalars(Int64.self).map { elements[Int($0)] }, shape: shape)
  }
}
