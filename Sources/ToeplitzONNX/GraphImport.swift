import ToeplitzCheckpoint
import ToeplitzLegacyGraph
import ToeplitzTensor

/// Turns the nodes of an ONNX model into a ``Graph``.
final class GraphImport {
  private let model: ONNXModel
  private let data: ONNXData
  private var unsupported: [String] = []
  private let functions: [String: ONNXFunction]
  /// Functions may call functions, but not themselves; this bounds the expansion.
  private static let mostCalls = 32
  private static let mostNodes = 1 << 18
  private var nodeCount = 0

  init(_ model: ONNXModel, _ data: ONNXData) {
    self.model = model
    self.data = data
    functions = Dictionary(model.functions.map { (Self.key($0.domain, $0.name, $0.overload), $0) }) { $1 }
  }

  private static func key(_ domain: String, _ name: String, _ overload: String) -> String {
    "\(domain)/\(name)/\(overload)"
  }

  /// Names and the graph they belong to; inner graphs see the names of outer ones.
  private final class Scope {
    var graph: Graph
    var names: [String: ValueID] = [:]
    var captures: [(outer: ValueID, inner: ValueID)] = []
    let outer: Scope?

    init(_ name: String, outer: Scope?) {
      graph = Graph(name: name)
      self.outer = outer
    }

    /// The value of a name; one of an outer graph is captured.
    func find(_ name: String) -> ValueID? {
      if let known = names[name] { return known }
      guard let outer, let found = outer.find(name) else { return nil }
      let constant = outer.graph.values[found.index].stored
      let inner = graph.value(name: name, constant: constant)
      if constant == nil { captures.append((found, inner)) }
      names[name] = inner
      return inner
    }
  }

  /// The graph of the model.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that lists all operators Toeplitz does not have, or of kind
  ///   `format` for a graph that is not well formed.
  func run() throws -> Graph {
    let scope = Scope(model.graph.name, outer: nil)
    try fill(scope, model.graph)
    guard unsupported.isEmpty else {
      var seen: Set<String> = []
      let list = unsupported.filter { seen.insert($0).inserted }
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "operators that Toeplitz has", got: list.joined(separator: "; "))
    }
    return scope.graph
  }

  private func fill(_ scope: Scope, _ source: ONNXGraph) throws {
    func define(_ name: String, _ value: ValueID) throws {
      guard scope.names.updateValue(value, forKey: name) == nil else {
        throw data.place.inside(name).malformed("one value of each name", got: "two")
      }
    }
    for tensor in source.initializers {
      guard !tensor.name.isEmpty else { throw data.place.malformed("initializers with names", got: "one without") }
      try define(tensor.name, scope.graph.constant(try tensor.tensor(data, anywhere: true), name: tensor.name))
    }
    for tensor in source.sparseInitializers {
      try define(tensor.name, scope.graph.constant(try tensor.tensor(data), name: tensor.name))
    }
    // Up to IR version 3 initializers stood among the inputs too; the inputs are what is left.
    let initialized = Set(scope.names.keys)
    for input in source.inputs where !initialized.contains(input.name) {
      let port = try port(input)
      try define(input.name, scope.graph.input(input.name, port.dtype, port.dimensions))
    }
    for node in source.nodes { try add(node, to: scope, opsets: model.opsets, prefix: "", depth: 0) }
    guard !source.outputs.isEmpty else { throw data.place.malformed("a graph with outputs", got: "none") }
    for output in source.outputs {
      let port = try port(output)
      guard let value = scope.find(output.name) else {
        guard unsupported.isEmpty else { continue }
        throw data.place.inside(output.name).malformed("a node that makes the output", got: "none")
      }
      scope.graph.output(value, name: output.name, dtype: port.dtype, dimensions: port.dimensions)
    }
  }

  private func port(_ info: ONNXValueInfo) throws -> (dtype: DType?, dimensions: [Dimension]?) {
    if let other = info.otherType {
      throw ToeplitzError(
        .unsupported, data.place.file, expected: "inputs and outputs that are tensors", got: other, path: info.name)
    }
    let dtype = info.elementType == 0 ? nil : try DType(onnx: info.elementType, data.place.inside(info.name))
    let dimensions = try info.sizes?.map { size -> Dimension in
      switch size {
      case .fixed(let number):
        guard number >= 0 else {
          throw data.place.inside(info.name).malformed("sizes of at least 0", got: "\(number)")
        }
        return .fixed(number)
      case .named(let name): return .symbol(name)
      case .unknown: return .any
      }
    }
    return (dtype, dimensions)
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
      for output in node.outputs where !output.isEmpty { scope.names[output] = scope.graph.value(name: output) }
      return
    }
    guard let opset = opsets[node.domain] else {
      throw place.malformed("an imported version of the domain '\(node.domain)'", got: "none")
    }
    var operands: [ValueID?] = []
    for input in node.inputs {
      guard !input.isEmpty else {
        operands.append(nil)
        continue
      }
      guard let value = scope.find(input) else {
        throw place.malformed("inputs that exist before the node", got: input.quoted)
      }
      operands.append(value)
    }
    let description = OperatorNode(node, opset: opset, data: data) { [self] graph in
      let inner = Scope(graph.name, outer: scope)
      try fill(inner, graph)
      // Copied once here rather than in each round of a loop.
      try inner.graph.settleConstants()
      return Program(inner.graph, captures: inner.captures)
    }
    let operation: any GraphOperation
    do {
      operation = try maker(description)
    } catch let error as ToeplitzError {
      throw error.path.isEmpty ? error.inside(label(node, prefix)) : error
    }
    let results = scope.graph.node(operation, operands, results: node.outputs.count, name: label(node, prefix))
    for (name, value) in zip(node.outputs, results) where !name.isEmpty {
      guard scope.names.updateValue(value, forKey: name) == nil else {
        throw place.malformed("results that no other node makes", got: name.quoted)
      }
      scope.graph.setName(name, of: value)
    }
  }

  /// A name to find the node by: its own, or that of its first result, which tells by itself whose it is.
  private func label(_ node: ONNXNode, _ prefix: String) -> String {
    node.name.isEmpty ? node.outputs.first { !$0.isEmpty } ?? prefix : prefix + node.name
  }

  private func report(_ node: ONNXNode, _ opsets: [String: Int], _ label: String) {
    let domain = node.domain.isEmpty ? "ai.onnx" : node.domain
    let opset = opsets[node.domain].map { "opset \($0)" } ?? "no opset"
    unsupported.append("\(node.operation.oneLine) (domain \(domain.oneLine), \(opset), node '\(label.oneLine)')")
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
