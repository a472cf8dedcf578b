import ToeplitzCPU
import ToeplitzOps
import ToeplitzTensor

/// Several functions that treat elements alike, computed piece by piece so that what lies between them stays in the
/// cache.
struct ChainNode: GraphOperation {
  /// Where a step's operand comes from.
  enum Source: Sendable {
    case input(Int)
    case step(Int)
  }

  /// One function.
  struct Step: Sendable {
    var operation: any GraphOperation
    var operands: [Source?]
  }

  var steps: [Step]
  var name: String { steps.map(\.operation.name).joined(separator: "+") }
  var isElementwise: Bool { true }

  /// Elements of a piece: some hundred kilobytes with what lies between.
  private static let piece = 1 << 14

  func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let given = inputs.compactMap { $0 }
    guard let shape = given.max(by: { $0.count < $1.count })?.shape, given.count == inputs.count,
      given.allSatisfy({ $0.count == 1 && $0.rank <= shape.rank || $0.shape == shape && $0.isContiguous }),
      shape.reduce(1, *) > Self.piece
    else { return [try run(inputs, context)] }
    let count = shape.reduce(1, *)
    let flat = try given.map { try $0.count == 1 ? $0.reshaped([]) : $0.reshaped([count]) }
    func part(_ range: Range<Int>) throws -> Tensor {
      try run(flat.map { try $0.rank == 0 ? $0 : $0.slice(axis: 0, range) }, context)
    }
    return [try Tensor.inPieces(count, of: Self.piece, part).reshaped(shape)]
  }

  private func run(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> Tensor {
    var results: [Tensor] = []
    for step in steps {
      let operands = step.operands.map { source -> Tensor? in
        switch source {
        case .input(let index): inputs[index]
        case .step(let index): results[index]
        case nil: nil
        }
      }
      results.append(try (step.operation.evaluate(operands, context).first ?? nil).required(name, 0))
    }
    guard let last = results.last else {
      throw ToeplitzError(.argument, "chain", expected: "at least one step", got: "none")
    }
    return last
  }
}

/// Joins functions of elements whose results nobody else uses.
enum ElementwiseChains {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var editor = GraphEditor(graph)
    for index in editor.nodes.indices.reversed() {
      guard let end = editor.nodes[index], end.operation.isElementwise, end.outputs.count == 1 else { continue }
      // The nodes of the chain, found backwards from its end.
      var members: [Int] = [index]
      var open = [index]
      while let next = open.popLast() {
        for input in editor.nodes[next]?.inputs ?? [] {
          guard let maker = editor.soleMaker(input), let node = editor.nodes[maker], node.operation.isElementwise,
            node.outputs.count == 1, !members.contains(maker)
          else { continue }
          members.append(maker)
          open.append(maker)
        }
      }
      guard members.count > 1 else { continue }
      members.sort()
      join(members, &editor, &report)
    }
    graph.nodes = editor.remaining
  }

  private static func join(_ members: [Int], _ editor: inout GraphEditor, _ report: inout CompilationReport) {
    var inputs: [ValueID] = []
    var made: [ValueID: Int] = [:]
    var steps: [ChainNode.Step] = []
    var names: [String] = []
    for member in members {
      guard let node = editor.nodes[member] else { continue }
      let operands = node.inputs.map { value -> ChainNode.Source? in
        guard let value else { return nil }
        if let step = made[value] { return .step(step) }
        if let known = inputs.firstIndex(of: value) { return .input(known) }
        inputs.append(value)
        return .input(inputs.count - 1)
      }
      if let output = node.outputs.first ?? nil { made[output] = steps.count }
      steps.append(ChainNode.Step(operation: node.operation, operands: operands))
      names.append(node.operation.name)
    }
    guard let last = members.last, let end = editor.nodes[last] else { return }
    let chain = Graph.Node(
      name: end.name, operation: ChainNode(steps: steps), inputs: inputs, outputs: end.outputs, fused: names)
    for member in members.dropLast() { editor.replace(member, by: nil) }
    editor.replace(last, by: chain)
    report.counts["elementwise operations joined", default: 0] += members.count - 1
  }
}
