import ToeplitzOps
import ToeplitzTensor

/// What a node of a graph computes, with its attributes as stored properties.
///
/// A graph operation stands on the operations of `ToeplitzOps`: those check shapes and element types, so that shape
/// inference and evaluation are one definition. A graph knows shapes by computing: once all sizes of the inputs are
/// known, the sizes of every value follow.
public protocol GraphOperation: Sendable {
  /// The name in errors and listings, such as `Conv`.
  var name: String { get }

  /// Whether equal inputs give equal outputs and nothing else happens, so that constants can be computed in advance.
  var isPure: Bool { get }

  /// Whether each element of the one result depends on the operands' elements at its place alone, after broadcasting.
  var isElementwise: Bool { get }

  /// Values of the surrounding graph that the operation reads besides its inputs, such as those a loop's body uses.
  var captures: [ValueID] { get }

  /// The numbers of operands that the operation copies into an order of its own when it first sees them.
  var rearrangedOperands: [Int] { get }

  /// Computes the outputs; an input that was left out is nil.
  ///
  /// The inputs are handed over: memory of one that nobody else refers to may become an output's.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit.
  func evaluate(_ inputs: consuming [Tensor?], _ context: EvaluationContext) throws -> [Tensor?]
}

extension GraphOperation {
  /// True.
  public var isPure: Bool { true }
  /// False.
  public var isElementwise: Bool { false }
  /// None.
  public var captures: [ValueID] { [] }
  /// None.
  public var rearrangedOperands: [Int] { [] }
}

/// What an operation can see of the run it is part of.
public struct EvaluationContext: Sendable {
  /// Values of the surrounding graph, by number; only those that ``GraphOperation/captures`` names are there.
  public var captured: [ValueID: Tensor]
  /// How deep subgraphs are nested.
  public var depth: Int

  /// A context of the outermost graph.
  public init(captured: [ValueID: Tensor] = [:], depth: Int = 0) {
    self.captured = captured
    self.depth = depth
  }
}

/// An operation of `ToeplitzOps` as a node: all its inputs must be there.
public struct OperationNode: GraphOperation {
  /// The operation.
  public var operation: any TensorOperation
  /// The operation's name.
  public var name: String { operation.name }

  /// A node that computes `operation`.
  public init(_ operation: any TensorOperation) { self.operation = operation }

  /// Computes the operation.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    try applyAll(operation, inputs.enumerated().map { try $1.required(name, $0) })
  }
}

/// A node computed by a function of tensors.
public struct FunctionOperation: GraphOperation {
  /// The name in errors and listings.
  public var name: String
  /// Whether equal inputs give equal outputs.
  public var isPure: Bool
  /// Whether each element of the one result depends on the operands' elements at its place alone.
  public var isElementwise = false
  /// The numbers of operands that are copied into another order when they are first seen.
  public var rearrangedOperands: [Int] = []
  private let body: @Sendable ([Tensor?]) throws -> [Tensor?]

  /// A node that computes `body`.
  public init(_ name: String, isPure: Bool = true, _ body: @escaping @Sendable ([Tensor?]) throws -> [Tensor?]) {
    self.name = name
    self.isPure = isPure
    self.body = body
  }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] { try body(inputs) }
}

extension Tensor? {
  /// The tensor.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names the operation and the number of the input if there is
  ///   none.
  public func required(_ operation: String, _ index: Int) throws -> Tensor {
    guard let self else {
      throw ToeplitzError(.argument, operation, expected: "an input number \(index + 1)", got: "none")
    }
    return self
  }
}
