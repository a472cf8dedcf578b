import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// One or several functions of elements, computed block by block so that what lies between them stays in the first-level cache.
struct ElementwiseChain: TensorOperation, CPUKernel {
  /// One function.
  struct Step: Hashable, Sendable {
    var operation: any TensorOperation
    var operands: [ElementwiseProgram.Source]

    static func == (a: Step, b: Step) -> Bool {
      a.operands == b.operands && AnyHashable(a.operation) == AnyHashable(b.operation)
    }

    func hash(into hasher: inout Hasher) {
      hasher.combine(operands)
      operation.hash(into: &hasher)
    }
  }

  let steps: [Step]
  /// The element types of its operands.
  let types: [DType]
  private let program: ElementwiseProgram

  /// The chain of some steps; nil where blocks cannot be computed with one of them.
  init?(_ steps: [Step], types: [DType]) {
    guard let program = ElementwiseProgram(steps.map { ($0.operation, $0.operands) }, inputs: types) else { return nil }
    (self.steps, self.types, self.program) = (steps, types, program)
  }

  static func == (a: Self, b: Self) -> Bool { a.steps == b.steps && a.types == b.types }

  func hash(into hasher: inout Hasher) {
    hasher.combine(steps)
    hasher.combine(types)
  }

  var name: String { steps.map(\.operation.name).joined(separator: "+") }
  /// False: conversions keep subnormal numbers; arithmetic flushes them by itself.
  var flushesSubnormals: Bool { false }

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

  var makesNewResults: Bool { true }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    [try program.run(inputs, shape: outputs[0].shape, name: "chain")]
  }

  func bound(_ call: BoundCall) throws -> BoundComputation? {
    try program.bound(call.operands, to: call.results[0], name: "chain", call.memory)
  }

  /// The result for each value of the one operand that is not a single number, if those and the results are bytes.
  func byteTable(of operand: Int, _ others: [Tensor]) throws -> Tensor {
    try program.byteTable(of: operand, others, name: "chain")
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// Joins functions of elements whose results nobody else uses; one alone becomes a chain too, whose program is made once.
enum ElementwiseChains {
  /// More steps would take more blocks than the first-level cache has room for.
  private static let longest = 32

  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices.reversed() {
      guard let end = rewriter.nodes[index], isElementwise(end, rewriter) else { continue }
      let members = chain(endingAt: index, end, rewriter)
      join(members.sorted(), &rewriter)
    }
    return rewriter.finished
  }

  /// The nodes that a node can be computed together with: makers of operands, which only these nodes use.
  private static func chain(endingAt index: Int, _ end: Graph.Node, _ rewriter: GraphRewriter) -> Set<Int> {
    let shape = rewriter.graph.specs[end.outputs[0]].shape
    var members: Set = [index]
    var open = [index]
    // A maker whose result several members use is found again from the last of them.
    while let next = open.popLast() {
      for input in rewriter.nodes[next]?.inputs ?? [] {
        // Codes go from one chain to the next as they are: they take a quarter of the memory.
        if let maker = rewriter.maker(input), rewriter.nodes[maker]?.operation is Quantize { continue }
        guard members.count < longest, let maker = rewriter.maker(input), !members.contains(maker),
          let node = rewriter.nodes[maker], rewriter.isHidden(input),
          rewriter.userIndices(input).allSatisfy(members.contains), isElementwise(node, rewriter),
          isWorthRepeating(rewriter.graph.specs[input].shape, in: shape)
        else { continue }
        members.insert(maker)
        open.append(maker)
      }
    }
    return members
  }

  /// Whether a value of some shape may be computed in each block of another: if it has that shape, or is a number for each row.
  private static func isWorthRepeating(_ shape: TensorShape, in whole: TensorShape) -> Bool {
    if shape == whole { return true }
    let row = whole.dimensions.last ?? 1
    return row >= 256 && (shape.rank == 0 || shape[shape.rank - 1] == 1)
      && shape.reduce(1, *) <= whole.reduce(1, *) / 256
  }

  /// Whether blocks can be computed with a node.
  private static func isElementwise(_ node: Graph.Node, _ rewriter: GraphRewriter) -> Bool {
    node.outputs.count == 1
      && ElementwiseProgram(
        [(node.operation, node.inputs.indices.map { .input($0) })],
        inputs: node.inputs.map { rewriter.graph.specs[$0].dtype }) != nil
  }

  private static func join(_ members: [Int], _ rewriter: inout GraphRewriter) {
    var inputs: [Int] = []
    var made: [Int: Int] = [:]
    var steps: [ElementwiseChain.Step] = []
    var names: [String] = []
    for member in members {
      guard let node = rewriter.nodes[member] else { continue }
      let operands = node.inputs.map { value -> ElementwiseProgram.Source in
        if let step = made[value] { return .step(step) }
        if let known = inputs.firstIndex(of: value) { return .input(known) }
        inputs.append(value)
        return .input(inputs.count - 1)
      }
      made[node.outputs[0]] = steps.count
      steps.append(ElementwiseChain.Step(operation: node.operation, operands: operands))
      names += node.history
    }
    guard let last = members.last, let end = rewriter.nodes[last],
      let joined = ElementwiseChain(steps, types: inputs.map { rewriter.graph.specs[$0].dtype })
    else { return }
    let chain = Graph.Node(
      joined, inputs: inputs, outputs: end.outputs, path: end.path, fused: names.count > 1 ? names : [])
    for member in members.dropLast() { rewriter.replace(member, by: nil) }
    rewriter.replace(last, by: chain)
  }
}
