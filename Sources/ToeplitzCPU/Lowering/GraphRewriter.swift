import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A graph that lowering passes change, with what they ask of it: who makes a value, and who uses it.
struct GraphRewriter {
  /// The values and constants; its nodes are out of date until ``finished``.
  var graph: Graph
  /// Results of operations on constants.
  let folded: FoldedConstants
  private(set) var nodes: [Graph.Node?]
  /// The node that makes each value, −1 if none does, and the nodes that use it.
  private var makers: [Int]
  private var users: [[Int]]
  /// Values that callers see.
  private let visible: Set<Int>

  init(_ graph: Graph, _ folded: FoldedConstants) {
    self.graph = graph
    self.folded = folded
    nodes = graph.nodes
    visible = Set(graph.outputs.map(\.value))
    makers = Array(repeating: -1, count: graph.specs.count)
    users = Array(repeating: [], count: graph.specs.count)
    for (index, node) in graph.nodes.enumerated() { link(node, index) }
  }

  private mutating func link(_ node: Graph.Node, _ index: Int) {
    // Passes add constants.
    if users.count < graph.specs.count {
      makers += Array(repeating: -1, count: graph.specs.count - makers.count)
      users += Array(repeating: [], count: graph.specs.count - users.count)
    }
    for output in node.outputs { makers[output] = index }
    for input in node.inputs { users[input].append(index) }
  }

  /// The graph with the nodes that are left.
  var finished: Graph {
    var graph = graph
    graph.nodes = nodes.compactMap { $0 }
    return graph
  }

  /// The tensor of a value that is constant.
  func constant(_ value: Int?) -> Tensor? { value.flatMap { graph.constants[$0] } }

  /// The nodes that use a value, once for each use.
  func userIndices(_ value: Int) -> [Int] { users[value] }

  /// The number of the node that makes a value.
  func maker(_ value: Int) -> Int? { makers[value] >= 0 ? makers[value] : nil }

  /// The number of the node that makes a value nobody else uses.
  func soleMaker(_ value: Int) -> Int? {
    guard makers[value] >= 0, users[value].count == 1, !visible.contains(value) else { return nil }
    return makers[value]
  }

  /// Whether callers do not see the value.
  func isHidden(_ value: Int) -> Bool { !visible.contains(value) }

  /// Puts another node in the place of one, or removes it.
  mutating func replace(_ index: Int, by node: Graph.Node?) {
    if let old = nodes[index] {
      for input in old.inputs {
        if let at = users[input].firstIndex(of: index) { users[input].remove(at: at) }
      }
      for output in old.outputs where makers[output] == index { makers[output] = -1 }
    }
    nodes[index] = node
    if let node { link(node, index) }
  }
}

extension Graph.Node {
  /// The function of two numbers that it applies to each pair of elements, if it does.
  var arithmetic: Binary.Function? { (operation as? Binary)?.function }

  /// What it is, with what was fused into it, for the next node that it is fused into.
  var history: [String] { fused.isEmpty ? [operation.name] : fused }
}
