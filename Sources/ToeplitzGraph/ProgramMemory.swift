import ToeplitzOps
import ToeplitzTensor

/// Memory of bound programs: blocks for results, used again once nobody needs these, and scratch memory of operations.
package final class ProgramMemory {
  private var free: [Storage] = []
  /// Scratch memory, of as many bytes as any operation has asked for.
  private var scratch: Storage?
  /// Bytes of all its blocks.
  package private(set) var byteCount = 0

  /// Memory that nothing uses yet.
  package init() {}

  /// A block of at least so many bytes: the smallest free one that is not twice as large, or a new one.
  package func take(_ byteCount: Int, operation: String) throws -> Storage {
    var best: Int?
    for (index, block) in free.enumerated() where block.byteCount >= byteCount && block.byteCount <= 2 * byteCount {
      // Of equally large ones the one given last: it may still be in a cache.
      if best.map({ block.byteCount <= free[$0].byteCount }) ?? true { best = index }
    }
    if let best { return free.remove(at: best) }
    let block = try Storage(byteCount: byteCount, operation: operation)
    self.byteCount += byteCount
    return block
  }

  /// Takes back a block whose contents nobody needs any more.
  package func give(_ block: Storage) { free.append(block) }

  /// Makes scratch memory of at least so many bytes.
  package func reserveScratch(_ byteCount: Int, operation: String) throws {
    guard byteCount > scratch?.byteCount ?? 0 else { return }
    self.byteCount += byteCount - (scratch?.byteCount ?? 0)
    scratch = try Storage(byteCount: byteCount, for: .scratch, operation: operation)
  }

  /// Where the scratch memory begins, all of which is one operation's while it runs.
  ///
  /// - Returns: nil if none has been reserved.
  package var scratchBase: UnsafeMutableRawPointer? { scratch?.base }
}
