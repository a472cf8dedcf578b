import ToeplitzOps
import ToeplitzTensor

/// A function of each element.
func applied(_ operation: some TensorOperation) -> OperatorFunction { { [try apply(operation, $0(0))] } }

/// An activation with one number, `alpha`.
private func activation(
  _ standard: Double, _ body: @escaping @Sendable (Tensor, Double) throws -> Tensor
) -> OperatorMaker {
  { node in
    let alpha = try node.float("alpha", standard)
    return { [try body($0(0), alpha)] }
  }
}

/// Softmax and its relatives: since opset 13 along one axis, before over all axes from one on.
private func alongAxis(_ body: @escaping @Sendable (Tensor, Int) throws -> Tensor) -> OperatorMaker {
  { node in
    let isFlat = node.opset < 13
    let axis = try node.int("axis", isFlat ? 1 : -1)
    return { x in
      let x = try x(0)
      guard isFlat else { return [try body(x, axis)] }
      let at = axis == x.rank ? axis : try x.shape.normalizedAxis(axis, operation: "Softmax")
      let flat = try x.reshaped([x.shape[..<at].reduce(1, *), x.shape[at...].reduce(1, *)])
      return [try body(flat, 1).reshaped(x.shape)]
    }
  }
}

extension OperatorTable {
  static let activations: [String: OperatorMaker] = [
    "Relu": { _ in applied(ReLUOperation()) },
    "LeakyRelu": { node in applied(LeakyReLUOperation(slope: try node.float("alpha", 0.01))) },
    "PRelu": { node in
      let isOld = node.opset < 7
      return { operands in
        let (x, slope) = (try operands(0), try operands(1))
        // One slope a channel has a kernel of its own; before opset 7 it need not be spelt as broadcasting wants.
        let channels = x.rank >= 2 ? x.shape[1] : 1
        let isPerChannel =
          slope.count == channels && slope.rank < x.rank && slope.rank > 0
          && slope.shape[0] == channels && slope.rank == max(1, x.rank - 1)
        if x.dtype.isFloatingPoint, slope.count == 1 || isPerChannel && slope.rank == x.rank - 1 || isOld {
          return [try x.prelu(slope: slope)]
        }
        let zero = try Tensor.full([], 0, dtype: x.dtype)
        return [try Tensor.where(x.less(zero), x * slope, x)]
      }
    },
    "Elu": { node in applied(ELUOperation(alpha: try node.float("alpha", 1), scale: 1)) },
    "Celu": { node in applied(CELUOperation(alpha: try node.float("alpha", 1))) },
    "Selu": { node in
      let alpha = try node.float("alpha", 1.6732632423543772)
      let gamma = try node.float("gamma", 1.0507009873554805)
      return { [try $0(0).elu(alpha: alpha) * gamma] }
    },
    "Sigmoid": { _ in applied(SigmoidOperation()) },
    "HardSigmoid": { node in
      let (alpha, beta) = (try node.float("alpha", 0.2), try node.float("beta", 0.5))
      if abs(alpha - 1.0 / 6) < 1e-6, beta == 0.5 { return applied(HardSigmoid()) }
      return { [try $0(0).hardsigmoid(alpha: alpha, beta: beta)] }
    },
    "HardSwish": { _ in applied(HardSwish()) },
    "Swish": activation(1) { x, alpha in try alpha == 1 ? x.silu() : x * (x * alpha).sigmoid() },
    "SwiGLU": { node in
      let alpha = try node.float("alpha", 1)
      return { x in
        let (gate, value) = (try x(0), try x(1))
        guard gate.spec == value.spec else {
          throw x.refuse(.shape, "two tensors alike", got: "\(gate.spec), \(value.spec)")
        }
        return [try (alpha == 1 ? gate.silu() : gate * (gate * alpha).sigmoid()) * value]
      }
    },
    "Softplus": { _ in applied(SoftplusOperation(beta: 1, threshold: 1e30)) },
    "Softsign": { _ in applied(SoftsignOperation()) },
    "Mish": { _ in applied(MishOperation()) },
    "Gelu": { node in
      let approximation = try node.string("approximate", "none")
      guard ["none", "tanh"].contains(approximation) else {
        throw node.refuse("approximate none or tanh", got: approximation)
      }
      return applied(GELUOperation(approximateTanh: approximation == "tanh"))
    },
    "ThresholdedRelu": activation(1) { try $0.thresholdedReLU(alpha: $1) },
    "Shrink": { node in
      let (lambda, bias) = (try node.float("lambd", 0.5), try node.float("bias", 0))
      return { [try $0(0).shrink(lambda: lambda, bias: bias)] }
    },
    "Clip": { node in
      let (low, high) = (try node.float("min"), try node.float("max"))
      let isOld = node.opset < 11
      return { x in
        var result = try x(0)
        if isOld { return [try result.clipped(low, high)] }
        for bound in [x.optional(1), x.optional(2)] where bound.map({ $0.dtype != result.dtype }) ?? false {
          throw x.refuse(.dtype, "bounds of the input's type \(result.dtype)", got: "\(bound?.dtype ?? result.dtype)")
        }
        if result.dtype.isFloatingPoint { return [try result.clipped(x.scalar(1), x.scalar(2))] }
        if let least = x.optional(1) { result = try result.maximum(least) }
        if let most = x.optional(2) { result = try result.minimum(most) }
        return [result]
      }
    },
    "Softmax": alongAxis { try $0.softmax(axis: $1) },
    "LogSoftmax": alongAxis { try $0.logSoftmax(axis: $1) },
    "Hardmax": alongAxis { x, axis in
      let at = try x.argmax(axis: axis, keepsAxis: true)
      let zeros = try Tensor.zeros(x.shape, dtype: x.dtype)
      return try zeros.scatteredElements(Tensor.full(at.shape, 1, dtype: x.dtype), at: at, axis: axis)
    },
  ]
}

extension Tensor {
  /// Each element kept between numbers that may be missing.
  fileprivate func clipped(_ low: Double?, _ high: Double?) throws -> Tensor {
    // Where the bounds cross, the upper one counts.
    let top = high ?? .infinity
    if dtype.isFloatingPoint { return try clip(from: Swift.min(low ?? -.infinity, top), to: top) }
    var result = self
    if let low { result = try result.maximum(Tensor.full([], low, dtype: dtype)) }
    if let high { result = try result.minimum(Tensor.full([], high, dtype: dtype)) }
    return result
  }
}

// MARK: Export

extension ReLUOperation: SingleNodeOperation { var operatorName: String { "Relu" } }
extension SigmoidOperation: SingleNodeOperation { var operatorName: String { "Sigmoid" } }
extension HyperbolicTangent: SingleNodeOperation { var operatorName: String { "Tanh" } }
extension HardSwish: SingleNodeOperation { var operatorName: String { "HardSwish" } }
extension SoftsignOperation: SingleNodeOperation { var operatorName: String { "Softsign" } }
// Mish came with opset 18, which is what is written.
extension MishOperation: SingleNodeOperation { var operatorName: String { "Mish" } }
extension LeakyReLUOperation: SingleNodeOperation {
  var operatorName: String { "LeakyRelu" }
  var attributes: [String: ExportNode.Attribute] { ["alpha": .float(slope)] }
}
extension CELUOperation: SingleNodeOperation {
  var operatorName: String { "Celu" }
  var attributes: [String: ExportNode.Attribute] { ["alpha": .float(alpha)] }
}
extension ThresholdedReLU: SingleNodeOperation {
  var operatorName: String { "ThresholdedRelu" }
  var attributes: [String: ExportNode.Attribute] { ["alpha": .float(alpha)] }
}
extension Shrink: SingleNodeOperation {
  var operatorName: String { "Shrink" }
  var attributes: [String: ExportNode.Attribute] { ["lambd": .float(lambda), "bias": .float(bias)] }
}
extension ScaledHardSigmoid: SingleNodeOperation {
  var operatorName: String { "HardSigmoid" }
  var attributes: [String: ExportNode.Attribute] { ["alpha": .float(alpha), "beta": .float(beta)] }
}
extension HardSigmoid: SingleNodeOperation {
  var operatorName: String { "HardSigmoid" }
  var attributes: [String: ExportNode.Attribute] { ["alpha": .float(1.0 / 6)] }
}
extension ELUOperation: SingleNodeOperation {
  var operatorName: String { scale == 1 ? "Elu" : "Selu" }
  var attributes: [String: ExportNode.Attribute] {
    scale == 1 ? ["alpha": .float(alpha)] : ["alpha": .float(alpha), "gamma": .float(scale)]
  }
}

extension SiLUOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Sigmoid", [.input(0)]), ExportNode("Mul", [.input(0), .node(0)])]
  }
}

extension LogSigmoidOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Neg", [.input(0)]), ExportNode("Softplus", [.node(0)]), ExportNode("Neg", [.node(1)])]
  }
}

extension SoftplusOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let scale = try number(beta, inputs[0].dtype)
    return [
      ExportNode("Mul", [.input(0), scale]), ExportNode("Softplus", [.node(0)]), ExportNode("Div", [.node(1), scale]),
    ]
  }
}

extension SnakeOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    return try snakeNodes(
      .constant(Tensor.full([], alpha, dtype: dtype)), .constant(Tensor.full([], 1 / beta, dtype: dtype)))
  }
}

extension GELUOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    let (half, one) = (try number(0.5, dtype), try number(1, dtype))
    guard approximateTanh else {
      return try [
        ExportNode("Mul", [.input(0), number(0.5.squareRoot(), dtype)]), ExportNode("Erf", [.node(0)]),
        ExportNode("Add", [.node(1), one]), ExportNode("Mul", [.node(2), .input(0)]),
        ExportNode("Mul", [.node(3), half]),
      ]
    }
    return try [
      ExportNode("Mul", [.input(0), .input(0)]), ExportNode("Mul", [.node(0), number(0.044715, dtype)]),
      ExportNode("Add", [.node(1), one]), ExportNode("Mul", [.node(2), .input(0)]),
      ExportNode("Mul", [.node(3), number((2 / Double.pi).squareRoot(), dtype)]), ExportNode("Tanh", [.node(4)]),
      ExportNode("Add", [.node(5), one]), ExportNode("Mul", [.node(6), .input(0)]),
      ExportNode("Mul", [.node(7), half]),
    ]
  }
}

extension Clamp: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    let bounds: [ExportNode.Operand] = [
      low == -.infinity ? .none : try number(low, dtype), high == .infinity ? .none : try number(high, dtype),
    ]
    return [ExportNode("Clip", [.input(0)] + bounds)]
  }
}

/// x + sin²(a x) · b.
func snakeNodes(_ a: ExportNode.Operand, _ b: ExportNode.Operand) throws -> [ExportNode] {
  [
    ExportNode("Mul", [.input(0), a]), ExportNode("Sin", [.node(0)]), ExportNode("Mul", [.node(1), .node(1)]),
    ExportNode("Mul", [.node(2), b]), ExportNode("Add", [.input(0), .node(3)]),
  ]
}

extension ChannelActivation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let count = inputs[1].shape.reduce(1, *)
    let ones = Array(repeating: 1, count: max(0, inputs[0].shape.rank - 2))
    let spread = ExportNode("Reshape", [.input(1), try numbers(count == 1 ? [1] : [count] + ones)])
    switch function {
    case .leaky: return [spread, ExportNode("PRelu", [.input(0), .node(0)])]
    case .snake(let isLogarithm):
      let alpha: [ExportNode] = isLogarithm ? [ExportNode("Exp", [.node(0)])] : [ExportNode("Identity", [.node(0)])]
      return try [spread] + alpha + [
        ExportNode("Add", [.node(1), number(1e-9, inputs[0].dtype)]), ExportNode("Reciprocal", [.node(2)]),
        ExportNode("Mul", [.input(0), .node(1)]), ExportNode("Sin", [.node(4)]),
        ExportNode("Mul", [.node(5), .node(5)]), ExportNode("Mul", [.node(6), .node(3)]),
        ExportNode("Add", [.input(0), .node(7)]),
      ]
    }
  }
}

extension AxisSoftmax: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode(isLogarithmic ? "LogSoftmax" : "Softmax", [.input(0)], ["axis": .int(axis)])]
  }
}
