/// How times are spread.
struct Spread {
  private let sorted: [Double]

  init(_ times: [Double]) { sorted = times.sorted() }

  private func at(_ share: Double) -> Double {
    sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
  }
  var median: Double { at(0.5) }
  /// What 99 of 100 do not exceed.
  var late: Double { at(0.99) }
  var least: Double { sorted.first ?? 0 }
  var worst: Double { sorted.last ?? 0 }
  /// From the first quartile to the third.
  var quartileDistance: Double { at(0.75) - at(0.25) }
}
