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
      reductions, resizing, recurrent, control, casting, quantization, spectral, detection, pictures,
    ]
    return groups.reduce(into: [:]) { all, group in all.merge(group) { first, _ in first } }
  }()

  /// The maker of an operator's nodes, if Toeplitz has it.
  static func maker(_ domain: String, _ operation: String) -> OperatorMaker? {
    domain.isEmpty ? standard[operation] : nil
  }
}
