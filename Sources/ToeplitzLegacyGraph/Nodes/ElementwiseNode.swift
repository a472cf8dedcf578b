import ToeplitzOps
import ToeplitzTensor

/// A function of two tensors that treats elements alike after broadcasting.
public struct ElementwiseNode: GraphOperation {
  /// The functions that compilation knows.
  public enum Kind: Sendable {
    /// The sum.
    case add
    /// The product.
    case multiply
    /// The quotient.
    case divide
    /// Another function.
    case other
  }

  /// The name in errors and listings.
  public var name: String
  /// Which function it is.
  public var kind: Kind
  private let body: @Sendable (Tensor, Tensor) throws -> Tensor

  /// A node that computes `body`.
  public init(
    name: String, kind: Kind = .other, _ body: @escaping @Sendable (Tensor, Tensor) throws -> Tensor
  ) {
    self.name = name
    self.kind = kind
    self.body = body
  }

  /// The sum of two tensors.
  public static let add = ElementwiseNode(name: "Add", kind: .add) { try $0 + $1 }
  /// The product of two tensors.
  public static let multiply = ElementwiseNode(name: "Mul", kind: .multiply) { try $0 * $1 }

  /// True.
  public var isElementwise: Bool { true }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    guard inputs.count == 2 else {
      throw ToeplitzError(.argument, name, expected: "2 operands", got: "\(inputs.count)")
    }
    return [try body(inputs[0].required(name, 0), inputs[1].required(name, 1))]
  }
}

/// The first operand as it is.
public struct IdentityNode: GraphOperation {
  /// The name in errors and listings.
  public var name: String

  /// A node that gives its operand.
  public init(name: String = "Identity") { self.name = name }

  /// Gives the operand.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    [try (inputs.first ?? nil).required(name, 0)]
  }
}

/// The first operand kept between two numbers, which are further operands or attributes.
public struct ClipNode: GraphOperation {
  private let body: @Sendable ([Tensor?]) throws -> [Tensor?]
  /// The numbers, if they are attributes.
  let bounds: (low: Double, high: Double)?
  /// `Clip`.
  public var name: String { "Clip" }

  /// A node that computes `body`.
  ///
  /// - Parameter bounds: the numbers, where operands do not give them.
  public init(
    bounds: (low: Double, high: Double)? = nil, _ body: @escaping @Sendable ([Tensor?]) throws -> [Tensor?]
  ) {
    self.bounds = bounds
    self.body = body
  }

  /// True.
  public var isElementwise: Bool { true }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] { try body(inputs) }
}

/// An activation that convolutions can compute while they store their results.
package struct ActivationNode: GraphOperation {
  /// The name in errors and listings.
  package var name: String
  let activation: Activation

  /// A node of the given function.
  package init(name: String, _ activation: Activation) {
    self.name = name
    self.activation = activation
  }

  /// True.
  package var isElementwise: Bool { true }

  /// Computes the function.
  package func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    [try activation((inputs.first ?? nil).required(name, 0))]
  }
}

/// x, or `slope` × x below zero; with slope 0 the rectifier.
public struct LeakyNode: GraphOperation {
  /// The name in errors and listings.
  public var name: String
  /// The factor below zero.
  public var slope: Double

  /// A leaky rectifier.
  public init(name: String = "LeakyRelu", slope: Double) {
    self.name = name
    self.slope = slope
  }

  /// True.
  public var isElementwise: Bool { true }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let x = try (inputs.first ?? nil).required(name, 0)
    return [try slope == 0 ? x.relu() : x.leakyReLU(negativeSlope: slope)]
  }
}
