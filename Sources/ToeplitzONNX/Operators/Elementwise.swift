import ToeplitzOps
import ToeplitzTensor

/// An operator with one operand, whose elements are treated alike.
func unary(_ body: @escaping @Sendable (Tensor) throws -> Tensor) -> OperatorMaker {
  { _ in { [try body($0(0))] } }
}

/// An operator with two operands, whose elements are treated alike after broadcasting.
func binary(_ body: @escaping @Sendable (Tensor, Tensor) throws -> Tensor) -> OperatorMaker {
  { node in
    // Before opset 7 the second operand broadcasts only where the node says so, from a given axis on.
    let isLegacy = try node.opset < 7 && node.flag("broadcast")
    let legacyAxis = isLegacy ? try node.int("axis") : nil
    return { x in
      let (a, b) = (try x(0), try x(1))
      guard x.count == 2 else { throw x.refuse("2 operands", got: "\(x.count)") }
      guard let axis = legacyAxis, (0...a.rank).contains(axis), axis + b.rank <= a.rank else { return [try body(a, b)] }
      return [try body(a, b.reshaped(TensorShape(b.shape + Array(repeating: 1, count: a.rank - axis - b.rank))))]
    }
  }
}

/// An operator with any number of operands, joined from the left.
private func variadic(_ join: @escaping @Sendable (Tensor, Tensor) throws -> Tensor) -> OperatorMaker {
  { _ in
    { x in
      let first = try x(0)
      return [try x.all().dropFirst().reduce(first, join)]
    }
  }
}

extension OperatorTable {
  static let elementwise: [String: OperatorMaker] = [
    "Add": binary { try $0 + $1 },
    "Sub": binary { try $0 - $1 },
    "Mul": binary { try $0 * $1 },
    "Div": binary { try $0 / $1 },
    "Pow": binary { a, b in
      if a.dtype == b.dtype, a.dtype.isFloatingPoint || a.dtype.isInteger { return try a.pow(b) }
      if a.dtype.isFloatingPoint { return try a.pow(b.cast(to: a.dtype)) }
      if a.dtype.isInteger, b.dtype.isInteger { return try a.pow(b.cast(to: a.dtype)) }
      return try a.cast(to: .float64).pow(b.cast(to: .float64)).cast(to: a.dtype)
    },
    "Mod": { node in
      let truncates = try node.flag("fmod")
      return { [try $0(0).remainder($0(1), truncates: truncates)] }
    },
    "Max": variadic { try $0.maximum($1) },
    "Min": variadic { try $0.minimum($1) },
    "Sum": variadic { try $0 + $1 },
    "Mean": { node in
      { x in
        let all = try x.all()
        return [try all.dropFirst().reduce(x(0)) { try $0 + $1 } / Double(all.count)]
      }
    },
    "Neg": unary { try $0.negated() },
    "Abs": unary { $0.dtype.isUnsigned ? $0 : try $0.abs() },
    "Sign": unary { try $0.sign() },
    "Reciprocal": unary { try $0.reciprocal() },
    "Sqrt": unary { try $0.sqrt() },
    "Exp": unary { try $0.exp() },
    "Log": unary { try $0.log() },
    "Floor": unary { try $0.floor() },
    "Ceil": unary { try $0.ceil() },
    "Round": unary { try $0.round() },
    "Sin": unary { try $0.sin() },
    "Cos": unary { try $0.cos() },
    "Tan": unary { try $0.tan() },
    "Asin": unary { try $0.asin() },
    "Acos": unary { try $0.acos() },
    "Atan": unary { try $0.atan() },
    "Sinh": unary { try $0.sinh() },
    "Cosh": unary { try $0.cosh() },
    "Tanh": { _ in applied(HyperbolicTangent()) },
    "Asinh": unary { try $0.asinh() },
    "Acosh": unary { try $0.acosh() },
    "Atanh": unary { try $0.atanh() },
    "Erf": unary { try $0.erf() },
    "Identity": unary { $0 },
  ]

  static let logic: [String: OperatorMaker] = [
    "Equal": binary { try $0.equal($1) },
    "Less": binary { try $0.less($1) },
    "LessOrEqual": binary { try $0.lessOrEqual($1) },
    "Greater": binary { try $0.greater($1) },
    "GreaterOrEqual": binary { try $0.greaterOrEqual($1) },
    "And": binary { try $0.logicalAnd($1) },
    "Or": binary { try $0.logicalOr($1) },
    "Xor": binary { try $0.logicalXor($1) },
    "Not": unary { try $0.logicalNot() },
    "BitwiseAnd": binary { try $0.bitwiseAnd($1) },
    "BitwiseOr": binary { try $0.bitwiseOr($1) },
    "BitwiseXor": binary { try $0.bitwiseXor($1) },
    "BitwiseNot": unary { try $0.bitwiseNot() },
    "BitShift": { node in
      let direction = try node.string("direction", "")
      guard direction == "LEFT" || direction == "RIGHT" else {
        throw node.refuse("direction LEFT or RIGHT", got: direction)
      }
      return { [try direction == "LEFT" ? $0(0).shiftedLeft($0(1)) : $0(0).shiftedRight($0(1))] }
    },
    "IsNaN": unary { try $0.isNaN() },
    "IsInf": { node in
      let (positive, negative) = (try node.flag("detect_positive", true), try node.flag("detect_negative", true))
      return { [try $0(0).isInfinite(positive: positive, negative: negative)] }
    },
    "Where": { node in { [try Tensor.where($0(0), $0(1), $0(2))] } },
  ]
}

extension DType {
  /// Whether numbers of this type have no sign.
  var isUnsigned: Bool {
    switch self {
    case .uint8, .uint16, .uint32, .uint64: true
    default: false
    }
  }
}

// MARK: Export

extension Negate: SingleNodeOperation { var operatorName: String { "Neg" } }
extension Magnitude: SingleNodeOperation { var operatorName: String { "Abs" } }
extension Sign: SingleNodeOperation { var operatorName: String { "Sign" } }
extension Reciprocal: SingleNodeOperation { var operatorName: String { "Reciprocal" } }
extension SquareRoot: SingleNodeOperation { var operatorName: String { "Sqrt" } }
extension Exponential: SingleNodeOperation { var operatorName: String { "Exp" } }
extension Logarithm: SingleNodeOperation { var operatorName: String { "Log" } }
extension Sine: SingleNodeOperation { var operatorName: String { "Sin" } }
extension Cosine: SingleNodeOperation { var operatorName: String { "Cos" } }
extension Tangent: SingleNodeOperation { var operatorName: String { "Tan" } }
extension ArcSine: SingleNodeOperation { var operatorName: String { "Asin" } }
extension ArcCosine: SingleNodeOperation { var operatorName: String { "Acos" } }
extension ArcTangent: SingleNodeOperation { var operatorName: String { "Atan" } }
extension HyperbolicSine: SingleNodeOperation { var operatorName: String { "Sinh" } }
extension HyperbolicCosine: SingleNodeOperation { var operatorName: String { "Cosh" } }
extension InverseHyperbolicSine: SingleNodeOperation { var operatorName: String { "Asinh" } }
extension InverseHyperbolicCosine: SingleNodeOperation { var operatorName: String { "Acosh" } }
extension InverseHyperbolicTangent: SingleNodeOperation { var operatorName: String { "Atanh" } }
extension ErrorFunction: SingleNodeOperation { var operatorName: String { "Erf" } }

extension Round: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let name: String
    switch rule {
    case .down: name = "Floor"
    case .up: name = "Ceil"
    case .towardZero:
      return [
        ExportNode("Sign", [.input(0)]), ExportNode("Abs", [.input(0)]), ExportNode("Floor", [.node(1)]),
        ExportNode("Mul", [.node(2), .node(0)]),
      ]
    default: name = "Round"
    }
    // Whole numbers are round already, and ONNX does not take them.
    return [ExportNode(inputs[0].dtype.isInteger ? "Identity" : name, [.input(0)])]
  }
}

extension Binary: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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

extension Where: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Where", [.input(0), .input(1), .input(2)])]
  }
}

extension Logical: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let names: [Function: String] = [.and: "And", .or: "Or", .xor: "Xor"]
    return [ExportNode(names[function] ?? "", [.input(0), .input(1)])]
  }
}

extension Bitwise: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    switch function {
    case .and: return [ExportNode("BitwiseAnd", [.input(0), .input(1)])]
    case .or: return [ExportNode("BitwiseOr", [.input(0), .input(1)])]
    case .xor: return [ExportNode("BitwiseXor", [.input(0), .input(1)])]
    case .shiftLeft, .shiftRight:
      guard [.uint8, .uint16, .uint32, .uint64].contains(inputs[0].dtype) else {
        throw unexportable("shifts of \(inputs[0].dtype)")
      }
      return [
        ExportNode(
          "BitShift", [.input(0), .input(1)], ["direction": .string(function == .shiftLeft ? "LEFT" : "RIGHT")])
      ]
    }
  }
}

extension Remainder: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard truncates || inputs[0].dtype.isInteger else {
      // ONNX has the sign of the dividend only, for floating-point numbers: a − ⌊a / b⌋ b.
      return [
        ExportNode("Div", [.input(0), .input(1)]), ExportNode("Floor", [.node(0)]),
        ExportNode("Mul", [.node(1), .input(1)]), ExportNode("Sub", [.input(0), .node(2)]),
      ]
    }
    return [ExportNode("Mod", [.input(0), .input(1)], ["fmod": .int(truncates ? 1 : 0)])]
  }
}

extension Classify: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    switch question {
    case .isNaN: return [ExportNode("IsNaN", [.input(0)])]
    case .isInfinite(let positive, let negative):
      return [
        ExportNode(
          "IsInf", [.input(0)], ["detect_positive": .int(positive ? 1 : 0), "detect_negative": .int(negative ? 1 : 0)])
      ]
    case .isZero:
      if inputs[0].dtype == .bool { return [ExportNode("Not", [.input(0)])] }
      return [ExportNode("Equal", [.input(0), try number(0, inputs[0].dtype)])]
    }
  }
}
