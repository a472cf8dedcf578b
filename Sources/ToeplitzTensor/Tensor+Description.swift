// Tensors print as NumPy's arrays do (numpy.array2string with its defaults): rows in brackets, columns aligned, at most eight
// digits behind the point and no more than tell an element from its neighbours, an ellipsis in arrays of more than 1000 elements.

extension Tensor: CustomStringConvertible, CustomDebugStringConvertible {
  /// The elements as NumPy prints them; for a traced tensor, which has none, its specification and origin.
  public var description: String {
    if let traced { return "Tensor(\(spec), traced: \(traced.origin))" }
    func text<Element: TensorScalar>(_ type: Element.Type) -> String {
      guard let values = try? scalars(type) else { return "Tensor(\(spec))" }
      return ArrayText(values, shape).text
    }
    return text(dtype.scalarType)
  }

  /// Element type and shape, and below them the elements.
  public var debugDescription: String { isTraced ? description : "Tensor(\(spec))\n\(description)" }
}

/// The layout of an array's text.
private struct ArrayText<Element: TensorScalar> {
  private static var threshold: Int { 1000 }
  private static var edge: Int { 3 }
  private static var lineWidth: Int { 75 }

  private let values: [Element]
  private let shape: TensorShape
  private let strides: [Int]
  private let isShortened: Bool
  private let format: (Element) -> String

  init(_ values: [Element], _ shape: TensorShape) {
    self.values = values
    self.shape = shape
    strides = shape.contiguousStrides
    let isShortened = values.count > Self.threshold
    self.isShortened = isShortened
    var shown = values[...]
    if isShortened {
      let places = shape.indices.reduce([0]) { places, axis in
        let size = shape[axis]
        let kept = size > 2 * Self.edge ? Array(0..<Self.edge) + Array((size - Self.edge)..<size) : Array(0..<size)
        return places.flatMap { place in kept.map { place + $0 * shape.contiguousStrides[axis] } }
      }
      shown = places.map { values[$0] }[...]
    }
    format = Self.format(for: Array(shown), isScalar: shape.rank == 0)
  }

  var text: String { values.isEmpty ? "[]" : text(axis: 0, start: 0, indent: " ", width: Self.lineWidth) }

  private func text(axis: Int, start: Int, indent: String, width: Int) -> String {
    guard axis < shape.rank else { return format(values[start]) }
    let size = shape[axis]
    let isShort = isShortened && size > 2 * Self.edge
    let places = isShort ? Array(0..<Self.edge) + Array((size - Self.edge)..<size) : Array(0..<size)
    var parts = places.map {
      text(axis: axis + 1, start: start + $0 * strides[axis], indent: indent + " ", width: width - 1)
    }
    if isShort { parts.insert("...", at: Self.edge) }
    guard axis == shape.rank - 1 else {
      let gap = String(repeating: "\n", count: shape.rank - axis - 1)
      return "[" + parts.joined(separator: gap + indent) + "]"
    }
    var (lines, line) = ("", indent)
    for (index, part) in parts.enumerated() {
      if line.count + part.count > width - 1, line.count > indent.count {
        while line.last == " " { line.removeLast() }
        lines += line + "\n"
        line = indent
      }
      line += part + (index + 1 < parts.count ? " " : "")
    }
    return "[" + (lines + line).dropFirst(indent.count) + "]"
  }

  /// How each element is written, so that all have one width.
  private static func format(for shown: [Element], isScalar: Bool) -> (Element) -> String {
    if Element.self == Bool.self {
      return { isScalar || $0.doubleValue == 0 ? ($0.doubleValue == 0 ? "False" : "True") : " True" }
    }
    let isSmallWhole = [.int4, .uint4, .int2, .uint2].contains(Element.dtype)
    if Element.dtype.isInteger || isSmallWhole {
      let text = { (value: Element) in isSmallWhole ? "\(Int(value.doubleValue))" : "\(value)" }
      let width = shown.map { text($0).count }.max() ?? 0
      return { text($0).leftPadded(to: width) }
    }
    // As many digits before the point as the type is sure of, at most eight.
    let largest: Double =
      switch Element.dtype {
      case .float32: 1e6
      case .float16: 1e3
      case .bfloat16: 1e2
      default: 1e8
      }
    let digits = shown.filter { $0.doubleValue.isFinite }.map(Digits.init)
    let format = NumberFormat(digits, of: shown.map(\.doubleValue), largest: largest)
    return { format.text(Digits($0), $0.doubleValue) }
  }
}

extension String {
  fileprivate func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
  fileprivate func rightPadded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

/// The shortest decimal digits that tell a number from its neighbours: d₀.d₁d₂… × 10^exponent.
private struct Digits {
  var isNegative = false
  var digits: [Int] = []
  var exponent = 0

  init<Element: TensorScalar>(_ value: Element) {
    let text: String
    switch value {
    case let value as Float: text = value.description
    case let value as Double: text = value.description
    case let value as Float16: text = value.description
    case let value as BFloat16: text = value.floatValue.description
    default: text = value.doubleValue.description
    }
    let mantissa = text.prefix { $0 != "e" }
    let written = Int(text.dropFirst(mantissa.count + 1)) ?? 0
    digits = mantissa.utf8.compactMap { (48...57).contains($0) ? Int($0) - 48 : nil }
    let point = mantissa.prefix { $0 != "." }.utf8.count { (48...57).contains($0) }
    isNegative = text.hasPrefix("-")
    let leading = digits.prefix { $0 == 0 }.count
    digits.removeFirst(leading)
    exponent = digits.isEmpty ? 0 : point - 1 - leading + written
    while digits.last == 0 { digits.removeLast() }
  }

  /// Rounded so that the last digit stands for 10^place.
  func rounded(at place: Int) -> Digits {
    let kept = exponent - place + 1
    guard kept < digits.count else { return self }
    var result = self
    guard kept >= 0 else {
      result.digits = []
      result.exponent = 0
      return result
    }
    result.digits = Array(digits[..<kept])
    let rest = digits[kept...]
    let isTie = rest.first == 5 && rest.dropFirst().allSatisfy { $0 == 0 }
    if (rest.first ?? 0) > 5 || rest.first == 5 && (!isTie || (kept > 0 && digits[kept - 1] % 2 == 1)) {
      var index = kept - 1
      while index >= 0, result.digits[index] == 9 {
        result.digits[index] = 0
        index -= 1
      }
      if index >= 0 {
        result.digits[index] += 1
      } else {
        result.digits.insert(1, at: 0)
        result.exponent += 1
      }
    }
    while result.digits.last == 0 { result.digits.removeLast() }
    if result.digits.isEmpty { result.exponent = 0 }
    return result
  }

  private func digit(at place: Int) -> Int {
    let index = exponent - place
    return digits.indices.contains(index) ? digits[index] : 0
  }

  /// What stands before and behind the point.
  func positional(_ precision: Int) -> (whole: String, fraction: String) {
    let value = rounded(at: -precision)
    let whole =
      value.exponent < 0 || value.digits.isEmpty
      ? "0" : (0...value.exponent).reversed().map { "\(value.digit(at: $0))" }.joined()
    let last = value.digits.isEmpty ? 0 : max(0, value.digits.count - 1 - value.exponent)
    let fraction = last == 0 ? "" : (1...last).map { "\(value.digit(at: -$0))" }.joined()
    return ((isNegative ? "-" : "") + whole, fraction)
  }

  /// The one digit before the point, those behind it, and the power of ten.
  func scientific(_ precision: Int) -> (whole: String, fraction: String, exponent: String) {
    let value = rounded(at: exponent - precision)
    let power = "\(abs(value.exponent))".leftPadded(to: 2).map { $0 == " " ? "0" : $0 }
    return (
      (isNegative ? "-" : "") + "\(value.digits.first ?? 0)", value.digits.dropFirst().map(String.init).joined(),
      (value.exponent < 0 ? "-" : "+") + String(power)
    )
  }
}

/// NumPy's choice of digits for the numbers of one array.
private struct NumberFormat {
  private static let precision = 8
  private var isScientific = false
  private var (before, behind, power) = (0, 0, 0)

  /// - Parameter largest: the size from which on numbers are written with a power of ten.
  init(_ finite: [Digits], of all: [Double], largest: Double) {
    let sizes = all.filter { $0.isFinite && $0 != 0 }.map(abs)
    if let most = sizes.max(), let least = sizes.min() {
      isScientific = most >= largest || least < 1e-4 || most / least > 1000
    }
    if isScientific {
      let parts = finite.map { $0.scientific(Self.precision) }
      before = parts.map(\.whole.count).max() ?? 0
      behind = parts.map(\.fraction.count).max() ?? 0
      power = parts.map(\.exponent.count).max() ?? 0
    } else {
      let parts = finite.map { $0.positional(Self.precision) }
      before = parts.map(\.whole.count).max() ?? 0
      behind = parts.map(\.fraction.count).max() ?? 0
    }
    let others = all.filter { !$0.isFinite }.map { Self.name($0).count - (width - before) }
    before = max(before, others.max() ?? 0)
  }

  private var width: Int { before + 1 + behind + (isScientific ? 1 + power : 0) }

  private static func name(_ value: Double) -> String { value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }

  func text(_ number: Digits, _ value: Double) -> String {
    guard value.isFinite else { return Self.name(value).leftPadded(to: width) }
    guard isScientific else {
      let (whole, fraction) = number.positional(Self.precision)
      return whole.leftPadded(to: before) + "." + fraction.rightPadded(to: behind)
    }
    let (whole, fraction, exponent) = number.scientific(Self.precision)
    let zeros = String(repeating: "0", count: max(0, behind - fraction.count))
    let digits = exponent.dropFirst()
    let filled = String(repeating: "0", count: max(0, power - 1 - digits.count)) + digits
    return whole.leftPadded(to: before) + "." + fraction + zeros + "e" + exponent.prefix(1) + filled
  }
}
