import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Scaled dot-product attention (Vaswani et al., <https://arxiv.org/abs/1706.03762>) of queries `[B, H, S, D]`, keys
/// `[B, G, T, D]` and values `[B, G, T, E]`; each of G heads of keys and values serves H / G heads of queries.
struct Attention: Sendable {
  /// For errors.
  var name: String
  /// What products are multiplied by; one over the root of D if nil.
  var scale: Double?
  /// Scores are kept within this by a hyperbolic tangent, unless it is 0.
  var softcap = 0.0
  /// The type in which the softmax is computed; that of the queries if nil.
  var precision: DType?
  /// Whether a query sees no later keys.
  var isCausal = false
  /// How many keys before and after its own position a query sees; all if negative.
  var window: (left: Int, right: Int) = (-1, -1)
  /// How scores are changed before the softmax, and probabilities after it.
  var changesScores: (@Sendable (Tensor) throws -> Tensor)?
  var changesProbabilities: (@Sendable (Tensor) throws -> Tensor)?

  /// What there is beside queries, keys and values.
  struct Context {
    /// Added to the scores, or where true, what may be seen; broadcast to `[B, H, S, T]`.
    var masks: [Tensor] = []
    /// How many keys stand before the first query's own.
    var offset = 0
    /// How many keys of each sample count, `[B]`; queries are the last of them.
    var lengths: Tensor?
  }

  /// The results, and the scores at each stage.
  struct Result {
    /// `[B, H, S, E]`.
    var output: Tensor
    /// Products, after the soft cap, with masks, and probabilities.
    var stages: [Tensor]
  }

  func callAsFunction(_ q: Tensor, _ k: Tensor, _ v: Tensor, _ context: Context = Context()) throws -> Result {
    guard q.rank == 4, k.rank == 4, v.rank == 4, q.shape[0] == k.shape[0], q.shape[3] == k.shape[3],
      Array(k.shape[..<3]) == Array(v.shape[..<3]), k.shape[1] > 0, q.shape[1] % k.shape[1] == 0
    else {
      throw ToeplitzError(
        .shape, name, expected: "queries [B, H, S, D], keys [B, G, T, D] and values [B, G, T, E]",
        got: "\(q.shape), \(k.shape) and \(v.shape)")
    }
    let (keys, values) = (try k.repeatedHeads(to: q.shape[1]), try v.repeatedHeads(to: q.shape[1]))
    // Both sides take the root, so that products of half precision do not overflow.
    let factor = (scale ?? 1 / Double(max(1, q.shape[3])).squareRoot())
    let product: Tensor
    if factor >= 0 {
      let root = factor.squareRoot()
      product = try (q * root).matmul((keys * root).transposed(2, 3))
    } else {
      product = try (q * factor).matmul(keys.transposed(2, 3))
    }
    var stages = [product]
    var scores = product
    if softcap > 0 { scores = try (scores / softcap).tanh() * softcap }
    stages.append(scores)
    scores = try masked(scores, context)
    stages.append(scores)
    if let precision { scores = try scores.cast(to: precision) }
    if let changesScores { scores = try changesScores(scores) }
    var probabilities = try scores.softmax(axis: 3)
    if !context.masks.isEmpty || context.lengths != nil || window.left >= 0 || window.right >= 0 {
      // Who sees no key gets zeros.
      let isBlind = try scores.max([3], keepsAxes: true).equal(scores.scalar(-.infinity))
      probabilities = try Tensor.where(isBlind, scores.scalar(0), probabilities)
    }
    if let changesProbabilities { probabilities = try changesProbabilities(probabilities) }
    probabilities = try probabilities.cast(to: v.dtype)
    stages.append(probabilities)
    return Result(output: try probabilities.matmul(values), stages: stages)
  }

  private func masked(_ scores: Tensor, _ context: Context) throws -> Tensor {
    let (queries, keys) = (scores.shape[2], scores.shape[3])
    var (result, allowed): (Tensor, Tensor?) = (scores, nil)
    func require(_ condition: Tensor) throws { allowed = try allowed.map { try $0.logicalAnd(condition) } ?? condition }
    for mask in context.masks {
      let whole = try mask.widened(to: keys)
      if whole.dtype == .bool { try require(whole) } else { result = try result + whole.cast(to: scores.dtype) }
    }
    let j = try Tensor.range(to: Double(keys), dtype: .int64)
    var position = try Tensor.range(to: Double(queries), dtype: .int64).reshaped([queries, 1])
    if let lengths = context.lengths {
      let ends = try lengths.cast(to: .int64).reshaped([-1, 1, 1, 1])
      position = try position + (ends - Tensor(scalar: Int64(queries)))
      try require(j.less(ends))
    } else if context.offset != 0 {
      position = try position + Tensor(scalar: Int64(context.offset))
    }
    if isCausal { try require(j.lessOrEqual(position)) }
    if window.left >= 0 { try require((position - j).lessOrEqual(Tensor(scalar: Int64(window.left)))) }
    if window.right >= 0 { try require((j - position).lessOrEqual(Tensor(scalar: Int64(window.right)))) }
    guard let allowed else { return result }
    let sum = try result.expanded(to: TensorShape.broadcast(result.shape, allowed.shape, operation: name))
    guard sum.shape == scores.shape else {
      throw ToeplitzError(.shape, name, expected: "masks that broadcast to \(scores.shape)", got: "\(allowed.shape)")
    }
    return try Tensor.where(allowed, sum, result.scalar(-.infinity))
  }
}

extension Tensor {
  /// A number of this tensor's type.
  func scalar(_ value: Double) throws -> Tensor { try Tensor.full([], value, dtype: dtype) }

  /// `[B, S, H · D]` as `[B, H, S, D]`.
  func heads(_ count: Int, _ operation: String) throws -> Tensor {
    guard rank == 3, count > 0, shape[2] % count == 0 else {
      throw ToeplitzError(
        .shape, operation, expected: "a tensor [B, S, \(count) · D] of \(count) heads", got: "shape \(shape)")
    }
    return try reshaped([shape[0], shape[1], count, shape[2] / count]).permuted([0, 2, 1, 3])
  }

  /// `[B, H, S, D]` as `[B, S, H · D]`.
  func joinedHeads() throws -> Tensor {
    try permuted([0, 2, 1, 3]).reshaped([shape[0], shape[2], shape[1] * shape[3]])
  }

  /// `[B, G, T, D]` with each head as often as gives `count`.
  fileprivate func repeatedHeads(to count: Int) throws -> Tensor {
    let (b, g, t, d) = (shape[0], shape[1], shape[2], shape[3])
    guard g != count else { return self }
    return try reshaped([b, g, 1, t, d]).expanded(to: [b, g, count / g, t, d]).reshaped([b, count, t, d])
  }

  /// A mask whose last axis reaches to `count`: further keys are not seen.
  fileprivate func widened(to count: Int) throws -> Tensor {
    guard let last = shape.last, last < count, last != 1 else { return self }
    var rest = shape
    rest[rank - 1] = count - last
    let fill = try Tensor.full(rest, dtype == .bool ? 0 : -.infinity, dtype: dtype)
    return try Tensor.concatenate([self, fill], axis: rank - 1)
  }

  /// Rotary embeddings (Su et al., <https://arxiv.org/abs/2104.09864>) of `[B, H, S, D]` by cosines and sines
  /// `[B, 1, S, R / 2]`; the first R of D are turned.
  func rotated(_ cosine: Tensor, _ sine: Tensor, size: Int, isInterleaved: Bool, _ operation: String) throws -> Tensor {
    let whole = shape[3]
    let turned = size == 0 ? whole : size
    guard turned > 0, turned <= whole, turned % 2 == 0, cosine.shape == sine.shape, cosine.shape.last == turned / 2
    else {
      throw ToeplitzError(
        .shape, operation, expected: "cosines and sines for an even number up to \(whole) of elements",
        got: "\(cosine.shape), \(sine.shape) and \(turned)")
    }
    let part = try slice(axis: 3, 0..<turned)
    let (a, b) =
      try isInterleaved
      ? (part.slice(axis: 3, 0..<turned, step: 2), part.slice(axis: 3, 1..<turned, step: 2))
      : (part.slice(axis: 3, 0..<turned / 2), part.slice(axis: 3, turned / 2..<turned))
    let (real, imaginary) = (try cosine * a - sine * b, try sine * a + cosine * b)
    let result =
      try isInterleaved
      ? Tensor.stack([real, imaginary], axis: 4).reshaped(part.shape)
      : Tensor.concatenate([real, imaginary], axis: 3)
    guard turned < whole else { return result }
    return try Tensor.concatenate([result, slice(axis: 3, turned..<whole)], axis: 3)
  }
}

extension OperatorTable {
  static let attention: [String: OperatorMaker] = [
    "Attention": { node in
      var rule = Attention(name: "Attention")
      rule.scale = try node.float("scale")
      rule.softcap = try node.float("softcap", 0)
      rule.precision = try node.dtype("softmax_precision")
      rule.isCausal = try node.flag("is_causal")
      rule.window = (try node.int("left_window_size", -1), try node.int("right_window_size", -1))
      let (queryHeads, keyHeads) = (try node.int("q_num_heads"), try node.int("kv_num_heads"))
      let stage = try node.int("qk_matmul_output_mode", 0)
      guard (0...3).contains(stage), rule.window.left >= -1, rule.window.right >= -1 else {
        throw node.refuse("a qk_matmul_output_mode from 0 to 3 and windows of at least -1", got: "others")
      }
      return { [rule] x in
        func split(_ tensor: Tensor, _ count: Int?) throws -> Tensor {
          guard tensor.rank == 3 else { return tensor }
          guard let count else {
            throw x.refuse("q_num_heads and kv_num_heads for inputs of 3 dimensions", got: "none")
          }
          return try tensor.heads(count, x.name)
        }
        let q = try split(x(0), queryHeads)
        var (k, v) = (try split(x(1), keyHeads), try split(x(2), keyHeads))
        var context = Attention.Context()
        if let mask = x.optional(3) { context.masks = [mask] }
        guard (x.optional(4) == nil) == (x.optional(5) == nil), x.optional(4) == nil || x.optional(6) == nil else {
          throw x.refuse("past keys and values together, or numbers of keys", got: "others")
        }
        if let pastKey = x.optional(4), let pastValue = x.optional(5), pastKey.rank == 4 {
          context.offset = pastKey.shape[2]
          k = try Tensor.concatenate([pastKey, k], axis: 2)
          v = try Tensor.concatenate([pastValue, v], axis: 2)
        }
        context.lengths = x.optional(6)
        let result = try rule(q, k, v, context)
        let y = try x(0).rank == 3 ? result.output.joinedHeads() : result.output
        return [y, k, v, result.stages[stage]]
      }
    },
    "RotaryEmbedding": { node in
      let (isInterleaved, size) = (try node.flag("interleaved"), try node.int("rotary_embedding_dim", 0))
      let count = try node.int("num_heads", 0)
      return { x in
        let input = try x(0).rank == 3 ? x(0).heads(count, x.name) : x(0)
        guard input.rank == 4 else { throw x.refuse(.shape, "an input of 3 or 4 dimensions", got: "\(input.shape)") }
        func rows(_ table: Tensor) throws -> Tensor {
          try (x.optional(3).map { try table.gathered($0, axis: 0) } ?? table).unsqueezed(1)
        }
        let y = try input.rotated(rows(x(1)), rows(x(2)), size: size, isInterleaved: isInterleaved, x.name)
        return [try x(0).rank == 3 ? y.joinedHeads() : y]
      }
    },
    "TensorScatter": { node in
      let (axis, mode) = (try node.int("axis", -2), try node.string("mode", "linear"))
      guard ["linear", "circular"].contains(mode) else { throw node.refuse("mode linear or circular", got: mode) }
      return { x in
        let (cache, update) = (try x(0), try x(1))
        let at = try cache.shape.normalizedAxis(axis, operation: "TensorScatter")
        guard at > 0, update.rank == cache.rank,
          cache.shape.indices.allSatisfy({
            $0 == at ? update.shape[$0] <= cache.shape[$0] : update.shape[$0] == cache.shape[$0]
          })
        else { throw x.refuse(.shape, "an update for a cache \(cache.shape)", got: "\(update.shape)") }
        let (batch, size) = (cache.shape[0], cache.shape[at])
        let zeros = try Tensor.zeros([batch], dtype: .int64)
        var places = try (x.optional(2)?.cast(to: .int64) ?? zeros).reshaped([batch, 1])
        places = try places + Tensor.range(to: Double(update.shape[at]), dtype: .int64)
        if mode == "circular", size > 0 { places = try places.remainder(Tensor(scalar: Int64(size))) }
        var shape = Array(repeating: 1, count: cache.rank)
        (shape[0], shape[at]) = (batch, update.shape[at])
        let whole = try places.reshaped(TensorShape(shape)).expanded(to: update.shape)
        return [try cache.scatteredElements(update, at: whole, axis: at)]
      }
    },
    "CausalConvWithState": { node in
      let activation = try node.string("activation", "none")
      guard ["none", "silu", "swish"].contains(activation) else {
        throw node.refuse("activation none, silu or swish", got: activation)
      }
      return { x in
        let (input, weight) = (try x(0), try x(1))
        guard input.rank == 3, weight.rank == 3, weight.shape[0] == input.shape[1], weight.shape[1] == 1,
          weight.shape[2] > 0
        else {
          throw x.refuse(.shape, "an input [B, C, L] and a weight [C, 1, K]", got: "\(input.shape) and \(weight.shape)")
        }
        let reach = weight.shape[2] - 1
        let before =
          try x.optional(3) ?? Tensor.zeros([input.shape[0], input.shape[1], reach], dtype: input.dtype)
        guard before.rank == 3, before.shape[2] == reach else {
          throw x.refuse(.shape, "a state of \(reach) positions", got: "\(before.shape)")
        }
        let whole = try reach == 0 ? input : Tensor.concatenate([before, input], axis: 2)
        var convolution = ConvolutionAttributes(name: x.name)
        convolution.groups = input.shape[1]
        let y = try convolution(whole, weight, x.optional(2))
        let end = whole.shape[2]
        return [try activation == "none" ? y : y.silu(), try whole.slice(axis: 2, (end - reach)..<end)]
      }
    },
    "LinearAttention": { node in try LinearAttention(node).function },
  ]

  /// Attention with graphs that change scores.
  static let flexAttention: [String: ValueMaker] = [
    "FlexAttention": { node in
      let scale = try node.float("scale")
      let precision = try node.dtype("softmax_precision")
      let (scores, probabilities) = (
        try node.has("score_mod") ? node.graph("score_mod") : nil,
        try node.has("prob_mod") ? node.graph("prob_mod") : nil
      )
      return { x in
        func change(_ body: ONNXBody?) -> (@Sendable (Tensor) throws -> Tensor)? {
          guard let body else { return nil }
          return { tensor in
            guard let result = try body([.tensor(tensor)], of: x).first?.tensor(x), result.spec == tensor.spec else {
              throw x.refuse(.shape, "a graph that keeps \(tensor.spec)", got: "another result")
            }
            return result
          }
        }
        let q = try x(0)
        var rule = Attention(name: x.name)
        rule.scale = scale
        rule.precision = precision ?? (q.dtype == .float64 ? .float64 : .float32)
        (rule.changesScores, rule.changesProbabilities) = (change(scores), change(probabilities))
        return [.tensor(try rule(q, x(1), x(2)).output)]
      }
    }
  ]
}
