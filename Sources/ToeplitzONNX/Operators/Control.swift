import ToeplitzLegacyGraph
import ToeplitzTensor

extension OperatorTable {
  static let control: [String: OperatorMaker] = [
    "If": { node in IfNode(then: try node.program("then_branch"), else: try node.program("else_branch")) },
    "Loop": { node in LoopNode(body: try node.program("body")) },
    "Scan": { node in
      guard node.opset >= 9 else {
        throw ToeplitzError(.unsupported, "Scan", expected: "opset 9 or higher", got: "\(node.opset)")
      }
      return ScanNode(
        body: try node.program("body"), count: try node.int("num_scan_inputs", 0),
        axes: try node.ints("scan_input_axes") ?? [],
        reversed: (try node.ints("scan_input_directions") ?? []).map { $0 != 0 },
        resultAxes: try node.ints("scan_output_axes") ?? [],
        resultReversed: (try node.ints("scan_output_directions") ?? []).map { $0 != 0 })
    },
  ]
}
