import ToeplitzOps
import ToeplitzTensor

/// What one node of an executable does for given inputs.
public struct ListingRow: Sendable {
  /// The node's name.
  public var name: String
  /// The operation.
  public var operation: String
  /// Shapes and types of the results; nil where nobody wants one.
  public var outputs: [TensorSpec]
  /// Elements of the node's constants.
  public var parameters: Int
  /// Multiply-adds; 0 for operations that have none to speak of.
  public var multiplyAdds: Int
  /// What was joined to it.
  public var fused: [String]
}

extension Executable {
  /// What each node does for the given inputs.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit.
  public func listing(_ inputs: [String: Tensor]) throws -> [ListingRow] {
    var specs: [ValueID: TensorSpec] = [:]
    for (port, tensor) in zip(graph.inputs, try ordered(inputs)) { specs[port.value] = tensor.spec }
    var rows: [ListingRow] = []
    _ = try run(inputs) { index, results in
      let node = self.graph.nodes[index]
      for (output, result) in zip(node.outputs, results) {
        if let output, let result { specs[output] = result.spec }
      }
      let operands = node.inputs.map { id in id.flatMap { specs[$0] ?? self.graph.constantSpec($0) } }
      let constants = node.inputs.compactMap { self.graph.constantSpec($0) }
      rows.append(
        ListingRow(
          name: node.name, operation: node.operation.name,
          outputs: zip(node.outputs, results).compactMap { $0 == nil ? nil : $1?.spec },
          parameters: constants.map { ($0.shape.reduce(1, *), $0.dtype.isFloatingPoint) }
            .reduce(0) { $0 + ($1.0 > 1 || $1.1 ? $1.0 : 0) },
          multiplyAdds: Self.work(node, operands, results.first.flatMap { $0?.spec }), fused: node.fused))
    }
    return rows
  }

  private static func work(_ node: Graph.Node, _ operands: [TensorSpec?], _ result: TensorSpec?) -> Int {
    guard let x = operands.first ?? nil, operands.count > 1, let weight = operands[1], let result else { return 0 }
    if let unit = node.operation as? ResidualUnitNode, operands.count > 3, let second = operands[3] {
      return (try? unit.multiplyAdds(x.shape, weight.shape, second.shape)) ?? 0
    }
    if let together = node.operation as? SeparableNode {
      let weights = together.rearrangedOperands.compactMap { $0 < operands.count ? operands[$0]?.shape : nil }
      return (try? together.multiplyAdds(x.shape, weights)) ?? 0
    }
    if let convolution = node.operation as? ConvolutionNode {
      guard let geometry = try? convolution.geometry(x.shape, weight.shape).0,
        let one = try? geometry.multiplyAdds(inputSize: Array(x.shape.dropFirst(2)))
      else { return 0 }
      return one * x.shape[0]
    }
    guard ["MatMul", "Gemm"].contains(node.operation.name), let inner = x.shape.last else { return 0 }
    return result.shape.reduce(1, *) * inner
  }
}

extension Graph {
  /// The graph in the DOT language of Graphviz.
  public var dot: String {
    func quoted(_ text: String) -> String {
      "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: " ") + "\""
    }
    var lines = ["digraph \(quoted(name.isEmpty ? "graph" : name)) {", "  node [shape=box, fontname=Helvetica];"]
    var makers: [ValueID: String] = [:]
    for (index, input) in inputs.enumerated() {
      makers[input.value] = "in\(index)"
      lines.append("  in\(index) [shape=ellipse, label=\(quoted("\(input.name)\n\(input.description)"))];")
    }
    for (index, node) in nodes.enumerated() {
      let joined = node.fused.isEmpty ? "" : " (\(node.fused.joined(separator: ", ")))"
      lines.append("  n\(index) [label=\(quoted(node.operation.name + joined))];")
      for input in (node.inputs.compactMap { $0 } + node.operation.captures) {
        if let maker = makers[input] { lines.append("  \(maker) -> n\(index);") }
      }
      for output in node.outputs.compactMap({ $0 }) { makers[output] = "n\(index)" }
    }
    for (index, output) in outputs.enumerated() {
      lines.append("  out\(index) [shape=ellipse, label=\(quoted(output.name))];")
      if let maker = makers[output.value] { lines.append("  \(maker) -> out\(index);") }
    }
    return (lines + ["}"]).joined(separator: "\n")
  }
}
