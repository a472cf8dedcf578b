import ToeplitzOps
import ToeplitzTensor

/// A convolution or linear map with constant float32 weights, with what follows it before its result is quantised.
struct QuantizedLayer {
  /// The place of its node, and of the ReLU or Clip that takes its result.
  var node: Int
  var activation: Int?
  /// The axis of output channels in the weight.
  var channelAxis: Int
  var input: String
  var weight: String
  var bias: String?
  /// What is quantised.
  var output: String

  /// The layers of a model that can be computed with whole numbers.
  static func all(in model: EditedModel, keptInFloat: (EditedModel.Node) -> Bool) -> [QuantizedLayer] {
    let uses = model.useCounts
    var consumers: [String: [Int]] = [:]
    for (index, node) in model.nodes.enumerated() {
      for input in node.inputs { consumers[input, default: []].append(index) }
    }
    return model.nodes.indices.compactMap { index in
      let node = model.nodes[index]
      guard !keptInFloat(node), var layer = QuantizedLayer(node, index, model) else { return nil }
      if uses[layer.output] == 1, let next = consumers[layer.output]?.first {
        let follower = model.nodes[next]
        let bounds = follower.inputs.dropFirst().allSatisfy { $0.isEmpty || model.initializers[$0] != nil }
        if follower.domain.isEmpty, ["Relu", "Clip"].contains(follower.operation), bounds,
          follower.inputs[0] == layer.output
        {
          (layer.activation, layer.output) = (next, follower.outputs[0])
        }
      }
      return layer
    }
  }

  private init?(_ node: EditedModel.Node, _ index: Int, _ model: EditedModel) {
    guard node.domain.isEmpty, node.inputs.count >= 2, node.outputs.count == 1,
      let tensor = model.initializers[node.inputs[1]], tensor.dtype == .float32, tensor.count > 0,
      model.initializers[node.inputs[0]] == nil
    else { return nil }
    func number(_ name: String, _ value: Double) -> Double? {
      switch node.attributes[name] {
      case nil: value
      case .int(let given)?: Double(given)
      case .float(let given)?: Double(given)
      default: nil
      }
    }
    switch node.operation {
    case "Conv":
      guard tensor.rank == 3 || tensor.rank == 4 else { return nil }
      channelAxis = 0
    case "MatMul":
      guard tensor.rank == 2 else { return nil }
      channelAxis = 1
    case "Gemm":
      guard tensor.rank == 2, number("alpha", 1) == 1, number("beta", 1) == 1, number("transA", 0) == 0 else {
        return nil
      }
      channelAxis = number("transB", 0) == 0 ? 1 : 0
    default: return nil
    }
    if node.inputs.count > 2, !node.inputs[2].isEmpty {
      guard let bias = model.initializers[node.inputs[2]], bias.dtype == .float32, bias.rank == 1,
        bias.count == tensor.shape[channelAxis]
      else { return nil }
      self.bias = node.inputs[2]
    }
    (self.node, input, weight, output) = (index, node.inputs[0], node.inputs[1], node.outputs[0])
  }
}

/// The operators whose results are quantised like the layers', if all that they compute with is.
enum QuantizedPassage {
  /// Results hold elements of the operand as they are, so that scale and zero point stay.
  static let moving: Set<String> = ["MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice"]
  /// Results are numbers of their own.
  static let computing: Set<String> = ["Add", "Concat", "AveragePool", "GlobalAveragePool", "Relu"]

  /// The operands of a node that are numbers of the network.
  static func operands(_ node: EditedModel.Node) -> [String] {
    ["Add", "Concat"].contains(node.operation) ? node.inputs : Array(node.inputs.prefix(1))
  }
}

/// The range of numbers that codes stand for: `number = (code − zeroPoint) · scale` with codes of 0 to 255.
struct QuantizedRange: Hashable {
  var low: Double
  var high: Double

  /// The range, which always holds 0.
  init(low: Double, high: Double) { (self.low, self.high) = (min(low, 0), max(high, 0)) }

  var scale: Float {
    let step = Float((high - low) / 255)
    return step >= Float.leastNormalMagnitude && step.isFinite ? step : 1
  }
  var zeroPoint: UInt8 { UInt8(min(255, max(0, (-low / Double(scale)).rounded(.toNearestOrEven)))) }
}
