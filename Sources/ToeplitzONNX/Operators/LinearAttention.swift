import ToeplitzOps
import ToeplitzTensor

/// Attention without a softmax as a recurrence: each step writes a key and a value into a state `[B, G, D, E]`, from which
/// queries read (Yang et al., <https://arxiv.org/abs/2412.06464>).
struct LinearAttention: Sendable {
  private var queryHeads: Int
  private var heads: Int
  private var scale: Double
  /// Whether the state fades, and whether what it holds for a key is taken off first.
  private var fades: Bool
  private var corrects: Bool

  init(_ node: OperatorNode) throws {
    queryHeads = try node.int("q_num_heads", 0)
    heads = try node.int("kv_num_heads", 0)
    scale = try node.float("scale", 0)
    let rule = try node.string("update_rule", "gated_delta")
    guard ["linear", "gated", "delta", "gated_delta"].contains(rule), heads > 0, queryHeads > 0, queryHeads % heads == 0
    else {
      throw node.refuse(
        "update_rule linear, gated, delta or gated_delta, and q_num_heads a multiple of kv_num_heads",
        got: "\(rule), \(queryHeads) and \(heads)")
    }
    (fades, corrects) = (rule.hasPrefix("gated"), rule.hasSuffix("delta"))
  }

  var function: OperatorFunction { { try self($0) } }

  private func callAsFunction(_ x: Operands) throws -> [Tensor?] {
    let dtype = try x(0).dtype
    let q = try x(0).cast(to: .float32).heads(queryHeads, x.name)
    let k = try x(1).cast(to: .float32).heads(heads, x.name)
    let v = try x(2).cast(to: .float32).heads(heads, x.name)
    let (batch, length, size, width) = (q.shape[0], q.shape[2], q.shape[3], v.shape[3])
    guard k.shape == [batch, heads, length, size], v.shape[0] == batch, v.shape[2] == length else {
      throw x.refuse(.shape, "keys and values for queries \(q.shape)", got: "\(k.shape) and \(v.shape)")
    }
    guard (x.optional(4) != nil) == fades, (x.optional(5) != nil) == corrects else {
      throw x.refuse("a decay and a rate where the rule has them, and nowhere else", got: "others")
    }
    let decay = try x.optional(4)?.cast(to: .float32).perHead(heads, x)
    let rate = try x.optional(5)?.cast(to: .float32).perHead(heads, x)
    let given = x.optional(3)
    var state = try given?.cast(to: .float32) ?? Tensor.zeros([batch, heads, size, width])
    guard state.shape == [batch, heads, size, width] else {
      throw x.refuse(.shape, "a state [\(batch), \(heads), \(size), \(width)]", got: "\(state.shape)")
    }
    let factor = scale == 0 ? 1 / Double(max(size, 1)).squareRoot() : scale
    var outputs: [Tensor] = []
    for step in 0..<length {
      try Trace.running?.countRepeated(steps: 8, x.name)
      func at(_ tensor: Tensor) throws -> Tensor { try tensor.slice(axis: 2, step..<step + 1) }
      if let decay { state = try state * at(decay).exp().transposed(2, 3) }
      let key = try at(k).transposed(2, 3)
      var value = try at(v)
      if let rate { value = try at(rate) * (value - key.transposed(2, 3).matmul(state)) }
      state = try state + key * value
      // Queries of one group stand below each other.
      let query = try at(q).reshaped([batch, heads, queryHeads / heads, size])
      outputs.append(try query.matmul(state) * factor)
    }
    guard !outputs.isEmpty else { throw x.refuse(.shape, "at least one position", got: "\(q.shape)") }
    let y = try Tensor.stack(outputs, axis: 1).reshaped([batch, length, queryHeads * width])
    return [try y.cast(to: dtype), try state.cast(to: given?.dtype ?? dtype)]
  }
}

extension Tensor {
  /// Numbers `[B, T, n]`, one or D for each head or one for all, as `[B, H, T, …]`.
  fileprivate func perHead(_ heads: Int, _ x: Operands) throws -> Tensor {
    guard rank == 3, shape[2] == 1 || shape[2] % heads == 0 else {
      throw x.refuse(.shape, "numbers [B, T, n · \(heads)]", got: "\(shape)")
    }
    return try shape[2] == 1 ? unsqueezed(1) : self.heads(heads, x.name)
  }
}
