import Synchronization

/// The bytes behind tensors: one 64-byte-aligned block, shared by reference.
///
/// This file, ``Platform`` and ``MappedFile`` are the places that own memory. A block is written only by
/// who holds the sole reference to it (`Tensor` checks), so sharing one between threads is safe.
package final class Storage: Sendable {
  /// The first byte.
  package nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// Length in bytes.
  package let byteCount: Int
  /// Keeps foreign memory alive; nil where this object owns the block.
  private let owner: (any AnyObject & Sendable)?
  private let capacity: Int

  /// A block with unspecified contents.
  ///
  /// - Throws: ``ToeplitzError`` of kind `memory` if it is more than the machine has.
  package init(byteCount: Int, operation: String) throws {
    guard byteCount <= Platform.largestTensor, let block = BlockCache.shared.take(byteCount) else {
      throw ToeplitzError(
        .memory, operation, expected: "at most \(Platform.largestTensor) bytes for a tensor",
        got: "a request for \(byteCount)")
    }
    base = block.base
    capacity = block.capacity
    self.byteCount = byteCount
    owner = nil
  }

  /// Bytes that live inside `owner` and are never written.
  package init(borrowing base: UnsafeRawPointer, byteCount: Int, owner: any AnyObject & Sendable) {
    self.base = UnsafeMutableRawPointer(mutating: base)
    self.byteCount = byteCount
    capacity = 0
    self.owner = owner
  }

  /// Whether the bytes belong to somebody else, such as a mapped file.
  package var isBorrowed: Bool { owner != nil }

  deinit {
    if owner == nil { BlockCache.shared.give(BlockCache.Block(base: base, capacity: capacity)) }
  }
}

/// Keeps freed large blocks for the next tensor of about that size.
///
/// A fresh 40 MB block costs the system's page faults, several times the time of the arithmetic on it
/// (measured 53 ms against 7 ms), and eager networks free and take such blocks all the time.
package final class BlockCache: Sendable {
  struct Block: @unchecked Sendable {
    var base: UnsafeMutableRawPointer
    var capacity: Int
  }

  /// The cache of this process.
  package static let shared = BlockCache()
  /// Blocks smaller than this go straight to the allocator, which recycles them well by itself.
  private static let smallestKept = 1 << 16
  /// At most this many bytes are kept unused.
  private static let limit = min(Platform.physicalMemory / 16, 1 << 28)

  private struct State {
    var blocks: [Block] = []
    var bytes = 0
  }
  private let state = Mutex(State())

  func take(_ byteCount: Int) -> Block? {
    if byteCount >= Self.smallestKept {
      let found: Block? = state.withLock { state in
        var best: Int?
        for (index, block) in state.blocks.enumerated()
        where block.capacity >= byteCount && block.capacity <= byteCount + byteCount / 2 {
          if best.map({ block.capacity < state.blocks[$0].capacity }) ?? true { best = index }
        }
        guard let best else { return nil }
        let block = state.blocks.remove(at: best)
        state.bytes -= block.capacity
        return block
      }
      if let found { return found }
    }
    return Platform.allocate(byteCount: byteCount).map { Block(base: $0, capacity: max(byteCount, 64)) }
  }

  func give(_ block: Block) {
    guard block.capacity >= Self.smallestKept, block.capacity <= Self.limit / 2 else {
      Platform.deallocate(block.base)
      return
    }
    let dropped: [Block] = state.withLock { state in
      state.blocks.append(block)
      state.bytes += block.capacity
      var dropped: [Block] = []
      while state.bytes > Self.limit {
        let oldest = state.blocks.removeFirst()
        state.bytes -= oldest.capacity
        dropped.append(oldest)
      }
      return dropped
    }
    for block in dropped { Platform.deallocate(block.base) }
  }
}
