import ToeplitzOps
import CToeplitzKernels

/// How long kernel calls take for one channel and tap, in nanoseconds, about: what estimates of cost count in.
///
/// It depends on the model of the processor and not on measurements, so that a machine always chooses alike.
struct StepTime: Sendable {
  /// A multiply-add of vectors.
  private let product: Double
  /// What calls of narrow and of wide blocks do beside multiplying, in multiply-adds that fit the time.
  private let beside: (narrow: Double, wide: Double)
  /// Fewer columns of a wide block leave the multipliers waiting for each other.
  private let fewestColumns: Double
  /// How many columns of a wide block the registers hold; for more of them its weights are read again.
  private let columnsAtOnce: Double

  /// The times of an instruction set.
  init(_ isa: InstructionSet = .current) {
    // Where a multiply-add takes a whole cycle the rest is done meanwhile.
    let isSlow = isa == .avx512 && Self.hasOneWideMultiplier
    product = isSlow ? 0.27 : 0.125
    beside = isSlow ? (1.2, 0.5) : (3, 3)
    fewestColumns = isSlow ? 3 : 5
    #if arch(arm64)
      columnsAtOnce = 14
    #else
      columnsAtOnce = isa == .avx512 ? 14 : 6
    #endif
  }

  private static let hasOneWideMultiplier = tz_has_one_wide_multiplier()

  /// Calls of narrow blocks for so many vectors of columns altogether.
  func narrow(vectors: Int, blockRows: Int, calls: Int) -> Double {
    (Double(vectors * blockRows) + Double(calls) * beside.narrow) * product
  }

  /// The same for blocks of eight rows of which whole calls are not to cost more than their products.
  func narrow(vectors: Int, calls: Int, mostVectors: Int) -> Double {
    (Double(vectors * 8) + (Double(calls) - Double(vectors) / Double(mostVectors)) * beside.narrow) * product
  }

  /// Calls of wide blocks for so many columns altogether.
  func wide(columns: Double, blockRows: Int, calls: Int, lanes: Int) -> Double {
    let calls = Double(calls)
    let pieces = calls * (columns / max(1, calls) / columnsAtOnce).rounded(.up)
    // Two vectors of rows at a time.
    let passes = Double(blockRows / lanes) / 2
    return (2 * max(columns, fewestColumns * pieces) + pieces * beside.wide) * passes * product
  }
}
