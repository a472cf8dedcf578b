import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let uniqueness: [String: OperatorMaker] = [
    "Unique": { node in
      let (axis, isSorted) = (try node.int("axis"), try node.flag("sorted", true))
      return node.computed { x in
        let input = try axis == nil ? x(0).reshaped([-1]) : x(0)
        let at = try input.shape.normalizedAxis(axis ?? 0, operation: "Unique")
        let unique = Unique(try input.orderedKeys(axis: at), count: input.shape[at], isSorted: isSorted)
        func numbers(_ list: [Int]) throws -> Tensor { try Tensor(list.map { Int64($0) }, shape: nil, device: .cpu) }
        let first = try numbers(unique.first)
        return [try input.gathered(first, axis: at), first, try numbers(unique.inverse), try numbers(unique.counts)]
      }
    }
  ]
}

/// The different rows among rows of keys.
struct Unique {
  /// Where each stands first.
  private(set) var first: [Int] = []
  /// Which each row is.
  private(set) var inverse: [Int]
  /// How often each stands there.
  private(set) var counts: [Int] = []

  init(_ keys: [Int64], count: Int, isSorted: Bool) {
    let width = count == 0 ? 0 : keys.count / count
    func row(_ index: Int) -> ArraySlice<Int64> { keys[(index * width)..<((index + 1) * width)] }
    inverse = Array(repeating: 0, count: count)
    var numbers: [ArraySlice<Int64>: Int] = [:]
    for index in 0..<count {
      let number = numbers[row(index), default: first.count]
      if number == first.count {
        numbers[row(index)] = number
        first.append(index)
        counts.append(0)
      }
      counts[number] += 1
      inverse[index] = number
    }
    guard isSorted else { return }
    let order = first.indices.sorted { row(first[$0]).lexicographicallyPrecedes(row(first[$1])) }
    var places = Array(repeating: 0, count: order.count)
    for (place, number) in order.enumerated() { places[number] = place }
    (first, counts) = (order.map { first[$0] }, order.map { counts[$0] })
    inverse = inverse.map { places[$0] }
  }
}

extension Tensor {
  /// Whole numbers in the order of the elements, with `axis` first; equal for equal elements, and the largest for NaN.
  fileprivate func orderedKeys(axis: Int) throws -> [Int64] {
    let order = [axis] + shape.indices.filter { $0 != axis }
    let turned = try permuted(order)
    if dtype == .uint64 { return try turned.scalars(UInt64.self).map { Int64(bitPattern: $0 ^ 1 << 63) } }
    if dtype.isInteger || dtype == .bool { return try turned.cast(to: .int64).scalars(Int64.self) }
    return try turned.cast(to: .float64).scalars(Double.self).map { number in
      guard !number.isNaN else { return .max }
      // Both zeros are one; negative numbers count backwards.
      let bits = Int64(bitPattern: (number == 0 ? 0 : number).bitPattern)
      return bits < 0 ? Int64.min &- bits : bits
    }
  }
}
