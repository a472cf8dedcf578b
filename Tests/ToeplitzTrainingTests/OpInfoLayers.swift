import Toeplitz
import ToeplitzOps
import ToeplitzTestSupport
import ToeplitzTraining

/// PyTorch's functions that have a layer or several tensors, on this library's names.
extension OpInfoCase {
  /// Several named tensors in, the floating-point results out.
  typealias Function = ([String: Tensor]) throws -> [Tensor]

  /// A tensor that must be there.
  private func part(_ tensors: [String: Tensor], _ key: String) throws -> Tensor {
    guard let tensor = tensors[key] else { throw LeftOut(reason: "no \(key)") }
    return tensor
  }

  func run(_ t: [String: Tensor]) throws -> [Tensor] {
    let rank = name.last == "d" ? name.dropLast().last?.wholeNumberValue ?? 0 : 0
    switch name {
    case "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d":
      return [try convolution(t, rank)]
    case "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d":
      return [try pooling(part(t, "input"), rank)]
    case "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
      "adaptive_max_pool2d", "adaptive_max_pool3d":
      return [try adaptivePooling(part(t, "input"), rank)]
    case "pad": return [try padding(part(t, "input"))]
    case "interpolate", "upsample_nearest", "upsample_bilinear": return [try interpolation(part(t, "input"))]
    case "batch_norm", "instance_norm", "group_norm", "layer_norm", "local_response_norm", "normalize", "rms_norm":
      return [try norm(part(t, "input"), t)]
    case "nn.LSTM", "nn.GRU": return try recurrence(part(t, "input"), t)
    case "stft": return [try spectrum(part(t, "input"), t["window"])]
    case "istft": return [try signal(part(t, "input"), t["window"])]
    case "linear":
      let weight = try part(t, "weight")
      guard weight.rank == 2, try part(t, "input").rank > 0 else {
        throw LeftOut(reason: "linear with a vector for a matrix")
      }
      let y = try part(t, "input").matmul(weight.transposed(0, 1))
      return [try t["bias"].map { try y + $0 } ?? y]
    default:
      guard t["input"] ?? t["log_probs"] ?? t["input1"] != nil else {
        throw LeftOut(reason: "\(name) is no function of this library")
      }
      if let loss = try loss(t["input"] ?? t["log_probs"] ?? part(t, "input1"), t) { return [loss] }
      return [try activation(part(t, "input"), t)]
    }
  }

  private func convolution(_ t: [String: Tensor], _ rank: Int) throws -> Tensor {
    let (x, weight) = (try part(t, "input"), try part(t, "weight"))
    let isTransposed = name.hasPrefix("conv_transpose")
    var padding: any PaddingConvertible = sizes("padding", rank) ?? [Int](repeating: 0, count: rank)
    if text("padding", "") == "same" { padding = Padding.same }
    let groups = int("groups", 1)
    let ones = [Int](repeating: 1, count: rank)
    let geometry = try ConvolutionGeometry(
      rank: rank, isTransposed: isTransposed, inChannels: isTransposed ? weight.shape[0] : weight.shape[1] * groups,
      outChannels: isTransposed ? weight.shape[1] * groups : weight.shape[0],
      kernelSize: Array(weight.shape.dimensions.suffix(rank)), stride: sizes("stride", rank) ?? ones, padding: padding,
      outputPadding: sizes("output_padding", rank) ?? ones.map { $0 - 1 }, dilation: sizes("dilation", rank) ?? ones,
      groups: groups)
    return try x.convolved(geometry, weight: weight, bias: t["bias"])
  }

  private func pooling(_ x: Tensor, _ rank: Int) throws -> Tensor {
    if int("divisor_override", 1) < 0 { throw LeftOut(reason: "negative divisor_override") }
    let geometry = try PoolGeometry(
      name: name, rank: rank, kernelSize: sizes("kernel_size", rank) ?? [], stride: sizes("stride", rank),
      padding: sizes("padding", rank) ?? [Int](repeating: 0, count: rank),
      dilation: sizes("dilation", rank) ?? [Int](repeating: 1, count: rank), ceilMode: flag("ceil_mode"))
    guard name.hasPrefix("avg") else { return try x.maxPooled(geometry) }
    return try x.averagePooled(
      geometry, countIncludePad: flag("count_include_pad", true), divisorOverride: options["divisor_override"].int)
  }

  private func adaptivePooling(_ x: Tensor, _ rank: Int) throws -> Tensor {
    let given = options["output_size"]
    let sizes = given.array.map { $0.map(\.int) } ?? [Int?](repeating: given.int, count: rank)
    return name.contains("avg") ? try x.adaptiveAveragePooled(sizes) : try x.adaptiveMaxPooled(sizes)
  }

  private func padding(_ x: Tensor) throws -> Tensor {
    let pads = options["pad"].ints ?? []
    let modes: [String: PaddingMode] = [
      "constant": .zeros, "reflect": .reflect, "replicate": .replicate, "circular": .circular,
    ]
    guard let mode = modes[text("mode", "constant")] else { throw LeftOut(reason: "mode \(text("mode", ""))") }
    let axes = (0..<(pads.count / 2)).map { (axis: x.rank - 1 - $0, low: pads[2 * $0], high: pads[2 * $0 + 1]) }
    return try x.padded(axes, mode: mode, value: number("value", 0))
  }

  private func interpolation(_ x: Tensor) throws -> Tensor {
    let mode =
      name == "upsample_nearest" ? "nearest" : name == "upsample_bilinear" ? "bilinear" : text("mode", "nearest")
    let rank = x.rank - 2
    if mode == "area" {
      guard let size = sizes("size", rank) else {
        let factor = number("scale_factor", 1)
        return try x.adaptiveAveragePooled(
          x.shape.dimensions.suffix(rank).map { Int((Double($0) * factor).rounded(.down)) })
      }
      return try x.adaptiveAveragePooled(size)
    }
    guard let found = Upsample.Mode(rawValue: mode) else { throw LeftOut(reason: "interpolate \(mode)") }
    let aligns = name == "upsample_bilinear" ? true : options["align_corners"].bool
    let recomputes = options["recompute_scale_factor"].bool
    let layer =
      if let size = sizes("size", rank) {
        try Upsample(size: size, mode: found, alignCorners: aligns)
      } else {
        try Upsample(
          scaleFactor: number("scale_factor", 1), mode: found, alignCorners: aligns, recomputeScaleFactor: recomputes)
      }
    return try layer(x)
  }

  private func norm(_ x: Tensor, _ t: [String: Tensor]) throws -> Tensor {
    let eps = number("eps", 1e-5)
    if eps < 0 { throw LeftOut(reason: "negative eps") }
    switch name {
    case "layer_norm":
      return try x.layerNorm(
        TensorShape(options["normalized_shape"].ints ?? []), weight: t["weight"], bias: t["bias"], eps: eps)
    case "local_response_norm":
      // Of an even number of channels ONNX has the odd one above, PyTorch below.
      return try x.flipped([1]).localResponseNorm(
        size: int("size", 1), alpha: number("alpha", 1e-4), beta: number("beta", 0.75), k: number("k", 1)
      ).flipped([1])
    case "group_norm":
      let layer = try GroupNorm(
        numGroups: int("num_groups", 1), numChannels: x.shape[1], eps: eps,
        affine: t["weight"] != nil || t["bias"] != nil,
        bias: t["bias"] != nil, dtype: .float64)
      if let weight = t["weight"] { layer.weight?.value = weight }
      if let bias = t["bias"] { layer.bias?.value = bias }
      return try layer(x)
    case "batch_norm", "instance_norm": return try featureNorm(x, t, eps)
    default: throw LeftOut(reason: "\(name) is no function of this library")
    }
  }

  private func featureNorm(_ x: Tensor, _ t: [String: Tensor], _ eps: Double) throws -> Tensor {
    func run<Rank: SpatialRank>(_ rank: Rank.Type) throws -> Tensor {
      let (hasParameters, tracks) = (t["weight"] != nil || t["bias"] != nil, t["running_mean"] != nil)
      let momentum = number("momentum", 0.1)
      let layer: FeatureNorm<Rank> =
        name == "batch_norm"
        ? try BatchNorm<Rank>(
          numFeatures: x.shape[1], eps: eps, momentum: momentum, affine: hasParameters, trackRunningStats: tracks,
          dtype: .float64)
        : try InstanceNorm<Rank>(
          numFeatures: x.shape[1], eps: eps, momentum: momentum, affine: hasParameters, trackRunningStats: tracks,
          dtype: .float64)
      if let weight = t["weight"] { layer.weight?.value = weight }
      if let bias = t["bias"] {
        layer.bias?.value = bias
      } else if hasParameters {
        layer.bias?.value = try Tensor.zeros([x.shape[1]], dtype: .float64)
      }
      if let mean = t["running_mean"] { layer.runningMean?.value = mean }
      if let variance = t["running_var"] { layer.runningVar?.value = variance }
      layer.train(name == "batch_norm" ? flag("training") : flag("use_input_stats", true))
      guard let unary = layer as? any UnaryLayer else { return x }
      return try unary(x)
    }
    switch x.rank {
    case 2, 3: return try run(Rank1.self)
    case 4: return try run(Rank2.self)
    case 5: return try run(Rank3.self)
    default: throw LeftOut(reason: "a norm of \(x.rank) axes")
    }
  }

  private func recurrence(_ x: Tensor, _ t: [String: Tensor]) throws -> [Tensor] {
    let (inputs, size, layers) = (int("input_size", 1), int("hidden_size", 1), int("num_layers", 1))
    let (bias, isBatchFirst, isBoth) = (flag("bias", true), flag("batch_first"), flag("bidirectional"))
    func load(_ layer: Module) {
      for (name, parameter) in layer.namedParameters() { if let value = t[name] { parameter.value = value } }
    }
    if name == "nn.GRU" {
      let layer = try GRU(
        inputSize: inputs, hiddenSize: size, numLayers: layers, bias: bias, batchFirst: isBatchFirst,
        bidirectional: isBoth, dtype: .float64)
      load(layer)
      let found = try layer(x, hidden: t["state0"])
      return [found.output, found.hidden]
    }
    let layer = try LSTM(
      inputSize: inputs, hiddenSize: size, numLayers: layers, bias: bias, batchFirst: isBatchFirst,
      bidirectional: isBoth, projSize: int("proj_size", 0), dtype: .float64)
    load(layer)
    let state = t["state0"].flatMap { hidden in t["state1"].map { (hidden: hidden, cell: $0) } }
    let found = try layer(x, state: state)
    return [found.output, found.state.hidden, found.state.cell]
  }
}
