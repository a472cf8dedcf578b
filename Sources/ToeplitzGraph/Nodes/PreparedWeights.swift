import Synchronization
import ToeplitzOps
import ToeplitzTensor

/// What a node remembers between calls: the geometries of the shapes that it has met, and the prepared weight of each.
///
/// Padding that depends on the input's size makes geometries of one weight; there are few of them, or the oldest go.
final class PreparedWeights: Sendable {
  /// What belongs to operands of certain shapes.
  struct Form: Sendable {
    var geometry: ConvolutionGeometry
    /// How much the output is extended after all.
    var extra: [(axis: Int, low: Int, high: Int)]
    /// Where the weight is kept for the geometry.
    var cache: PackedWeightsCache
  }

  fileprivate struct State {
    var caches: [(geometry: ConvolutionGeometry, cache: PackedWeightsCache)] = []
    var forms: [(x: Shape, weight: Shape, form: Form)] = []
  }

  private let state = Lock(State())
  /// How much was prepared when the weight's own memory was last given back, and how often anything had been by then.
  private let forgotten = Lock(0)
  private let seen = Atomic(0)
  fileprivate static let mostGeometries = 4
  private static let mostShapes = 16

  /// What belongs to operands of these shapes, by `make` where they have not been met.
  func form(
    _ x: Shape, _ weight: Shape, _ make: () throws -> (ConvolutionGeometry, [(axis: Int, low: Int, high: Int)])
  ) throws -> Form {
    if let form = state.withLock({ $0.forms.last { $0.x == x && $0.weight == weight }?.form }) { return form }
    let (geometry, extra) = try make()
    return state.withLock { state in
      let form = Form(geometry: geometry, extra: extra, cache: state.cache(geometry))
      state.forms.append((x, weight, form))
      if state.forms.count > Self.mostShapes { state.forms.removeFirst() }
      return form
    }
  }

  /// Gives back the memory of a weight in a mapped file if it was prepared since the last time.
  func forgetPages(_ weight: Tensor) {
    let count = PackedWeights.preparationCount
    // Nearly always nothing has been prepared since the last call.
    guard weight.isBorrowed, seen.exchange(count, ordering: .relaxed) != count else { return }
    let prepared = state.withLock { $0.caches.reduce(0) { $0 + $1.cache.byteCount } }
    let isNew = forgotten.withLock { forgotten in
      defer { forgotten = prepared }
      return forgotten != prepared
    }
    if isNew { weight.storage.forgetFilePages() }
  }
}

extension PreparedWeights.State {
  fileprivate mutating func cache(_ geometry: ConvolutionGeometry) -> PackedWeightsCache {
    if let found = caches.first(where: { $0.geometry == geometry }) { return found.cache }
    let cache = PackedWeightsCache()
    caches.append((geometry, cache))
    if caches.count > PreparedWeights.mostGeometries {
      let oldest = caches.removeFirst().cache
      forms.removeAll { $0.form.cache === oldest }
    }
    return cache
  }
}
