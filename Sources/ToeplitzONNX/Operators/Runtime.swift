import ToeplitzOps
import ToeplitzTensor

/// The operators that ONNX Runtime's optimiser makes of others, by its documentation
/// (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
extension OperatorTable {
  /// The domain com.microsoft.
  static let runtime: [String: OperatorMaker] = {
    let groups = [runtimeProducts, runtimeElements, runtimeNorms, runtimeAttention, runtimeOthers, runtimeQuantized]
    return groups.reduce(into: [:]) { all, group in all.merge(group) { first, _ in first } }
  }()

  /// The rules of the standard domain that its copies in com.microsoft follow.
  private static let copiedOpset = 18

  /// An operator of the standard domain under com.microsoft.
  private static func copied(_ name: String) -> OperatorMaker {
    { node in
      guard let maker = standard[name] else { throw node.refuse("a known operator", got: name) }
      return try maker(node.at(opset: copiedOpset))
    }
  }

  private static let runtimeOthers: [String: OperatorMaker] = [
    "QuantizeLinear": copied("QuantizeLinear"), "DequantizeLinear": copied("DequantizeLinear"),
    "GridSample": copied("GridSample"), "Trilu": copied("Trilu"), "Range": copied("Range"),
    "GatherND": copied("GatherND"), "Pad": copied("Pad"), "Unique": copied("Unique"),
    "LayerNormalization": copied("LayerNormalization"),
    "SimplifiedLayerNormalization": copied("SimplifiedLayerNormalization"),
    "ExpandDims": { _ in
      { x in
        guard let axis = try x.ints(1).first else { throw x.refuse("an axis", got: "none") }
        return [try x(0).unsqueezed(axis)]
      }
    },
    "CDist": { node in
      let metric = try node.string("metric", "sqeuclidean")
      guard ["euclidean", "sqeuclidean"].contains(metric) else {
        throw node.refuse("metric euclidean or sqeuclidean", got: metric)
      }
      return { x in
        let (a, b) = (try x(0), try x(1))
        guard a.rank == 2, b.rank == 2, a.shape[1] == b.shape[1] else {
          throw x.refuse(.shape, "two matrices of as many columns", got: "\(a.shape) and \(b.shape)")
        }
        // Sums of squares less twice the products; rounding may leave less than nothing.
        let squares = try (a * a).sum([1], keepsAxes: true) + (b * b).sum([1]).reshaped([1, b.shape[0]])
        let distance = try (squares - a.matmul(b.transposed(0, 1)) * 2).relu()
        return [try metric == "euclidean" ? distance.sqrt() : distance]
      }
    },
  ]

  private static let runtimeElements: [String: OperatorMaker] = [
    "Gelu": { _ in applied(GELUOperation(approximateTanh: false)) },
    "BiasGelu": { _ in { [try ($0(0) + $0(1)).gelu()] } },
    "FastGelu": { _ in
      { x in [try (x.optional(1).map { try x(0) + $0 } ?? x(0)).gelu(approximateTanh: true)] }
    },
    "QuickGelu": { node in
      let alpha = try node.float("alpha", 1.702)
      return { [try $0(0) * ($0(0) * alpha).sigmoid()] }
    },
    "BiasAdd": { _ in { [try $0(0) + $0(1) + $0(2)] } },
    "BiasSplitGelu": { _ in
      { x in
        let sum = try x(0) + x(1)
        guard sum.rank == 3, sum.shape[2] % 2 == 0 else {
          throw x.refuse(.shape, "an input [N, S, D] of even D", got: "\(sum.shape)")
        }
        let half = sum.shape[2] / 2
        return [try sum.slice(axis: 2, 0..<half) * sum.slice(axis: 2, half..<2 * half).gelu()]
      }
    },
  ]

  private static let runtimeProducts: [String: OperatorMaker] = [
    "FusedConv": { node in
      let (convolution, activation) = (try node.convolution(), try FusedFunction(node, parameters: "activation_params"))
      return { x in
        var y = try convolution(x(0), x(1), x.optional(2))
        if let sum = x.optional(3) { y = try y + sum }
        return [try activation(y)]
      }
    },
    "NhwcConv": { node in
      let convolution = try node.convolution()
      return { x in
        let (input, weight) = (try x(0), try x(1))
        guard input.rank >= 3, weight.rank == input.rank else {
          throw x.refuse(.shape, "an input [N, spatial…, C] and a weight [M, spatial…, C]", got: "\(input.shape)")
        }
        let first = [0, input.rank - 1] + Array(1..<(input.rank - 1))
        let y = try convolution(input.permuted(first), weight.permuted(first), x.optional(2))
        return [try y.permuted([0] + Array(2..<input.rank) + [1])]
      }
    },
    "FusedGemm": { node in
      guard let maker = matrices["Gemm"] else { throw node.refuse("Gemm", got: "none") }
      let (product, activation) = (try maker(node.at(opset: copiedOpset)), try FusedFunction(node, parameters: nil))
      return { x in try product(x).map { try $0.map { try activation($0) } } }
    },
    "FusedMatMul": fusedProduct, "TransposeMatMul": fusedProduct,
  ]

  private static let fusedProduct: OperatorMaker = { node in
    let alpha = try node.float("alpha", 1)
    let (turnsA, turnsB) = (try node.flag("transA"), try node.flag("transB"))
    let (batchA, batchB) = (try node.flag("transBatchA"), try node.flag("transBatchB"))
    @Sendable func turned(_ tensor: Tensor, _ turns: Bool, _ batch: Bool) throws -> Tensor {
      var result = tensor
      // The first axis, of rows, comes behind the batch axes.
      if batch, result.rank > 2 {
        result = try result.permuted(Array(1..<(result.rank - 1)) + [0, result.rank - 1])
      }
      return try turns && result.rank > 1 ? result.transposed(-1, -2) : result
    }
    return { x in
      let product = try turned(x(0), turnsA, batchA).matmul(turned(x(1), turnsB, batchB))
      return [try alpha == 1 ? product : product * alpha]
    }
  }

  private static let runtimeNorms: [String: OperatorMaker] = [
    "GroupNorm": { node in
      let (eps, isLast) = (try node.float("epsilon", 1e-5), try node.flag("channels_last", true))
      let (groups, activation) = (try node.int("groups", 0), try node.int("activation", 0))
      guard [0, 1].contains(activation) else { throw node.refuse("activation 0 or 1", got: "\(activation)") }
      return { x in
        let given = try x(0)
        guard given.rank >= 3 else { throw x.refuse(.shape, "an input of 4 dimensions", got: "\(given.shape)") }
        let input = try isLast ? given.permuted([0, given.rank - 1] + Array(1..<(given.rank - 1))) : given
        let moments = try input.channelMoments(groups: groups, name: x.name)
        var y = try input.normalizedChannels(
          mean: moments.mean, variance: moments.variance, weight: x(1).cast(to: input.dtype),
          bias: x(2).cast(to: input.dtype), eps: eps, name: x.name)
        if activation == 1 { y = try y.silu() }
        return [try isLast ? y.permuted([0] + Array(2..<y.rank) + [1]) : y]
      }
    },
    "SkipLayerNormalization": { node in
      let eps = try node.float("epsilon", 1e-12)
      return { x in
        let sum = try x.optional(4).map { try x(0) + x(1) + $0 } ?? x(0) + x(1)
        let normal = try sum.layerNorm(
          TensorShape(Array(sum.shape.suffix(1))), weight: x(2), bias: x.optional(3), eps: eps)
        return [normal] + (try sum.lastAxisMoments(eps)) + [sum]
      }
    },
    "SkipSimplifiedLayerNormalization": { node in
      let eps = try node.float("epsilon", 1e-12)
      return { x in
        let sum = try x.optional(3).map { try x(0) + x(1) + $0 } ?? x(0) + x(1)
        let (normal, deviation) = try sum.rootMeanNormalized(axis: -1, weight: x(2), eps: eps)
        return [normal, try sum.mean([-1], keepsAxes: true).cast(to: .float32), deviation, sum]
      }
    },
    "EmbedLayerNormalization": { node in
      let eps = try node.float("epsilon", 1e-12)
      return { x in
        let words = try x(0)
        guard words.rank == 2 else { throw x.refuse(.shape, "word numbers [B, S]", got: "\(words.shape)") }
        let length = words.shape[1]
        let places = try x.optional(8) ?? Tensor.range(to: Double(length), dtype: .int64).reshaped([1, length])
        var sum = try x(2).gathered(words, axis: 0) + x(3).gathered(places, axis: 0)
        if let segments = x.optional(1), let table = x.optional(4) { sum = try sum + table.gathered(segments, axis: 0) }
        let normal = try sum.layerNorm(
          TensorShape(Array(sum.shape.suffix(1))), weight: x(5), bias: x(6), eps: eps)
        let counts = try x.optional(7)?.cast(to: .int32).sum([1]) ?? Tensor.zeros([words.shape[0]], dtype: .int32)
        return [normal, try counts.cast(to: .int32), sum]
      }
    },
  ]
}

/// The function that follows a fused product, by its name in ONNX.
private struct FusedFunction: Sendable {
  private var body: @Sendable (Tensor) throws -> Tensor

  /// - Parameter parameters: the attribute with the function's numbers; else each has an attribute of its own.
  init(_ node: OperatorNode, parameters: String?) throws {
    let name = try node.string("activation", "")
    let list = try parameters.flatMap { try node.floats($0) } ?? []
    func number(_ index: Int, _ attribute: String, _ standard: Double) throws -> Double {
      try parameters == nil ? node.float(attribute, standard) : index < list.count ? list[index] : standard
    }
    switch name {
    case "": body = { $0 }
    case "Relu": body = { try $0.relu() }
    case "Tanh": body = { try $0.tanh() }
    case "Sigmoid": body = { try $0.sigmoid() }
    case "HardSwish": body = { try $0.hardswish() }
    case "Softplus": body = { try $0.softplus(threshold: 1e30) }
    case "Softsign": body = { try $0.softsign() }
    case "Gelu": body = { try $0.gelu() }
    case "LeakyRelu":
      let slope = try number(0, "activation_alpha", 0.01)
      body = { try $0.leakyReLU(negativeSlope: slope) }
    case "Elu":
      let alpha = try number(0, "activation_alpha", 1)
      body = { try $0.elu(alpha: alpha) }
    case "ThresholdedRelu":
      let alpha = try number(0, "activation_alpha", 1)
      body = { try $0.thresholdedReLU(alpha: alpha) }
    case "HardSigmoid":
      let (alpha, beta) = (try number(0, "activation_alpha", 0.2), try number(1, "activation_beta", 0.5))
      body = { try $0.hardsigmoid(alpha: alpha, beta: beta) }
    case "Clip":
      let (low, high) = (try number(0, "activation_alpha", -.infinity), try number(1, "activation_beta", .infinity))
      body = { try $0.clip(from: Swift.min(low, high), to: high) }
    default: throw ToeplitzError(.unsupported, node.operation, expected: "a known activation", got: name.oneLine)
    }
  }

  func callAsFunction(_ x: Tensor) throws -> Tensor { try body(x) }
}

extension Tensor {
  /// Mean and one over the deviation along the last axis, as float32.
  fileprivate func lastAxisMoments(_ eps: Double) throws -> [Tensor?] {
    let exact = try cast(to: .float64)
    let deviation = try (exact.variance([-1], correction: 0, keepsAxes: true) + eps).sqrt().reciprocal()
    return [try exact.mean([-1], keepsAxes: true).cast(to: .float32), try deviation.cast(to: .float32)]
  }
}
