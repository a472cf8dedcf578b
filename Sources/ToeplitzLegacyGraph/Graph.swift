import ToeplitzOps
import ToeplitzTensor

/// The number of a value in its graph.
public struct ValueID: Sendable, Hashable, CustomStringConvertible {
  /// Position in ``Graph/values``.
  public let index: Int
  /// The number after a percent sign.
  public var description: String { "%\(index)" }

  init(_ index: Int) { self.index = index }
}

/// One size of an input: a number, a name that stands for one number throughout a call, or anything.
public enum Dimension: Sendable, Hashable, CustomStringConvertible, ExpressibleByIntegerLiteral,
  ExpressibleByStringLiteral
{
  /// This size only.
  case fixed(Int)
  /// Any size, but the same wherever the name stands.
  case symbol(String)
  /// Any size.
  case any

  /// The number, the name or `?`.
  public var description: String {
    switch self {
    case .fixed(let size): "\(size)"
    case .symbol(let name): name
    case .any: "?"
    }
  }

  /// A fixed size.
  public init(integerLiteral value: Int) { self = .fixed(value) }
  /// A named size.
  public init(stringLiteral value: String) { self = .symbol(value) }
}

/// What a graph says of one of its inputs or outputs.
public struct PortDescription: Sendable {
  /// The name.
  public var name: String
  /// The value.
  public var value: ValueID
  /// The element type, if it is known.
  public var dtype: DType?
  /// The sizes, if their number is known.
  public var dimensions: [Dimension]?

  /// Element type and sizes, such as `float32[N, 3, 224, 224]`.
  public var description: String {
    let sizes = dimensions.map { "[" + $0.map(\.description).joined(separator: ", ") + "]" } ?? "[…]"
    return (dtype?.description ?? "any") + sizes
  }
}

/// A computation as values and operations between them.
///
/// A graph can be built by hand, is what an ONNX file loads into, and is what ``Executable`` compiles:
///
/// ```swift
/// var graph = Graph(name: "gain")
/// let x = graph.input("x", .float32, ["N", 2, "L"])
/// let gain = graph.constant(try Tensor([2, 3], shape: [2, 1]), name: "gain")
/// let y = graph.node(MultiplyNode(), [x, gain])[0]
/// graph.output(y, name: "y")
/// ```
public struct Graph: Sendable {
  /// A node: an operation between values.
  public struct Node: Sendable {
    /// The name, for errors; may be empty.
    public var name: String
    /// What is computed.
    public var operation: any GraphOperation
    /// The operands; nil for one left out.
    public var inputs: [ValueID?]
    /// The results; nil for one nobody wants.
    public var outputs: [ValueID?]
    /// What was folded into this node, for listings.
    public var fused: [String] = []
  }

  /// What is known of a value.
  public struct Value: Sendable {
    /// The name; may be empty.
    public var name: String
    /// The tensor, of a constant; nil also where there is no memory left for a copy that it needs.
    public var constant: Tensor? { try? stored?.aligned() }
    /// The tensor as it was given.
    ///
    /// It may not be aligned, so only its shape and type may be looked at, or an operation
    /// may read it among whose ``GraphOperation/rearrangedOperands`` it is.
    package fileprivate(set) var stored: Tensor?
  }

  /// The name.
  public var name: String
  /// All values.
  public private(set) var values: [Value] = []
  /// The nodes, each after those it needs.
  public var nodes: [Node] = []
  /// What a caller gives.
  public private(set) var inputs: [PortDescription] = []
  /// What a caller gets.
  public private(set) var outputs: [PortDescription] = []
  /// Weights by name that a caller supplies when the graph is compiled.
  public private(set) var weights: [String: ValueID] = [:]

  /// An empty graph.
  public init(name: String = "") { self.name = name }

  /// A new value.
  public mutating func value(name: String = "", constant: Tensor? = nil) -> ValueID {
    values.append(Value(name: name, stored: constant))
    return ValueID(values.count - 1)
  }

  /// A new input of the given element type and sizes.
  public mutating func input(_ name: String, _ dtype: DType?, _ dimensions: [Dimension]?) -> ValueID {
    let value = value(name: name)
    inputs.append(PortDescription(name: name, value: value, dtype: dtype, dimensions: dimensions))
    return value
  }

  /// A new constant.
  public mutating func constant(_ tensor: Tensor, name: String = "") -> ValueID {
    value(name: name, constant: tensor)
  }

  /// A new constant whose tensor is found by name when the graph is compiled.
  public mutating func weight(_ name: String) -> ValueID {
    if let known = weights[name] { return known }
    let value = value(name: name)
    weights[name] = value
    return value
  }

  /// A new node; gives its results.
  public mutating func node(
    _ operation: some GraphOperation, _ operands: [ValueID?], results: Int = 1, name: String = ""
  ) -> [ValueID] {
    let outputs = (0..<results).map { _ in value() }
    nodes.append(Node(name: name, operation: operation, inputs: operands, outputs: outputs))
    return outputs
  }

  /// A new node of an operation on tensors; gives its results.
  public mutating func node(
    _ operation: some TensorOperation, _ operands: [ValueID], results: Int = 1, name: String = ""
  ) -> [ValueID] {
    node(OperationNode(operation), operands, results: results, name: name)
  }

  /// Makes a value an output.
  public mutating func output(
    _ value: ValueID, name: String, dtype: DType? = nil, dimensions: [Dimension]? = nil
  ) {
    outputs.append(PortDescription(name: name, value: value, dtype: dtype, dimensions: dimensions))
  }

  /// The constant tensor of a value, if it is one.
  public func constant(of value: ValueID?) -> Tensor? { value.flatMap { values[$0.index].constant } }

  /// Shape and element type of a constant, if the value is one.
  func constantSpec(_ value: ValueID?) -> TensorSpec? { value.flatMap { values[$0.index].stored?.spec } }

  /// Names a value.
  public mutating func setName(_ name: String, of value: ValueID) { values[value.index].name = name }

  /// Gives a value its constant tensor.
  mutating func setConstant(_ tensor: Tensor, of value: ValueID) { values[value.index].stored = tensor }

  /// Forgets constants that nobody uses any more, and copies those that have to be aligned for their users.
  package mutating func settleConstants() throws {
    var used = Set(outputs.map(\.value) + nodes.flatMap(\.operation.captures))
    var rearranged: Set<ValueID> = []
    for node in nodes {
      let own = node.operation.rearrangedOperands
      for (index, input) in node.inputs.enumerated() {
        guard let input else { continue }
        if own.contains(index) { rearranged.insert(input) } else { used.insert(input) }
      }
    }
    for index in values.indices {
      let id = ValueID(index)
      guard let stored = values[index].stored, used.contains(id) || !rearranged.contains(id) else { continue }
      values[index].stored = used.contains(id) ? try stored.aligned() : nil
      // What was copied or folded into others need not stay in memory; a few pages are not worth asking.
      if values[index].stored?.storage !== stored.storage, stored.storage.byteCount >= 1 << 16 {
        stored.storage.forgetFilePages()
      }
    }
  }

  /// Lets every use of a value be one of another.
  mutating func replace(_ old: ValueID, by new: ValueID) {
    for index in nodes.indices {
      for (at, input) in nodes[index].inputs.enumerated() where input == old { nodes[index].inputs[at] = new }
    }
    for index in outputs.indices where outputs[index].value == old { outputs[index].value = new }
  }

  /// Lets an output be another value.
  mutating func replaceOutput(_ index: Int, by value: ValueID) { outputs[index].value = value }

  /// Refuses a graph whose nodes use values before they are made, or values that nobody makes.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the node.
  public func validate() throws {
    var known = Set(inputs.map(\.value))
    for (index, value) in values.enumerated() where value.stored != nil { known.insert(ValueID(index)) }
    for node in nodes {
      for need in node.inputs.compactMap({ $0 }) + node.operation.captures where !known.contains(need) {
        throw ToeplitzError(
          .argument, node.operation.name, expected: "operands that exist before the node",
          got: values[need.index].name.isEmpty ? "\(need)" : "'\(values[need.index].name)'", path: node.name)
      }
      for output in node.outputs.compactMap({ $0 }) where !known.insert(output).inserted {
        throw ToeplitzError(
          .argument, node.operation.name, expected: "results that no other node makes",
          got: values[output.index].name, path: node.name)
      }
    }
    for output in outputs where !known.contains(output.value) {
      throw ToeplitzError(.argument, "Graph", expected: "outputs that a node makes", got: "'\(output.name)'")
    }
  }

  /// Gives weights their tensors.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that lists the names without a tensor.
  public mutating func bind(_ tensors: [String: Tensor]) throws {
    let missing = weights.keys.filter { tensors[$0] == nil && values[weights[$0]?.index ?? 0].stored == nil }
    guard missing.isEmpty else {
      throw ToeplitzError(
        .checkpoint, name.isEmpty ? "Graph" : name, expected: "a tensor for each weight",
        got: "none for " + missing.sorted().joined(separator: ", "))
    }
    for (name, value) in weights {
      if let tensor = tensors[name] { setConstant(tensor, of: value) }
    }
  }
}
