import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Joins recurrent layers that do not depend on one another, such as the directions of one layer, so that they are computed at
/// the same time.
enum RecurrentDirections {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    var earlier: [Int] = []
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], let recurrence = node.operation as? Recurrence, !recurrence.hasLengths
      else { continue }
      // The earlier one moves here: nothing between may need it.
      if let at = earlier.last, let other = rewriter.nodes[at], let first = other.operation as? Recurrence,
        rewriter.graph.specs[other.outputs[0]].shape == rewriter.graph.specs[node.outputs[0]].shape,
        isFree(at, before: index, rewriter)
      {
        let joined = ParallelRecurrences(
          recurrences: [first, recurrence], counts: [other.inputs.count, node.inputs.count])
        rewriter.replace(at, by: nil)
        rewriter.replace(
          index,
          by: Graph.Node(
            joined, inputs: other.inputs + node.inputs, outputs: other.outputs + node.outputs, path: node.path,
            fused: other.history + node.history))
        earlier.removeLast()
      } else {
        earlier.append(index)
      }
    }
    return rewriter.finished
  }

  /// Whether no node up to `end` depends on node `index`.
  private static func isFree(_ index: Int, before end: Int, _ rewriter: GraphRewriter) -> Bool {
    guard let node = rewriter.nodes[index] else { return false }
    return node.outputs.allSatisfy { value in rewriter.userIndices(value).allSatisfy { $0 > end } }
  }
}
