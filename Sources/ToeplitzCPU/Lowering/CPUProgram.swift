import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension CPUDevice: LoweringBackend {
  package static func lower(
    _ graph: Graph, _ folded: FoldedConstants, _ lowering: Lowering
  ) throws -> any Program {
    typealias Pass = (Graph, FoldedConstants) -> Graph
    let first: [Pass]
    let fusions: Pass
    switch lowering {
    case .nodeByNode: return try CPUProgram(graph, folded)
    case .exact: (first, fusions) = ([IntegerSums.applied, Attentions.applied], ConvolutionFusions.exact)
    case .fused:
      first = [QuantizedNetworks.applied, IntegerSums.applied, Attentions.applied, ActivationPatterns.applied]
      fusions = ConvolutionFusions.applied
    }
    let passes: [Pass] =
      first + [
        ConstantProducts.applied, UnreachedTaps.applied, fusions, ResidualUnits.applied, SeparableConvolutions.applied,
        SqueezeExcitations.applied, RecurrentDirections.applied, NearestPlanes.applied, RectifiedNormalizations.applied,
        ElementwiseChains.applied, QuantizedMaps.applied,
      ]
    var lowered = passes.reduce(graph) { $1($0, folded) }
    lowered.removeDeadNodes()
    return try CPUProgram(lowered, folded)
  }

  package static func simplified(_ graph: Graph, _ folded: FoldedConstants) -> Graph {
    let passes = [ActivationPatterns.applied, ConstantProducts.applied, ConvolutionFusions.folded]
    var simple = passes.reduce(graph) { $1($0, folded) }
    simple.removeDeadNodes()
    return simple
  }
}

/// The steps of a lowered graph in order, with what can be forgotten after each.
final class CPUProgram: Program {
  let graph: Graph
  private let steps: [Step]
  /// The constants; nil for values that are computed.
  private let initial: [Tensor?]
  private let inputs: [Int]
  private let outputs: [Int]
  /// Where results lie that are computed in their place of a concatenation.
  private let placements: ConcatenationPlacements
  /// What it takes at least, and the step that takes it.
  private let leastMemory: (byteCount: Int, step: Int)
  /// Its bound forms, for calls that take little time beside what their tensors do; nil where weights change from call to call.
  private let inPlace: CallsInPlace?

  var leastByteCount: Int { leastMemory.byteCount }

  init(_ graph: Graph, _ folded: FoldedConstants) throws {
    var last = [Int](repeating: -1, count: graph.specs.count)
    for (index, node) in graph.nodes.enumerated() {
      for value in node.inputs + node.outputs { last[value] = index }
    }
    for output in graph.outputs { last[output.value] = Int.max }
    var initial = [Tensor?](repeating: nil, count: graph.specs.count)
    for (id, tensor) in graph.constants where last[id] >= 0 { initial[id] = tensor }
    // Packing takes weights wherever they lie; everything else wants them aligned.
    var aligned = Set(graph.outputs.map(\.value))
    var kernels: [any CPUKernel] = []
    for node in graph.nodes {
      guard let kernel = node.operation as? any CPUKernel else {
        throw ToeplitzError(
          .device, node.operation.name, expected: "an operation that the processor computes", got: "one without kernel",
          path: node.path)
      }
      kernels.append(kernel)
      let packed = Set(kernel.packedOperands.map { node.inputs[$0] })
      aligned.formUnion(node.inputs.filter { !packed.contains($0) })
    }
    let packsConstants = zip(graph.nodes, kernels).allSatisfy { node, kernel in
      kernel.packedOperands.allSatisfy { initial[node.inputs[$0]] != nil }
    }
    inPlace = packsConstants ? CallsInPlace() : nil
    for id in aligned { initial[id] = try initial[id].map(folded.aligned) }
    steps = graph.nodes.enumerated().map { index, node in
      let dead = Set(node.inputs + node.outputs).filter { last[$0] == index && initial[$0] == nil }
      return Step(kernels[index], node, node.outputs.map { graph.specs[$0] }, dead: dead.sorted())
    }
    placements = ConcatenationPlacements(graph, kernels)
    self.graph = graph
    self.initial = initial
    leastMemory = Self.leastMemory(steps)
    inputs = graph.inputs.map(\.value)
    outputs = graph.outputs.map(\.value)
  }

  /// The most bytes that results of steps take at one time, as far as shapes tell: views and constants do not count.
  private static func leastMemory(_ steps: [Step]) -> (byteCount: Int, step: Int) {
    var held: [Int: Int] = [:]
    var (bytes, most, place) = (0, 0, 0)
    for (index, step) in steps.enumerated() {
      // A result that is written over an operand takes no more.
      if step.kernel.makesNewResults, !step.kernel.mayOverwrite || step.lastUsed.isEmpty {
        for (value, spec) in zip(step.outputs, step.specs) {
          // What has no size at all is refused when it is allocated.
          let count = (try? spec.shape.elementCount("")) ?? 0
          let (size, overflow) = count.multipliedReportingOverflow(by: spec.dtype.byteSize)
          held[value] = overflow ? 0 : min(size, Int.max / 4 / max(1, steps.count))
          bytes += held[value] ?? 0
        }
      }
      if bytes > most { (most, place) = (bytes, index) }
      for value in step.lastUsed + step.unused { bytes -= held.removeValue(forKey: value) ?? 0 }
    }
    return (most, place)
  }

  /// A node with what is known of its operands.
  ///
  /// An object, because a copy of its references would take as long as a small convolution.
  final class Step: Sendable {
    let kernel: any CPUKernel
    private let mayOverwrite: Bool
    let path: String
    let inputs: [Int]
    let outputs: [Int]
    let specs: [TensorSpec]
    /// The operands that nobody needs afterwards, and the results that nobody needs at all.
    let lastUsed: [Int]
    let unused: [Int]
    /// Computes it with what was prepared for it.
    private let prepared: PreparedSeparable?

    init(_ kernel: any CPUKernel, _ node: Graph.Node, _ specs: [TensorSpec], dead: [Int]) {
      self.kernel = kernel
      mayOverwrite = kernel.mayOverwrite
      (path, inputs, outputs, self.specs) = (node.path, node.inputs, node.outputs, specs)
      unused = dead.filter { node.outputs.contains($0) }
      lastUsed = dead.filter { !node.outputs.contains($0) }
      prepared = (node.operation as? SeparableConvolution).map(PreparedSeparable.init)
    }

    /// Computes the results; a single one into `view`, if that is given.
    func run(_ operands: consuming [Tensor], into view: Tensor?) throws -> [Tensor] {
      var operands = consume operands
      do {
        if let prepared { return try prepared.run(operands, specs, into: view) }
        if let view {
          try kernel.run(operands, specs, into: view)
          return [view]
        }
        return try mayOverwrite ? kernel.overwriting(&operands).run(operands, specs) : kernel.run(operands, specs)
      } catch let error as ToeplitzError {
        throw path.isEmpty || !error.path.isEmpty ? error : error.inside(path)
      }
    }
  }

  func run(_ given: [Tensor], observe: ((Int, [Tensor]) throws -> Void)?) throws -> [Tensor] {
    guard leastMemory.byteCount <= Platform.memoryLimit else {
      throw ToeplitzError(
        .memory, steps[leastMemory.step].kernel.name, expected: Platform.memoryBound,
        got: "a need for at least \(leastMemory.byteCount)", path: steps[leastMemory.step].path)
    }
    if observe == nil, leastMemory.byteCount <= CallsInPlace.mostBytes, let results = try inPlace?.run(self, given) {
      return results
    }
    var values = initial
    for (id, tensor) in zip(inputs, given) { values[id] = tensor }
    var wholes = placements.emptyWholes
    for (index, step) in steps.enumerated() {
      let operands = try step.inputs.map { try Self.required(values[$0]) }
      for value in step.lastUsed { values[value] = nil }
      let results =
        try placements.joined(index, operands, &wholes)
        ?? step.run(operands, into: placements.view(index, &wholes))
      try observe?(index, results)
      for (output, result) in zip(step.outputs, results) { values[output] = result }
      for value in step.unused { values[value] = nil }
    }
    return try outputs.map { try Self.required(values[$0]) }
  }

  func bound(_ given: [Tensor], rooms: [Int: JoinRoom], memory: ProgramMemory) throws -> any BoundProgram {
    try boundInPlace(given, rooms: rooms, memory)
  }

  /// The same as ``bound(_:rooms:memory:)``.
  func boundInPlace(
    _ given: [Tensor], rooms: [Int: JoinRoom] = [:], _ memory: ProgramMemory
  ) throws -> BoundCPUProgram {
    var values = initial
    for (id, tensor) in zip(inputs, given) { values[id] = tensor }
    let rooms = Dictionary(uniqueKeysWithValues: rooms.map { (inputs[$0.key], $0.value) })
    return try BoundCPUProgram(
      steps, values, areConstant: initial.map { $0 != nil }, outputs: outputs, rooms: rooms, memory)
  }

  static func required(_ value: Tensor?) throws -> Tensor {
    guard let value else {
      throw ToeplitzError(.argument, "Executable", expected: "a value that a step has made", got: "none")
    }
    return value
  }
}

/// A separable convolution with what was prepared for its weights when it was first run.
private final class PreparedSeparable: Sendable {
  private let operation: SeparableConvolution
  private enum State {
    case new
    case ready(SeparableConvolution.Prepared)
    /// No kernels compute all stages at once.
    case impossible
  }
  private let state = Lock<State>(.new)

  init(_ operation: SeparableConvolution) { self.operation = operation }

  func run(_ operands: [Tensor], _ specs: [TensorSpec], into view: Tensor?) throws -> [Tensor] {
    let prepared = try state.withLock { state -> SeparableConvolution.Prepared? in
      switch state {
      case .ready(let prepared): return prepared
      case .impossible: return nil
      case .new:
        let made = try operation.prepared(operands, result: specs[0].shape)
        state = made.map { .ready($0) } ?? .impossible
        return made
      }
    }
    if let prepared {
      let residuals = Array(operands.suffix(operation.residualCount))
      let result = try withFlushedSubnormals { try prepared(operands[0], residuals: residuals, into: view) }
      if let result { return [result] }
      state.withLock { $0 = .impossible }
    }
    guard let view else { return try operation.run(operands, specs) }
    try operation.run(operands, specs, into: view)
    return [view]
  }
}
