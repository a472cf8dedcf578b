import ToeplitzOps
import ToeplitzTensor

/// Recognises activations that exporters write as several operations: SiLU as x · sigmoid(x), Hardswish as
/// x · clip(x + 3, 0, 6) / 6, Mish as x · tanh(softplus(x)), GELU as x · (1 + erf(x / √2)) / 2.
enum ActivationPatterns {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var editor = GraphEditor(graph)
    // Outer products first: a factor may stand at either end of the pattern.
    for index in editor.nodes.indices.reversed() {
      guard let node = editor.nodes[index], let product = Product(index, graph, editor),
        let (x, activation, name, members) = product.activation(graph, editor)
      else { continue }
      let names = members.sorted().compactMap { editor.nodes[$0]?.operation.name }
      let joined = Graph.Node(
        name: node.name, operation: ActivationNode(name: name, activation), inputs: [x], outputs: node.outputs,
        fused: names)
      for member in members where member != index { editor.replace(member, by: nil) }
      editor.replace(index, by: joined)
      report.counts["activations recognised", default: 0] += 1
    }
    graph.nodes = editor.remaining
  }
}

/// A product of two values and a number, whatever the order of the operations.
private struct Product {
  var number = 1.0
  var factors: [ValueID] = []
  /// The nodes that compute it.
  var members: [Int] = []

  init?(_ index: Int, _ graph: Graph, _ editor: GraphEditor) {
    guard add(index, graph, editor), factors.count == 2 else { return nil }
  }

  private mutating func add(_ index: Int, _ graph: Graph, _ editor: GraphEditor) -> Bool {
    guard let node = editor.nodes[index], let operation = node.operation as? ElementwiseNode, node.inputs.count == 2,
      operation.kind == .multiply || operation.kind == .divide, members.count < 4
    else { return false }
    members.append(index)
    for (at, input) in node.inputs.enumerated() {
      guard let input else { return false }
      if let constant = graph.number(input) {
        guard operation.kind == .multiply || at == 1, constant != 0 else { return false }
        number *= operation.kind == .divide ? 1 / constant : constant
        continue
      }
      guard operation.kind == .multiply || at == 0 else { return false }
      let before = self
      if let maker = editor.soleMaker(input), add(maker, graph, editor) { continue }
      self = before
      factors.append(input)
    }
    return true
  }

  /// The function that the product is of one of its factors.
  func activation(_ graph: Graph, _ editor: GraphEditor) -> (ValueID, Activation, String, [Int])? {
    for (x, other) in [(factors[0], factors[1]), (factors[1], factors[0])] {
      guard let maker = editor.soleMaker(other), let node = editor.nodes[maker] else { continue }
      let pattern = Pattern(x: x, graph: graph, editor: editor)
      func isNumber(_ wanted: Double) -> Bool { abs(number / wanted - 1) < 1e-5 }
      if let simple = node.operation as? ActivationNode {
        if isNumber(1), node.inputs == [x] {
          if simple.activation == .sigmoid { return (x, .silu, "Silu", members + [maker]) }
          if simple.activation == .hardsigmoid { return (x, .hardswish, "HardSwish", members + [maker]) }
        }
        if isNumber(1), simple.activation == .tanh, let inner = pattern.softplus(node.inputs.first ?? nil) {
          return (x, .mish, "Mish", members + [maker, inner])
        }
      }
      if isNumber(1.0 / 6), graph.clamp(node) == .clamp(low: 0, high: 6),
        let inner = pattern.sum(node.inputs.first ?? nil, 3)
      {
        return (x, .hardswish, "HardSwish", members + [maker, inner])
      }
      if isNumber(0.5), let inner = pattern.erf(maker) {
        return (x, .gelu(approximateTanh: false), "Gelu", members + inner)
      }
    }
    return nil
  }
}

/// Parts of patterns, as functions of one value; each gives the nodes it consists of.
private struct Pattern {
  let x: ValueID
  let graph: Graph
  let editor: GraphEditor

  /// softplus(x).
  func softplus(_ value: ValueID?) -> Int? {
    guard let maker = editor.soleMaker(value), let node = editor.nodes[maker], node.inputs == [x],
      case .softplus(beta: 1, threshold: let threshold)? = (node.operation as? ActivationNode)?.activation,
      threshold > 80
    else { return nil }
    return maker
  }

  /// x plus a number.
  func sum(_ value: ValueID?, _ number: Double) -> Int? {
    guard let maker = editor.soleMaker(value), let node = editor.nodes[maker],
      other(node, .add, number) == x
    else { return nil }
    return maker
  }

  /// 1 + erf(x / √2), given the node of the sum.
  func erf(_ sum: Int) -> [Int]? {
    guard let node = editor.nodes[sum], let value = other(node, .add, 1), let maker = editor.soleMaker(value),
      let erf = editor.nodes[maker], erf.operation.name == "Erf",
      let scaling = editor.soleMaker(erf.inputs.first ?? nil), let scaled = editor.nodes[scaling],
      other(scaled, .divide, 2.0.squareRoot()) == x || other(scaled, .multiply, 0.5.squareRoot()) == x
    else { return nil }
    return [sum, maker, scaling]
  }

  /// The operand of a node beside the given number.
  private func other(_ node: Graph.Node, _ kind: ElementwiseNode.Kind, _ number: Double) -> ValueID? {
    guard let operation = node.operation as? ElementwiseNode, operation.kind == kind, node.inputs.count == 2 else {
      return nil
    }
    for (at, input) in node.inputs.enumerated() where kind != .divide || at == 1 {
      guard let input, let found = graph.number(input), abs(found / number - 1) < 1e-5 else { continue }
      return node.inputs[1 - at]
    }
    return nil
  }
}

extension Graph {
  /// The number that a constant of one element holds.
  func number(_ value: ValueID?) -> Double? {
    guard let spec = constantSpec(value), spec.dtype.isFloatingPoint, spec.shape.rank <= 1,
      spec.shape.reduce(1, *) == 1
    else { return nil }
    return try? constant(of: value)?.cast(to: .float64).reshaped([]).item(Double.self)
  }

  /// The function of a clip whose bounds are known numbers in the right order.
  func clamp(_ node: Node) -> Activation? {
    guard let clip = node.operation as? ClipNode else { return nil }
    if let (low, high) = clip.bounds { return low <= high ? .clamp(low: low, high: high) : nil }
    guard node.inputs.count > 1 else { return nil }
    func bound(_ index: Int, _ missing: Double) -> Double? {
      guard index < node.inputs.count, let value = node.inputs[index] else { return missing }
      guard let constant = constant(of: value), constant.count == 1, constant.dtype.isFloatingPoint else {
        return nil
      }
      return try? constant.cast(to: .float64).reshaped([]).item(Double.self)
    }
    guard let low = bound(1, -.infinity), let high = bound(2, .infinity), low <= high else { return nil }
    return .clamp(low: low, high: high)
  }
}
