import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let losses: [String: OperatorMaker] = [
    "NegativeLogLikelihoodLoss": { node in
      let rule = try LossRule(node)
      return { [try rule($0(0), $0(1), weight: $0.optional(2), $0)] }
    },
    "SoftmaxCrossEntropyLoss": { node in
      let rule = try LossRule(node)
      return { x in
        let logarithms = try x(0).logSoftmax(axis: 1)
        return [try rule(logarithms, x(1), weight: x.optional(2), x), logarithms]
      }
    },
  ]
}

/// The negative of a class's logarithm of probability, weighted and joined as PyTorch's losses do.
private struct LossRule: Sendable {
  var reduction: String
  var ignored: Int?

  init(_ node: OperatorNode) throws {
    reduction = try node.string("reduction", "mean")
    ignored = try node.int("ignore_index")
    guard ["none", "sum", "mean"].contains(reduction) else {
      throw node.refuse("reduction none, sum or mean", got: reduction)
    }
  }

  /// The loss of logarithms `[N, C, …]` at classes `[N, …]`.
  func callAsFunction(_ logarithms: Tensor, _ classes: Tensor, weight: Tensor?, _ x: Operands) throws -> Tensor {
    guard logarithms.rank >= 2, logarithms.rank == classes.rank + 1, classes.dtype.isInteger,
      logarithms.shape[0] == classes.shape[0], Array(logarithms.shape[2...]) == Array(classes.shape[1...]),
      weight.map({ $0.shape == [logarithms.shape[1]] }) ?? true
    else {
      throw x.refuse(
        .shape, "logarithms [N, C, …], whole numbers [N, …] and weights [C]",
        got: "\(logarithms.spec), \(classes.spec) and \(weight?.shape ?? [])")
    }
    let index = try classes.cast(to: .int64)
    let isIgnored = try ignored.map { try index.equal(Tensor(scalar: Int64($0))) }
    // What is ignored may be no class; it reads the first.
    let place = try isIgnored.map { try Tensor.where($0, Tensor(scalar: Int64(0)), index) } ?? index
    var losses = try logarithms.gatheredElements(place.unsqueezed(1), axis: 1).squeezed(1).negated()
    let one = try losses.scalar(1)
    var weights = try weight?.cast(to: losses.dtype).gathered(place, axis: 0)
    if let isIgnored { weights = try Tensor.where(isIgnored, losses.scalar(0), weights ?? one) }
    if let weights { losses = try losses * weights }
    switch reduction {
    case "none": return losses
    case "sum": return try losses.sum()
    default: return try weights.map { try losses.sum() / $0.expanded(to: losses.shape).sum() } ?? losses.mean()
    }
  }
}
