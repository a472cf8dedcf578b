import ToeplitzOps
import ToeplitzTensor

/// The attributes of a convolution or transposed convolution of 1 to 3 spatial axes.
///
/// Channels and kernel size come from the weight.
struct ConvolutionAttributes: Sendable {
  /// How the input is extended (convolution) or the output cropped (transposed).
  enum Extension: Sendable {
    /// By these numbers on each axis.
    case explicit(low: [Int], high: [Int])
    /// So that the output has `ceil(L / stride)` (transposed: `L × stride`) positions; an odd rest goes to the end, or to
    /// the beginning.
    case same(restAtEnd: Bool)
    /// Not at all.
    case none
  }

  var name: String
  var isTransposed = false
  /// Step on each axis; 1 if nil.
  var strides: [Int]?
  /// Distance of taps on each axis; 1 if nil.
  var dilations: [Int]?
  var groups = 1
  var padding = Extension.none
  /// Positions added to the end of a transposed convolution's output.
  var outputPadding: [Int]?
  /// The spatial size of a transposed convolution's output, which then decides how much is cropped.
  var outputShape: [Int]?
  /// What the weight's spatial sizes must be, if anything.
  var kernelShape: [Int]?

  /// The convolution of x `[N, C, spatial…]` with a weight in PyTorch's order.
  func callAsFunction(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) throws -> Tensor {
    let (geometry, extra) = try geometry(x.shape, weight.shape)
    let result = try x.convolved(geometry, weight: weight, bias: bias)
    return extra.isEmpty ? result : try extended(result, extra, bias)
  }

  /// Where a transposed convolution is asked for more positions than it reaches, they hold the bias alone.
  private func extended(_ y: Tensor, _ extra: [(axis: Int, low: Int, high: Int)], _ bias: Tensor?) throws -> Tensor {
    guard let bias else { return try y.padded(extra) }
    let shape = TensorShape([1, bias.count] + Array(repeating: 1, count: y.rank - 2))
    let shift = try bias.reshaped(shape)
    return try (y - shift).padded(extra) + shift
  }

  /// The geometry for an input and a weight, and how much the output is extended after all.
  private func geometry(
    _ x: TensorShape, _ weight: TensorShape
  ) throws -> (ConvolutionGeometry, [(axis: Int, low: Int, high: Int)]) {
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.shape, name, expected: expected, got: got)
    }
    let rank = weight.rank - 2
    guard (1...3).contains(rank) else { throw refuse("a weight of 3 to 5 dimensions", "shape \(weight)") }
    guard x.rank == weight.rank else { throw refuse("an input of \(weight.rank) dimensions", "shape \(x)") }
    let kernel = Array(weight.dropFirst(2))
    if let kernelShape, kernelShape != kernel { throw refuse("a kernel of \(kernelShape)", "\(kernel)") }
    func perAxis(_ values: [Int]?, _ label: String) throws -> [Int] {
      guard let values else { return Array(repeating: 1, count: rank) }
      guard values.count == rank, values.allSatisfy({ (1...(1 << 28)).contains($0) }) else {
        throw refuse("\(rank) \(label) of at least 1", "\(values)")
      }
      return values
    }
    let (strides, dilations) = (try perAxis(strides, "strides"), try perAxis(dilations, "dilations"))
    guard groups > 0, groups <= 1 << 40, kernel.allSatisfy({ (1...Int(Int32.max)).contains($0) }) else {
      throw refuse("groups and a kernel of at least 1", "groups \(groups), kernel \(kernel)")
    }
    let (channels, overflow) = weight[1].multipliedReportingOverflow(by: groups)
    guard !overflow else { throw refuse("a legal number of groups", "\(groups)") }
    let sizes = Array(x.dropFirst(2))
    guard sizes.allSatisfy({ $0 < 1 << 31 }) else { throw refuse("sizes below 2³¹", "shape \(x)") }
    let outputPadding = outputPadding ?? Array(repeating: 0, count: rank)
    guard outputPadding.count == rank, outputPadding.allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
      throw refuse("\(rank) numbers of output padding", "\(outputPadding)")
    }
    for axis in 0..<rank where isTransposed && outputPadding[axis] >= max(strides[axis], dilations[axis]) {
      throw refuse(
        "output_padding smaller than the larger of stride and dilation (\(max(strides[axis], dilations[axis])))",
        "\(outputPadding[axis])")
    }
    let (pads, extra) = try pads(sizes, kernel, strides, dilations, outputPadding)
    return (
      try ConvolutionGeometry(
        rank: rank, isTransposed: isTransposed, inChannels: isTransposed ? weight[0] : channels,
        outChannels: isTransposed ? channels : weight[0], kernelSize: PerAxis(kernel), stride: PerAxis(strides),
        padding: .asymmetric(pads), outputPadding: PerAxis(outputPadding), dilation: PerAxis(dilations), groups: groups),
      extra
    )
  }

  private func pads(
    _ sizes: [Int], _ kernel: [Int], _ strides: [Int], _ dilations: [Int], _ outputPadding: [Int]
  ) throws -> ([(low: Int, high: Int)], [(axis: Int, low: Int, high: Int)]) {
    var extra: [(axis: Int, low: Int, high: Int)] = []
    func split(_ restAtEnd: Bool) -> [(low: Int, high: Int)] {
      sizes.indices.map { axis in
        let extent = (kernel[axis] - 1) * dilations[axis] + 1
        guard isTransposed else {
          return Padding.same(length: sizes[axis], extent: extent, stride: strides[axis], restAtEnd: restAtEnd)
        }
        let wanted = outputShape?[axis] ?? sizes[axis] * strides[axis]
        let sum = (sizes[axis] - 1) * strides[axis] + outputPadding[axis] + extent - wanted
        if sum < 0 {
          extra.append((axis + 2, 0, -sum))
          return (0, 0)
        }
        return Padding.halves(of: sum, restAtEnd: restAtEnd)
      }
    }
    if let outputShape, isTransposed {
      guard outputShape.count == sizes.count, outputShape.allSatisfy({ (1...Int(Int32.max)).contains($0) }) else {
        throw ToeplitzError(
          .argument, name, expected: "an output shape of \(sizes.count) sizes", got: "\(outputShape)")
      }
      if case .same(restAtEnd: true) = padding { return (split(true), extra) }
      return (split(false), extra)
    }
    switch padding {
    case .none: return (sizes.map { _ in (0, 0) }, [])
    case .same(let restAtEnd): return (split(restAtEnd), extra)
    case .explicit(let low, let high):
      guard low.count == sizes.count, high.count == sizes.count else {
        throw ToeplitzError(.argument, name, expected: "\(2 * sizes.count) pads", got: "\(low + high)")
      }
      return (zip(low, high).map { ($0, $1) }, [])
    }
  }
}

extension OperatorNode {
  /// `pads` and `auto_pad`.
  func padding() throws -> ConvolutionAttributes.Extension {
    switch try string("auto_pad", "NOTSET") {
    case "NOTSET", "":
      guard let pads = try ints("pads") else { return .none }
      let half = pads.count / 2
      return .explicit(low: Array(pads.prefix(half)), high: Array(pads.suffix(pads.count - half)))
    case "VALID": return .none
    case "SAME_UPPER": return .same(restAtEnd: true)
    case "SAME_LOWER": return .same(restAtEnd: false)
    case let other: throw refuse("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", got: other)
    }
  }

  /// The options that all convolutions share.
  func convolution() throws -> ConvolutionAttributes {
    var convolution = ConvolutionAttributes(name: operation)
    convolution.strides = try ints("strides")
    convolution.dilations = try ints("dilations")
    convolution.groups = try int("group", 1)
    convolution.kernelShape = try ints("kernel_shape")
    convolution.padding = try padding()
    return convolution
  }
}

extension OperatorTable {
  static let convolutions: [String: OperatorMaker] = [
    "Conv": { node in
      let convolution = try node.convolution()
      return { [try convolution($0(0), $0(1), $0.optional(2))] }
    },
    "ConvTranspose": { node in
      var convolution = try node.convolution()
      convolution.isTransposed = true
      convolution.outputPadding = try node.ints("output_padding")
      convolution.outputShape = try node.ints("output_shape")
      return { [convolution] in [try convolution($0(0), $0(1), $0.optional(2))] }
    },
    "ConvInteger": { node in
      let convolution = try node.convolution()
      return { x in
        let input = try x(0).centered(x.optional(2), axis: nil)
        let weight = try x(1).centered(x.optional(3), axis: 0)
        return [try convolution(input, weight, nil)]
      }
    },
    "QLinearConv": { node in
      let convolution = try node.convolution()
      return { x in
        let input = try x(0).centered(x(2), axis: nil)
        let weight = try x(3).centered(x(5), axis: 0)
        let bias = x.optional(8)
        let sums = try convolution(input, weight, bias)
        let weightScale = try x(4)
        let axes = Array(repeating: 1, count: sums.rank - 2)
        let scale =
          try weightScale.count == 1
          ? weightScale.reshaped([]) : weightScale.reshaped(TensorShape([1, weightScale.count] + axes))
        let factor = try x(1).reshaped([]) * scale / x(6).reshaped([])
        return [try sums.requantized(factor: factor, zeroPoint: x(7))]
      }
    },
  ]
}

extension Tensor {
  /// Whole numbers less their zero point, as int32; the zero point is one number or one for each slice of `axis`.
  func centered(_ zeroPoint: Tensor?, axis: Int?) throws -> Tensor {
    let wide = try cast(to: .int32)
    guard let zeroPoint else { return wide }
    let zero = try zeroPoint.cast(to: .int32)
    guard zero.count > 1, let axis, axis < rank else { return try wide - zero.reshaped([]) }
    var shape = [Int](repeating: 1, count: rank)
    shape[axis] = zero.count
    return try wide - zero.reshaped(TensorShape(shape))
  }

  /// `round(float(x) · factor) + zeroPoint`, kept within the zero point's type, as ONNX Runtime computes it.
  func requantized(factor: Tensor, zeroPoint: Tensor) throws -> Tensor {
    let scaled = try cast(to: .float32) * factor.cast(to: .float32)
    let zero = try zeroPoint.count == 1 ? zeroPoint.reshaped([]) : zeroPoint
    guard zero.dtype == .uint8 || zero.dtype == .int8 else {
      return try (scaled.round() + zero.cast(to: .float32)).cast(to: zero.dtype)
    }
    return try scaled.quantized(scale: Tensor(scalar: Float(1)), zeroPoint: zero)
  }
}

// MARK: Export

extension ConvolutionOperation: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    if isLinear {
      let matrix = inputs[1].shape.rank == 2 ? [] : [ExportNode("Squeeze", [.input(1), try numbers([2])])]
      let columns = ExportNode(
        "Transpose", [matrix.isEmpty ? .input(1) : .node(0)], ["perm": .ints(geometry.isTransposed ? [0, 1] : [1, 0])])
      let product = ExportNode("MatMul", [.input(0), .node(matrix.count)])
      let bias = inputs.count > 2 ? [ExportNode("Add", [.node(matrix.count + 1), .input(2)])] : []
      return matrix + [columns, product] + bias
    }
    let g = geometry
    let rank = g.rank
    var chain = NodeChain(.input(0))
    let isBatched = inputs[0].shape.rank == rank + 2
    if !isBatched { chain.add("Unsqueeze", [try numbers([0])]) }
    if layout == .channelsLast { chain.add("Transpose", [], ["perm": .ints([0, rank + 1] + Array(1...rank))]) }
    func spatial(_ shape: TensorShape) -> [Int] {
      layout == .channelsLast ? Array(shape.dropLast().suffix(rank)) : Array(shape.suffix(rank))
    }
    var (low, high) = (g.paddingLow, g.paddingHigh)
    if g.isTransposed, g.paddingMode == .zeros, (low + high).contains(where: { $0 < 0 }) {
      // Positions beside the output are what zeros beside the input give, of which the rest is cut off.
      func zeros(_ crop: [Int]) -> [Int] { zip(crop, g.stride).map { $0 < 0 ? ($1 - 1 - $0) / $1 : 0 } }
      let (before, after) = (zeros(low), zeros(high))
      chain.add("Pad", [try numbers([0, 0] + before + [0, 0] + after)])
      for axis in 0..<rank {
        low[axis] += before[axis] * g.stride[axis]
        high[axis] += after[axis] * g.stride[axis]
      }
    }
    let isPlain = g.paddingMode == .zeros && !(low + high).contains { $0 < 0 }
    var attributes: [String: ExportNode.Attribute] = [
      "kernel_shape": .ints(g.kernelSize), "strides": .ints(g.stride), "dilations": .ints(g.dilation),
      "group": .int(g.groups),
    ]
    if g.isTransposed { attributes["output_padding"] = .ints(g.outputPadding) }
    var operands = (1..<inputs.count).map { ExportNode.Operand.input($0) }
    if !isPlain, !g.isTransposed {
      if g.paddingMode == .circular {
        for (axis, size) in spatial(inputs[0].shape).enumerated() {
          try chain.wrap(axis: axis + 2, size: size, low: low[axis], high: high[axis])
        }
      } else {
        let modes: [PaddingMode: String] = [.zeros: "constant", .reflect: "reflect", .replicate: "edge"]
        guard let mode = modes[g.paddingMode] else { throw unexportable("padding \(g.paddingMode)") }
        chain.add("Pad", [try numbers([0, 0] + low + [0, 0] + high)], ["mode": .string(mode)])
      }
    }
    let crop = low
    if !isPlain { (low, high) = (low.map { _ in 0 }, high.map { _ in 0 }) }
    attributes["pads"] = .ints(low + high)
    // What is added around the circle has no bias yet.
    let bias = !isPlain && g.isTransposed && operands.count > 1 ? operands.remove(at: 1) : nil
    chain.add(g.isTransposed ? "ConvTranspose" : "Conv", operands, attributes)
    if !isPlain, g.isTransposed {
      let (from, to) = (spatial(inputs[0].shape), spatial(outputs[0].shape))
      for axis in 0..<rank {
        let size = (from[axis] - 1) * g.stride[axis] + g.extent(axis) + g.outputPadding[axis]
        try chain.unwrap(axis: axis + 2, rank: rank + 2, size: size, low: crop[axis], length: to[axis])
      }
      if let bias {
        let sums = chain.value
        chain = NodeChain(bias, after: chain)
        chain.add("Reshape", [try numbers([1, -1] + Array(repeating: 1, count: rank))])
        chain.add("Add", [sums])
      }
    }
    if layout == .channelsLast { chain.add("Transpose", [], ["perm": .ints([0] + Array(2...(rank + 1)) + [1])]) }
    if !isBatched { chain.add("Squeeze", [try numbers([0])]) }
    return chain.nodes
  }
}

extension ConvolutionWeightGradient: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    throw unexportable("the gradient of a weight")
  }
}
