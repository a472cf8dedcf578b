import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// An operator with one operand, whose elements are treated alike.
func unary(_ body: @escaping @Sendable (Tensor) throws -> Tensor) -> OperatorMaker {
  { node in
    var operation = node.function { [try body($0(0))] }
    operation.isElementwise = true
    return operation
  }
}

/// An operator with two operands, whose elements are treated alike after broadcasting.
func binary(
  _ kind: ElementwiseNode.Kind = .other, _ body: @escaping @Sendable (Tensor, Tensor) throws -> Tensor
) -> OperatorMaker {
  { node in
    // Before opset 7 the second operand broadcasts only where the node says so, from a given axis on.
    let isLegacy = try node.opset < 7 && node.flag("broadcast")
    let legacyAxis = isLegacy ? try node.int("axis") : nil
    return ElementwiseNode(name: node.operation, kind: kind) { a, b in
      guard let axis = legacyAxis, (0...a.rank).contains(axis), axis + b.rank <= a.rank else { return try body(a, b) }
      return try body(a, b.reshaped(Shape(b.shape + Array(repeating: 1, count: a.rank - axis - b.rank))))
    }
  }
}

/// An operator with any number of operands, joined from the left.
private func variadic(_ join: @escaping @Sendable (Tensor, Tensor) throws -> Tensor) -> OperatorMaker {
  { node in
    node.function { x in
      let first = try x(0)
      return [try x.all().dropFirst().reduce(first, join)]
    }
  }
}

extension OperatorTable {
  static let elementwise: [String: OperatorMaker] = [
    "Add": binary(.add) { try $0 + $1 },
    "Sub": binary { try $0 - $1 },
    "Mul": binary(.multiply) { try $0 * $1 },
    "Div": binary(.divide) { try $0 / $1 },
    "Pow": binary { a, b in
      if a.dtype == b.dtype, a.dtype.isFloatingPoint || a.dtype.isInteger { return try a.power(b) }
      if a.dtype.isFloatingPoint { return try a.power(b.cast(to: a.dtype)) }
      if a.dtype.isInteger, b.dtype.isInteger { return try a.power(b.cast(to: a.dtype)) }
      return try a.cast(to: .float64).power(b.cast(to: .float64)).cast(to: a.dtype)
    },
    "Mod": { node in
      let truncates = try node.flag("fmod")
      return ElementwiseNode(name: node.operation) { try $0.remainder($1, truncates: truncates) }
    },
    "Max": variadic { try $0.maximum($1) },
    "Min": variadic { try $0.minimum($1) },
    "Sum": variadic { try $0 + $1 },
    "Mean": { node in
      node.function { x in
        let all = try x.all()
        return [try all.dropFirst().reduce(x(0)) { try $0 + $1 } / Double(all.count)]
      }
    },
    "Neg": unary { try $0.negated() },
    "Abs": unary { $0.dtype.isUnsigned ? $0 : try $0.absoluteValue() },
    "Sign": unary { try $0.sign() },
    "Reciprocal": unary { try $0.reciprocal() },
    "Sqrt": unary { try $0.squareRoot() },
    "Exp": unary { try $0.exponential() },
    "Log": unary { try $0.logarithm() },
    "Floor": unary { try $0.roundedDown() },
    "Ceil": unary { try $0.roundedUp() },
    "Round": unary { try $0.rounded() },
    "Sin": unary { try $0.sine() },
    "Cos": unary { try $0.cosine() },
    "Tan": unary { try $0.tangent() },
    "Asin": unary { try $0.arcSine() },
    "Acos": unary { try $0.arcCosine() },
    "Atan": unary { try $0.arcTangent() },
    "Sinh": unary { try $0.hyperbolicSine() },
    "Cosh": unary { try $0.hyperbolicCosine() },
    "Tanh": { _ in ActivationNode(name: "Tanh", .tanh) },
    "Asinh": unary { try $0.inverseHyperbolicSine() },
    "Acosh": unary { try $0.inverseHyperbolicCosine() },
    "Atanh": unary { try $0.inverseHyperbolicTangent() },
    "Erf": unary { try $0.errorFunction() },
    "Identity": { _ in IdentityNode(name: "Identity") },
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
      return ElementwiseNode(name: node.operation) {
        try direction == "LEFT" ? $0.shiftedLeft($1) : $0.shiftedRight($1)
      }
    },
    "IsNaN": unary { try $0.isNaN() },
    "IsInf": { node in
      let (positive, negative) = (try node.flag("detect_positive", true), try node.flag("detect_negative", true))
      return node.function { [try $0(0).isInfinite(positive: positive, negative: negative)] }
    },
    "Where": { node in node.function { [try $0(0).choosing($0(1), $0(2))] } },
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
