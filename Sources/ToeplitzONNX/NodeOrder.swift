/// The nodes of a graph so that each stands behind those whose results it uses.
///
/// The format asks for that order; converters that add nodes at the end (such as those to half precision) do not keep it, and
/// ONNX Runtime does not mind. Nodes that are in order stay as they are, and so do those of a circle, which is refused where its
/// first value is missing.
func inOrder(_ nodes: [ONNXNode]) -> [ONNXNode] {
  var makers: [String: Int] = [:]
  for (index, node) in nodes.enumerated() {
    for output in node.outputs where !output.isEmpty && makers[output] == nil { makers[output] = index }
  }
  let needs = nodes.map { node in Set(node.usedNames.compactMap { makers[$0] }) }
  guard needs.indices.contains(where: { index in needs[index].contains { $0 >= index } }) else { return nodes }
  var users = [[Int]](repeating: [], count: nodes.count)
  var waiting = needs.map(\.count)
  for (index, makers) in needs.enumerated() {
    for maker in makers { users[maker].append(index) }
  }
  var queue = waiting.indices.filter { waiting[$0] == 0 }.sorted(by: >)
  var order: [Int] = []
  while let next = queue.popLast() {
    order.append(next)
    var released: [Int] = []
    for user in users[next] {
      waiting[user] -= 1
      if waiting[user] == 0 { released.append(user) }
    }
    queue += released.sorted(by: >)
  }
  guard order.count == nodes.count else { return nodes }
  return order.map { nodes[$0] }
}

extension ONNXNode {
  /// The names of values that it uses, and that graphs among its attributes use.
  fileprivate var usedNames: [String] {
    inputs
      + attributes.values.flatMap { attribute -> [String] in
        switch attribute {
        case .graph(let graph): graph.nodes.flatMap(\.usedNames) + graph.outputs.map(\.name)
        case .graphs(let graphs): graphs.flatMap { $0.nodes.flatMap(\.usedNames) + $0.outputs.map(\.name) }
        default: []
        }
      }
  }
}
