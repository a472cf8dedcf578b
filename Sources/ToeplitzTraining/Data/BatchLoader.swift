import Foundation
import ToeplitzOps
import ToeplitzTensor

/// Makes the batches of a run, if wanted the next one while a step is computed.
///
/// A batch follows from the samples' numbers, the seed and the number of the step, so it does not matter who makes it or when.
final class BatchLoader {
  /// Which batch it is, in parts.
  struct Request: Equatable, Sendable {
    /// A part: samples, and the number of the part, which decides about random changes.
    struct Part: Equatable, Sendable {
      var indices: [Int]
      var shard: Int
    }
    var parts: [Part]
    var seed: UInt64
    var step: Int
  }

  private let source: Source
  private let prefetches: Bool
  private var pending: (request: Request, result: Pending)?

  /// A data set, which only one thread at a time asks: the caller waits for the other one first.
  private struct Source: @unchecked Sendable {
    let data: any Dataset

    func batch(_ request: Request) throws -> [[Tensor]] {
      try request.parts.map { part in
        let key = StepRandom.key(seed: request.seed ^ 0x5EED, step: request.step, shard: part.shard)
        var random = RandomSource(seed: UInt64(bitPattern: key))
        return try data.batch(part.indices, random: &random)
      }
    }
  }

  /// A batch that another thread makes.
  private final class Pending: Sendable {
    private let condition = DispatchSemaphore(value: 0)
    private let result = Lock<Result<[[Tensor]], any Error>?>(nil)

    func finish(_ found: Result<[[Tensor]], any Error>) {
      result.withLock { $0 = found }
      condition.signal()
    }

    func wait() -> Result<[[Tensor]], any Error>? {
      condition.wait()
      return result.withLock { $0 }
    }
  }

  init(_ data: any Dataset, prefetches: Bool) {
    source = Source(data: data)
    self.prefetches = prefetches
  }

  deinit { _ = pending?.result.wait() }

  /// The parts of a batch; the one that is probably wanted next is begun.
  func batch(_ request: Request, next: Request?) throws -> [[Tensor]] {
    let before = pending.map { ($0.request, $0.result.wait()) }
    pending = nil
    let batch: [[Tensor]]
    if let (known, result) = before, known == request, let result {
      batch = try result.get()
    } else {
      batch = try source.batch(request)
    }
    if prefetches, let next {
      let result = Pending()
      pending = (next, result)
      DispatchQueue.global().async { [source] in result.finish(Result { try source.batch(next) }) }
    }
    return batch
  }
}
