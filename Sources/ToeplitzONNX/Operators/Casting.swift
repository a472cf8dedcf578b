import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let casting: [String: ValueMaker] = [
    "Cast": { node in
      let toStrings = try node.int("to") == ONNXTensor.stringType
      let dtype = try toStrings ? nil : node.dtype("to")
      guard toStrings || dtype != nil else { throw node.refuse("a type to cast to", got: "none") }
      let cast = try conversion(node)
      return { x in
        if let texts = try castStrings(x.value(0), to: dtype, x) { return [texts] }
        return [.tensor(try cast(x(0), dtype ?? .float32))]
      }
    },
    "CastLike": { node in
      let cast = try conversion(node)
      return { x in
        let dtype = try x.value(1).tensor?.dtype
        if let texts = try castStrings(x.value(0), to: dtype, x) { return [texts] }
        return [.tensor(try cast(x(0), dtype ?? .float32))]
      }
    },
    "BitCast": { node in
      guard let dtype = try node.dtype("to") else { throw node.refuse("a type", got: "none") }
      return { [.tensor(try $0(0).reinterpreted(as: dtype))] }
    },
  ]

  /// A conversion by the node's `saturate` and `round_mode`.
  private static func conversion(_ node: OperatorNode) throws -> @Sendable (Tensor, DType) throws -> Tensor {
    let saturates = try node.flag("saturate", true)
    let rounding = try node.string("round_mode", "up")
    return { try $0.cast(to: $1, saturates: saturates, powerRounding: PowerRounding(rawValue: rounding) ?? .up) }
  }
}

// MARK: Export

extension Cast: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Cast", [.input(0)], ["to": .string(dtype.rawValue)])]
  }
}

extension NarrowCast: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    // Saturation came with opset 19.
    throw unexportable("a conversion to \(dtype)")
  }
}
