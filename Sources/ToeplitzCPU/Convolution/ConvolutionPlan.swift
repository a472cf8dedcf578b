import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How one row group is computed for inputs of one size.
///
/// Comparing all ways to cut the work takes longer than a small convolution, and networks ask for the same sizes again and
/// again.
enum ConvolutionPlan: Sendable {
  case direct(ConvolutionSchedule)
  /// With fewer multiplications.
  case transformed(ToomCookSchedule)

  /// What a plan depends on beside the weights.
  struct Request: Equatable {
    var rowGroup = 0
    var inputSize: SIMD3<Int>
    var outputSize: SIMD3<Int>
    var batch: Int
    var threads: Int
    var table: UnsafePointer<tz_conv_table>
    /// Whether the input's memory and the epilogue let kernels read it without packing.
    var allowsInPlace = false
    /// Where panels are not packed but computed, into how many tiles along h an image is cut at most, if it fits the cache then.
    var mostBands: Int?
    /// Whether kernels may leave out taps that lie in the padding.
    var skipsPadding = false
    /// Where fewer multiplications are allowed, what tests decide.
    var forced: ToomCookPlan.Forced?
  }

  var isTransformed: Bool { if case .transformed = self { true } else { false } }

  /// Estimated nanoseconds.
  var cost: Double {
    switch self {
    case .direct(let schedule): schedule.cost
    case .transformed(let schedule): schedule.cost
    }
  }
}

/// What has been found out for one prepared weight, for the last few sizes that were wanted.
final class RecentPlans<Plan: Sendable>: Sendable {
  private static var limit: Int { 64 }

  private struct Entry: @unchecked Sendable {
    // A request's pointer is to a constant table.
    var request: ConvolutionPlan.Request
    var plan: Plan
  }
  /// The one wanted last stands last.
  private let entries = Lock<[Entry]>([])

  /// The plan for a request, made now if it is not kept.
  func plan(_ request: ConvolutionPlan.Request, _ make: () throws -> Plan) rethrows -> Plan {
    let kept = entries.withLock { entries in entries.last { $0.request == request }?.plan }
    if let kept { return kept }
    let plan = try make()
    entries.withLock { entries in
      if entries.count >= Self.limit { entries.removeFirst() }
      entries.append(Entry(request: request, plan: plan))
    }
    return plan
  }
}

extension PackedWeights {
  /// How a row group is computed for inputs of one size, by an estimate of the ways that ``Numerics/current`` allows.
  ///
  /// - Parameter readsInPlace: whether kernels read the input without packing, for positions cut in one way.
  func plan(
    _ request: ConvolutionPlan.Request, name: String, readsInPlace: (PositionGrid) -> Bool
  ) throws -> ConvolutionPlan {
    guard Numerics.current == .fast, type == .float32 else {
      return .direct(try schedule(request, name: name, readsInPlace: readsInPlace))
    }
    return try plans.fastPlans.plan(request) {
      let (stencil, group) = (stencil, stencil.rowGroups[request.rowGroup])
      // The algorithm decides about bits, the cut does not. So the algorithm is the best one for a single thread and sample.
      var alone = request
      (alone.batch, alone.threads) = (1, 1)
      let best = ToomCookSchedule.best(
        stencil: stencil, group: group, outputSize: request.outputSize, table: request.table)
      if let best,
        try ToomCookPlan.always || best.cost < schedule(alone, name: name, readsInPlace: readsInPlace).cost,
        let cut = request == alone
          ? best
          : ToomCookSchedule(
            best.plan, stencil: stencil, group: group, outputSize: request.outputSize,
            pairs: request.batch * stencil.groups, threads: request.threads, table: request.table)
      {
        return .transformed(cut)
      }
      return .direct(try schedule(request, name: name, readsInPlace: readsInPlace))
    }
  }

  /// How a row group is computed directly.
  func schedule(
    _ request: ConvolutionPlan.Request, name: String, readsInPlace: (PositionGrid) -> Bool
  ) throws -> ConvolutionSchedule {
    try plans.schedules.plan(request) {
      try ConvolutionSchedule(
        stencil: stencil, group: stencil.rowGroups[request.rowGroup], outputSize: request.outputSize,
        samples: request.batch, threads: request.threads, table: request.table, elementSize: elementSize,
        wideWeightSize: storage.byteSize(of: elementSize), mostBands: request.mostBands,
        skipped: request.skipsPadding ? request.inputSize : nil, name: name, readsInPlace: readsInPlace)
    }
  }
}
