import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzTensor

/// Turns the nodes of an ONNX model into the steps of an ``ONNXSource``.
final class ModelImport {
  private let model: ONNXModel
  private let data: ONNXData
  /// The operators that are missing, with the first node of each and how many there are.
  private var unsupported: [(operation: String, first: String, count: Int)] = []
  private let functions: [String: ONNXFunction]
  /// Functions may call functions, but not themselves; this bounds the expansion.
  private static let mostCalls = 32
  private static let mostNodes = 1 << 18
  private var nodeCount = 0
  private static let mostBodies = 64
  private var bodyDepth = 0
  private var training: TrainingNodes

  init(_ model: ONNXModel, _ data: ONNXData) {
    self.model = model
    self.data = data
    training = TrainingNodes(data)
    functions = Dictionary(model.functions.map { (Self.key($0.domain, $0.name, $0.overload), $0) }) { $1 }
  }

  private static func key(_ domain: String, _ name: String, _ overload: String) -> String {
    "\(domain)/\(name)/\(overload)"
  }

  /// Names and the graph they belong to; inner graphs see the names of outer ones.
  private final class Scope {
    var names: [String: Int] = [:]
    var inputs: [(port: PortDescription, value: Int)] = []
    var outputs: [(port: PortDescription, value: Int)] = []
    var steps: [ONNXSource.Step] = []
    var initializers: [Int: ONNXSource.Initializer] = [:]
    /// Initializers that are inputs too.
    var overridable: [(port: PortDescription, value: Int)] = []
    /// Values of the graph around it, with the values that they are here.
    var captures: [(outer: Int, inner: Int)] = []
    let outer: Scope?
    private var valueCount = 0

    init(outer: Scope?) { self.outer = outer }

    func value() -> Int {
      valueCount += 1
      return valueCount - 1
    }

    func initializer(_ name: String, _ content: ModelValue) -> Int {
      let value = value()
      initializers[value] = ONNXSource.Initializer(name: name, value: content)
      return value
    }

    /// The value of a name; one of an outer graph is captured.
    func find(_ name: String) -> Int? {
      if let known = names[name] { return known }
      guard let outer, let found = outer.find(name) else { return nil }
      let inner = value()
      if let constant = outer.initializers[found], !outer.overridable.contains(where: { $0.value == found }) {
        initializers[inner] = constant
      } else {
        captures.append((found, inner))
      }
      names[name] = inner
      return inner
    }

    /// The steps, with the inputs and then the captured values numbered first.
    func source(warnings: [String] = [], metadata: [String: String] = [:]) -> ONNXSource {
      let first = inputs.map(\.value) + captures.map(\.inner)
      let others = (0..<valueCount).filter { !Set(first).contains($0) }
      let numbers = Dictionary(uniqueKeysWithValues: (first + others).enumerated().map { ($0.element, $0.offset) })
      func number(_ value: Int) -> Int { numbers[value] ?? value }
      return ONNXSource(
        inputs: inputs.map(\.port) + captures.map { PortDescription(name: "captured \($0.outer)") },
        outputs: outputs.map(\.port), results: outputs.map { number($0.value) },
        steps: steps.map { $0.renumbered(number) },
        initializers: Dictionary(uniqueKeysWithValues: initializers.map { (number($0.key), $0.value) }),
        overridable: overridable.map { ($0.port, number($0.value)) }, warnings: warnings, metadata: metadata)
    }
  }

  /// The steps of the model.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that lists all operators Toeplitz does not have, or of kind
  ///   `format` for a graph that is not well formed.
  func run() throws -> ONNXSource {
    let scope = Scope(outer: nil)
    try fill(scope, model.graph)
    guard unsupported.isEmpty else {
      let list = unsupported.map { operation, first, count in
        "\(operation), node '\(first)'\(count > 1 ? " and \(count - 1) more" : ""))"
      }
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "operators that Toeplitz has", got: list.joined(separator: "; "))
    }
    return scope.source(warnings: [training.warning].compactMap { $0 }, metadata: model.metadata)
  }

  private func fill(_ scope: Scope, _ source: ONNXGraph) throws {
    func define(_ name: String, _ value: Int) throws {
      guard scope.names.updateValue(value, forKey: name) == nil else {
        throw data.place.inside(name).malformed("one value of each name", got: "two")
      }
    }
    for tensor in source.initializers {
      guard !tensor.name.isEmpty else { throw data.place.malformed("initializers with names", got: "one without") }
      try define(tensor.name, scope.initializer(tensor.name, try tensor.value(data, anywhere: true)))
    }
    for tensor in source.sparseInitializers {
      try define(tensor.name, scope.initializer(tensor.name, .tensor(try tensor.tensor(data))))
    }
    // Up to IR version 3 initializers stood among the inputs too; since then one that does is a default.
    let initialized = scope.names
    for input in source.inputs {
      if let value = initialized[input.name] {
        let isOuter = scope.outer == nil && model.irVersion >= 4
        if isOuter { scope.overridable.append((try port(input), value)) }
        continue
      }
      let value = scope.value()
      scope.inputs.append((try port(input), value))
      try define(input.name, value)
    }
    for node in inOrder(source.nodes) { try add(node, to: scope, opsets: model.opsets, prefix: "", depth: 0) }
    guard !source.outputs.isEmpty else { throw data.place.malformed("a graph with outputs", got: "none") }
    for output in source.outputs {
      let port = try port(output)
      guard let value = scope.find(output.name) else {
        guard unsupported.isEmpty else { continue }
        throw data.place.inside(output.name).malformed("a node that makes the output", got: "none")
      }
      scope.outputs.append((port, value))
    }
  }

  private func port(_ info: ONNXValueInfo) throws -> PortDescription {
    let isText = info.elementType == ONNXTensor.stringType
    let kind: PortDescription.Kind
    switch info.kind {
    case .tensor: kind = isText ? .strings : .tensor
    case .sequence(.tensor) where !isText: kind = .sequence
    case .optional: kind = .optional
    default:
      let other = info.kind == .map ? "a map" : info.kind == .sparse ? "a sparse tensor" : "a sequence of others"
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "inputs and outputs that are tensors or sequences of them",
        got: other, path: info.name)
    }
    let dtype =
      info.elementType == 0 || isText ? nil : try DType(onnx: info.elementType, data.place.inside(info.name))
    let dimensions = info.sizes?.map { size -> AxisSize in
      switch size {
      // Some exporters write −1 for a size that is open.
      case .fixed(let number): number < 0 ? .any : .fixed(number)
      case .named(let name): .symbol(name)
      case .unknown: .any
      }
    }
    var port = PortDescription(name: info.name, dtype: dtype, dimensions: dimensions)
    port.kind = kind
    return port
  }

  private func add(
    _ node: ONNXNode, to scope: Scope, opsets: [String: Int], prefix: String, depth: Int
  ) throws {
    nodeCount += 1
    guard nodeCount <= Self.mostNodes else {
      throw data.place.malformed("at most \(Self.mostNodes) nodes", got: "more")
    }
    let place = data.place.inside(label(node, prefix))
    if let function = functions[Self.key(node.domain, node.operation, node.overload)] {
      guard depth < Self.mostCalls else {
        throw place.malformed("functions nested at most \(Self.mostCalls) deep", got: "more")
      }
      return try expand(
        function, node, scope, place, prefix: "\(function.name.prefix(32))#\(nodeCount)/", depth: depth)
    }
    guard let maker = OperatorTable.maker(node.domain, node.operation) else {
      report(node, opsets, label(node, prefix))
      for output in node.outputs where !output.isEmpty { scope.names[output] = scope.value() }
      return
    }
    guard let opset = opsets[node.domain] else {
      throw place.malformed("an imported version of the domain '\(node.domain)'", got: "none")
    }
    if let name = node.repeatedAttribute {
      throw place.malformed("one attribute of each name", got: "two \(name.quoted)")
    }
    // Operators that both domains have stand in the table once.
    let schema =
      OperatorSchema.find(node.domain, node.operation, version: opset)
      ?? (node.domain == "com.microsoft" ? OperatorSchema.find("", node.operation, version: Int.max) : nil)
    try schema?.check(node, place)
    if node.domain.isEmpty {
      training.add(node, opset: opset, label: label(node, prefix)) { name in
        scope.find(name).flatMap { scope.initializers[$0]?.value.tensor }
      }
    }
    let operands = try node.inputs.map { input -> Int? in
      guard !input.isEmpty else { return nil }
      guard let value = scope.find(input) else {
        throw place.malformed("inputs that exist before the node", got: input.quoted)
      }
      return value
    }
    var captured: [Int] = []
    func gradient(_ sources: [String], count: Int, of target: String) throws -> GradientStep {
      let values = try (sources + [target]).map { name in
        guard let value = scope.find(name) else { throw place.malformed("values before the node", got: name.quoted) }
        return value
      }
      let constants = scope.initializers.filter { entry in !scope.overridable.contains { $0.value == entry.key } }
      return GradientStep(
        steps: scope.steps, initializers: constants, sources: values.dropLast(), count: count,
        target: values[values.count - 1], others: &captured)
    }
    let description = OperatorNode(node, opset: opset, data: data, gradient: gradient) { [self] graph in
      guard bodyDepth < Self.mostBodies else {
        throw place.malformed("at most \(Self.mostBodies) nested graphs", got: "more")
      }
      bodyDepth += 1
      defer { bodyDepth -= 1 }
      let inner = Scope(outer: scope)
      try fill(inner, graph)
      let start = captured.count
      captured += inner.captures.map(\.outer)
      return ONNXBody(inner.source(), inputCount: inner.inputs.count, captured: start..<captured.count)
    }
    let function: ValueFunction
    do {
      function = try maker(description)
    } catch let error as ToeplitzError {
      throw error.path.isEmpty ? error.inside(label(node, prefix)) : error
    }
    var results: [Int?] = []
    for name in node.outputs {
      guard !name.isEmpty else {
        results.append(nil)
        continue
      }
      let value = scope.value()
      results.append(value)
      guard scope.names.updateValue(value, forKey: name) == nil else {
        throw place.malformed("results that no other node makes", got: name.quoted)
      }
    }
    scope.steps.append(
      ONNXSource.Step(
        name: label(node, prefix), operation: node.operation, function: function, inputs: operands, outputs: results,
        captured: captured))
  }

  /// A name to find the node by: its own, or that of its first result, which tells by itself whose it is.
  private func label(_ node: ONNXNode, _ prefix: String) -> String {
    node.name.isEmpty ? node.outputs.first { !$0.isEmpty } ?? prefix : prefix + node.name
  }

  private func report(_ node: ONNXNode, _ opsets: [String: Int], _ label: String) {
    let domain = node.domain.isEmpty ? "ai.onnx" : node.domain
    let opset = opsets[node.domain].map { "opset \($0)" } ?? "no opset"
    let operation = "\(node.operation.oneLine) (domain \(domain.oneLine), \(opset)"
    if let known = unsupported.firstIndex(where: { $0.operation == operation }) {
      unsupported[known].count += 1
    } else {
      unsupported.append((operation, label.oneLine, 1))
    }
  }

  /// Puts the nodes of a function in the place of a call.
  ///
  /// - Parameter prefix: what sets the names inside this call apart. It has the number of the call rather than the names
  ///   of the calls around it, which would make names of nested calls long.
  private func expand(
    _ function: ONNXFunction, _ call: ONNXNode, _ scope: Scope, _ place: FilePlace, prefix: String, depth: Int
  ) throws {
    guard call.inputs.count <= function.inputs.count, call.outputs.count <= function.outputs.count else {
      throw place.malformed(
        "at most \(function.inputs.count) operands and \(function.outputs.count) results of \(function.name.quoted)",
        got: "\(call.inputs.count) and \(call.outputs.count)")
    }
    var names: [String: String] = [:]
    for (index, formal) in function.inputs.enumerated() {
      names[formal] = index < call.inputs.count ? call.inputs[index] : ""
    }
    for (formal, actual) in zip(function.outputs, call.outputs) where !actual.isEmpty && names[formal] == nil {
      names[formal] = actual
    }
    func rename(_ name: String) -> String { name.isEmpty ? "" : names[name] ?? prefix + name }
    for inner in function.nodes {
      var node = inner
      node.inputs = inner.inputs.map(rename)
      node.outputs = inner.outputs.map(rename)
      for (name, attribute) in inner.attributes {
        switch attribute {
        case .reference(let outer): node.attributes[name] = call.attributes[outer] ?? function.defaults[outer]
        case .graph, .graphs:
          throw ToeplitzError(
            .unsupported, data.place.file, expected: "functions without subgraphs", got: function.name,
            path: place.entry)
        default: break
        }
      }
      try add(
        node, to: scope, opsets: function.opsets.isEmpty ? model.opsets : function.opsets, prefix: prefix,
        depth: depth + 1)
    }
  }
}
