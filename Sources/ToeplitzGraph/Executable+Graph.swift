import ToeplitzOps
import ToeplitzTensor

extension Executable {
  /// What the steps of a model file do and what they are called, before any shape is known; none of what is code.
  public var operations: [(operation: String, name: String)] { source.withLock { $0.source.operations } }

  /// The operations for inputs of the given shapes as they were recorded: constants are folded, nothing is fused.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit, or if shapes depend on elements, so that one graph cannot tell
  ///   all.
  public func graph(for inputs: [TensorSpec]) throws -> Graph {
    try check(inputs)
    if let port = (self.inputs + outputs).first(where: { $0.kind != .tensor }) {
      throw ToeplitzError(
        .unsupported, "graph", expected: "inputs and outputs that are tensors",
        got: "'\(port.name)' of \(port.description)")
    }
    let values = inputs.indices.map { $0 }
    let recorded = try record(from: 0, values, inputs, [:])
    if let step = recorded.cut {
      throw ToeplitzError(
        .unsupported, "graph", expected: "shapes that follow from the inputs' shapes",
        got: "\(step.operation) '\(step.name)', whose result depends on elements")
    }
    var graph = recorded.graph
    for (index, value) in outputValues.enumerated() {
      if let at = recorded.values.firstIndex(of: value) {
        graph.outputs.append(Graph.Port(name: outputs[index].name, value: recorded.ids[at]))
      } else if let constant = recorded.constants[value] {
        graph.outputs.append(Graph.Port(name: outputs[index].name, value: graph.constant(constant)))
      }
    }
    graph.outputs.removeFirst(recorded.ids.count)
    for (index, port) in self.inputs.enumerated() { graph.inputs[index].name = port.name }
    graph.removeDeadNodes()
    graph.name = name
    return graph
  }

  /// The steps of the program for inputs of the given shapes, with what was fused into each.
  ///
  /// - Throws: As ``graph(for:)``.
  public func loweredGraph(for inputs: [TensorSpec]) throws -> Graph {
    try lower(graph(for: inputs), folded, optimizes ? .fused : .nodeByNode).graph
  }

  /// The steps of the programs for some inputs, with what was fused into each.
  ///
  /// Unlike ``loweredGraph(for:)`` it runs them, so that it knows shapes that depend on elements.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit or a step fails.
  public func executedGraph(_ inputs: [String: Tensor]) throws -> Graph {
    try executedGraph(values: inputs.mapValues { .tensor($0) })
  }

  /// The steps of the programs for some inputs, which may be strings, sequences and optional values; of such values the graph
  /// has the tensors that they are made of.
  ///
  /// - Throws: As ``executedGraph(_:)``.
  public func executedGraph(values given: [String: ModelValue]) throws -> Graph {
    var whole = Graph(name: name)
    // Values of the source, as far as they exist, with their numbers in the whole.
    var known: [Int: Int] = [:]
    let (keys, tensors) = try keyed(named(given))
    _ = try compute(keys, tensors, observe: nil) { part in
      switch part {
      case .segment(let segment, let operands):
        let graph = segment.program.graph
        var numbers: [Int: Int] = [:]
        for (port, value) in zip(graph.inputs, operands) {
          let number = known[value] ?? whole.value(graph.specs[port.value])
          if known[value] == nil {
            whole.inputs.append(Graph.Port(name: port.name, value: number))
            known[value] = number
          }
          numbers[port.value] = number
        }
        func number(_ value: Int) -> Int {
          if let known = numbers[value] { return known }
          let number = graph.constants[value].map { whole.constant($0) } ?? whole.value(graph.specs[value])
          whole.names[number] = graph.names[value]
          numbers[value] = number
          return number
        }
        for node in graph.nodes {
          var node = node
          node.inputs = node.inputs.map(number)
          node.outputs = node.outputs.map(number)
          whole.nodes.append(node)
        }
        for (port, value) in zip(graph.outputs, segment.values) { known[value] = number(port.value) }
        for (value, constant) in segment.constants where known[value] == nil { known[value] = whole.constant(constant) }
      case .step(let step, let made):
        let outputs = made.sorted { $0.key < $1.key }.map { value, tensor in
          known[value] = whole.value(tensor.spec)
          return known[value] ?? 0
        }
        whole.nodes.append(
          Graph.Node(
            UncompiledStep(name: step.operation), inputs: step.inputs.compactMap { known[$0] }, outputs: outputs,
            path: step.name))
      }
    }
    for (port, value) in zip(outputs, outputValues) {
      if let number = known[value] { whole.outputs.append(Graph.Port(name: port.name, value: number)) }
    }
    return whole
  }
}
