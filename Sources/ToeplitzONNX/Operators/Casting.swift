import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let casting: [String: OperatorMaker] = [
    "Cast": { node in
      guard let dtype = try node.dtype("to") else { throw node.refuse("a type to cast to", got: "none") }
      let cast = try conversion(node)
      return { [try cast($0(0), dtype)] }
    },
    "CastLike": { node in
      let cast = try conversion(node)
      return { [try cast($0(0), $0(1).dtype)] }
    },
    "BitCast": { node in
      guard let dtype = try node.dtype("to") else { throw node.refuse("a type", got: "none") }
      return { x in
        return [try x(0).reinterpreted(as: dtype)]
      }
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
