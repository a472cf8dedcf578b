import Toeplitz

/// A transformer over time `[N, C, L]` whose masks let each position see few others: as in Mimi (the past), in streaming Conformers (blocks) and
/// in Longformer (both sides).
final class WindowedTransformer: Module, UnaryLayer {
  /// What a position may read.
  enum Mask {
    /// This many positions before itself; infinitely small numbers are added to the others.
    case past(Int)
    /// This many on either side; others are replaced by a large negative number.
    case around(past: Int, future: Int)
    /// Its own block of positions, and some before.
    case blocks(size: Int, before: Int)
    /// Each head as many before itself, with a bias that grows with the distance.
    case biased([Int])
    /// Every other position of some before itself, by a softmax that is written out.
    case everyOther(Int)
  }

  final class Block: Module {
    let before, after: LayerNorm
    let query, key, value, out, wide, narrow: Linear
    init(_ channels: Int) throws {
      (before, after) = (try LayerNorm([channels]), try LayerNorm([channels]))
      func linear(_ inputs: Int, _ outputs: Int) throws -> Linear {
        try Linear(inFeatures: inputs, outFeatures: outputs)
      }
      (query, key) = (try linear(channels, channels), try linear(channels, channels))
      (value, out) = (try linear(channels, channels), try linear(channels, channels))
      (wide, narrow) = (try linear(channels, 2 * channels), try linear(2 * channels, channels))
      super.init()
    }
  }

  let first: CausalConv
  let blocks: ModuleList<Block>
  let last: CausalUpsampling
  private let heads: Int
  private let mask: Mask

  init(inputs: Int, channels: Int, heads: Int, depth: Int, stride: Int = 1, mask: Mask) throws {
    first = try CausalConv(inputs, channels, 2 * stride, stride: stride)
    blocks = ModuleList(try (0..<depth).map { _ in try Block(channels) })
    last = try CausalUpsampling(channels, 2, 2 * stride, stride: stride)
    (self.heads, self.mask) = (heads, mask)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    var y = try first(x).permuted([0, 2, 1])
    for block in blocks {
      let z = try block.before(y)
      func split(_ tensor: Tensor) throws -> Tensor {
        try tensor.reshaped([z.shape[0], z.shape[1], heads, z.shape[2] / heads]).permuted([0, 2, 1, 3])
      }
      let (q, k, v) = (try split(block.query(z)), try split(block.key(z)), try split(block.value(z)))
      let scores = try q.matmul(k.permuted([0, 1, 3, 2])) / Double(q.shape[3]).squareRoot()
      let seen = try probabilities(scores).matmul(v)
      y = try y + block.out(seen.permuted([0, 2, 1, 3]).reshaped(z.shape))
      y = try y + block.narrow(block.wide(block.after(y)).gelu())
    }
    return try last(y.permuted([0, 2, 1]))
  }

  private func probabilities(_ scores: Tensor) throws -> Tensor {
    let length = scores.shape[2]
    let keys = try Tensor.range(to: Double(length), dtype: .int64)
    let queries = try keys.reshaped([length, 1])
    func number(_ value: Int) throws -> Tensor { try Tensor(scalar: Int64(value)) }
    func float(_ value: Double) throws -> Tensor { try Tensor.full([], value, dtype: scores.dtype) }
    let distance = try queries - keys
    switch mask {
    case .past(let count):
      let seen = try distance.greaterOrEqual(number(0)).logicalAnd(distance.lessOrEqual(number(count)))
      return try (scores + Tensor.where(seen, float(0), float(-.infinity))).softmax(axis: -1)
    case .around(let past, let future):
      let hidden = try distance.less(number(-future)).logicalOr(distance.greater(number(past)))
      return try Tensor.where(hidden, float(-1e9), scores).softmax(axis: 3)
    case .blocks(let size, let before):
      let (own, other) = (try queries.floorDivided(by: size), try keys.floorDivided(by: size))
      let seen = try other.lessOrEqual(own).logicalAnd(other.greaterOrEqual(own - number(before)))
      return try (scores + Tensor.where(seen, float(0), float(-.infinity))).softmax(axis: -1)
    case .biased(let counts):
      let limits = try Tensor(counts.map(Int64.init), shape: [counts.count, 1, 1], device: .cpu)
      let seen = try distance.greaterOrEqual(number(0)).logicalAnd(distance.lessOrEqual(limits))
      let bias = try distance.cast(to: scores.dtype).reshaped([1, length, length]) * float(-0.25)
      return try (Tensor.where(seen, scores + bias, float(-.infinity))).softmax(axis: -1)
    case .everyOther(let count):
      let seen = try distance.greaterOrEqual(number(0)).logicalAnd(distance.lessOrEqual(number(count)))
        .logicalAnd((distance - distance.floorDivided(by: 2) * number(2)).equal(number(0)))
      let masked = try Tensor.where(seen, scores, float(-.infinity))
      let powers = try (masked - masked.max([3], keepsAxes: true)).exp()
      return try powers / powers.sum([3], keepsAxes: true)
    }
  }
}

extension Tensor {
  /// Whole numbers of at least 0 divided and rounded down.
  fileprivate func floorDivided(by divisor: Int) throws -> Tensor {
    try (cast(to: .float64) / Double(divisor)).floor().cast(to: .int64)
  }
}
