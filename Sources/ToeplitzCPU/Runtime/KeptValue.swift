import ToeplitzTensor

/// What an operation made of some of its operands in its last call: constants are the same in the next.
final class KeptValue<Value: Sendable>: Sendable, Hashable {
  private let last = Lock<(operands: [Tensor], value: Value)?>(nil)

  /// The value that `make` gives for these operands.
  func value(of operands: ArraySlice<Tensor>, _ make: () throws -> Value) rethrows -> Value {
    if let known = last.withLock({ $0 }), known.operands.count == operands.count,
      zip(known.operands, operands).allSatisfy({ $0.isSameView(as: $1) })
    {
      return known.value
    }
    let value = try make()
    last.withLock { $0 = (Array(operands), value) }
    return value
  }

  // It is no part of what the operation computes.
  static func == (a: KeptValue, b: KeptValue) -> Bool { true }
  func hash(into hasher: inout Hasher) {}
}
