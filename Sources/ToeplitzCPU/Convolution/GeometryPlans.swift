import ToeplitzOps
import ToeplitzTensor

/// How convolutions of one geometry are cut, for the sizes seen last: their weights have no part in that.
///
/// Weights that are trained are new at each step; what has been found out about their sizes is not.
final class GeometryPlans: Sendable {
  private struct Key: Hashable {
    var geometry: ConvolutionGeometry
    var elementSize: Int
    var wideWeightSize: Int
    var layout: RowLayout?
  }

  /// The correlations to compute.
  let stencil: ConvolutionStencil
  /// How the work is cut directly.
  let schedules = RecentPlans<ConvolutionSchedule>()
  /// The same where fewer multiplications are allowed.
  let fastPlans = RecentPlans<ConvolutionPlan>()
  /// How it is cut where weights are read as they lie, and whether that pays; nil where it cannot be.
  let products = RecentPlans<(TapProductPlan, Bool)?>()

  private static let known = Lock<[Key: GeometryPlans]>([:])
  /// More than networks have; beyond that all are forgotten.
  private static let most = 1024

  private init(_ geometry: ConvolutionGeometry) throws { stencil = try ConvolutionStencil(geometry) }

  /// Those of a geometry.
  ///
  /// - Parameters:
  ///   - elementSize: bytes of an element of panels and sums.
  ///   - wideWeightSize: bytes of a weight of wide blocks.
  /// - Throws: ``ToeplitzError`` of kind `memory` for more phases, channels or taps than the kernels can count.
  static func of(_ geometry: ConvolutionGeometry, elementSize: Int, wideWeightSize: Int) throws -> GeometryPlans {
    let key = Key(
      geometry: geometry, elementSize: elementSize, wideWeightSize: wideWeightSize, layout: RowLayout.preferred)
    return try known.withLock { known in
      if let plans = known[key] { return plans }
      if known.count >= most { known.removeAll() }
      let plans = try GeometryPlans(geometry)
      known[key] = plans
      return plans
    }
  }
}
