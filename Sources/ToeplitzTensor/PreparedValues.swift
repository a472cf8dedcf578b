/// What can be made of a tensor's bytes once and be used many times, such as packed weights.
package protocol PreparedValue: AnyObject, Sendable {
  /// Bytes that it holds.
  var byteCount: Int { get }
}

/// What has been made of the bytes of one ``Storage``, by key.
final class PreparedValues: Sendable {
  private final class Entry<Key: Hashable & Sendable, Value: PreparedValue>: AnyEntry, @unchecked Sendable {
    let key: Key
    let value: Value

    init(_ key: Key, _ value: Value) {
      (self.key, self.value) = (key, value)
      super.init(value)
    }
  }

  /// An entry of any type; a base class, because telling classes apart is ten times quicker than casting existentials.
  private class AnyEntry: @unchecked Sendable {
    let prepared: any PreparedValue
    init(_ prepared: any PreparedValue) { self.prepared = prepared }
  }

  /// The most that are kept; beyond that the one used longest ago goes.
  ///
  /// More than one are wanted where tensors share memory, such as the weights of all gates of a recurrent layer.
  private static let limit = 64

  /// The entry used last stands last.
  private let entries = Lock<[AnyEntry]>([])

  func value<Key: Hashable & Sendable, Value: PreparedValue>(_ key: Key, _ make: () throws -> Value) rethrows -> Value {
    try entries.withLock { entries in
      for index in entries.indices.reversed() {
        guard type(of: entries[index]) == Entry<Key, Value>.self else { continue }
        let entry = unsafeDowncast(entries[index], to: Entry<Key, Value>.self)
        guard entry.key == key else { continue }
        if index + 1 < entries.count { entries.append(entries.remove(at: index)) }
        return entry.value
      }
      let value = try make()
      entries.append(Entry(key, value))
      if entries.count > Self.limit { entries.removeFirst() }
      return value
    }
  }

  func removeAll() { entries.withLock { $0.removeAll() } }

  var byteCount: Int { entries.withLock { $0.reduce(0) { $0 + $1.prepared.byteCount } } }
}
