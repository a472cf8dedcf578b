/// What passes ask of a graph while they change it: who makes a value, and who uses it.
struct GraphEditor {
  private(set) var nodes: [Graph.Node?]
  private var maker: [ValueID: Int] = [:]
  private var users: [ValueID: [Int]] = [:]
  /// Values that the caller, or a graph inside, sees.
  private let visible: Set<ValueID>

  init(_ graph: Graph) {
    nodes = graph.nodes
    visible = Set(graph.outputs.map(\.value) + graph.nodes.flatMap(\.operation.captures))
    for (index, node) in graph.nodes.enumerated() { link(node, index) }
  }

  private mutating func link(_ node: Graph.Node, _ index: Int) {
    for output in node.outputs.compactMap({ $0 }) { maker[output] = index }
    for input in node.inputs.compactMap({ $0 }) { users[input, default: []].append(index) }
  }

  /// The nodes that are left.
  var remaining: [Graph.Node] { nodes.compactMap { $0 } }

  /// The number of the node that makes a value.
  func makerIndex(_ value: ValueID?) -> Int? { value.flatMap { maker[$0] } }

  /// The nodes that use a value, once for each use.
  func userIndices(_ value: ValueID) -> [Int] { users[value] ?? [] }

  /// The number of the node that makes a value nobody else uses.
  func soleMaker(_ value: ValueID?) -> Int? {
    guard let value, !visible.contains(value), users[value]?.count == 1 else { return nil }
    return maker[value]
  }

  /// Whether nobody outside the nodes sees the value.
  func isHidden(_ value: ValueID) -> Bool { !visible.contains(value) }

  /// Puts another node in the place of one, or removes it.
  mutating func replace(_ index: Int, by node: Graph.Node?) {
    if let old = nodes[index] {
      for input in old.inputs.compactMap({ $0 }) {
        if let at = users[input]?.firstIndex(of: index) { users[input]?.remove(at: at) }
      }
      for output in old.outputs.compactMap({ $0 }) where maker[output] == index { maker[output] = nil }
    }
    nodes[index] = node
    if let node { link(node, index) }
  }
}
