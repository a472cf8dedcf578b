import ToeplitzCheckpoint
import ToeplitzOps
import ToeplitzTensor

/// Turns a recorded computation into an ONNX model.
struct TraceExport {
  /// The versions that are written.
  private static let (irVersion, opset) = (8, 18)
  /// What a message of Protocol Buffers can hold.
  private static let mostBytes = Int(Int32.max) - 1 << 16

  /// What a tensor is recognised by: all are kept alive while the model is written, so memory is not used twice.
  private struct Key: Hashable {
    var storage: ObjectIdentifier
    var offset: Int
    var shape: Shape
    var strides: [Int]
    var dtype: DType

    init(_ tensor: Tensor) {
      storage = ObjectIdentifier(tensor.storage)
      (offset, shape, strides, dtype) = (tensor.offset, tensor.shape, tensor.strides, tensor.dtype)
    }
  }

  private var nodes = ProtobufWriter()
  private var constants = ProtobufWriter()
  private var names: [Key: String] = [:]
  /// Values that do not depend on the inputs.
  private var constantNames: [Key: String] = [:]
  private let known: [Key: String]
  private var counter = 0
  private var usedNames: Set<String>
  private var kept: [Tensor] = []

  /// - Parameters:
  ///   - inputs: names and tensors that the computation starts from.
  ///   - parameters: names for tensors that it uses.
  private init(_ inputs: [(String, Tensor)], _ parameters: [String: Tensor]) {
    known = Dictionary(parameters.map { (Key($0.value), $0.key) }) { first, _ in first }
    usedNames = Set(inputs.map(\.0))
    for (name, tensor) in inputs { names[Key(tensor)] = name }
  }

  /// The bytes of a model that computes `outputs` from `inputs` by the recorded steps.
  static func model(
    _ steps: [OperationTrace.Step], inputs: [(String, Tensor)], outputs: [(String, Tensor)],
    parameters: [String: Tensor], name: String
  ) throws -> [UInt8] {
    var export = TraceExport(inputs, parameters)
    for (_, tensor) in outputs { export.usedNames.formUnion([export.names[Key(tensor)] ?? ""]) }
    for (name, _) in outputs {
      guard export.usedNames.insert(name).inserted else {
        throw ToeplitzError(.argument, "export", expected: "different names for inputs and outputs", got: "'\(name)'")
      }
    }
    for step in steps { try export.add(step) }
    for (name, tensor) in outputs {
      guard let value = export.names[Key(tensor)] else {
        throw ToeplitzError(
          .unsupported, "export", expected: "outputs made of the inputs by recorded operations", got: "'\(name)'")
      }
      export.write("Identity", [value], [name], [:])
    }
    let total = export.nodes.bytes.count + export.constants.bytes.count
    guard total <= mostBytes else {
      throw ToeplitzError(.argument, "export", expected: "a model of at most \(mostBytes) bytes", got: "\(total)")
    }
    var model = ProtobufWriter()
    model.write(1, irVersion)
    model.write(2, "Toeplitz")
    model.write(7) { graph in
      graph.append(export.nodes)
      graph.write(2, name)
      graph.append(export.constants)
      for (name, tensor) in inputs { graph.write(11) { port(&$0, name, tensor.spec) } }
      for (name, tensor) in outputs { graph.write(12) { port(&$0, name, tensor.spec) } }
    }
    model.write(8) { opset in
      opset.write(1, "")
      opset.write(2, Self.opset)
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

  /// Writes the nodes of one recorded operation.
  private mutating func add(_ step: OperationTrace.Step) throws {
    kept += step.inputs + step.outputs
    // What does not depend on the inputs is a constant where it is used.
    guard step.inputs.contains(where: { names[Key($0)] != nil }) else { return }
    guard let operation = step.operation as? any ExportableOperation else {
      throw ToeplitzError(
        .unsupported, "export", expected: "operations that can be written as ONNX", got: step.operation.name)
    }
    let exported = try operation.exported(step.inputs.map(\.spec), step.outputs.map(\.spec))
    var made: [String] = []
    let hasResults = exported.contains { !$0.results.isEmpty }
    for (index, node) in exported.enumerated() {
      let inputs = try node.inputs.map { operand -> String in
        switch operand {
        case .input(let at): return try value(step.inputs[at])
        case .node(let at): return made[at]
        case .constant(let tensor): return try constant(tensor, "constant")
        case .none: return ""
        }
      }
      let results = node.results.isEmpty && !hasResults && index == exported.count - 1 ? [0] : node.results
      let outputs = (0..<max(1, results.count)).map { _ in fresh("\(step.operation.name)_\(node.name)") }
      made.append(outputs[0])
      write(node.name, inputs, outputs, node.attributes)
      for (result, name) in zip(results, outputs) where result < step.outputs.count {
        names[Key(step.outputs[result])] = name
        constantNames[Key(step.outputs[result])] = nil
      }
    }
  }

  /// The name of a value; one that no operation made is a constant.
  private mutating func value(_ tensor: Tensor) throws -> String {
    let key = Key(tensor)
    if let name = names[key] ?? constantNames[key] { return name }
    let name = try constant(tensor, known[key] ?? "constant")
    constantNames[key] = name
    return name
  }

  private mutating func constant(_ tensor: Tensor, _ base: String) throws -> String {
    let name = fresh(base)
    kept.append(tensor)
    guard tensor.dtype.elementsPerByte == 1 else {
      throw ToeplitzError(.unsupported, "export", expected: "elements of whole bytes", got: "\(tensor.dtype)")
    }
    try constants.write(5) { writer in
      for size in tensor.shape { writer.write(1, size) }
      writer.write(2, tensor.dtype.onnxNumber)
      writer.write(8, name)
      try tensor.withBytes { writer.write(9, $0) }
    }
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
