import ToeplitzOps
import ToeplitzTensor

extension Tensor {
  /// A vector of `count` elements made of parts that `body` computes, several at a time.
  ///
  /// - Throws: What `body` throws first.
  package static func inPieces(
    _ count: Int, of size: Int, _ body: @escaping (Range<Int>) throws -> Tensor
  ) throws -> Tensor {
    // The first part says which type the elements have.
    let first = try body(0..<Swift.min(size, count))
    let result = try Tensor(uninitialized: [count], dtype: first.dtype, operation: "pieces")
    @Sendable func place(_ part: Tensor, _ start: Int) throws {
      guard part.rank == 1, part.dtype == result.dtype, start + part.count <= count else {
        throw ToeplitzError(.shape, "pieces", expected: "parts of one type", got: "\(part.spec)")
      }
      result.view(shape: part.shape, strides: [1], offset: start).fillOnce(from: part)
    }
    try place(first, 0)
    let failure = Lock<(any Error)?>(nil)
    let pieces = (count + size - 1) / size
    ThreadPool.shared.run(Swift.max(0, pieces - 1)) { item, _ in
      let start = (item + 1) * size
      do {
        try place(body(start..<Swift.min(count, start + size)), start)
      } catch {
        failure.withLock { $0 = $0 ?? error }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    return result
  }
}
