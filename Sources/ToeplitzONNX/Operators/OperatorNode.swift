import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// What a node computes: a function of tensors, applied while a model is recorded.
typealias OperatorFunction = @Sendable (Operands) throws -> [Tensor?]

/// Makes the function of a node from its attributes; the operator table's entries are of this type.
typealias OperatorMaker = @Sendable (OperatorNode) throws -> OperatorFunction

/// What a node computes that takes or gives other values than tensors.
typealias ValueFunction = @Sendable (Operands) throws -> [ModelValue?]

/// Makes such a function.
typealias ValueMaker = @Sendable (OperatorNode) throws -> ValueFunction

/// A node of an ONNX graph as an operator's definition sees it.
struct OperatorNode {
  let operation: String
  let domain: String
  /// The version of the node's domain that the model imports.
  private(set) var opset: Int
  /// How many results the node has, ones left out counted.
  let resultCount: Int
  /// Which operands are given.
  let hasInput: [Bool]
  private let attributes: [String: ONNXAttribute]
  private let data: ONNXData
  private let body: (ONNXGraph) throws -> ONNXBody
  /// How a value of the graph around changes with the first so many of others.
  let gradient: ([String], Int, String) throws -> GradientStep

  init(
    _ node: ONNXNode, opset: Int, data: ONNXData, gradient: @escaping ([String], Int, String) throws -> GradientStep,
    body: @escaping (ONNXGraph) throws -> ONNXBody
  ) {
    self.gradient = gradient
    operation = node.operation
    domain = node.domain
    self.opset = opset
    resultCount = node.outputs.count
    hasInput = node.inputs.map { !$0.isEmpty }
    attributes = node.attributes
    self.data = data
    self.body = body
  }

  private func wrong(_ name: String, _ wanted: String) -> ToeplitzError {
    ToeplitzError(.argument, operation, expected: "attribute \(name) as \(wanted)", got: "another kind")
  }

  /// Whether the attribute is given.
  func has(_ name: String) -> Bool { attributes[name] != nil }

  func int(_ name: String) throws -> Int? {
    guard let attribute = attributes[name] else { return nil }
    guard case .int(let value) = attribute else { throw wrong(name, "a whole number") }
    return value
  }

  func int(_ name: String, _ value: Int) throws -> Int { try int(name) ?? value }

  func flag(_ name: String, _ value: Bool = false) throws -> Bool { try int(name).map { $0 != 0 } ?? value }

  func float(_ name: String) throws -> Double? {
    guard let attribute = attributes[name] else { return nil }
    guard case .float(let value) = attribute else { throw wrong(name, "a number") }
    return Double(value)
  }

  func float(_ name: String, _ value: Double) throws -> Double { try float(name) ?? value }

  func string(_ name: String) throws -> String? {
    guard let attribute = attributes[name] else { return nil }
    guard case .string(let value) = attribute else { throw wrong(name, "text") }
    return value
  }

  func string(_ name: String, _ value: String) throws -> String { try string(name) ?? value }

  func ints(_ name: String) throws -> [Int]? {
    guard let attribute = attributes[name] else { return nil }
    guard case .ints(let value) = attribute else { throw wrong(name, "whole numbers") }
    return value
  }

  func floats(_ name: String) throws -> [Double]? {
    guard let attribute = attributes[name] else { return nil }
    guard case .floats(let value) = attribute else { throw wrong(name, "numbers") }
    return value.map(Double.init)
  }

  func strings(_ name: String) throws -> [String]? {
    guard let attribute = attributes[name] else { return nil }
    guard case .strings(let value) = attribute else { throw wrong(name, "texts") }
    return value
  }

  func tensor(_ name: String) throws -> Tensor? {
    guard let attribute = attributes[name] else { return nil }
    switch attribute {
    case .tensor(let value): return try value.tensor(data)
    case .sparse(let value): return try value.tensor(data)
    default: throw wrong(name, "a tensor")
    }
  }

  /// The tensor of an attribute, which may be of strings.
  func value(_ name: String) throws -> ModelValue? {
    guard let attribute = attributes[name], case .tensor(let value) = attribute else { return nil }
    return try value.value(data)
  }

  /// The element type that an attribute names by number.
  func dtype(_ name: String) throws -> DType? { try int(name).map { try DType(onnx: $0, data.place) } }

  /// The graph of an attribute.
  func graph(_ name: String) throws -> ONNXBody {
    guard let attribute = attributes[name], case .graph(let graph) = attribute else { throw wrong(name, "a graph") }
    return try body(graph)
  }

  /// The node by the rules of another version of the standard domain.
  func at(opset: Int) -> OperatorNode {
    var node = self
    node.opset = opset
    return node
  }

  /// An error about this node.
  func refuse(_ expected: String, got: String) -> ToeplitzError {
    ToeplitzError(.argument, operation, expected: expected, got: got)
  }

  /// A function that needs elements: it is never recorded.
  func computed(_ body: @escaping OperatorFunction) -> OperatorFunction {
    { x in
      if let traced = x.values.lazy.compactMap({ $0?.tensor?.traced }).first, let trace = Trace.running {
        throw trace.refusal(x.name, traced)
      }
      return try body(x)
    }
  }
}

/// The operands of a node.
struct Operands {
  let name: String
  let values: [ModelValue?]
  /// The values that graphs inside the node take from the graph around it.
  var captured: [ModelValue] = []

  var count: Int { values.count }

  /// An operand that must be there.
  func callAsFunction(_ index: Int) throws -> Tensor {
    let value = try value(index)
    guard let tensor = value.tensor else {
      throw refuse("a tensor of numbers as input number \(index + 1)", got: value.description)
    }
    return tensor
  }

  /// An operand of any kind that must be there.
  func value(_ index: Int) throws -> ModelValue {
    guard index < values.count, let value = values[index] else {
      throw refuse("an input number \(index + 1)", got: "none")
    }
    return value
  }

  /// An operand that must be a sequence.
  func sequence(_ index: Int) throws -> [Tensor] {
    let value = try value(index)
    guard case .sequence(let tensors) = value else {
      throw refuse("a sequence as input number \(index + 1)", got: value.description)
    }
    return tensors
  }

  /// An operand that must be strings.
  func strings(_ index: Int) throws -> StringTensor {
    let value = try value(index)
    guard case .strings(let strings) = value else {
      throw refuse("strings as input number \(index + 1)", got: value.description)
    }
    return strings
  }

  /// A tensor that may be missing.
  func optional(_ index: Int) -> Tensor? { index < values.count ? values[index]?.tensor : nil }

  /// All operands, which must be there.
  func all() throws -> [Tensor] { try values.indices.map { try self($0) } }

  /// The whole numbers of an operand that must be there.
  func ints(_ index: Int) throws -> [Int] { try self(index).wholeNumbers(name) }

  /// The whole numbers of an operand, if it is there.
  func optionalInts(_ index: Int) throws -> [Int]? { try optional(index)?.wholeNumbers(name) }

  /// The one number of an operand, if it is there.
  func scalar(_ index: Int) throws -> Double? { try optional(index)?.number(name) }

  /// The one number of an operand as a whole one, cut towards zero.
  func size(_ index: Int) throws -> Int {
    let number = try self(index).number(name)
    guard abs(number) < 0x1p40 else { throw refuse("a number below 2⁴⁰", got: "\(number)") }
    return Int(number)
  }

  /// An error about this node.
  func refuse(_ expected: String, got: String) -> ToeplitzError { refuse(.argument, expected, got: got) }

  /// An error about this node.
  func refuse(_ kind: ToeplitzError.Kind, _ expected: String, got: String) -> ToeplitzError {
    ToeplitzError(kind, name, expected: expected, got: got)
  }
}

extension Tensor {
  /// The elements of a tensor of sizes or indices.
  func wholeNumbers(_ operation: String) throws -> [Int] {
    guard dtype.isInteger else {
      throw ToeplitzError(.dtype, operation, expected: "whole numbers", got: "\(dtype)")
    }
    // Sizes, axes and indices of lists; a file of a few bytes can make a tensor of a great many.
    guard count <= 1 << 22 else {
      throw ToeplitzError(.shape, operation, expected: "at most \(1 << 22) numbers", got: "\(count)")
    }
    return try cast(to: .int64).scalars(Int64.self).map { Int($0) }
  }

  /// The element of a tensor of one.
  func number(_ operation: String) throws -> Double {
    guard count == 1 else {
      throw ToeplitzError(.shape, operation, expected: "one number", got: "shape \(shape)")
    }
    func read<T: TensorScalar>(_ type: T.Type) throws -> Double { try item(type).doubleValue }
    return try read(dtype.scalarType)
  }
}
