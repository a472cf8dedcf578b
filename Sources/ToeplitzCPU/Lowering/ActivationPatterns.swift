import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Recognises activations that exporters write as several operations: SiLU as x · sigmoid(x), Hardswish as
/// x · clip(x + 3, 0, 6) / 6, Mish as x · tanh(softplus(x)), GELU as x · (1 + erf(x / √2)) / 2.
enum ActivationPatterns {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    // Outer products first: a factor may stand at either end of the pattern.
    for index in rewriter.nodes.indices.reversed() {
      guard let node = rewriter.nodes[index], let product = Product(index, rewriter),
        let (x, activation, members) = product.activation(rewriter),
        // A number of more axes than x has would give the product more too.
        rewriter.graph.specs[x] == rewriter.graph.specs[node.outputs[0]]
      else { continue }
      let names = members.sorted().compactMap { rewriter.nodes[$0]?.operation.name }
      let joined = Graph.Node(activation.operation, inputs: [x], outputs: node.outputs, path: node.path, fused: names)
      for member in members where member != index { rewriter.replace(member, by: nil) }
      rewriter.replace(index, by: joined)
    }
    return rewriter.finished
  }
}

/// A product of two values and a number, whatever the order of the operations.
private struct Product {
  var number = 1.0
  var factors: [Int] = []
  /// The nodes that compute it.
  var members: [Int] = []

  init?(_ index: Int, _ rewriter: GraphRewriter) {
    guard add(index, rewriter), factors.count == 2 else { return nil }
  }

  private mutating func add(_ index: Int, _ rewriter: GraphRewriter) -> Bool {
    guard let node = rewriter.nodes[index], let function = node.arithmetic,
      function == .multiply || function == .divide, members.count < 4
    else { return false }
    members.append(index)
    for (at, input) in node.inputs.enumerated() {
      if let constant = rewriter.graph.number(input) {
        guard function == .multiply || at == 1, constant != 0 else { return false }
        number *= function == .divide ? 1 / constant : constant
        continue
      }
      guard function == .multiply || at == 0 else { return false }
      let before = self
      if let maker = rewriter.soleMaker(input), add(maker, rewriter) { continue }
      self = before
      factors.append(input)
    }
    return true
  }

  /// The function that the product is of one of its factors, with the nodes that compute it.
  func activation(_ rewriter: GraphRewriter) -> (Int, Activation, [Int])? {
    for (x, other) in [(factors[0], factors[1]), (factors[1], factors[0])] {
      guard let maker = rewriter.soleMaker(other), let node = rewriter.nodes[maker] else { continue }
      let pattern = Pattern(x: x, rewriter: rewriter)
      func isNumber(_ wanted: Double) -> Bool { abs(number / wanted - 1) < 1e-5 }
      if isNumber(1), node.inputs == [x] {
        if node.operation is SigmoidOperation { return (x, .silu, members + [maker]) }
        if node.operation is HardSigmoid { return (x, .hardswish, members + [maker]) }
      }
      if isNumber(1), node.operation is HyperbolicTangent, let inner = pattern.softplus(node.inputs[0]) {
        return (x, .mish, members + [maker, inner])
      }
      if isNumber(1.0 / 6), let clamp = node.operation as? Clamp, clamp.low == 0, clamp.high == 6,
        let inner = pattern.sum(node.inputs[0], 3)
      {
        return (x, .hardswish, members + [maker, inner])
      }
      if isNumber(0.5), let inner = pattern.erf(maker) {
        return (x, .gelu(approximateTanh: false), members + inner)
      }
    }
    return nil
  }
}

/// Parts of patterns, as functions of one value; each gives the nodes it consists of.
private struct Pattern {
  let x: Int
  let rewriter: GraphRewriter

  /// softplus(x).
  func softplus(_ value: Int) -> Int? {
    guard let maker = rewriter.soleMaker(value), let node = rewriter.nodes[maker], node.inputs == [x],
      let softplus = node.operation as? SoftplusOperation, softplus.beta == 1, softplus.threshold >= 20
    else { return nil }
    return maker
  }

  /// x plus a number.
  func sum(_ value: Int, _ number: Double) -> Int? {
    guard let maker = rewriter.soleMaker(value), let node = rewriter.nodes[maker], other(node, .add, number) == x else {
      return nil
    }
    return maker
  }

  /// 1 + erf(x / √2), given the node of the sum.
  func erf(_ sum: Int) -> [Int]? {
    guard let node = rewriter.nodes[sum], let value = other(node, .add, 1), let maker = rewriter.soleMaker(value),
      let erf = rewriter.nodes[maker], erf.operation is ErrorFunction,
      let scaling = rewriter.soleMaker(erf.inputs[0]), let scaled = rewriter.nodes[scaling],
      other(scaled, .divide, 2.0.squareRoot()) == x || other(scaled, .multiply, 0.5.squareRoot()) == x
    else { return nil }
    return [sum, maker, scaling]
  }

  /// The operand of a node beside the given number.
  private func other(_ node: Graph.Node, _ function: Binary.Function, _ number: Double) -> Int? {
    guard node.arithmetic == function else { return nil }
    for (at, input) in node.inputs.enumerated() where function != .divide || at == 1 {
      guard let found = rewriter.graph.number(input), abs(found / number - 1) < 1e-5 else { continue }
      return node.inputs[1 - at]
    }
    return nil
  }
}
