import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The domain ai.onnx.preview.training: steps of optimisers.
extension OperatorTable {
  static let training: [String: OperatorMaker] = [
    "Adagrad": { node in
      let (decay, eps) = (try node.float("decay_factor", 0), try node.float("epsilon", 0))
      let norm = try node.float("norm_coefficient", 0)
      return { x in
        let rate = try x(0) / (x(1).cast(to: x(0).dtype) * decay + 1)
        return try optimized(x, states: 1) { weight, gradient, states in
          let whole = try gradient + weight * norm
          let sum = try states[0] + whole * whole
          return [try weight - rate * whole / (sum.sqrt() + eps), sum]
        }
      }
    },
    "Adam": { node in
      let (alpha, beta) = (try node.float("alpha", 0.9), try node.float("beta", 0.999))
      let eps = try node.float("epsilon", 0)
      let (norm, last) = (try node.float("norm_coefficient", 0), try node.float("norm_coefficient_post", 0))
      return { x in
        let count = try x(1).cast(to: .float64)
        func power(_ base: Double) throws -> Tensor { try Tensor(scalar: base).pow(count) }
        let exact = try x(0).cast(to: .float64)
        let corrected = try exact * (power(beta).negated() + 1).sqrt() / (power(alpha).negated() + 1)
        let rate = try Tensor.where(count.greater(Tensor(scalar: 0.0)), corrected, exact).cast(to: x(0).dtype)
        return try optimized(x, states: 2) { weight, gradient, states in
          let whole = try gradient + weight * norm
          let mean = try states[0] * alpha + whole * (1 - alpha)
          let square = try states[1] * beta + whole * whole * (1 - beta)
          let next = try weight - rate * mean / (square.sqrt() + eps)
          return [try last == 0 ? next : next * (1 - last), mean, square]
        }
      }
    },
    "Momentum": { node in
      let (alpha, beta) = (try node.float("alpha", 0), try node.float("beta", 0))
      let (norm, mode) = (try node.float("norm_coefficient", 0), try node.string("mode", "standard"))
      guard ["standard", "nesterov"].contains(mode) else { throw node.refuse("mode standard or nesterov", got: mode) }
      return { x in
        let rate = try x(0)
        // The first step takes the whole gradient.
        let isLater = try x(1).greater(Tensor.full([], 0, dtype: x(1).dtype))
        let share = try Tensor.where(isLater, rate.scalar(beta), rate.scalar(1))
        return try optimized(x, states: 1) { weight, gradient, states in
          let whole = try gradient + weight * norm
          let speed = try states[0] * alpha + whole * share
          let step = try mode == "nesterov" ? whole + speed * alpha : speed
          return [try weight - rate * step, speed]
        }
      }
    },
  ]

  static let gradients: [String: ValueMaker] = [
    "Gradient": { node in
      let (sources, held) = (try node.strings("xs") ?? [], try node.strings("zs") ?? [])
      guard let target = try node.string("y"), sources.count + held.count == node.hasInput.count else {
        throw node.refuse("an input for each of xs and zs", got: "\(node.hasInput.count)")
      }
      let step = try node.gradient(sources + held, sources.count, target)
      return { try step($0) }
    }
  ]

  /// Rate, number of steps, and then weights, gradients and so many states of each: the new weights, then the new states.
  private static func optimized(
    _ x: Operands, states: Int, _ body: (Tensor, Tensor, [Tensor]) throws -> [Tensor]
  ) throws -> [Tensor?] {
    let count = (x.count - 2) / (2 + states)
    guard count > 0, x.count == 2 + count * (2 + states) else {
      throw x.refuse("a gradient and \(states) states for each weight", got: "\(x.count) inputs")
    }
    let results = try (0..<count).map { index in
      try body(x(2 + index), x(2 + count + index), (0..<states).map { try x(2 + (2 + $0) * count + index) })
    }
    return (0...states).flatMap { part in results.map { $0[part] } }
  }
}
