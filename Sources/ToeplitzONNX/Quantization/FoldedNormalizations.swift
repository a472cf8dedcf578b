import ToeplitzOps
import ToeplitzTensor

extension EditedModel {
  /// The model with each batch normalisation of constant statistics folded into the convolution before it, so that a layer's
  /// codes are those of what comes after it.
  func foldingNormalizations() throws -> EditedModel {
    var model = self
    let uses = useCounts
    var makers: [String: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for output in node.outputs { makers[output] = index }
    }
    var removed: Set<Int> = []
    for (index, node) in nodes.enumerated() where node.operation == "BatchNormalization" && node.domain.isEmpty {
      guard node.inputs.count == 5, node.outputs.count == 1, let at = makers[node.inputs[0]],
        uses[node.inputs[0]] == 1, model.nodes[at].operation == "Conv", model.nodes[at].domain.isEmpty,
        model.nodes[at].inputs.count >= 2, let weight = initializers[model.nodes[at].inputs[1]],
        weight.dtype == .float32,
        weight.rank >= 2
      else { continue }
      let statistics = node.inputs.dropFirst().compactMap { initializers[$0] }
      let channels = weight.shape[0]
      guard statistics.count == 4, statistics.allSatisfy({ $0.dtype == .float32 && $0.shape == [channels] }) else {
        continue
      }
      if case .int(let training)? = node.attributes["training_mode"], training != 0 { continue }
      var epsilon = 1e-5
      if case .float(let given)? = node.attributes["epsilon"] { epsilon = Double(given) }
      let conv = model.nodes[at]
      let hasBias = conv.inputs.count > 2 && !conv.inputs[2].isEmpty
      if hasBias, initializers[conv.inputs[2]] == nil { continue }
      let bias =
        try (hasBias ? initializers[conv.inputs[2]] : nil)?.cast(to: .float64)
        ?? Tensor.zeros([channels], dtype: .float64)
      let wide = try statistics.map { try $0.cast(to: .float64) }
      let factor = try wide[0] / (wide[3] + epsilon).sqrt()
      let axes = Array(repeating: 1, count: weight.rank - 1)
      let folded = try (weight.cast(to: .float64) * factor.reshaped(TensorShape([channels] + axes))).cast(to: .float32)
      let shift = try ((bias - wide[2]) * factor + wide[1]).cast(to: .float32)
      model.nodes[at].inputs = [
        conv.inputs[0], model.constant(folded, conv.inputs[1] + "/folded"),
        model.constant(shift, node.inputs[2] + "/folded"),
      ]
      model.nodes[at].outputs = node.outputs
      removed.insert(index)
    }
    model.nodes = model.nodes.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
    return model
  }
}
