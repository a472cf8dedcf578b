import ToeplitzOps
import ToeplitzTensor

/// What one node of a graph does.
public struct ListingRow: Sendable {
  /// The layer, or the node of a file, that it stands for.
  public var name: String
  /// The operation.
  public var operation: String
  /// Shapes and types of the results.
  public var outputs: [TensorSpec]
  /// Elements of the node's constants.
  public var parameters: Int
  /// Multiply-adds; 0 for operations that have none to speak of.
  public var multiplyAdds: Int
  /// Bytes of all operands and results; views take none.
  public var bytes = 0
  /// What was fused into it.
  public var fused: [String]
}

extension Graph {
  /// What each node does, in order.
  public var listing: [ListingRow] { nodes.map(row) }

  /// What a node does.
  package func row(_ node: Node) -> ListingRow {
    let operands = node.inputs.compactMap { constants[$0] }
    // Axes, sizes and the like are no parameters.
    let parameters = operands.filter { $0.count > 1 || $0.dtype.isFloatingPoint }.reduce(0) { $0 + $1.count }
    let work = (node.operation as? any CountedOperation).flatMap { try? $0.multiplyAdds(node.inputs.map { specs[$0] }) }
    return ListingRow(
      name: node.path, operation: node.operation.name, outputs: node.outputs.map { specs[$0] }, parameters: parameters,
      multiplyAdds: work ?? 0,
      bytes: (node.inputs + node.outputs).reduce(0) { $0 + specs[$1].shape.reduce(specs[$1].dtype.byteSize, *) },
      fused: node.fused)
  }

  /// The graph in the DOT language of Graphviz.
  public var dot: String {
    func quoted(_ text: String) -> String {
      "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: " ") + "\""
    }
    var lines = ["digraph \(quoted(name.isEmpty ? "graph" : name)) {", "  node [shape=box, fontname=Helvetica];"]
    var makers: [Int: String] = [:]
    for (index, input) in inputs.enumerated() {
      makers[input.value] = "in\(index)"
      lines.append("  in\(index) [shape=ellipse, label=\(quoted("\(input.name)\n\(specs[input.value])"))];")
    }
    for (index, node) in nodes.enumerated() {
      lines.append("  n\(index) [label=\(quoted(node.label))];")
      for input in node.inputs {
        if let maker = makers[input] { lines.append("  \(maker) -> n\(index);") }
      }
      for output in node.outputs { makers[output] = "n\(index)" }
    }
    for (index, output) in outputs.enumerated() {
      lines.append("  out\(index) [shape=ellipse, label=\(quoted(output.name))];")
      if let maker = makers[output.value] { lines.append("  \(maker) -> out\(index);") }
    }
    return (lines + ["}"]).joined(separator: "\n")
  }
}

extension Graph: CustomStringConvertible {
  /// The inputs, a line for each node with its layer, operation and results, and the outputs.
  public var description: String {
    var lines = [name.isEmpty ? "graph" : "graph '\(name)'"]
    lines += inputs.map { "  input \($0.name): \(specs[$0.value])" }
    lines += nodes.map { node in
      let results = node.outputs.map { specs[$0].description }.joined(separator: ", ")
      return "  " + (node.path.isEmpty ? "" : "\(node.path): ") + "\(node.label) -> \(results)"
    }
    return (lines + outputs.map { "  output \($0.name): \(specs[$0.value])" }).joined(separator: "\n")
  }
}

extension Graph.Node {
  /// The operation with what was fused into it.
  var label: String { operation.name + (fused.isEmpty ? "" : " (\(fused.joined(separator: ", ")))") }
}
