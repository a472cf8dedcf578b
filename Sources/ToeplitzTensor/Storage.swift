import Synchronization

/// The bytes behind tensors: one 64-byte-aligned block, shared by reference.
///
/// This file, ``Platform`` and ``MappedFile`` are the places that own memory. A block is written only by
/// who holds the sole reference to it (`Tensor` checks), so sharing one between threads is safe.
package final class Storage: Sendable {
  /// What a block is wanted for, which decides the kept ones it may take.
  package enum Use {
    /// The elements of a tensor.
    case tensor
    /// Memory that one operation works in; such blocks are kept for their like.
    case scratch
    /// What a layer holds for as long as it lives: a block that is too large for it would be lost to all others.
    case weights
  }

  /// Bytes past the end of a block that kernels may read (never use): whole vectors.
  private static let slack = 64

  /// Bytes that tensors hold at the moment; freed blocks that are kept are not among them.
  private static let taken = Atomic(0)

  /// The first byte.
  package nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// Length in bytes.
  package let byteCount: Int
  /// Whose memory it is.
  package let device: Device
  /// Keeps foreign memory alive; nil where this object owns the block.
  private let owner: (any AnyObject & Sendable)?
  /// The block this object owns; nil where the memory is foreign.
  private let block: BlockCache.Block?
  /// Where the block came from and goes.
  private let cache: BlockCache
  /// What has been made of the bytes; most blocks never have any.
  private let preparedValues = AtomicLazyReference<PreparedValues>()

  /// A block with unspecified contents.
  ///
  /// - Throws: ``ToeplitzError`` of kind `memory` if all tensors together would take more than ``Platform/memoryLimit``.
  package init(byteCount: Int, for use: Use = .tensor, operation: String) throws {
    let limit = Platform.memoryLimit
    guard byteCount <= limit else { throw Self.refusal(byteCount, operation) }
    cache = use == .scratch ? .scratch : .tensors
    let taken = Self.taken.wrappingAdd(byteCount, ordering: .relaxed).newValue
    func makeRoom() {
      // Scratch memory grows: what was too small for this operation will be for its next call.
      if use == .scratch { BlockCache.scratch.trim(to: 0) }
      BlockCache.trimAll(to: limit - taken)
    }
    guard taken <= limit, let block = cache.take(byteCount + Self.slack, for: use, makeRoom: makeRoom) else {
      Self.taken.wrappingSubtract(byteCount, ordering: .relaxed)
      throw Self.refusal(byteCount, operation)
    }
    base = block.base
    self.block = block
    self.byteCount = byteCount
    device = .cpu
    owner = nil
  }

  private static func refusal(_ byteCount: Int, _ operation: String) -> ToeplitzError {
    ToeplitzError(
      .memory, operation, expected: Platform.memoryBound,
      got: "a request for \(byteCount) besides \(taken.load(ordering: .relaxed))")
  }

  /// Bytes that live inside `owner` and are never written.
  package init(
    borrowing base: UnsafeRawPointer, byteCount: Int, device: Device = .cpu, owner: any AnyObject & Sendable
  ) {
    self.base = UnsafeMutableRawPointer(mutating: base)
    self.byteCount = byteCount
    self.device = device
    block = nil
    cache = .tensors
    self.owner = owner
  }

  /// The bytes of another storage, whose contents change from time to time, under another identity: nothing that was made of
  /// earlier contents is taken for what is there now.
  package init(renewing other: Storage) {
    (base, byteCount, device) = (other.base, other.byteCount, other.device)
    block = nil
    cache = .tensors
    owner = other
  }

  /// Whether the bytes belong to somebody else, such as a mapped file.
  package var isBorrowed: Bool { owner.map { ($0 as? Storage)?.isBorrowed ?? true } ?? false }

  /// Whether no other object refers to the bytes.
  package var ownsBlock: Bool { owner == nil }

  /// Lets the system take back the memory of bytes that are mapped from a file; they are read again when wanted.
  package func forgetFilePages() {
    (owner as? MappedFile)?.forget(UnsafeRawBufferPointer(start: base, count: byteCount))
  }

  /// What was made of these bytes under `key`, made now if it has not been before.
  ///
  /// Packed, transformed or folded weights hang here: they serve everybody who uses the weight, and go when it is
  /// written in place (``dropPrepared()``) or freed. A value must not hold this storage, or neither would ever be freed;
  /// where only a part of the bytes was used, the key says which.
  package func prepared<Key: Hashable & Sendable, Value: PreparedValue>(
    _ key: Key, _ make: () throws -> Value
  ) rethrows -> Value {
    try (preparedValues.load() ?? preparedValues.storeIfNil(PreparedValues())).value(key, make)
  }

  /// Forgets what was made of the bytes, which are about to be written.
  package func dropPrepared() { preparedValues.load()?.removeAll() }

  /// Bytes of what was made of these bytes.
  package var preparedByteCount: Int { preparedValues.load()?.byteCount ?? 0 }

  deinit {
    guard let block else { return }
    Self.taken.wrappingSubtract(byteCount, ordering: .relaxed)
    cache.give(block)
  }
}

/// Counts other memory among that of all tensors for as long as it exists.
package final class MemoryReservation: Sendable {
  private let byteCount: Int

  /// - Throws: ``ToeplitzError`` of kind `memory` if all tensors together would take more than ``Platform/memoryLimit``.
  package init(byteCount: Int, operation: String) throws {
    try Storage.reserve(byteCount, operation)
    self.byteCount = byteCount
  }

  deinit { Storage.release(byteCount) }
}

extension Storage {
  fileprivate static func reserve(_ byteCount: Int, _ operation: String) throws {
    let limit = Platform.memoryLimit
    guard byteCount <= limit else { throw refusal(byteCount, operation) }
    guard taken.wrappingAdd(byteCount, ordering: .relaxed).newValue <= limit else {
      release(byteCount)
      throw refusal(byteCount, operation)
    }
  }

  fileprivate static func release(_ byteCount: Int) { taken.wrappingSubtract(byteCount, ordering: .relaxed) }
}

/// Says that some bytes of freed blocks will be taken again and again for as long as it exists, such as those of a step of training;
/// else some would go back to the system each time, and be cleared by it when they are wanted.
package final class KeptMemory: Sendable {
  private let byteCount: Int

  /// - Parameter byteCount: at most a quarter of the machine's memory counts.
  package init(byteCount: Int) {
    self.byteCount = max(0, min(byteCount, Platform.physicalMemory / 4))
    BlockCache.expected.add(self.byteCount, ordering: .relaxed)
  }

  deinit { BlockCache.expected.subtract(byteCount, ordering: .relaxed) }
}

/// Keeps freed large blocks for the next tensor that fits into one.
///
/// A fresh 40 MB block costs the system's page faults, several times the time of the arithmetic on it
/// (measured 53 ms against 7 ms), and eager networks free and take such blocks all the time. A tensor takes the smallest
/// block that holds it, so a network that has seen its largest input needs no new block for smaller ones.
package final class BlockCache: Sendable {
  struct Block: @unchecked Sendable {
    var base: UnsafeMutableRawPointer
    var capacity: Int
    /// Bytes by which it is far too large for the tensor that holds it; 0 where it fits.
    var excess = 0
  }

  /// The blocks of tensors.
  static let tensors = BlockCache()
  /// Blocks that operations work in.
  ///
  /// Were they kept with those of tensors, small tensors would take the large ones, and the next operation a new one.
  static let scratch = BlockCache()
  /// Blocks smaller than this go straight to the allocator, which recycles them well by itself.
  ///
  /// Of larger ones it returns some to the system whenever they are freed, which stops all threads of the process.
  private static let smallestKept = 1 << 12
  /// At most this many bytes are kept unused, besides those that somebody will take again (``KeptMemory``).
  private static let ownLimit = min(Platform.physicalMemory / 16, 1 << 28)
  fileprivate static let expected = Atomic(0)
  private static var limit: Int { ownLimit + expected.load(ordering: .relaxed) }
  /// Tensors together hold at most this many bytes of blocks that are far too large for them: small results that are
  /// kept must not tie up the memory of large ones that were not.
  fileprivate static var excessLimit: Int { limit / 4 }

  fileprivate struct State {
    var blocks: [Block] = []
    var bytes = 0
    var excess = 0
    var fresh = 0
  }
  private let state = Lock(State())

  /// How many large blocks the system had to give so far because none was kept that fitted.
  var freshBlockCount: Int { state.withLock { $0.fresh } }
  /// The same of all caches of the process.
  package static var freshBlockCount: Int { tensors.freshBlockCount + scratch.freshBlockCount }

  /// The bytes that wait in all caches.
  package static var waitingByteCount: Int { [tensors, scratch].reduce(0) { $0 + $1.state.withLock { $0.bytes } } }

  /// A block of at least `byteCount` bytes; nil if the system has none.
  ///
  /// - Parameter makeRoom: called before the system is asked for a large one.
  func take(_ byteCount: Int, for use: Storage.Use = .tensor, makeRoom: () -> Void = {}) -> Block? {
    if byteCount >= Self.smallestKept {
      if let kept = state.withLock({ $0.take(byteCount, for: use) }) { return kept }
      makeRoom()
    }
    return Platform.allocate(byteCount: byteCount).map { Block(base: $0, capacity: max(byteCount, 64)) }
  }

  func give(_ block: Block) {
    var block = block
    guard block.capacity >= Self.smallestKept, block.capacity <= Self.limit / 2 else {
      Platform.deallocate(block.base)
      return
    }
    state.withLock { state in
      state.excess -= block.excess
      block.excess = 0
      state.blocks.append(block)
      state.bytes += block.capacity
    }
    trim(to: Self.limit)
  }

  /// Gives blocks back until all caches together keep at most `bytes`, those of scratch memory first.
  fileprivate static func trimAll(to bytes: Int) {
    scratch.trim(to: max(0, bytes - tensors.byteCount))
    tensors.trim(to: max(0, bytes - scratch.byteCount))
  }

  /// Bytes in blocks that are kept.
  private var byteCount: Int { state.withLock { $0.bytes } }

  /// Gives the oldest blocks back until at most `bytes` are kept.
  fileprivate func trim(to bytes: Int) {
    let dropped: [Block] = state.withLock { state in
      var dropped: [Block] = []
      while state.bytes > bytes, !state.blocks.isEmpty {
        let oldest = state.blocks.removeFirst()
        state.bytes -= oldest.capacity
        dropped.append(oldest)
      }
      return dropped
    }
    for block in dropped { Platform.deallocate(block.base) }
  }
}

extension BlockCache.State {
  /// The smallest block of at least `byteCount` bytes, if there is one that may be used for so few.
  fileprivate mutating func take(_ byteCount: Int, for use: Storage.Use) -> BlockCache.Block? {
    var best: Int?
    // Of equally large ones the one given last: it may still be in a cache.
    for (index, block) in blocks.enumerated() where block.capacity >= byteCount {
      if best.map({ block.capacity <= blocks[$0].capacity }) ?? true { best = index }
    }
    guard let index = best else {
      fresh += 1
      return nil
    }
    let spare = blocks[index].capacity - byteCount
    let excess = spare > byteCount / 2 ? spare : 0
    guard use == .weights ? spare <= byteCount / 8 : self.excess + excess <= BlockCache.excessLimit else {
      fresh += 1
      return nil
    }
    var block = blocks.remove(at: index)
    block.excess = excess
    bytes -= block.capacity
    self.excess += excess
    return block
  }
}
