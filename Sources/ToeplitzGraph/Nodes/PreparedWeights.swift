import ToeplitzOps
import ToeplitzTensor

/// The prepared weight of a node for each geometry that it has met.
///
/// Padding that depends on the input's size makes geometries of one weight; there are few of them, or the oldest go.
final class PreparedWeights: Sendable {
  private let known = Lock<[(ConvolutionGeometry, PackedWeightsCache)]>([])
  /// How much was prepared when the weight's own memory was last given back.
  private let forgotten = Lock(0)
  private static let most = 4

  /// Where the weight is kept for one geometry.
  func cache(_ geometry: ConvolutionGeometry) -> PackedWeightsCache {
    known.withLock { known in
      if let found = known.first(where: { $0.0 == geometry }) { return found.1 }
      let cache = PackedWeightsCache()
      known.append((geometry, cache))
      if known.count > Self.most { known.removeFirst() }
      return cache
    }
  }

  /// Gives back the memory of a weight in a mapped file if it was prepared since the last time.
  func forgetPages(_ weight: Tensor) {
    guard weight.isBorrowed else { return }
    let prepared = known.withLock { $0.reduce(0) { $0 + $1.1.byteCount } }
    let isNew = forgotten.withLock { forgotten in
      defer { forgotten = prepared }
      return forgotten != prepared
    }
    if isNew { weight.storage.forgetFilePages() }
  }
}
