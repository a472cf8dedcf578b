import ToeplitzOps
import ToeplitzTensor

/// Puts QuantizeLinear and DequantizeLinear around the layers of a model, as ONNX Runtime's static quantisation does.
struct QuantizedModelWriter {
  var model: EditedModel
  let layers: [QuantizedLayer]
  /// The ranges of all values that are quantised.
  let ranges: [String: QuantizedRange]
  let perChannel: Bool
  /// The nodes in their new order.
  private var nodes: [EditedModel.Node] = []

  init(_ model: EditedModel, _ layers: [QuantizedLayer], _ ranges: [String: QuantizedRange], perChannel: Bool) {
    (self.model, self.layers, self.ranges, self.perChannel) = (model, layers, ranges, perChannel)
  }

  /// The whole model with codes between its layers.
  mutating func quantized() throws -> EditedModel {
    let byNode = Dictionary(layers.map { ($0.node, $0) }) { $1 }
    // Inputs keep their names, so those who use one get another; results get another name before they are quantised.
    var renamed: [String: String] = [:]
    for input in model.inputs where ranges[input.name] != nil {
      renamed[input.name] = model.fresh(input.name + "/dequantized")
      addPair(from: input.name, to: renamed[input.name] ?? input.name, ranges[input.name])
    }
    for (index, original) in model.nodes.enumerated() {
      var node = original
      node.inputs = node.inputs.map { renamed[$0] ?? $0 }
      if let layer = byNode[index] { try quantizeWeights(of: layer, in: &node) }
      var pairs: [(from: String, to: String)] = []
      for (at, output) in node.outputs.enumerated() where ranges[output] != nil {
        let number = model.fresh(output + "/number")
        node.outputs[at] = number
        pairs.append((number, output))
      }
      nodes.append(node)
      for pair in pairs { addPair(from: pair.from, to: pair.to, ranges[pair.to]) }
    }
    model.nodes = nodes
    return model
  }

  /// The model as it is, with another computation of each layer beside it: from the numbers of the model, quantised.
  ///
  /// - Returns: The model, and for each layer the name of that result.
  mutating func compared() throws -> (model: EditedModel, results: [String]) {
    nodes = model.nodes
    var results: [String] = []
    for layer in layers {
      var node = model.nodes[layer.node]
      let input = model.fresh(layer.input + "/compared")
      addPair(from: layer.input, to: input, ranges[layer.input])
      node.inputs[0] = input
      try quantizeWeights(of: layer, in: &node)
      var value = model.fresh(layer.output + "/layer")
      node.outputs = [value]
      nodes.append(node)
      if let at = layer.activation {
        var activation = model.nodes[at]
        activation.inputs[0] = value
        value = model.fresh(layer.output + "/activation")
        activation.outputs = [value]
        nodes.append(activation)
      }
      let result = model.fresh(layer.output + "/compared")
      addPair(from: value, to: result, ranges[layer.output])
      results.append(result)
    }
    model.nodes = nodes
    return (model, results)
  }

  private mutating func addPair(from: String, to: String, _ range: QuantizedRange?) {
    guard let range, let scale = try? Tensor(scalar: range.scale), let zero = try? Tensor(scalar: range.zeroPoint)
    else {
      return
    }
    let parameters = [model.constant(scale, to + "/scale"), model.constant(zero, to + "/zero_point")]
    let codes = model.fresh(to + "/codes")
    nodes.append(
      EditedModel.Node(
        operation: "QuantizeLinear", name: to + "/quantize", inputs: [from] + parameters, outputs: [codes]))
    nodes.append(
      EditedModel.Node(
        operation: "DequantizeLinear", name: to + "/dequantize", inputs: [codes] + parameters, outputs: [to]))
  }

  /// Makes the weight int8 codes and the bias int32 codes, each dequantised.
  private mutating func quantizeWeights(of layer: QuantizedLayer, in node: inout EditedModel.Node) throws {
    guard let weight = model.initializers[layer.weight], let input = ranges[layer.input] else { return }
    let moved = try weight.transposed(0, layer.channelAxis).contiguous()
    let channels = weight.shape[layer.channelAxis]
    let numbers = try moved.scalars(Float.self)
    let count = numbers.count / channels
    let bias = try layer.bias.flatMap { model.initializers[$0] }?.scalars(Float.self)
    var scales = (0..<channels).map { channel in
      var largest: Float = 0
      for index in (channel * count)..<((channel + 1) * count) where numbers[index].magnitude > largest {
        largest = numbers[index].magnitude
      }
      return largest / 127
    }
    if !perChannel { scales = Array(repeating: scales.max() ?? 0, count: channels) }
    for channel in 0..<channels {
      // The bias is counted in steps of the products, which must not be so small that it has no code.
      let least = (bias?[channel].magnitude ?? 0) / (input.scale * 0x1p30)
      scales[channel] = max(scales[channel], least, 0x1p-60)
    }
    if !perChannel { scales = Array(repeating: scales.max() ?? 1, count: channels) }
    var codes = [Int8](repeating: 0, count: numbers.count)
    for index in numbers.indices {
      let code = (numbers[index] / scales[index / count]).rounded(.toNearestOrEven)
      codes[index] = Int8(max(-127, min(127, code.isNaN ? 0 : code)))
    }
    let stored = try Tensor(codes, shape: moved.shape, device: .cpu).transposed(0, layer.channelAxis).contiguous()
    node.inputs[1] = try addCodes(stored, scales, Int8(0), axis: layer.channelAxis, layer.weight)
    if let name = layer.bias, let bias {
      let steps = scales.map { $0 * input.scale }
      let codes = zip(bias, steps).map { number, step in
        Int32(clamping: Int64(converting: Double((Double(number) / Double(step)).rounded(.toNearestOrEven))))
      }
      node.inputs[2] = try addCodes(
        Tensor(codes, shape: nil, device: .cpu), steps, Int32(0), axis: 0, name)
    }
  }

  /// Adds constant codes and the node that dequantises them; returns the name of the numbers.
  private mutating func addCodes<Code: TensorScalar>(
    _ codes: Tensor, _ scales: [Float], _ zero: Code, axis: Int, _ base: String
  ) throws -> String {
    let isSingle = !perChannel || scales.count == 1
    let scale = try isSingle ? Tensor(scalar: scales[0]) : Tensor(scales, shape: nil, device: .cpu)
    let zeros =
      try isSingle
      ? Tensor(scalar: zero) : Tensor(Array(repeating: zero, count: scales.count), shape: nil, device: .cpu)
    let result = model.fresh(base + "/dequantized")
    nodes.append(
      EditedModel.Node(
        operation: "DequantizeLinear", name: result,
        inputs: [
          model.constant(codes, base + "/codes"), model.constant(scale, base + "/scale"),
          model.constant(zeros, base + "/zero_point"),
        ], outputs: [result], integers: isSingle ? [:] : ["axis": axis]))
    return result
  }
}
