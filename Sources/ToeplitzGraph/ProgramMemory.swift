import ToeplitzOps
import ToeplitzTensor

/// Memory of bound programs, of which one runs at a time: blocks for results, used again once nobody needs these, and scratch memory
/// of operations.
package final class ProgramMemory {
  private var free: [Storage] = []
  /// Blocks of the programs before, which are free for the next.
  private var inherited: [Storage] = []
  private var taken: [Storage] = []
  /// Scratch memory, of as many bytes as any operation has asked for.
  private var scratch: Storage?
  /// Bytes of all its blocks.
  package private(set) var byteCount = 0

  /// Memory that nothing uses yet.
  package init() {}

  /// A block of at least so many bytes: the smallest free one, that is not twice as large if it is of this program, or a new one.
  package func take(_ byteCount: Int, operation: String) throws -> Storage {
    // Of equally large ones the one given last: it may still be in a cache.
    func smallest(_ blocks: [Storage], most: Int) -> Int? {
      blocks.indices.reversed().filter { (byteCount...max(byteCount, most)).contains(blocks[$0].byteCount) }
        .min { blocks[$0].byteCount < blocks[$1].byteCount }
    }
    if let index = smallest(free, most: 2 * byteCount) { return free.remove(at: index) }
    let block: Storage
    if let index = smallest(inherited, most: .max) {
      block = inherited.remove(at: index)
    } else {
      block = try Storage(byteCount: byteCount, operation: operation)
      self.byteCount += byteCount
    }
    taken.append(block)
    return block
  }

  /// Makes all blocks free for the next program; what the ones before have computed is lost when it runs.
  package func beginProgram() {
    inherited += taken
    (taken, free) = ([], [])
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
