import ToeplitzTensor

/// Finds nodes that compute as in training, which almost nobody wants of a model in a file: who exported it has forgotten
/// to call `eval()`.
struct TrainingNodes {
  private let data: ONNXData
  /// Constants that are true.
  private var truths: Set<String> = []
  private var count = 0
  private var first = ""

  init(_ data: ONNXData) { self.data = data }

  /// What may be wrong; nil if nothing is.
  var warning: String? {
    guard count > 0 else { return nil }
    let others = count > 1 ? " and \(count - 1) more" : ""
    return "the model was exported in training mode (\(first)\(others)): its outputs depend on the batch or on chance; "
      + "call eval() before exporting"
  }

  /// Looks at a node behind those that its inputs come from.
  ///
  /// - Parameter initializer: the tensor of a name, if it is an initializer.
  mutating func add(_ node: ONNXNode, opset: Int, label: String, initializer: (String) -> Tensor?) {
    switch node.operation {
    case "Constant":
      guard case .tensor(let tensor)? = node.attributes["value"], let output = node.outputs.first,
        isTrue(try? tensor.tensor(data))
      else { return }
      truths.insert(output)
    case "Dropout":
      guard opset >= 12, node.inputs.count > 2 else { return }
      let name = node.inputs[2]
      guard truths.contains(name) || isTrue(initializer(name)) else { return }
      note(node, label)
    case "BatchNormalization":
      guard case .int(let mode)? = node.attributes["training_mode"], mode != 0 else { return }
      note(node, label)
    default: break
    }
  }

  private mutating func note(_ node: ONNXNode, _ label: String) {
    if count == 0 { first = "\(node.operation) '\(label.oneLine)'" }
    count += 1
  }

  private func isTrue(_ tensor: Tensor?) -> Bool {
    guard let tensor, tensor.dtype == .bool, tensor.count == 1 else { return false }
    return (try? tensor.cast(to: .int32).item(Int32.self)) == 1
  }
}
