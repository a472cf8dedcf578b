/// All operators of ONNX that Toeplitz has.
///
/// Each is defined once, in the file of its family, as a function from a node to a function of tensors.
enum OperatorTable {
  /// The oldest version of the standard domain whose rules are known.
  static let oldestOpset = 1

  /// The operators of the standard domain.
  static let standard: [String: OperatorMaker] = {
    let groups = [
      elementwise, activations, logic, convolutions, pooling, normalizations, matrices, structure, sizes, indexing,
      reductions, resizing, recurrent, control, casting, quantization, spectral, detection,
    ]
    return groups.reduce(into: [:]) { all, group in all.merge(group) { first, _ in first } }
  }()

  /// Whether an operator of `com.microsoft` is the one of the standard domain.
  private static func isShared(_ operation: String) -> Bool {
    ["QuantizeLinear", "DequantizeLinear"].contains(operation)
  }

  /// The maker of an operator's nodes, if Toeplitz has it.
  static func maker(_ domain: String, _ operation: String) -> OperatorMaker? {
    switch domain {
    case "": standard[operation]
    case "com.microsoft": microsoftQuantized[operation] ?? (isShared(operation) ? standard[operation] : nil)
    default: nil
    }
  }
}
