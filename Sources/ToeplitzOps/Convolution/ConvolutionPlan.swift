import CToeplitzKernels
import ToeplitzTensor

/// How one row group is computed for inputs of one size.
///
/// Comparing all ways to cut the work takes longer than a small convolution, and networks ask for the same sizes again and
/// again.
final class ConvolutionPlan: Sendable {
  /// What a plan depends on beside the weights.
  struct Key: Equatable {
    var rowGroup: Int
    var inputSize: SIMD3<Int>
    var outputSize: SIMD3<Int>
    var pairs: Int
    var threads: Int
    var table: UnsafePointer<tz_conv_table>
    /// Whether fewer multiplications may be used.
    var isFast: Bool
    /// Whether the input's memory and the fusion let kernels read it without packing.
    var allowsInPlace: Bool
    /// Into how many tiles along h an image is cut at most, where panels are not packed but computed.
    var mostBands: Int?
    /// Whether taps in the padding may be left out.
    var skipsPadding: Bool
  }

  /// The direct way.
  let schedule: ConvolutionSchedule
  /// The way with fewer multiplications, where there is one.
  let toomCook: ToomCookSchedule?

  init(schedule: ConvolutionSchedule, toomCook: ToomCookSchedule?) {
    self.schedule = schedule
    self.toomCook = toomCook
  }

  /// Estimated nanoseconds of the cheaper way.
  var cost: Double { min(schedule.cost, toomCook?.cost ?? .infinity) }
}

/// The plans of one prepared weight, the last few that were wanted.
final class ConvolutionPlans: Sendable {
  private static let limit = 64

  private struct Entry: @unchecked Sendable {
    // A key's pointer is to a constant table.
    var key: ConvolutionPlan.Key
    var plan: ConvolutionPlan
  }
  /// The one wanted last stands last.
  private let entries = Lock<[Entry]>([])

  /// The plan for a key, made now if it is not kept.
  func plan(_ key: ConvolutionPlan.Key, _ make: () throws -> ConvolutionPlan) rethrows -> ConvolutionPlan {
    let kept = entries.withLock { entries in entries.last { $0.key == key }?.plan }
    if let kept { return kept }
    let plan = try make()
    entries.withLock { entries in
      if entries.count >= Self.limit { entries.removeFirst() }
      entries.append(Entry(key: key, plan: plan))
    }
    return plan
  }
}

extension PackedWeights {
  /// How a row group is computed for inputs of one size, by an estimate of the ways that ``Numerics/current`` allows.
  ///
  /// - Parameters:
  ///   - allowsInPlace: whether the input's memory and the fusion let kernels read it without packing.
  ///   - mostBands: where panels are not packed but computed, into how many tiles along h an image is cut at most, if it
  ///     fits the cache then.
  ///   - skipsPadding: whether kernels may leave out taps that lie in the padding.
  ///   - readsInPlace: whether they do, for positions cut in one way.
  func plan(
    rowGroup index: Int, inputSize: SIMD3<Int>, outputSize: SIMD3<Int>, batch: Int, threads: Int,
    table: UnsafePointer<tz_conv_table>, allowsInPlace: Bool, mostBands: Int? = nil, skipsPadding: Bool = false,
    name: String, readsInPlace: (PositionGrid) -> Bool
  ) throws -> ConvolutionPlan {
    let isFast = Numerics.current == .fast && type == .float32
    let pairs = batch * stencil.groups
    let key = ConvolutionPlan.Key(
      rowGroup: index, inputSize: inputSize, outputSize: outputSize, pairs: pairs, threads: threads, table: table,
      isFast: isFast, allowsInPlace: allowsInPlace, mostBands: mostBands,
      skipsPadding: skipsPadding)
    return try plans.plan(key) {
      let group = stencil.rowGroups[index]
      let schedule = try ConvolutionSchedule(
        stencil: stencil, group: group, outputSize: outputSize, samples: batch, threads: threads, table: table,
        elementSize: elementSize, wideWeightSize: storage.byteSize(of: elementSize),
        mostBands: mostBands, skipped: skipsPadding ? inputSize : nil, name: name,
        readsInPlace: readsInPlace)
      let toomCook =
        isFast
        ? ToomCookSchedule.best(
          stencil: stencil, group: group, outputSize: outputSize, pairs: pairs, threads: threads, table: table)
        : nil
      return ConvolutionPlan(schedule: schedule, toomCook: toomCook)
    }
  }
}
