import ToeplitzTensor

/// The order in which samples are visited: shuffled anew for each epoch, from a seed.
///
/// A value that says where training is, so it is part of a checkpoint and goes on exactly where it was.
public struct BatchOrder: Sendable, Hashable {
  /// How many samples there are.
  public let count: Int
  /// How many make a batch.
  public let batchSize: Int
  /// What the order follows from.
  public let seed: UInt64
  /// Whether the samples at the end of an epoch that fill no batch are left out.
  public let dropsLast: Bool
  /// The epoch that the next batch belongs to, from 0.
  public private(set) var epoch: Int
  /// How many samples of the epoch have been visited.
  public private(set) var position: Int
  private var order: [Int]

  /// The order of `count` samples, at its beginning.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no batch, or the place is none of the order.
  public init(
    count: Int, batchSize: Int, seed: UInt64, dropsLast: Bool = true, epoch: Int = 0, position: Int = 0
  ) throws {
    guard count > 0, batchSize > 0, !dropsLast || batchSize <= count else {
      throw ToeplitzError(
        .argument, "BatchOrder", expected: "samples for at least one batch",
        got: "\(count) samples, batches of \(batchSize)")
    }
    guard epoch >= 0, (0..<count).contains(position), position % batchSize == 0 else {
      throw ToeplitzError(
        .argument, "BatchOrder", expected: "a place between batches of \(batchSize) of \(count) samples",
        got: "epoch \(epoch), sample \(position)")
    }
    (self.count, self.batchSize, self.seed, self.dropsLast) = (count, batchSize, seed, dropsLast)
    (self.epoch, self.position) = (epoch, position)
    order = []
    shuffle()
  }

  /// Batches in an epoch.
  public var batchesPerEpoch: Int { dropsLast ? count / batchSize : (count + batchSize - 1) / batchSize }

  /// The samples of the next batch.
  public mutating func next() -> [Int] {
    let end = min(count, position + batchSize)
    let batch = Array(order[position..<end])
    position = end
    if position == count || (dropsLast && count - position < batchSize) {
      epoch += 1
      position = 0
      shuffle()
    }
    return batch
  }

  /// Fisher and Yates, spelt out: the standard library's shuffle may change from one version to the next.
  private mutating func shuffle() {
    order = Array(0..<count)
    var random = RandomSource(seed: seed &+ UInt64(epoch) &* 0xA076_1D64_78BD_642F)
    for index in stride(from: count - 1, to: 0, by: -1) {
      order.swapAt(index, Int(random.nextUnit() * Double(index + 1)))
    }
  }
}
