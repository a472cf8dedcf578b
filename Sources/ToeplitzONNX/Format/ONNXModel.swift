import ToeplitzCheckpoint
import ToeplitzTensor

/// A model file as it was written (`ModelProto` of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).
struct ONNXModel {
  var irVersion = 0
  var producer = ""
  var opsets: [String: Int] = [:]
  var graph = ONNXGraph()
  var functions: [ONNXFunction] = []
  var metadata: [String: String] = [:]

  /// Parses a model.
  init(_ bytes: UnsafeRawBufferPointer, _ place: FilePlace) throws {
    var reader = ProtobufReader(bytes, place)
    var hasGraph = false
    try reader.forEach { field in
      switch field.number {
      case 1: irVersion = try field.int()
      case 2: producer = try field.string()
      case 7:
        guard !hasGraph else { throw place.malformed("one graph", got: "two") }
        graph = try ONNXGraph(field.message(), place, depth: 0)
        hasGraph = true
      case 8:
        let (domain, version) = try Self.opset(field.message())
        opsets[domain] = version
      case 14:
        let (key, value) = try Self.entry(field.message())
        metadata[key] = value
      case 25: functions.append(try ONNXFunction(field.message(), place))
      default: break
      }
    }
    guard hasGraph else { throw place.malformed("an ONNX model with a graph", got: "none") }
    guard irVersion >= 3 else { throw place.malformed("IR version 3 or higher", got: "\(irVersion)") }
  }

  /// A `StringStringEntryProto`.
  private static func entry(_ message: ProtobufReader) throws -> (String, String) {
    var (key, value, message) = ("", "", message)
    try message.forEach { field in
      switch field.number {
      case 1: key = try field.string()
      case 2: value = try field.string()
      default: break
      }
    }
    return (key, value)
  }

  /// An `OperatorSetIdProto`; the domain `ai.onnx` is the empty one.
  static func opset(_ message: ProtobufReader) throws -> (String, Int) {
    var (domain, version, message) = ("", 0, message)
    try message.forEach { field in
      switch field.number {
      case 1: domain = try field.string()
      case 2: version = try field.int()
      default: break
      }
    }
    return (domain == "ai.onnx" ? "" : domain, version)
  }
}

/// A function that nodes of the model call (`FunctionProto`).
struct ONNXFunction {
  var name = ""
  var domain = ""
  var overload = ""
  var inputs: [String] = []
  var outputs: [String] = []
  var nodes: [ONNXNode] = []
  var opsets: [String: Int] = [:]
  var defaults: [String: ONNXAttribute] = [:]

  init(_ message: ProtobufReader, _ place: FilePlace) throws {
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: name = try field.string()
      case 4: inputs.append(try field.string())
      case 5: outputs.append(try field.string())
      case 7: nodes.append(try ONNXNode(field.message(), place, depth: 1))
      case 9:
        let (domain, version) = try ONNXModel.opset(field.message())
        opsets[domain] = version
      case 10: domain = try field.string()
      case 11:
        let (name, attribute) = try ONNXAttribute.parse(field.message(), place, depth: 1)
        defaults[name] = attribute
      case 13: overload = try field.string()
      default: break
      }
    }
    if domain == "ai.onnx" { domain = "" }
  }
}

/// A graph or subgraph (`GraphProto`).
struct ONNXGraph {
  var name = ""
  var nodes: [ONNXNode] = []
  var initializers: [ONNXTensor] = []
  var sparseInitializers: [ONNXSparseTensor] = []
  var inputs: [ONNXValueInfo] = []
  var outputs: [ONNXValueInfo] = []

  /// As deep as subgraphs may be nested: each level takes some stack.
  static let mostDepth = 32

  init() {}

  init(_ message: ProtobufReader, _ place: FilePlace, depth: Int) throws {
    guard depth <= Self.mostDepth else {
      throw place.malformed("graphs nested at most \(Self.mostDepth) deep", got: "more")
    }
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: nodes.append(try ONNXNode(field.message(), place, depth: depth))
      case 2: name = try field.string()
      case 5: initializers.append(try ONNXTensor(field.message(), place))
      case 11: inputs.append(try ONNXValueInfo(field.message(), place))
      case 12: outputs.append(try ONNXValueInfo(field.message(), place))
      case 15: sparseInitializers.append(try ONNXSparseTensor(field.message(), place))
      default: break
      }
    }
  }
}

/// A node (`NodeProto`).
struct ONNXNode {
  var name = ""
  var operation = ""
  var domain = ""
  var overload = ""
  var inputs: [String] = []
  var outputs: [String] = []
  var attributes: [String: ONNXAttribute] = [:]
  /// An attribute that is given twice.
  var repeatedAttribute: String?

  init(_ message: ProtobufReader, _ place: FilePlace, depth: Int) throws {
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: inputs.append(try field.string())
      case 2: outputs.append(try field.string())
      case 3: name = try field.string()
      case 4: operation = try field.string()
      case 5:
        let (name, attribute) = try ONNXAttribute.parse(field.message(), place, depth: depth)
        if attributes.updateValue(attribute, forKey: name) != nil { repeatedAttribute = name }
      case 7: domain = try field.string()
      case 8: overload = try field.string()
      default: break
      }
    }
    if domain == "ai.onnx" { domain = "" }
  }
}

/// The value of an attribute (`AttributeProto`).
indirect enum ONNXAttribute {
  case float(Float)
  case int(Int)
  case string(String)
  case tensor(ONNXTensor)
  case graph(ONNXGraph)
  case floats([Float])
  case ints([Int])
  case strings([String])
  case tensors([ONNXTensor])
  case graphs([ONNXGraph])
  case sparse(ONNXSparseTensor)
  /// What a value is, such as an optional one that is empty.
  case type(ONNXValueInfo.Kind)
  /// The attribute of this name of the function that the node stands in.
  case reference(String)
  /// Of a kind that no supported operator has.
  case other

  static func parse(
    _ message: ProtobufReader, _ place: FilePlace, depth: Int
  ) throws -> (String, ONNXAttribute) {
    var message = message
    var name = ""
    var kind = 0
    var reference: String?
    var single: ONNXAttribute?
    var (floats, ints, strings): ([Float], [Int64], [String]) = ([], [], [])
    var (tensors, graphs): ([ONNXTensor], [ONNXGraph]) = ([], [])
    try message.forEach { field in
      switch field.number {
      case 1: name = try field.string()
      case 2: single = .float(try field.float())
      case 3: single = .int(try field.int())
      // Some attributes of this kind hold bytes that are no text; no supported operator has one.
      case 4: single = .string(String(decoding: try field.bytes(), as: UTF8.self))
      case 5: single = .tensor(try ONNXTensor(field.message(), place))
      case 6: single = .graph(try ONNXGraph(field.message(), place, depth: depth + 1))
      case 7: try field.append(to: &floats)
      case 8: try field.append(to: &ints)
      case 9: strings.append(String(decoding: try field.bytes(), as: UTF8.self))
      case 10: tensors.append(try ONNXTensor(field.message(), place))
      case 11: graphs.append(try ONNXGraph(field.message(), place, depth: depth + 1))
      case 14: single = .type(try ONNXValueInfo(type: field.message(), place).kind)
      case 20: kind = try field.int()
      case 21: reference = try field.string()
      case 22: single = .sparse(try ONNXSparseTensor(field.message(), place))
      default: break
      }
    }
    if let reference, !reference.isEmpty { return (name, .reference(reference)) }
    switch kind {
    case 6: return (name, .floats(floats))
    case 7: return (name, .ints(ints.map { Int($0) }))
    case 8: return (name, .strings(strings))
    case 9: return (name, .tensors(tensors))
    case 10: return (name, .graphs(graphs))
    // A number of zero and an empty text need not be written.
    case 1: return (name, single ?? .float(0))
    case 2: return (name, single ?? .int(0))
    case 3: return (name, single ?? .string(""))
    default: break
    }
    if let single { return (name, single) }
    if !ints.isEmpty { return (name, .ints(ints.map { Int($0) })) }
    if !floats.isEmpty { return (name, .floats(floats)) }
    return (name, strings.isEmpty ? .other : .strings(strings))
  }
}

/// Name and type of an input or output (`ValueInfoProto`).
struct ONNXValueInfo {
  enum Size {
    case fixed(Int)
    case named(String)
    case unknown
  }

  var name = ""
  /// The element type's number; 0 if unknown.
  var elementType = 0
  var sizes: [Size]?
  /// What a value is.
  indirect enum Kind: Equatable {
    case tensor
    case sequence(Kind)
    case optional(Kind)
    case map
    case sparse
  }
  /// What it is; `elementType` and `sizes` are those of the tensors it is made of.
  var kind = Kind.tensor

  private init() {}

  init(_ message: ProtobufReader, _ place: FilePlace) throws {
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: name = try field.string()
      case 2: try parseType(field.message())
      default: break
      }
    }
  }

  /// A value without a name (`TypeProto`).
  init(type message: ProtobufReader, _ place: FilePlace) throws { try parseType(message) }

  private mutating func parseType(_ message: ProtobufReader, depth: Int = 0) throws {
    var message = message
    try message.forEach { field in
      /// What stands in field 1 of the type's message.
      func inner() throws -> Kind {
        guard depth < 4 else { throw field.place.malformed("types nested at most 4 deep", got: "more") }
        var (element, container) = (ONNXValueInfo(), try field.message())
        try container.forEach { if $0.number == 1 { try element.parseType($0.message(), depth: depth + 1) } }
        (elementType, sizes) = (element.elementType, element.sizes)
        return element.kind
      }
      switch field.number {
      case 1:
        var tensor = try field.message()
        try tensor.forEach { field in
          switch field.number {
          case 1: elementType = try field.int()
          case 2: try parseShape(field.message())
          default: break
          }
        }
      case 4: kind = .sequence(try inner())
      case 5: kind = .map
      case 8: kind = .sparse
      case 9: kind = .optional(try inner())
      default: break
      }
    }
  }

  private mutating func parseShape(_ message: ProtobufReader) throws {
    var message = message
    var sizes: [Size] = []
    try message.forEach { field in
      guard field.number == 1 else { return }
      var (size, dimension) = (Size.unknown, try field.message())
      try dimension.forEach { field in
        switch field.number {
        case 1: size = .fixed(try field.int())
        case 2:
          let name = try field.string()
          // PaddlePaddle writes "?" for every size that it does not know.
          size = name.contains { $0.isLetter || $0.isNumber } ? .named(name) : .unknown
        default: break
        }
      }
      sizes.append(size)
    }
    self.sizes = sizes
  }
}
