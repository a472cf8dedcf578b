import Testing

@testable import ToeplitzTensor

/// Which freed blocks new tensors get.
///
/// Each test has a cache of its own, so that others cannot take its blocks.
@Suite struct BlockCacheTests {
  private let mebibyte = 1 << 20

  @Test func `the smallest block that holds a tensor is taken`() throws {
    let cache = BlockCache()
    let blocks = try [4, 1, 2].map { try #require(cache.take($0 * mebibyte)) }
    #expect(cache.freshBlockCount == 3)
    for block in blocks { cache.give(block) }
    let middle = try #require(cache.take(3 * mebibyte / 2))
    #expect(middle.base == blocks[2].base && middle.capacity == 2 * mebibyte && middle.excess == 0)
    let tiny = try #require(cache.take(mebibyte / 4))
    #expect(tiny.base == blocks[1].base && tiny.excess == 3 * mebibyte / 4)
    let large = try #require(cache.take(4 * mebibyte))
    #expect(large.base == blocks[0].base)
    #expect(cache.freshBlockCount == 3)
    let fresh = try #require(cache.take(mebibyte))
    #expect(cache.freshBlockCount == 4)
    for block in [middle, tiny, large, fresh] { cache.give(block) }
    #expect(try #require(cache.take(5 * mebibyte)).capacity == 5 * mebibyte)
    #expect(cache.freshBlockCount == 5)
  }

  @Test func `small tensors do not tie up large blocks without end`() throws {
    let cache = BlockCache()
    var kept: [BlockCache.Block] = []
    for _ in 0..<40 {
      cache.give(try #require(cache.take(8 * mebibyte)))
      kept.append(try #require(cache.take(mebibyte / 8)))
    }
    let excess = kept.reduce(0) { $0 + $1.excess }
    #expect(excess > 0 && excess <= 64 * mebibyte)
    #expect(kept.filter { $0.excess == 0 }.count >= 31)
    // What is given back may be used again.
    for block in kept where block.excess > 0 { cache.give(block) }
    cache.give(try #require(cache.take(8 * mebibyte)))
    let again = try #require(cache.take(mebibyte / 8))
    #expect(again.excess > 0)
  }

  @Test func `weights take only blocks that fit them`() throws {
    let cache = BlockCache()
    let blocks = try [4, 2].map { try #require(cache.take($0 * mebibyte)) }
    for block in blocks { cache.give(block) }
    let small = try #require(cache.take(3 * mebibyte / 2, for: .weights))
    #expect(small.capacity == 3 * mebibyte / 2 && cache.freshBlockCount == 3)
    let fitting = try #require(cache.take(2 * mebibyte - 1000, for: .weights))
    #expect(fitting.base == blocks[1].base && fitting.excess == 0)
    // A tensor may hold a larger one: it gives it back soon.
    #expect(try #require(cache.take(3 * mebibyte / 2)).base == blocks[0].base)
    #expect(cache.freshBlockCount == 3)
  }

  @Test func `small blocks are left to the allocator`() throws {
    let cache = BlockCache()
    let block = try #require(cache.take(1000))
    #expect(block.capacity == 1000)
    cache.give(block)
    #expect(cache.freshBlockCount == 0)
    let empty = try #require(cache.take(0))
    cache.give(empty)
  }
}
