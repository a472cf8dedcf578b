import CToeplitzKernels
import ToeplitzTensor

extension Unary: ExportableOperation {
  private static let plain: [String: String] = [
    "abs": "Abs", "negate": "Neg", "sign": "Sign", "reciprocal": "Reciprocal", "sqrt": "Sqrt", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "erf": "Erf",
    "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh", "ReLU": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Mish": "Mish",
  ]

  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    if let name = Self.plain[name] {
      // Mish came with opset 18, which is what is written.
      return [ExportNode(name, [.input(0)])]
    }
    let (a, b) = (kernel?.a ?? 0, kernel?.b ?? 0)
    switch name {
    case "LeakyReLU": return [ExportNode("LeakyRelu", [.input(0)], ["alpha": .float(a)])]
    case "ELU": return [ExportNode("Elu", [.input(0)], ["alpha": .float(a)])]
    case "CELU": return [ExportNode("Celu", [.input(0)], ["alpha": .float(a)])]
    case "SELU": return [ExportNode("Selu", [.input(0)], ["alpha": .float(a), "gamma": .float(b)])]
    case "SiLU": return [ExportNode("Sigmoid", [.input(0)]), ExportNode("Mul", [.input(0), .node(0)])]
    case "LogSigmoid":
      return [
        ExportNode("Neg", [.input(0)]), ExportNode("Softplus", [.node(0)]), ExportNode("Neg", [.node(1)]),
      ]
    case "Softplus":
      let scale = try number(a, dtype)
      return [
        ExportNode("Mul", [.input(0), scale]), ExportNode("Softplus", [.node(0)]),
        ExportNode("Div", [.node(1), scale]),
      ]
    case "Snake":
      return try snakeNodes(.constant(Tensor.full([], a, dtype: dtype)), .constant(Tensor.full([], b, dtype: dtype)))
    case "GELU":
      let isTanh = kernel?.function == TZ_GELU_TANH
      let half = try number(0.5, dtype)
      let one = try number(1, dtype)
      if isTanh {
        return try [
          ExportNode("Mul", [.input(0), .input(0)]), ExportNode("Mul", [.node(0), number(0.044715, dtype)]),
          ExportNode("Add", [.node(1), one]), ExportNode("Mul", [.node(2), .input(0)]),
          ExportNode("Mul", [.node(3), number((2 / Double.pi).squareRoot(), dtype)]), ExportNode("Tanh", [.node(4)]),
          ExportNode("Add", [.node(5), one]), ExportNode("Mul", [.node(6), .input(0)]),
          ExportNode("Mul", [.node(7), half]),
        ]
      }
      return try [
        ExportNode("Mul", [.input(0), number(0.5.squareRoot(), dtype)]), ExportNode("Erf", [.node(0)]),
        ExportNode("Add", [.node(1), one]), ExportNode("Mul", [.node(2), .input(0)]),
        ExportNode("Mul", [.node(3), half]),
      ]
    default: throw unexportable(name)
    }
  }
}

/// x + sin²(a x) · b.
func snakeNodes(_ a: ExportNode.Operand, _ b: ExportNode.Operand) throws -> [ExportNode] {
  [
    ExportNode("Mul", [.input(0), a]), ExportNode("Sin", [.node(0)]), ExportNode("Mul", [.node(1), .node(1)]),
    ExportNode("Mul", [.node(2), b]), ExportNode("Add", [.input(0), .node(3)]),
  ]
}

extension Piecewise: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let dtype = inputs[0].dtype
    switch function {
    case .clamp(let low, let high):
      let bounds: [ExportNode.Operand] = [
        low == -.infinity ? .none : try number(low, dtype), high == .infinity ? .none : try number(high, dtype),
      ]
      return [ExportNode("Clip", [.input(0)] + bounds)]
    case .negate: return [ExportNode("Neg", [.input(0)])]
    case .magnitude: return [ExportNode("Abs", [.input(0)])]
    case .hardswish: return [ExportNode("HardSwish", [.input(0)])]
    case .hardsigmoid: return [ExportNode("HardSigmoid", [.input(0)], ["alpha": .float(1.0 / 6)])]
    case .softsign: return [ExportNode("Softsign", [.input(0)])]
    }
  }
}

extension Binary: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let names: [Function: String] = [
      .add: "Add", .subtract: "Sub", .multiply: "Mul", .divide: "Div", .power: "Pow", .minimum: "Min",
      .maximum: "Max", .equal: "Equal", .less: "Less", .lessOrEqual: "LessOrEqual", .greater: "Greater",
      .greaterOrEqual: "GreaterOrEqual",
    ]
    if function == .notEqual { return [ExportNode("Equal", [.input(0), .input(1)]), ExportNode("Not", [.node(0)])] }
    guard let name = names[function] else { throw unexportable(name) }
    return [ExportNode(name, [.input(0), .input(1)])]
  }
}

extension ChannelActivation: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode(isLogarithmic ? "LogSoftmax" : "Softmax", [.input(0)], ["axis": .int(axis)])]
  }
}

extension Where: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Where", [.input(0), .input(1), .input(2)])]
  }
}
