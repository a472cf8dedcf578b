import ToeplitzTensor

/// Whole-number arithmetic on sizes that come from outside: a result that does not fit is an error, never a
/// wrapped number.
package struct CheckedSize {
  private(set) var value: Int
  private var overflowed = false

  init(_ value: Int) { self.value = value }

  static func + (a: CheckedSize, b: Int) -> CheckedSize { a.apply(a.value.addingReportingOverflow(b)) }
  static func - (a: CheckedSize, b: Int) -> CheckedSize { a.apply(a.value.subtractingReportingOverflow(b)) }
  static func * (a: CheckedSize, b: Int) -> CheckedSize { a.apply(a.value.multipliedReportingOverflow(by: b)) }
  static func + (a: CheckedSize, b: CheckedSize) -> CheckedSize {
    var sum = a + b.value
    sum.overflowed = sum.overflowed || b.overflowed
    return sum
  }

  static func - (a: CheckedSize, b: CheckedSize) -> CheckedSize {
    var difference = a - b.value
    difference.overflowed = difference.overflowed || b.overflowed
    return difference
  }

  /// The number, or nil if the computation overflowed.
  var checked: Int? { overflowed ? nil : value }

  private func apply(_ result: (partialValue: Int, overflow: Bool)) -> CheckedSize {
    var next = self
    next.value = result.partialValue
    next.overflowed = overflowed || result.overflow
    return next
  }

  /// The number.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` naming `what` if the computation overflowed.
  func get(_ operation: String, _ what: @autoclosure () -> String) throws -> Int {
    guard !overflowed else {
      throw ToeplitzError(
        .argument, operation, expected: "sizes whose arithmetic fits 64 bits", got: what())
    }
    return value
  }
}

/// Floor division for any sign of `a`.
@inlinable package func floorDivide(_ a: Int, _ b: Int) -> Int { a >= 0 ? a / b : -((-(a + 1)) / b) - 1 }
/// Ceiling division for any sign of `a`.
@inlinable package func ceilDivide(_ a: Int, _ b: Int) -> Int { a > 0 ? (a - 1) / b + 1 : -((-a) / b) }
