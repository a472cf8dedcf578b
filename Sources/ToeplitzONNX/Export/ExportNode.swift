import ToeplitzOps
import ToeplitzTensor

/// A node of a graph in ONNX's terms that an operation is written as.
struct ExportNode: Sendable {
  /// Where an operand comes from.
  enum Operand: Sendable {
    /// The operation's own operand of this number.
    case input(Int)
    /// A result of an earlier node of the operation.
    case node(Int)
    /// Result `result` of another node that gives several.
    case result(of: Int, Int)
    /// A constant.
    case constant(Tensor)
    /// None.
    case none
  }

  /// The value of an attribute.
  enum Attribute: Sendable {
    case int(Int)
    case float(Double)
    case ints([Int])
    case string(String)
  }

  /// The operator's name.
  var name: String
  var inputs: [Operand]
  var attributes: [String: Attribute]
  /// Which of the operation's results this node gives, if any.
  var results: [Int]
  /// How many results the node itself has, where other nodes take them.
  var resultCount = 1

  init(
    _ name: String, _ inputs: [Operand], _ attributes: [String: Attribute] = [:], result: Int? = nil,
    results: [Int]? = nil
  ) {
    self.name = name
    self.inputs = inputs
    self.attributes = attributes
    self.results = results ?? (result.map { [$0] } ?? [])
  }
}

/// An operation that can be written as nodes of the standard domain, opset 18.
protocol ExportableOperation: TensorOperation {
  /// The nodes; unless they say otherwise the last one gives the only result.
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode]
}

/// An operation that is one node with its operands in order.
protocol SingleNodeOperation: ExportableOperation {
  /// The operator's name.
  var operatorName: String { get }
  /// Its attributes.
  var attributes: [String: ExportNode.Attribute] { get }
}

extension SingleNodeOperation {
  /// None.
  var attributes: [String: ExportNode.Attribute] { [:] }

  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode(operatorName, inputs.indices.map { .input($0) }, attributes)]
  }
}

extension TensorOperation {
  /// An error for what ONNX cannot say.
  func unexportable(_ what: String) -> ToeplitzError {
    ToeplitzError(.unsupported, name, expected: "an operation that ONNX has", got: what)
  }

  /// Whole numbers as a constant operand.
  func numbers(_ values: [Int]) throws -> ExportNode.Operand {
    .constant(try Tensor(values.map { Int64($0) }, shape: [values.count], device: .cpu))
  }

  /// A number of the given type as a constant operand.
  func number(_ value: Double, _ dtype: DType) throws -> ExportNode.Operand {
    .constant(try Tensor.full([], value, dtype: dtype))
  }
}
