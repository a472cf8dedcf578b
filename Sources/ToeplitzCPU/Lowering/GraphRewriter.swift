import ToeplitzGraph
import ToeplitzTensor

/// A graph that lowering passes change, with what they ask of it: who makes a value, and who uses it.
struct GraphRewriter {
  /// The values and constants; its nodes are out of date until ``finished``.
  var graph: Graph
  /// Results of operations on constants.
  let folded: FoldedConstants
  private(set) var nodes: [Graph.Node?]
  private var maker: [Int: Int] = [:]
  private var users: [Int: [Int]] = [:]
  /// Values that callers see.
  private let visible: Set<Int>

  init(_ graph: Graph, _ folded: FoldedConstants) {
    self.graph = graph
    self.folded = folded
    nodes = graph.nodes
    visible = Set(graph.outputs.map(\.value))
    for (index, node) in graph.nodes.enumerated() { link(node, index) }
  }

  private mutating func link(_ node: Graph.Node, _ index: Int) {
    for output in node.outputs { maker[output] = index }
    for input in node.inputs { users[input, default: []].append(index) }
  }

  /// The graph with the nodes that are left.
  var finished: Graph {
    var graph = graph
    graph.nodes = nodes.compactMap { $0 }
    return graph
  }

  /// The tensor of a value that is constant.
  func constant(_ value: Int?) -> Tensor? { value.flatMap { graph.constants[$0] } }

  /// The number of the node that makes a value.
  func makerIndex(_ value: Int) -> Int? { maker[value] }

  /// The nodes that use a value, once for each use.
  func userIndices(_ value: Int) -> [Int] { users[value] ?? [] }

  /// The number of the node that makes a value nobody else uses.
  func soleMaker(_ value: Int) -> Int? {
    guard !visible.contains(value), users[value]?.count == 1 else { return nil }
    return maker[value]
  }

  /// Whether callers do not see the value.
  func isHidden(_ value: Int) -> Bool { !visible.contains(value) }

  /// Puts another node in the place of one, or removes it.
  mutating func replace(_ index: Int, by node: Graph.Node?) {
    if let old = nodes[index] {
      for input in old.inputs {
        if let at = users[input]?.firstIndex(of: index) { users[input]?.remove(at: at) }
      }
      for output in old.outputs where maker[output] == index { maker[output] = nil }
    }
    nodes[index] = node
    if let node { link(node, index) }
  }
}

extension Graph.Node {
  /// What it is, with what was fused into it, for the next node that it is fused into.
  var history: [String] { fused.isEmpty ? [operation.name] : fused }
}
