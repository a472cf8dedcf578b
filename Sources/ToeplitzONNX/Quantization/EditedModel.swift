import ToeplitzCheckpoint
import ToeplitzTensor

/// A model file whose nodes are changed, while all else is written as it was read.
struct EditedModel {
  /// A node: one that was read, with maybe other inputs and outputs, or a new one.
  struct Node {
    var operation: String
    var name = ""
    var domain = ""
    var inputs: [String]
    var outputs: [String]
    /// Whole numbers that a new node has as attributes.
    var integers: [String: Int] = [:]
    /// A node as it was read: its attributes, and its fields besides inputs and outputs.
    var attributes: [String: ONNXAttribute] = [:]
    var fields: [ProtobufField] = []
  }

  var nodes: [Node] = []
  /// The constants by name, in float32 where they were read as such.
  private(set) var initializers: [String: Tensor] = [:]
  private var initializerOrder: [String] = []
  let inputs: [ONNXValueInfo]
  let outputs: [ONNXValueInfo]
  /// Results of nodes that are outputs besides those of the model.
  var extraOutputs: [String] = []
  let opset: Int
  private var modelFields: [ProtobufField] = []
  private var graphFields: [ProtobufField] = []
  private var usedNames: Set<String> = []
  /// What keeps the bytes.
  private let data: ONNXData

  /// Protobuf messages are smaller than 2 GiB.
  private static let mostBytes = Int(Int32.max) - 1 << 16

  init(contentsOf path: String) throws {
    let file = try MappedFile(path: path)
    try self.init(file.bytes, ONNXData(place: FilePlace(file: path), file: file, model: path))
  }

  init(_ bytes: UnsafeRawBufferPointer, _ data: ONNXData) throws {
    self.data = data
    // Everything is checked as it is when a model is read.
    let model = try ONNXModel(bytes, data.place)
    opset = model.opsets[""] ?? 0
    (inputs, outputs) = (model.graph.inputs, model.graph.outputs)
    for stored in model.graph.initializers {
      initializers[stored.name] = try stored.tensor(data)
      initializerOrder.append(stored.name)
    }
    var (modelFields, graphFields, nodes): ([ProtobufField], [ProtobufField], [Node]) = ([], [], [])
    var reader = ProtobufReader(bytes, data.place)
    try reader.forEach { field in
      guard field.number == 7 else { return modelFields.append(field) }
      var graph = try field.message()
      try graph.forEach { field in
        switch field.number {
        case 1: nodes.append(try Self.node(field, data.place))
        // Constants are written anew, and types of inner values may no longer be theirs.
        case 5, 13: break
        default: graphFields.append(field)
        }
      }
    }
    (self.modelFields, self.graphFields, self.nodes) = (modelFields, graphFields, nodes)
    usedNames = Set(nodes.flatMap { $0.inputs + $0.outputs } + initializerOrder + (inputs + outputs).map(\.name))
  }

  private static func node(_ field: ProtobufField, _ place: FilePlace) throws -> Node {
    let parsed = try ONNXNode(field.message(), place, depth: 0)
    var node = Node(
      operation: parsed.operation, name: parsed.name, domain: parsed.domain, inputs: parsed.inputs,
      outputs: parsed.outputs, attributes: parsed.attributes)
    var message = try field.message()
    try message.forEach { if $0.number > 2 { node.fields.append($0) } }
    return node
  }

  /// A name that nothing has, made from `base`.
  mutating func fresh(_ base: String) -> String {
    var (name, counter) = (base, 1)
    while !usedNames.insert(name).inserted {
      counter += 1
      name = "\(base)_\(counter)"
    }
    return name
  }

  /// Adds a constant and returns its name.
  mutating func constant(_ tensor: Tensor, _ base: String) -> String {
    let name = fresh(base)
    initializers[name] = tensor
    initializerOrder.append(name)
    return name
  }

  /// How often each value is used, also by graphs inside nodes and as an output.
  var useCounts: [String: Int] {
    var counts: [String: Int] = [:]
    func count(_ inputs: [String], _ attributes: some Collection<ONNXAttribute>) {
      for input in inputs where !input.isEmpty { counts[input, default: 0] += 1 }
      for attribute in attributes {
        switch attribute {
        case .graph(let graph): count(graph)
        case .graphs(let graphs): for graph in graphs { count(graph) }
        default: break
        }
      }
    }
    func count(_ graph: ONNXGraph) {
      for node in graph.nodes { count(node.inputs, node.attributes.values) }
      for output in graph.outputs { counts[output.name, default: 0] += 1 }
    }
    for node in nodes { count(node.inputs, node.attributes.values) }
    for output in outputs { counts[output.name, default: 0] += 1 }
    return counts
  }

  /// The bytes of the model; constants that nobody uses are left out.
  func written() throws -> [UInt8] {
    let used = useCounts
    var constants = ProtobufWriter()
    for name in initializerOrder where used[name] != nil || inputs.contains(where: { $0.name == name }) {
      guard let tensor = initializers[name] else { continue }
      try constants.writeTensor(5, tensor, name)
    }
    var model = ProtobufWriter()
    for field in modelFields { model.copy(field) }
    model.write(7) { graph in
      for node in nodes { graph.write(1) { Self.write(node, &$0) } }
      for field in graphFields { graph.copy(field) }
      graph.append(constants)
      for output in extraOutputs {
        graph.write(12) { port in
          port.write(1, output)
          port.write(2) { $0.write(1) { $0.write(1, DType.float32.onnxNumber) } }
        }
      }
    }
    guard model.bytes.count <= Self.mostBytes else {
      throw data.place.refused("a model of at most \(Self.mostBytes) bytes", got: "\(model.bytes.count)")
    }
    return model.bytes
  }

  private static func write(_ node: Node, _ writer: inout ProtobufWriter) {
    for input in node.inputs { writer.write(1, input) }
    for output in node.outputs { writer.write(2, output) }
    guard node.fields.isEmpty else {
      for field in node.fields { writer.copy(field) }
      return
    }
    writer.write(3, node.name)
    writer.write(4, node.operation)
    for (name, value) in node.integers.sorted(by: { $0.key < $1.key }) {
      writer.write(5) { attribute in
        attribute.write(1, name)
        attribute.write(3, value)
        attribute.write(20, 2)
      }
    }
    if !node.domain.isEmpty { writer.write(7, node.domain) }
  }
}
