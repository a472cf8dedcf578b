import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How the outputs of a residual unit are cut into tiles, and what that is estimated to cost in the nanoseconds of
/// ``ConvolutionSchedule``.
struct ResidualUnitSchedule {
  /// Output positions of a tile, and tiles of a sample.
  let width: Int
  let tiles: Int
  /// Estimated nanoseconds for one sample.
  let cost: Double

  /// A convolution of the unit as far as its cost goes.
  struct Stage {
    var channels: Int
    var outputs: Int
    var taps: Int
    /// Distance from the lowest tap to the highest.
    var span: Int
  }

  /// Panel and middle of a tile should stay in the second-level cache beside the weights.
  private static let budget = 512 * 1024
  /// Nanoseconds for a byte of panel or middle in a tile, and for one that does not stay in that cache.
  private static let tileTime = 0.04
  private static let spillTime = 0.06
  /// Nanoseconds for a byte of values that separate passes write to memory and read back.
  private static let memoryTime = 0.12

  /// How much of an item a thread waits for the others at the end.
  private static let waiting = 0.1

  /// What separate passes pay for the values between them, besides what each pass costs.
  static func trafficCost(bytes: Double) -> Double { bytes * memoryTime }

  /// The cheapest cut of `length` outputs.
  init(
    _ first: Stage, _ second: Stage, length: Int, pairs: Int, threads: Int, lanes: Int, vectors: Int, elementSize: Int
  ) {
    var best: (width: Int, tiles: Int, cost: Double) = (length, 1, .infinity)
    let chunk = lanes * vectors
    let stepTime = StepTime()
    for chunks in [2, 4, 6, 8, 10, 14, 20, 28, 40] {
      let tiles = max(1, (length + chunks * chunk - 1) / (chunks * chunk))
      let each = (length + tiles - 1) / tiles
      // Tiles of whole kernel calls, or all about equally large.
      for unit in [chunk, lanes] {
        let width = (each + unit - 1) / unit * unit
        let cut = max(1, (length + width - 1) / width)
        func rounded(_ value: Int, _ unit: Int) -> Int { (value + unit - 1) / unit * unit }
        func arithmetic(_ stage: Stage, _ columns: Int) -> Double {
          let blocks = Double((stage.outputs + 7) / 8)
          let calls = (columns + chunk - 1) / chunk
          let step = stepTime.narrow(vectors: columns / lanes, calls: calls, mostVectors: vectors)
          return blocks
            * (Double(stage.channels * stage.taps) * step + Double(calls)
              * CostEstimate.callTime)
        }
        func weights(_ stage: Stage) -> Double {
          let bytes = Double(rounded(stage.outputs, 8) * stage.channels * stage.taps * elementSize)
          return bytes * CostEstimate.weightTime(bytes: bytes)
        }
        let middle = rounded(width + second.span, lanes)
        let panel = Double(first.channels * (middle + first.span) * elementSize)
        let kept = Double(first.outputs * middle * elementSize)
        var one = arithmetic(first, middle) + arithmetic(second, rounded(width, lanes))
        one += weights(first) + weights(second)
        one += (panel + kept) * Self.tileTime + max(0, panel + kept - Double(Self.budget)) * Self.spillTime
        let items = pairs * cut
        let rounds = (items + threads - 1) / threads
        // Threads are never equally fast, and what the last ones wait is part of an item.
        let waiting = threads > 1 ? Self.waiting * Double(threads) / Double(items) : 0
        let cost = one * Double(cut) * Double(rounds * threads) / Double(items) * (1 + waiting)
        if cost < best.cost { best = (width, cut, cost) }
      }
    }
    (width, tiles, cost) = best
  }
}
