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
      reductions, resizing, recurrent, scans, quantization, spectral, detection, pictures, attention,
      losses, random, regions, uniqueness,
    ]
    return groups.reduce(into: [:]) { all, group in all.merge(group) { first, _ in first } }
  }()

  /// Operators that take or give other values than tensors.
  static let standardValues: [String: ValueMaker] = [control, sequences, strings, casting, constants].reduce(into: [:])
  { all, group in
    all.merge(group) { first, _ in first }
  }

  /// The operators on tensors of each domain; ONNX's own is the empty one.
  static let domains: [String: [String: OperatorMaker]] = [
    "": standard, "com.microsoft": runtime, "ai.onnx.ml": features,
    "ai.onnx.preview.training": training,
  ]

  /// Operators on other values in these domains.
  static let valueDomains: [String: [String: ValueMaker]] = [
    "": standardValues, "ai.onnx.ml": featureValues, "ai.onnx.preview": flexAttention,
    "ai.onnx.preview.training": gradients,
  ]

  /// The maker of an operator's nodes, if Toeplitz has it.
  static func maker(_ domain: String, _ operation: String) -> ValueMaker? {
    if let maker = valueDomains[domain]?[operation] { return maker }
    return domains[domain]?[operation].map { maker in
      { node in
        let function = try maker(node)
        return acceptingStrings(operation) { try function($0).map { $0.map { .tensor($0) } } }
      }
    }
  }
}
