/// Models of one node, so that the text of an attribute can be mutated by itself.
enum SmallModel {
  private struct Message {
    var bytes: [UInt8] = []

    mutating func varint(_ value: Int) {
      var rest = value
      while rest >= 0x80 {
        bytes.append(UInt8(rest & 0x7F) | 0x80)
        rest >>= 7
      }
      bytes.append(UInt8(rest))
    }

    func with(_ field: Int, _ number: Int) -> Message {
      var copy = self
      copy.varint(field << 3)
      copy.varint(number)
      return copy
    }

    func with(_ field: Int, _ content: [UInt8]) -> Message {
      var copy = self
      copy.varint(field << 3 | 2)
      copy.varint(content.count)
      copy.bytes += content
      return copy
    }

    func with(_ field: Int, _ text: String) -> Message { with(field, Array(text.utf8)) }
    func with(_ field: Int, _ message: Message) -> Message { with(field, message.bytes) }
  }

  /// A model whose one node has an attribute that is text.
  ///
  /// - Parameters:
  ///   - inputs: names, element types as ONNX numbers them, and numbers of axes of open size.
  ///   - output: the element type.
  static func bytes(
    _ operation: String, attribute: (name: String, text: [UInt8]), inputs: [(name: String, type: Int, rank: Int)],
    output: Int
  ) -> [UInt8] {
    func port(_ name: String, _ type: Int, _ rank: Int?) -> Message {
      var tensor = Message().with(1, type)
      if let rank {
        tensor = tensor.with(2, (0..<rank).reduce(Message()) { shape, _ in shape.with(1, Message()) })
      }
      return Message().with(1, name).with(2, Message().with(1, tensor))
    }
    // STRING is 3.
    let text = Message().with(1, attribute.name).with(4, attribute.text).with(20, 3)
    let node = inputs.reduce(Message()) { $0.with(1, $1.name) }.with(2, "result").with(4, operation).with(5, text)
    var graph = Message().with(1, node).with(2, "one")
    for input in inputs { graph = graph.with(11, port(input.name, input.type, input.rank)) }
    graph = graph.with(12, port("result", output, nil))
    return Message().with(1, 8).with(7, graph).with(8, Message().with(2, 20)).bytes
  }
}
