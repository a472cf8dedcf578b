import ToeplitzTensor

/// Writes messages in Protocol Buffers' wire format.
struct Message {
  var bytes: [UInt8] = []

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  func with(_ field: UInt64, _ value: UInt64) -> Message {
    var copy = self
    copy.varint(field << 3)
    copy.varint(value)
    return copy
  }

  func with(_ field: UInt64, _ content: [UInt8]) -> Message {
    var copy = self
    copy.varint(field << 3 | 2)
    copy.varint(UInt64(content.count))
    copy.bytes += content
    return copy
  }

  func with(_ field: UInt64, float number: Float) -> Message {
    var copy = self
    copy.varint(field << 3 | 5)
    copy.bytes += withUnsafeBytes(of: number.bitPattern.littleEndian) { Array($0) }
    return copy
  }

  func with(_ field: UInt64, _ text: String) -> Message { with(field, Array(text.utf8)) }
  func with(_ field: UInt64, _ message: Message) -> Message { with(field, message.bytes) }
}

/// Small models.
enum TestModel {
  /// A kind of value at a port.
  enum Kind {
    case tensor(UInt64)
    case sequence(UInt64)
    case optional(UInt64)

    var type: Message {
      func tensor(_ element: UInt64) -> Message { Message().with(1, Message().with(1, element)) }
      switch self {
      case .tensor(let element): return tensor(element)
      case .sequence(let element): return Message().with(4, Message().with(1, tensor(element)))
      case .optional(let element): return Message().with(9, Message().with(1, tensor(element)))
      }
    }
  }

  static func port(_ name: String, _ kind: Kind = .tensor(1)) -> Message { Message().with(1, name).with(2, kind.type) }

  static func node(_ operation: String, _ inputs: [String], _ outputs: [String], domain: String = "") -> Message {
    var node = Message().with(4, operation).with(7, domain)
    for input in inputs { node = node.with(1, input) }
    for output in outputs { node = node.with(2, output) }
    return node
  }

  static func attribute(_ name: String, _ value: Float) -> Message {
    Message().with(1, name).with(2, float: value).with(20, 1)
  }
  static func attribute(_ name: String, _ value: Int) -> Message {
    Message().with(1, name).with(3, UInt64(bitPattern: Int64(value))).with(20, 2)
  }
  static func attribute(_ name: String, _ value: String) -> Message {
    Message().with(1, name).with(4, value).with(20, 3)
  }
  static func attribute(_ name: String, _ values: [Int]) -> Message {
    values.reduce(Message().with(1, name).with(20, 7)) { $0.with(8, UInt64(bitPattern: Int64($1))) }
  }
  static func attribute(_ name: String, _ values: [String]) -> Message {
    values.reduce(Message().with(1, name).with(20, 8)) { $0.with(9, $1) }
  }
  static func attribute(_ name: String, graph: Message) -> Message {
    Message().with(1, name).with(6, graph).with(20, 5)
  }

  static func graph(_ nodes: [Message], inputs: [(String, Kind)], outputs: [(String, Kind)], tensors: [Message] = [])
    -> Message
  {
    var graph = Message().with(2, "g")
    for node in nodes { graph = graph.with(1, node) }
    for tensor in tensors { graph = graph.with(5, tensor) }
    for (name, kind) in inputs { graph = graph.with(11, port(name, kind)) }
    for (name, kind) in outputs { graph = graph.with(12, port(name, kind)) }
    return graph
  }

  static func bytes(
    _ nodes: [Message], inputs: [(String, Kind)] = [("x", .tensor(1))], outputs: [(String, Kind)] = [("y", .tensor(1))],
    tensors: [Message] = [], irVersion: UInt64 = 8, opset: UInt64 = 17, domains: [String: UInt64] = [:]
  ) -> [UInt8] {
    var model = Message().with(1, irVersion)
      .with(7, graph(nodes, inputs: inputs, outputs: outputs, tensors: tensors))
      .with(8, Message().with(2, opset))
    for (domain, version) in domains { model = model.with(8, Message().with(1, domain).with(2, version)) }
    return model.bytes
  }
}
