import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The steps of an ONNX graph as functions of tensors.
///
/// They are run once for each signature of inputs, on traced tensors. Whole numbers, from which exporters compute shapes,
/// are computed at once, so that a shape that depends on the inputs' shapes alone is known while the model is recorded.
final class ONNXSource: TraceSource, Sendable {
  /// A node.
  struct Step: Sendable {
    /// The name to find it by.
    var name: String
    /// The operator.
    var operation: String
    var function: ValueFunction
    /// The values it takes; nil for an operand left out.
    var inputs: [Int?]
    /// The values it makes; nil for a result nobody wants.
    var outputs: [Int?]
    /// Values that graphs inside it take besides.
    var captured: [Int] = []

    /// The same for values with other numbers.
    func renumbered(_ number: (Int) -> Int) -> Step {
      var step = self
      step.inputs = inputs.map { $0.map(number) }
      step.outputs = outputs.map { $0.map(number) }
      step.captured = captured.map(number)
      return step
    }
  }

  /// A constant of the file.
  struct Initializer: Sendable {
    var name: String
    var value: ModelValue
  }

  let inputs: [PortDescription]
  let outputs: [PortDescription]
  /// Initializers that callers may give others for, and their values.
  private let overridable: [(port: PortDescription, value: Int)]
  private let steps: [Step]
  private let initializers: [Int: Initializer]
  private let results: [Int]
  private let lastUses: [Int: Int]

  /// The most elements of whole numbers that are computed at once.
  private static let mostIndices = 1 << 12

  /// A graph whose inputs are the first values.
  init(
    inputs: [PortDescription], outputs: [PortDescription], results: [Int], steps: [Step],
    initializers: [Int: Initializer], overridable: [(port: PortDescription, value: Int)] = [],
    warnings: [String] = [], metadata: [String: String] = [:]
  ) {
    (self.overridable, self.warnings, self.metadata) = (overridable, warnings, metadata)
    (self.inputs, self.outputs, self.results, self.initializers) = (inputs, outputs, results, initializers)
    // What nobody needs is not computed.
    var needed = Set(results)
    var kept: [Step] = []
    for step in steps.reversed() where step.outputs.contains(where: { $0.map(needed.contains) ?? false }) {
      needed.formUnion(step.inputs.compactMap { $0 } + step.captured)
      kept.append(step)
    }
    self.steps = kept.reversed()
    var lastUses: [Int: Int] = [:]
    for (index, step) in self.steps.enumerated() {
      for value in step.inputs.compactMap({ $0 }) + step.captured { lastUses[value] = index }
    }
    for value in results { lastUses[value] = Int.max }
    self.lastUses = lastUses
  }

  func outputValues() -> [Int] { results }

  /// What may be wrong with the model though it can be computed.
  let warnings: [String]
  /// What the file says of it.
  let metadata: [String: String]

  var operations: [(operation: String, name: String)] { steps.map { ($0.operation, $0.name) } }

  func lastUse(of key: Int) -> Int { lastUses[ValueKey.number(key)] ?? -1 }

  var defaults: [PortDescription] { overridable.map(\.port) }

  func overriding(_ names: Set<String>) -> (any TraceSource)? {
    let chosen = overridable.filter { names.contains($0.port.name) }
    let first = Array(inputs.indices) + chosen.map(\.value)
    let all = Set(
      steps.flatMap { ($0.inputs + $0.outputs).compactMap { $0 } + $0.captured } + results + initializers.keys)
    let numbers = Dictionary(
      uniqueKeysWithValues: (first + all.subtracting(first).sorted()).enumerated().map { ($0.element, $0.offset) })
    func number(_ value: Int) -> Int { numbers[value] ?? value }
    let kept = initializers.filter { entry in !chosen.contains { $0.value == entry.key } }
    return ONNXSource(
      inputs: inputs + chosen.map(\.port), outputs: outputs, results: results.map(number),
      steps: steps.map { $0.renumbered(number) },
      initializers: Dictionary(uniqueKeysWithValues: kept.map { (number($0.key), $0.value) }), warnings: warnings,
      metadata: metadata)
  }

  // MARK: Recording

  func record(from position: Int, _ values: inout [Int: Tensor], in trace: Trace) throws -> UnrecordedStep? {
    for index in position..<steps.count {
      let step = steps[index]
      do {
        try apply(step, &values)
        trace.forgetRefusal()
      } catch {
        guard trace.forgetRefusal() else { throw error }
        let operands = step.inputs.compactMap { $0 } + step.captured
        return UnrecordedStep(position: index, name: step.name, operation: step.operation, inputs: operands) {
          [self] known in
          var values = known
          try apply(step, &values)
          return step.outputs.reduce(into: [:]) { made, output in
            guard let output, lastUse(of: output) > index else { return }
            for key in ValueKey.keys(output, in: values) { made[key] = values[key] }
          }
        }
      }
    }
    for number in results where ValueKey.keys(number, in: values).isEmpty {
      if let value = try constant(number) { try ValueKey.store(value, number, in: &values) }
    }
    return nil
  }

  /// The outputs for traced or computed inputs; as part of the trace that is running, if there is one.
  ///
  /// - Throws: An error that the trace knows as a refusal where a step needs the elements of a traced value.
  func applied(to inputs: [ModelValue]) throws -> [ModelValue] {
    var values: [Int: Tensor] = [:]
    for (index, input) in inputs.enumerated() { try ValueKey.store(input, index, in: &values) }
    for step in steps { try apply(step, &values) }
    return try results.map { value in
      guard let result = try ValueKey.value(value, in: values) ?? constant(value) else {
        throw ToeplitzError(.argument, "ONNX", expected: "a value for each output", got: "none")
      }
      return result
    }
  }

  /// How many steps it has.
  var stepCount: Int { steps.count }

  private func apply(_ step: Step, _ values: inout [Int: Tensor]) throws {
    func value(_ number: Int) throws -> ModelValue? {
      if let known = try ValueKey.value(number, in: values) { return known }
      guard let constant = try constant(number) else { return nil }
      try ValueKey.store(constant, number, in: &values)
      return constant
    }
    let trace = Trace.running
    trace?.enter(step.name)
    defer { trace?.leave() }
    do {
      let operands = try step.inputs.map { try $0.flatMap(value) }
      let captured = try step.captured.map { number in
        guard let tensor = try value(number) else {
          throw ToeplitzError(.argument, step.operation, expected: "a value that exists before the node", got: "none")
        }
        return tensor
      }
      let results = try step.function(Operands(name: step.operation, values: operands, captured: captured))
      for (index, output) in step.outputs.enumerated() {
        guard let output else { continue }
        guard index < results.count, let result = results[index] else {
          throw ToeplitzError(
            .argument, step.operation, expected: "\(step.outputs.count) results", got: "\(results.count)")
        }
        try ValueKey.store(result, output, in: &values)
      }
    } catch let error as ToeplitzError {
      throw step.name.isEmpty || !error.path.isEmpty ? error : error.inside(step.name)
    }
  }

  /// A constant as steps see it: traced, unless it is a few whole numbers.
  private func constant(_ value: Int) throws -> ModelValue? {
    guard let initializer = initializers[value] else { return nil }
    guard let tensor = initializer.value.tensor else { return initializer.value }
    let isIndices = !tensor.dtype.isFloatingPoint && tensor.count <= Self.mostIndices
    guard !isIndices, let trace = Trace.running else { return .tensor(try tensor.aligned()) }
    return .tensor(trace.weight(tensor, name: initializer.name))
  }
}

/// A graph inside a node, such as the body of a loop.
///
/// Its inputs are those that the node gives it, then the values of the graph around it that it uses.
final class ONNXBody: Sendable {
  /// The graph.
  let source: ONNXSource
  /// How many inputs the node gives.
  let inputCount: Int
  /// Where among a node's captured values its own are.
  private let captured: Range<Int>
  private let compiled: Executable

  init(_ source: ONNXSource, inputCount: Int, captured: Range<Int>) {
    (self.source, self.inputCount, self.captured) = (source, inputCount, captured)
    compiled = Executable(source)
  }

  /// How many outputs it has.
  var outputCount: Int { source.outputs.count }

  /// The outputs for inputs of a node with the given operands: recorded if operations are being recorded, else computed by
  /// a compiled graph.
  func callAsFunction(_ inputs: [ModelValue], of node: Operands) throws -> [ModelValue] {
    let operands = inputs + node.captured[captured]
    if let trace = Trace.running {
      try trace.countRepeated(steps: source.stepCount + 1, node.name)
      return try source.applied(to: operands)
    }
    return try compiled.run(values: operands)
  }
}
