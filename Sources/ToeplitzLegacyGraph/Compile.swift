import ToeplitzTensor

extension Graph {
  /// Computes constants in advance, drops what nobody needs and joins operations.
  mutating func compile() -> CompilationReport {
    var report = CompilationReport(nodesBefore: nodes.count)
    removeIdentities(&report)
    foldConstants(&report)
    removeDeadNodes(&report)
    ActivationPatterns.apply(to: &self, &report)
    ConvolutionFusions.apply(to: &self, &report)
    ResidualUnits.apply(to: &self, &report)
    SeparableConvolutions.apply(to: &self, &report)
    ElementwiseChains.apply(to: &self, &report)
    removeDeadNodes(&report)
    report.nodesAfter = nodes.count
    return report
  }

  /// Lets users of an identity use its operand.
  mutating func removeIdentities(_ report: inout CompilationReport) {
    let captured = Set(nodes.flatMap(\.operation.captures))
    var kept: [Node] = []
    var names: [ValueID: ValueID] = [:]
    for var node in nodes {
      node.inputs = node.inputs.map { input in input.map { names[$0] ?? $0 } }
      guard node.operation is IdentityNode, let input = node.inputs.first ?? nil,
        let output = node.outputs.first ?? nil,
        !captured.contains(output)
      else {
        kept.append(node)
        continue
      }
      names[output] = input
      report.counts["identities removed", default: 0] += 1
    }
    nodes = kept
    for (old, new) in names { replace(old, by: new) }
  }

  /// Results of constants are not kept if they are larger than this: a few numbers can ask for a huge tensor.
  private static let largestFolded = 1 << 24

  /// Replaces nodes whose operands are all constants by their results.
  mutating func foldConstants(_ report: inout CompilationReport) {
    var kept: [Node] = []
    for node in nodes {
      guard node.operation.isPure, node.operation.captures.isEmpty,
        node.inputs.allSatisfy({ $0 == nil || constantSpec($0) != nil })
      else {
        kept.append(node)
        continue
      }
      let operands = node.inputs.map { constant(of: $0) }
      // What cannot be computed fails when it is run, if it is.
      guard let results = try? node.operation.evaluate(operands, EvaluationContext()),
        results.count >= node.outputs.count,
        results.allSatisfy({
          ($0?.count ?? 0) <= Self.largestFolded / ($0?.dtype.byteSize ?? 1) || isView($0, of: operands)
        })
      else {
        kept.append(node)
        continue
      }
      for (output, result) in zip(node.outputs, results) {
        if let output, let result { setConstant(result, of: output) }
      }
      report.counts["constants folded", default: 0] += 1
    }
    nodes = kept
  }

  private func isView(_ tensor: Tensor?, of operands: [Tensor?]) -> Bool {
    guard let tensor else { return false }
    return operands.contains { $0?.storage === tensor.storage }
  }

  /// Removes nodes whose results nobody uses.
  mutating func removeDeadNodes(_ report: inout CompilationReport) {
    var needed = Set(outputs.map(\.value))
    var kept: [Node] = []
    for node in nodes.reversed() {
      guard !node.operation.isPure || node.outputs.contains(where: { $0.map(needed.contains) ?? false }) else {
        report.counts["dead nodes removed", default: 0] += 1
        continue
      }
      needed.formUnion(node.inputs.compactMap { $0 })
      needed.formUnion(node.operation.captures)
      kept.append(node)
    }
    nodes = kept.reversed()
  }
}
