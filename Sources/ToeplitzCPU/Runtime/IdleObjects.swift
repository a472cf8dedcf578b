import ToeplitzOps
import ToeplitzTensor

/// Objects that one caller at a time may use, kept while nobody does.
///
/// Calls that come at the same time each take one of their own.
final class IdleObjects<Object: AnyObject>: Sendable {
  // Who takes an object out is the only one who knows it.
  private struct Idle: @unchecked Sendable {
    var object: Object
  }
  private let idle = Lock<[Idle]>([])
  private let limit: Int

  /// - Parameter limit: how many are kept; beyond that the one given first goes.
  init(limit: Int) { self.limit = limit }

  /// The one given last of those that fit, which now is the caller's.
  func take(_ fits: (Object) throws -> Bool) rethrows -> Object? {
    try idle.withLock { idle in try idle.lastIndex { try fits($0.object) }.map { idle.remove(at: $0).object } }
  }

  /// Keeps an object of which the caller lets go.
  func give(_ object: Object) {
    let idle = Idle(object: object)
    self.idle.withLock { all in
      if all.count >= limit { all.removeFirst() }
      all.append(idle)
    }
  }
}
