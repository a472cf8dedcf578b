import ToeplitzOps
import ToeplitzTensor

/// A compiled computation: callable from several threads at a time, for inputs of any shape that it accepts.
///
/// The first call with a new signature (shapes and element types of the inputs) records the computation, fuses operations
/// and plans their memory; what depends on weights alone, such as packed weights, is prepared once for all signatures.
///
/// ```swift
/// let model = try Executable(contentsOf: "model.onnx")
/// let outputs = try model(["x": tensor])
/// ```
public final class Executable: Sendable {
  /// What a caller gives.
  public let inputs: [PortDescription]
  /// What a caller may give besides, in place of a constant.
  public let defaults: [PortDescription]
  /// What a caller gets.
  public let outputs: [PortDescription]
  /// The name; may be empty.
  public let name: String
  /// What may be wrong with a model's file though it can be computed, such as an export in training mode.
  public let warnings: [String]
  /// What a model's file says of it, such as which inputs and outputs are states.
  public let metadata: [String: String]
  /// Whether operations are fused.
  let optimizes: Bool

  /// A source, which may hold a model that is not Sendable; only who has the lock touches it.
  struct Source: @unchecked Sendable {
    var source: any TraceSource
  }
  let source: Lock<Source>
  let outputValues: [Int]
  let folded = FoldedConstants()
  private let start = SegmentTable(limit: 32)
  /// Executables that take some of the constants as inputs, by their names.
  let variants = Lock<[Set<String>: Executable]>([:])

  /// Compiles what `source` does; it must not be used elsewhere.
  package init(_ source: sending any TraceSource, name: String = "", optimizes: Bool = true) {
    (inputs, outputs, outputValues) = (source.inputs, source.outputs, source.outputValues())
    (defaults, warnings, metadata) = (source.defaults, source.warnings, source.metadata)
    self.name = name
    self.optimizes = optimizes
    self.source = Lock(Source(source: source))
  }

  /// Computes all outputs.
  ///
  /// - Throws: ``ToeplitzError`` that names the input if one is missing, unknown or of another rank, size or element
  ///   type, or the node if one cannot be computed.
  public func callAsFunction(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
    let results = try run(inputs)
    return Dictionary(zip(outputs.map(\.name), results)) { first, _ in first }
  }

  /// The first output for inputs in the order of ``inputs``.
  ///
  /// - Throws: As ``callAsFunction(_:)-([String:Tensor])``.
  public func callAsFunction(_ inputs: Tensor...) throws -> Tensor { try run(inputs)[0] }

  /// Computes all outputs, in the order of ``outputs``.
  public func run(_ inputs: [String: Tensor]) throws -> [Tensor] {
    let variant = try variant(for: inputs.keys)
    return try variant.execute(variant.ordered(inputs), observe: nil)
  }

  /// Computes all outputs, in the order of ``outputs``, for inputs in the order of ``inputs``.
  public func run(_ inputs: [Tensor]) throws -> [Tensor] {
    try check(inputs.map(\.spec))
    return try execute(inputs, observe: nil)
  }

  /// The inputs in their order.
  ///
  /// - Throws: ``ToeplitzError`` that names the input that is missing, unknown or does not fit.
  public func ordered(_ given: [String: Tensor]) throws -> [Tensor] {
    let tensors = try named(given)
    try check(tensors.map(\.spec))
    return tensors
  }

  func named<Value>(_ given: [String: Value]) throws -> [Value] {
    let names = inputs.map(\.name) + defaults.map(\.name)
    if let unknown = given.keys.sorted().first(where: { !names.contains($0) }) {
      throw ToeplitzError(
        .argument, "inputs", expected: names.isEmpty ? "no input" : "one of " + names.joined(separator: ", "),
        got: "'\(unknown)'")
    }
    return try inputs.map { port in
      guard let tensor = given[port.name] else {
        throw ToeplitzError(
          .argument, "inputs", expected: "an input '\(port.name)' of \(port.description)", got: "none")
      }
      return tensor
    }
  }

  func check(_ given: [TensorSpec]) throws {
    guard given.count == inputs.count else {
      throw ToeplitzError(.argument, "inputs", expected: "\(inputs.count) tensors", got: "\(given.count)")
    }
    var sizes: [String: (size: Int, port: String)] = [:]
    for (port, tensor) in zip(inputs, given) { try port.check(tensor, &sizes) }
  }

  // MARK: Recording

  /// What of a computation was recorded in one trace.
  struct Recorded {
    var graph: Graph
    /// The source's values that the graph's outputs are, with their numbers in the graph.
    var values: [Int]
    var ids: [Int]
    /// The source's values that are known.
    var constants: [Int: Tensor]
    /// The step that comes next, which cannot be recorded.
    var cut: UnrecordedStep?
    /// Those of `values` that are used behind it.
    var crossing: [Int] = []
  }

  func record(
    from position: Int, _ values: [Int], _ specs: [TensorSpec], _ constants: [Int: Tensor]
  ) throws -> Recorded {
    folded.beginGraph()
    let trace = Trace()
    var known = constants
    for (value, spec) in zip(values, specs) {
      known[value] = trace.input(spec, name: position == 0 ? inputs[ValueKey.number(value)].name : nil)
    }
    let cut = try source.withLock { source in
      let cut = try trace.during { try source.source.record(from: position, &known, in: trace) }
      let limit = cut?.position ?? Int.max
      known = known.filter { source.source.lastUse(of: $0.key) >= limit }
      return cut
    }
    let alive = known.filter(\.value.isTraced).sorted { $0.key < $1.key }
    let ids = try alive.map { try trace.id(of: $0.value) }
    var graph = Graph(trace.close(), outputs: ids.map { Graph.Port(name: "", value: $0) })
    graph.foldConstants(folded)
    graph.mergeEqualNodes()
    graph.foldConstants(folded)
    // What has turned out constant needs no operation to hand it on.
    var recorded = Recorded(
      graph: graph, values: [], ids: [], constants: known.filter { !$0.value.isTraced }, cut: cut)
    recorded.graph.outputs = []
    for (entry, port) in zip(alive, graph.outputs) {
      if let constant = graph.constants[port.value] {
        recorded.constants[entry.key] = try folded.aligned(constant)
        continue
      }
      recorded.values.append(entry.key)
      recorded.ids.append(port.value)
      recorded.graph.outputs.append(port)
    }
    recorded.graph.removeDeadNodes()
    if let cut {
      recorded.crossing = source.withLock { source in
        recorded.values.filter { source.source.lastUse(of: $0) > cut.position }
      }
    }
    return recorded
  }

  /// A part of a run, as ``executedGraph(_:)`` sees it.
  enum Part {
    /// A segment, with the source's values that it is given.
    case segment(Segment, operands: [Int])
    /// A step between segments, with the values that it makes.
    case step(UnrecordedStep, [Int: Tensor])
  }

  // MARK: Running

  /// A recorded part of the computation as a program.
  final class Segment: Sendable {
    let program: any Program
    /// The source's values that the program's outputs are.
    let values: [Int]
    let constants: [Int: Tensor]
    /// The step behind it, which has to be computed by itself; nil at the end.
    let cut: UnrecordedStep?
    /// Those of `values` that are used behind that step.
    let crossing: [Int]
    // Each may be followed by others, so that there are fewer of them.
    fileprivate let next = SegmentTable(limit: 4)

    init(_ program: any Program, _ recorded: Recorded) {
      self.program = program
      (values, constants, cut, crossing) = (recorded.values, recorded.constants, recorded.cut, recorded.crossing)
    }
  }

  /// What a run tells its observer of a step.
  public struct Step {
    fileprivate let node: Graph.Node
    /// The graph of the segment that it belongs to; nil for a step that was computed by itself.
    fileprivate let graph: Graph?
    /// Its results.
    public let results: [Tensor]

    /// What it does.
    public var row: ListingRow {
      graph?.row(node)
        ?? ListingRow(
          name: node.path, operation: node.operation.name, outputs: results.map(\.spec), parameters: 0,
          multiplyAdds: 0, fused: [])
    }
  }

  /// Computes all outputs, in the order of ``outputs``.
  ///
  /// - Parameter observe: called after each step.
  public func run(_ inputs: [String: Tensor], observe: @escaping (Step) throws -> Void) throws -> [Tensor] {
    let variant = try variant(for: inputs.keys)
    return try variant.execute(variant.ordered(inputs), observe: observe)
  }

  /// Computes all outputs, which are tensors, for inputs that fit, in their order.
  func execute(
    _ given: [Tensor], observe: ((Step) throws -> Void)?
  ) throws -> [Tensor] {
    try zip(outputs, compute(Array(given.indices), given, observe: observe)).map { port, value in
      guard let tensor = value.tensor else {
        throw ToeplitzError(
          .unsupported, "output '\(port.name)'", expected: "a tensor (run(values:) gives others)",
          got: value.description)
      }
      return tensor
    }
  }

  /// Computes all outputs for tensors with keys.
  func compute(
    _ keys: [Int], _ given: [Tensor], observe: ((Step) throws -> Void)?, follow: ((Part) -> Void)? = nil
  ) throws -> [ModelValue] {
    if let trace = Trace.recording(given) { return try recorded(keys, given, in: trace) }
    for tensor in given { try tensor.device.requirePresent("Executable") }
    // Kernels want elements where their type wants them.
    var operands = try given.map { try $0.aligned() }
    var crossing = keys
    var segment = try segment(in: start, from: 0, crossing, operands.map(\.spec), [:])
    while true {
      follow?(.segment(segment, operands: crossing))
      let program = segment.program
      let results: [Tensor]
      if let observe {
        results = try program.run(operands) {
          try observe(Step(node: program.graph.nodes[$0], graph: program.graph, results: $1))
        }
      } else {
        results = try program.run(operands, observe: nil)
      }
      guard let cut = segment.cut else {
        if segment.values == outputValues { return results.map { .tensor($0) } }
        var values = segment.constants
        for (value, result) in zip(segment.values, results) { values[value] = result }
        return try outputValues(in: values)
      }
      var values = segment.constants
      for (value, result) in zip(segment.values, results) { values[value] = result }
      let made = try Trace.outside { try cut.compute(values) }
      follow?(.step(cut, made))
      let order = made.keys.sorted()
      if let observe {
        try observe(
          Step(
            node: Graph.Node(UncompiledStep(name: cut.operation), inputs: [], outputs: [], path: cut.name), graph: nil,
            results: order.compactMap { made[$0] }))
      }
      values.merge(made) { $1 }
      crossing = segment.crossing + order
      operands = crossing.compactMap { values[$0] }
      segment = try self.segment(
        in: segment.next, from: cut.position + 1, crossing, operands.map(\.spec), segment.constants)
    }
  }

  /// The outputs for traced inputs: what it computes becomes part of the trace around it.
  private func recorded(_ keys: [Int], _ given: [Tensor], in trace: Trace) throws -> [ModelValue] {
    var values = Dictionary(uniqueKeysWithValues: zip(keys, given))
    let step = try source.withLock { try $0.source.record(from: 0, &values, in: trace) }
    if let step {
      throw ToeplitzError(
        .unsupported, name.isEmpty ? "Executable" : name,
        expected: "shapes that follow from shapes, in code that is traced",
        got: "\(step.operation) '\(step.name)', whose result depends on elements")
    }
    return try outputValues(in: values)
  }

  private func outputValues(in tensors: [Int: Tensor]) throws -> [ModelValue] {
    try outputValues.map { number in
      guard let value = try ValueKey.value(number, in: tensors) else {
        throw ToeplitzError(.argument, "Executable", expected: "a result for each output", got: "none")
      }
      return value
    }
  }

  private func segment(
    in table: SegmentTable, from position: Int, _ values: [Int], _ specs: [TensorSpec], _ constants: [Int: Tensor]
  ) throws -> Segment {
    try table.entry(specs).segment {
      let recorded = try record(from: position, values, specs, constants)
      let program = try lower(recorded.graph, folded, optimizes ? .fused : .nodeByNode)
      return Segment(program, recorded)
    }
  }
}

/// The segments of a computation that begin at one step, by the signature of what they are given.
private final class SegmentTable: Sendable {
  /// A segment that is made by whom needs it first, while others wait for it alone.
  final class Entry: Sendable {
    private let made = Lock<Executable.Segment?>(nil)

    func segment(_ make: () throws -> Executable.Segment) throws -> Executable.Segment {
      try made.withLock { made in
        if let made { return made }
        let segment = try make()
        made = segment
        return segment
      }
    }
  }

  /// The most signatures; beyond that the one used longest ago is forgotten.
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// The entry used last stands last.
  private let entries = Lock<[(signature: [TensorSpec], entry: Entry)]>([])

  func entry(_ signature: [TensorSpec]) -> Entry {
    entries.withLock { entries in
      if let at = entries.lastIndex(where: { $0.signature == signature }) {
        if at + 1 < entries.count { entries.append(entries.remove(at: at)) }
        return entries[entries.count - 1].entry
      }
      if entries.count >= limit { entries.removeFirst() }
      let entry = Entry()
      entries.append((signature, entry))
      return entry
    }
  }
}

/// A step of a source that is computed by itself, as it stands in observations and listings.
package struct UncompiledStep: TensorOperation {
  /// The name of the operation.
  package var name: String

  /// Refuses: only the elements tell.
  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    throw ToeplitzError(.unsupported, name, expected: "shapes that follow from shapes", got: "a step of elements")
  }

  /// None.
  package var gradient: GradientRule { .none(because: "it is no operation of a graph") }
  /// None.
  package func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is no operation of a graph") }
}
