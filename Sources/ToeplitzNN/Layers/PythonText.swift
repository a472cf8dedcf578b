import ToeplitzOps

/// Option values as Python prints them: layers print themselves as PyTorch's do.
enum PythonText {
  /// `True` or `False`.
  static func bool(_ value: Bool) -> String { value ? "True" : "False" }

  /// `(2, 1)`, or `(2,)` for one number.
  static func tuple(_ values: [Int]) -> String { tuple(values.map(String.init)) }

  /// The texts in parentheses, as a tuple.
  static func tuple(_ values: [String]) -> String {
    "(" + values.joined(separator: ", ") + (values.count == 1 ? ",)" : ")")
  }

  /// A number or a tuple, whichever was given.
  static func option(_ value: any PerAxisConvertible) -> String {
    let value = value.perAxis
    return value.isUniform ? "\(value.values[0])" : tuple(value.values)
  }
}
