import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Several functions of elements, computed piece by piece so that what lies between them stays in the cache.
struct ElementwiseChain: TensorOperation, CPUKernel {
  /// Where a step's operand comes from.
  enum Source: Hashable {
    case input(Int)
    case step(Int)
  }

  /// One function.
  struct Step: Hashable, Sendable {
    var operation: any TensorOperation
    var operands: [Source]

    static func == (a: Step, b: Step) -> Bool {
      a.operands == b.operands && AnyHashable(a.operation) == AnyHashable(b.operation)
    }

    func hash(into hasher: inout Hasher) {
      hasher.combine(operands)
      operation.hash(into: &hasher)
    }
  }

  var steps: [Step]
  var name: String { steps.map(\.operation.name).joined(separator: "+") }
  /// False: each step says so for itself.
  var flushesSubnormals: Bool { false }

  /// Elements of a piece: some hundred kilobytes with what lies between.
  private static let piece = 1 << 14

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    var results: [TensorSpec] = []
    for step in steps {
      let operands = step.operands.map { source in
        switch source {
        case .input(let index): inputs[index]
        case .step(let index): results[index]
        }
      }
      results.append(try step.operation.infer(operands)[0])
    }
    return results.suffix(1)
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (shape, count) = (outputs[0].shape, outputs[0].shape.reduce(1, *))
    guard inputs.allSatisfy({ $0.count == 1 && $0.rank <= shape.rank || $0.shape == shape && $0.isContiguous }),
      count > Self.piece
    else { return [try run(inputs)] }
    let flat = try inputs.map { try $0.count == 1 ? $0.reshaped([]) : $0.reshaped([count]) }
    func part(_ range: Range<Int>) throws -> Tensor {
      try run(flat.map { try $0.rank == 0 ? $0 : $0.slice(axis: 0, range) })
    }
    return [try Tensor.inPieces(count, of: Self.piece, part).reshaped(shape)]
  }

  private func run(_ inputs: [Tensor]) throws -> Tensor {
    var last = [Int](repeating: -1, count: steps.count)
    for (index, step) in steps.enumerated() {
      for case .step(let operand) in step.operands { last[operand] = index }
    }
    var results: [Tensor?] = []
    for (index, step) in steps.enumerated() {
      let operands = step.operands.compactMap { source in
        switch source {
        case .input(let index): inputs[index]
        case .step(let index): results[index]
        }
      }
      for case .step(let operand) in step.operands where last[operand] == index { results[operand] = nil }
      results.append(try applyAll(step.operation, operands)[0])
    }
    guard let result = results.last ?? nil else {
      throw ToeplitzError(.argument, name, expected: "at least one step", got: "none")
    }
    return result
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// Joins functions of elements whose results nobody else uses.
enum ElementwiseChains {
  /// Results that wait for others take room in the cache.
  private static let longest = 32

  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices.reversed() {
      guard let end = rewriter.nodes[index], isElementwise(end.operation) else { continue }
      let shape = rewriter.graph.specs[end.outputs[0]].shape
      // The nodes of the chain, found backwards from its end.
      var members: [Int] = [index]
      var open = [index]
      while let next = open.popLast(), members.count < Self.longest {
        for input in rewriter.nodes[next]?.inputs ?? [] {
          guard let maker = rewriter.soleMaker(input), let node = rewriter.nodes[maker], isElementwise(node.operation),
            rewriter.graph.specs[input].shape == shape, !members.contains(maker)
          else { continue }
          members.append(maker)
          open.append(maker)
        }
      }
      guard members.count > 1 else { continue }
      join(members.sorted(), &rewriter)
    }
    return rewriter.finished
  }

  /// Whether each element of the one result depends on the operands' elements at its place alone, after broadcasting.
  private static func isElementwise(_ operation: any TensorOperation) -> Bool {
    switch operation {
    case is any UnaryOperation, is Binary, is Logical, is Bitwise, is Remainder, is Classify, is Where, is Cast: true
    default: false
    }
  }

  private static func join(_ members: [Int], _ rewriter: inout GraphRewriter) {
    var inputs: [Int] = []
    var made: [Int: Int] = [:]
    var steps: [ElementwiseChain.Step] = []
    var names: [String] = []
    for member in members {
      guard let node = rewriter.nodes[member] else { continue }
      let operands = node.inputs.map { value -> ElementwiseChain.Source in
        if let step = made[value] { return .step(step) }
        if let known = inputs.firstIndex(of: value) { return .input(known) }
        inputs.append(value)
        return .input(inputs.count - 1)
      }
      made[node.outputs[0]] = steps.count
      steps.append(ElementwiseChain.Step(operation: node.operation, operands: operands))
      names += node.history
    }
    guard let last = members.last, let end = rewriter.nodes[last] else { return }
    let chain = Graph.Node(
      ElementwiseChain(steps: steps), inputs: inputs, outputs: end.outputs, path: end.path, fused: names)
    for member in members.dropLast() { rewriter.replace(member, by: nil) }
    rewriter.replace(last, by: chain)
  }
}
