import ToeplitzOps
import ToeplitzTensor

/// Nodes in order, with the one value that each step hands to the next.
struct NodeChain {
  private(set) var nodes: [ExportNode] = []
  /// What the last node gives.
  private(set) var value: ExportNode.Operand

  init(_ value: ExportNode.Operand) { self.value = value }

  /// Goes on behind the nodes of another chain with another value.
  init(_ value: ExportNode.Operand, after chain: NodeChain) { (nodes, self.value) = (chain.nodes, value) }

  /// Adds a node that takes the value and other operands.
  mutating func add(
    _ name: String, _ operands: [ExportNode.Operand] = [], _ attributes: [String: ExportNode.Attribute] = [:]
  ) {
    nodes.append(ExportNode(name, [value] + operands, attributes))
    value = .node(nodes.count - 1)
  }

  /// An axis of `size` positions extended (or cropped) as a circle.
  ///
  /// `Pad` can do that since opset 19 only.
  mutating func wrap(axis: Int, size: Int, low: Int, high: Int) throws {
    guard size > 0, low != 0 || high != 0 else { return }
    let places = (0..<max(0, size + low + high)).map { Int64((($0 - low) % size + size) % size) }
    add("Gather", [.constant(try Tensor(places, shape: nil, device: .cpu))], ["axis": .int(axis)])
  }

  /// The adjoint of that: position u of an axis of `size` positions is added to position (u − low) mod `length`.
  mutating func unwrap(axis: Int, rank: Int, size: Int, low: Int, length: Int) throws {
    guard length > 0, low != 0 || size != length else { return }
    func numbers(_ values: [Int]) throws -> ExportNode.Operand {
      .constant(try Tensor(values.map { Int64($0) }, shape: nil, device: .cpu))
    }
    let whole = value
    var sum: ExportNode.Operand?
    var start = 0
    while start < size {
      let place = ((start - low) % length + length) % length
      let count = min(length - place, size - start)
      value = whole
      add("Slice", try [numbers([start]), numbers([start + count]), numbers([axis])])
      var pads = Array(repeating: 0, count: 2 * rank)
      (pads[axis], pads[axis + rank]) = (place, length - place - count)
      add("Pad", [try numbers(pads)])
      if let sum { add("Add", [sum]) }
      sum = value
      start += count
    }
  }
}
