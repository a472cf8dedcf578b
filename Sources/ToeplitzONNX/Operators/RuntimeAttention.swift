import ToeplitzOps
import ToeplitzTensor

/// Options that the attentions of com.microsoft share.
private struct RuntimeAttentionRule: Sendable {
  var heads: Int
  /// What is added to the score of a key that a mask leaves out.
  var filter: Double
  var rule: Attention

  init(_ node: OperatorNode) throws {
    heads = try node.int("num_heads", 0)
    guard heads > 0 else { throw node.refuse("num_heads of at least 1", got: "\(heads)") }
    filter = try node.float("mask_filter_value", -10000)
    rule = Attention(name: node.operation)
    rule.scale = try node.float("scale").flatMap { $0 == 0 ? nil : $0 }
    rule.isCausal = try node.flag("unidirectional")
  }

  /// A mask of lengths `[B]`, ends and beginnings `[2 B]`, or ones and zeros `[B, T]`, `[B, S, T]` or `[B, 1, M, M]` as numbers to add.
  func added(_ mask: Tensor, batch: Int, queries: Int, past: Int, keys: Int, _ dtype: DType, _ x: Operands) throws
    -> Tensor
  {
    let isSeen: Tensor
    switch mask.rank {
    case 1 where mask.count == batch || mask.count == 2 * batch:
      let places = try mask.cast(to: .int64)
      let j = try Tensor.range(to: Double(keys), dtype: .int64)
      func column(_ first: Int) throws -> Tensor {
        try places.slice(axis: 0, first..<first + batch).reshaped([batch, 1, 1, 1])
      }
      let isBefore = try j.less(column(0))
      isSeen = try mask.count == batch ? isBefore : isBefore.logicalAnd(j.greaterOrEqual(column(batch)))
    case 2, 3, 4:
      var whole = try mask.cast(to: .int64)
      if mask.rank == 2 { whole = try whole.unsqueezed(1) }
      if whole.rank == 3 { whole = try whole.unsqueezed(1) }
      if mask.rank == 4 {
        guard whole.shape[2] >= past + queries, whole.shape[3] >= keys else {
          throw x.refuse(.shape, "a mask of at least \(past + queries) positions", got: "\(mask.shape)")
        }
        whole = try whole.slice(axis: 2, past..<past + queries).slice(axis: 3, 0..<keys)
      }
      isSeen = try whole.greater(Tensor(scalar: Int64(0)))
    default: throw x.refuse(.shape, "a mask of lengths or of ones and zeros", got: "\(mask.shape)")
    }
    return try Tensor.where(isSeen, Tensor.full([], 0, dtype: dtype), Tensor.full([], filter, dtype: dtype))
  }
}

extension OperatorTable {
  static let runtimeAttention: [String: OperatorMaker] = [
    "Attention": { node in
      let shared = try RuntimeAttentionRule(node)
      let sizes = try node.ints("qkv_hidden_sizes")
      guard try !node.flag("do_rotary"), try !node.flag("past_present_share_buffer") else {
        throw ToeplitzError(
          .unsupported, node.operation, expected: "do_rotary and past_present_share_buffer 0", got: "1")
      }
      return { x in
        let (input, weight) = (try x(0), try x(1))
        guard input.rank == 3, weight.rank == 2, weight.shape[0] == input.shape[2] else {
          throw x.refuse(.shape, "an input [B, S, I] and weights [I, …]", got: "\(input.shape) and \(weight.shape)")
        }
        let widths = sizes ?? Array(repeating: weight.shape[1] / 3, count: 3)
        guard widths.count == 3, widths.allSatisfy({ $0 > 0 && $0 <= weight.shape[1] }),
          widths.reduce(0, +) == weight.shape[1]
        else { throw x.refuse("three sizes that together are \(weight.shape[1])", got: "\(widths)") }
        var all = try input.matmul(weight)
        if let bias = x.optional(2) { all = try all + bias }
        func part(_ start: Int, _ size: Int) throws -> Tensor {
          try all.slice(axis: 2, start..<start + size).heads(shared.heads, x.name)
        }
        let q = try part(0, widths[0])
        var (k, v) = (try part(widths[0], widths[1]), try part(widths[0] + widths[1], widths[2]))
        var context = Attention.Context()
        if let past = x.optional(4) {
          guard past.rank == 5, past.shape[0] == 2 else {
            throw x.refuse(.shape, "a past [2, B, H, P, D]", got: "\(past.shape)")
          }
          context.offset = past.shape[3]
          k = try Tensor.concatenate([past.select(axis: 0, 0), k], axis: 2)
          v = try Tensor.concatenate([past.select(axis: 0, 1), v], axis: 2)
        }
        if let mask = x.optional(3) {
          context.masks.append(
            try shared.added(
              mask, batch: q.shape[0], queries: q.shape[2], past: context.offset, keys: k.shape[2], q.dtype, x))
        }
        if let bias = x.optional(5) { context.masks.append(bias) }
        let y = try shared.rule(q, k, v, context).output.joinedHeads()
        return [y, k.shape == v.shape ? try Tensor.stack([k, v]) : nil]
      }
    },
    "MultiHeadAttention": { node in
      let shared = try RuntimeAttentionRule(node)
      return { x in
        let (q, k, v) = try shared.operands(x)
        var (keys, values) = (k, v)
        var context = Attention.Context()
        if let pastKey = x.optional(6), let pastValue = x.optional(7), pastKey.rank == 4 {
          guard x.optional(8) == nil, x.optional(9) == nil else {
            throw ToeplitzError(
              .unsupported, x.name, expected: "past keys in a tensor of their own", got: "a shared buffer")
          }
          context.offset = pastKey.shape[2]
          keys = try Tensor.concatenate([pastKey, keys], axis: 2)
          values = try Tensor.concatenate([pastValue, values], axis: 2)
        }
        if let mask = x.optional(4) {
          context.masks.append(
            try shared.added(
              mask, batch: q.shape[0], queries: q.shape[2], past: context.offset, keys: keys.shape[2], q.dtype, x))
        }
        if let bias = x.optional(5) { context.masks.append(bias) }
        let result = try shared.rule(q, keys, values, context)
        return [try result.output.joinedHeads(), keys, values, result.stages[3]]
      }
    },
    "RotaryEmbedding": { node in
      let (isInterleaved, size) = (try node.flag("interleaved"), try node.int("rotary_embedding_dim", 0))
      let (heads, scale) = (try node.int("num_heads", 0), try node.float("scale", 1))
      guard try !node.flag("is_packed_batching"), scale == 1 else {
        throw ToeplitzError(.unsupported, node.operation, expected: "is_packed_batching 0 and scale 1", got: "others")
      }
      return { x in
        let (given, places, table) = (try x(0), try x(1).cast(to: .int64), try x(2))
        guard table.rank == 2, given.rank == 3 || given.rank == 4 else {
          throw x.refuse(.shape, "an input of 3 or 4 dimensions and cosines [positions, D / 2]", got: "\(given.shape)")
        }
        let count = heads > 0 ? heads : given.rank == 3 ? given.shape[2] / max(1, 2 * table.shape[1]) : 0
        let input = try given.rank == 3 ? given.heads(count, x.name) : given
        // One position is that of the first element.
        let index =
          try places.rank == 1
          ? places.reshaped([1, 1]) + Tensor.range(to: Double(input.shape[2]), dtype: .int64) : places
        func rows(_ table: Tensor) throws -> Tensor { try table.gathered(index, axis: 0).unsqueezed(1) }
        let y = try input.rotated(rows(table), rows(x(3)), size: size, isInterleaved: isInterleaved, x.name)
        return [try given.rank == 3 ? y.joinedHeads() : y]
      }
    },
  ]
}

extension RuntimeAttentionRule {
  /// Queries, keys and values `[B, H, S, D]` of operands that may be packed, with their biases.
  fileprivate func operands(_ x: Operands) throws -> (Tensor, Tensor, Tensor) {
    func unpacked(_ tensor: Tensor, _ count: Int) throws -> [Tensor] {
      guard tensor.rank == 5, tensor.shape[2] == heads, tensor.shape[3] == count else {
        throw x.refuse(.shape, "a packed tensor [B, S, \(heads), \(count), D]", got: "\(tensor.shape)")
      }
      return try (0..<count).map { try tensor.select(axis: 3, $0).permuted([0, 2, 1, 3]) }
    }
    let first = try x(0)
    var parts: [Tensor]
    var isPast = false
    if first.rank == 5 {
      parts = try unpacked(first, 3)
    } else {
      parts = [try first.heads(heads, x.name)]
      let key = try x(1)
      isPast = key.rank == 4
      if key.rank == 5 {
        parts += try unpacked(key, 2)
      } else {
        parts += try [key, x(2)].map { try isPast ? $0 : $0.heads(heads, x.name) }
      }
    }
    guard let bias = x.optional(3) else { return (parts[0], parts[1], parts[2]) }
    var start = 0
    for index in 0..<3 {
      guard parts[index].rank == 4 else {
        throw x.refuse(.shape, "keys and values [B, H, T, D]", got: "\(parts[index].shape)")
      }
      let size = heads * parts[index].shape[3]
      guard bias.rank == 1, start + size <= bias.count else {
        throw x.refuse(.shape, "a bias for queries, keys and values", got: "\(bias.shape)")
      }
      let own = try bias.slice(axis: 0, start..<start + size).reshaped([1, heads, 1, parts[index].shape[3]])
      // Keys of a past have theirs.
      if index == 0 || !isPast { parts[index] = try parts[index] + own }
      start += size
    }
    return (parts[0], parts[1], parts[2])
  }
}
