import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Graph {
  /// The graph as an ONNX model (IR version 8, opset 18): an operation becomes one node or several, a constant an
  /// initializer under its name.
  ///
  /// - Throws: ``ToeplitzError`` if ONNX does not have an operation, or the model would be larger than its format allows.
  public func onnxModel() throws -> [UInt8] { try onnxModel(defaults: [:], metadata: [:]) }

  /// The same, with values that inputs have if callers give none, and with what the file says of the model.
  func onnxModel(defaults: [String: Tensor], metadata: [String: String]) throws -> [UInt8] {
    try GraphExport.model(self, defaults, metadata)
  }
}

/// Writes a graph as an ONNX model.
private struct GraphExport {
  private static let (irVersion, opset) = (8, 18)
  /// Protobuf messages are smaller than 2 GiB.
  private static let mostBytes = Int(Int32.max) - 1 << 16

  private let graph: Graph
  private var nodes = ProtobufWriter()
  private var constants = ProtobufWriter()
  /// The names of values.
  private var names: [Int: String] = [:]
  private var counter = 0
  private var usedNames: Set<String> = []

  static func model(_ graph: Graph, _ defaults: [String: Tensor], _ metadata: [String: String]) throws -> [UInt8] {
    var export = GraphExport(graph: graph)
    for port in graph.inputs + graph.outputs {
      guard export.usedNames.insert(port.name).inserted else {
        throw ToeplitzError(
          .argument, "export", expected: "different names for inputs and outputs", got: "'\(port.name)'")
      }
    }
    for port in graph.inputs {
      export.names[port.value] = port.name
      if let tensor = defaults[port.name] { try export.constants.writeTensor(5, tensor, port.name) }
    }
    for node in graph.nodes { try export.add(node) }
    for port in graph.outputs {
      export.write("Identity", [try export.value(port.value)], [port.name], [:])
    }
    let total = export.nodes.bytes.count + export.constants.bytes.count
    guard total <= mostBytes else {
      throw ToeplitzError(.argument, "export", expected: "a model of at most \(mostBytes) bytes", got: "\(total)")
    }
    var model = ProtobufWriter()
    model.write(1, irVersion)
    model.write(2, "Toeplitz")
    model.write(7) { writer in
      writer.append(export.nodes)
      writer.write(2, graph.name)
      writer.append(export.constants)
      for input in graph.inputs { writer.write(11) { port(&$0, input.name, graph.specs[input.value]) } }
      for output in graph.outputs { writer.write(12) { port(&$0, output.name, graph.specs[output.value]) } }
    }
    model.write(8) { opset in
      opset.write(1, "")
      opset.write(2, Self.opset)
    }
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      model.write(14) { entry in
        entry.write(1, key)
        entry.write(2, value)
      }
    }
    return model.bytes
  }

  private static func port(_ writer: inout ProtobufWriter, _ name: String, _ spec: TensorSpec) {
    writer.write(1, name)
    writer.write(2) { type in
      type.write(1) { tensor in
        tensor.write(1, spec.dtype.onnxNumber)
        tensor.write(2) { shape in
          for size in spec.shape { shape.write(1) { $0.write(1, size) } }
        }
      }
    }
  }

  private mutating func fresh(_ base: String) -> String {
    var name = base
    while !usedNames.insert(name).inserted {
      counter += 1
      name = "\(base)_\(counter)"
    }
    return name
  }

  private mutating func add(_ node: Graph.Node) throws {
    guard let operation = node.operation as? any ExportableOperation else {
      throw ToeplitzError(
        .unsupported, "export", expected: "operations that can be written as ONNX", got: node.operation.name,
        path: node.path)
    }
    let exported = try operation.exported(
      node.inputs.map { graph.specs[$0] }, node.outputs.map { graph.specs[$0] })
    var made: [[String]] = []
    // Without a word about results the last node gives the one there is.
    let hasResults = exported.contains { !$0.results.isEmpty }
    for (index, part) in exported.enumerated() {
      let inputs = try part.inputs.map { operand -> String in
        switch operand {
        case .input(let at): return try value(node.inputs[at])
        case .node(let at): return made[at][0]
        case .result(let at, let index): return made[at][index]
        case .constant(let tensor): return try constant(tensor, "constant")
        case .none: return ""
        }
      }
      let results = part.results.isEmpty && !hasResults && index == exported.count - 1 ? [0] : part.results
      let outputs = (0..<max(part.resultCount, results.count)).map { _ in fresh("\(node.operation.name)_\(part.name)") }
      made.append(outputs)
      write(part.name, inputs, outputs, part.attributes)
      for (result, name) in zip(results, outputs) where result < node.outputs.count {
        names[node.outputs[result]] = name
      }
    }
  }

  /// The name of a value; a constant is written where it is first used.
  private mutating func value(_ value: Int) throws -> String {
    if let name = names[value] { return name }
    guard let tensor = graph.constants[value] else {
      throw ToeplitzError(.argument, "export", expected: "values that a node makes", got: "value \(value)")
    }
    let name = try constant(tensor, graph.names[value] ?? "constant")
    names[value] = name
    return name
  }

  private mutating func constant(_ tensor: Tensor, _ base: String) throws -> String {
    let name = fresh(base)
    try constants.writeTensor(5, tensor, name)
    return name
  }

  private mutating func write(
    _ operation: String, _ inputs: [String], _ outputs: [String], _ attributes: [String: ExportNode.Attribute]
  ) {
    nodes.write(1) { node in
      for input in inputs { node.write(1, input) }
      for output in outputs { node.write(2, output) }
      node.write(3, outputs.first ?? operation)
      node.write(4, operation)
      for (name, attribute) in attributes.sorted(by: { $0.key < $1.key }) {
        node.write(5) { Self.attribute(&$0, operation, name, attribute) }
      }
    }
  }

  private static func attribute(
    _ writer: inout ProtobufWriter, _ operation: String, _ name: String, _ attribute: ExportNode.Attribute
  ) {
    writer.write(1, name)
    switch attribute {
    case .int(let value):
      writer.write(3, value)
      writer.write(20, 2)
    case .float(let value):
      writer.write(2, Float(value))
      writer.write(20, 1)
    case .ints(let values):
      for value in values { writer.write(8, value) }
      writer.write(20, 7)
    case .string(let text):
      // Element types go by number.
      if operation == "Cast", let dtype = DType(rawValue: text) {
        writer.write(3, dtype.onnxNumber)
        writer.write(20, 2)
      } else {
        writer.write(4, text)
        writer.write(20, 3)
      }
    }
  }
}
