import ToeplitzTensor

extension ConvolutionOperation: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let g = geometry
    let rank = g.rank
    var nodes: [ExportNode] = []
    var x = ExportNode.Operand.input(0)
    func add(_ node: ExportNode) {
      nodes.append(node)
      x = .node(nodes.count - 1)
    }
    let isBatched = inputs[0].shape.rank == rank + 2
    if !isBatched { add(ExportNode("Unsqueeze", [x, try numbers([0])])) }
    if layout == .channelsLast {
      add(ExportNode("Transpose", [x], ["perm": .ints([0, rank + 1] + Array(1...rank))]))
    }
    if epilogue.inputSlope != 1 { add(ExportNode("LeakyRelu", [x], ["alpha": .float(epilogue.inputSlope)])) }
    var (low, high) = (g.paddingLow, g.paddingHigh)
    if !g.isTransposed, g.paddingMode != .zeros || (low + high).contains(where: { $0 < 0 }) {
      let modes: [PaddingMode: String] = [.zeros: "constant", .reflect: "reflect", .replicate: "edge"]
      guard let mode = modes[g.paddingMode] else { throw unexportable("circular padding") }
      add(ExportNode("Pad", [x, try numbers([0, 0] + low + [0, 0] + high)], ["mode": .string(mode)]))
      (low, high) = (low.map { _ in 0 }, high.map { _ in 0 })
    }
    guard !g.isTransposed || (g.paddingMode == .zeros && !(low + high).contains { $0 < 0 }) else {
      throw unexportable("circular or negative padding of a transposed convolution")
    }
    var attributes: [String: ExportNode.Attribute] = [
      "kernel_shape": .ints(g.kernelSize), "strides": .ints(g.stride), "dilations": .ints(g.dilation),
      "group": .int(g.groups), "pads": .ints(low + high),
    ]
    if g.isTransposed { attributes["output_padding"] = .ints(g.outputPadding) }
    let residuals = (inputs.count - residualCount)..<inputs.count
    guard !hasWeightFactors else { throw unexportable("factors of weights") }
    let weights = (1..<residuals.lowerBound).map { ExportNode.Operand.input($0) }
    add(ExportNode(g.isTransposed ? "ConvTranspose" : "Conv", [x] + weights, attributes))
    if layout == .channelsLast {
      add(ExportNode("Transpose", [x], ["perm": .ints([0] + Array(2...(rank + 1)) + [1])]))
    }
    if !isBatched { add(ExportNode("Squeeze", [x, try numbers([0])])) }
    nodes += try epilogue.exported(from: nodes.count - 1, adding: residuals, dtype: inputs[0].dtype)
    return nodes
  }
}

extension Epilogue {
  /// The nodes for what happens to the sums, which node `last` gives.
  ///
  /// - Parameter residuals: the operands that are added first.
  func exported(from last: Int, adding residuals: Range<Int>, dtype: DType) throws -> [ExportNode] {
    var nodes: [ExportNode] = []
    func add(_ name: String, _ more: [ExportNode.Operand], _ attributes: [String: ExportNode.Attribute] = [:]) {
      nodes.append(ExportNode(name, [.node(last + nodes.count)] + more, attributes))
    }
    for residual in residuals { add("Add", [.input(residual)]) }
    if outputScale != 1 { add("Mul", [.constant(try Tensor.full([], outputScale, dtype: dtype))]) }
    if outputSlope != 1 { add("LeakyRelu", [], ["alpha": .float(outputSlope)]) }
    if let activation {
      let first = last + nodes.count
      nodes += try activation.exported(dtype).map { $0.moved(by: first + 1) { _ in .node(first) } }
    }
    return nodes
  }
}

extension Activation {
  /// The nodes of the operations that compute it on a whole tensor.
  fileprivate func exported(_ dtype: DType) throws -> [ExportNode] {
    let steps = try OperationTrace.record { try self(Tensor.zeros([1], dtype: dtype)) }.steps
    guard steps.count == 1, let operation = steps[0].operation as? any ExportableOperation else {
      throw ToeplitzError(
        .unsupported, "export", expected: "an activation that can be written as ONNX", got: "\(self)")
    }
    return try operation.exported(steps[0].inputs.map(\.spec), steps[0].outputs.map(\.spec))
  }
}

extension PoolGeometry {
  /// The attributes of ONNX's poolings.
  fileprivate func attributes() -> [String: ExportNode.Attribute] {
    [
      "kernel_shape": .ints(kernelSize), "strides": .ints(stride), "pads": .ints(padding + padding),
      "ceil_mode": .int(ceilMode ? 1 : 0),
    ]
  }
}

extension MaxPooling: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard !givesIndices, inputs[0].shape.rank == geometry.rank + 2 else {
      throw unexportable("positions, or no batch axis")
    }
    var attributes = geometry.attributes()
    attributes["dilations"] = .ints(geometry.dilation)
    return [ExportNode("MaxPool", [.input(0)], attributes)]
  }
}

extension AveragePooling: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard divisor == nil, inputs[0].shape.rank == geometry.rank + 2 else {
      throw unexportable("a divisor, or no batch axis")
    }
    var attributes = geometry.attributes()
    attributes["count_include_pad"] = .int(countsPadding ? 1 : 0)
    return [ExportNode("AveragePool", [.input(0)], attributes)]
  }
}

extension AdaptivePooling: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let rank = outputSize.count
    let (input, output) = (Array(inputs[0].shape.suffix(rank)), Array(outputs[0].shape.suffix(rank)))
    guard function != .maximumWithIndices, inputs[0].shape.rank == rank + 2,
      zip(input, output).allSatisfy({ $0 % $1 == 0 })
    else { throw unexportable("windows of different sizes, positions, or no batch axis") }
    let windows = zip(input, output).map { $0 / $1 }
    return [
      ExportNode(
        function == .average ? "AveragePool" : "MaxPool", [.input(0)],
        ["kernel_shape": .ints(windows), "strides": .ints(windows)])
    ]
  }
}

extension GroupMoments: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    // The statistics are float64, as here.
    let rows = try numbers(outputs[0].shape.dimensions + [-1])
    return try [
      ExportNode("Cast", [.input(0)], ["to": .string("float64")]), ExportNode("Reshape", [.node(0), rows]),
      ExportNode("ReduceMean", [.node(1), numbers([2])], ["keepdims": .int(1)]),
      ExportNode("Sub", [.node(1), .node(2)]), ExportNode("Mul", [.node(3), .node(3)]),
      ExportNode("Squeeze", [.node(2), numbers([2])], result: 0),
      ExportNode("ReduceMean", [.node(4), numbers([2])], ["keepdims": .int(0)], result: 1),
    ]
  }
}

extension NormalizeChannels: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    let channels = shape[1]
    let weight: ExportNode.Operand = hasWeight ? .input(3) : .constant(try Tensor.ones([channels], dtype: dtype))
    let bias: ExportNode.Operand =
      hasBias ? .input(hasWeight ? 4 : 3) : .constant(try Tensor.zeros([channels], dtype: dtype))
    if inputs[1].shape.rank == 1 {
      return [
        ExportNode("BatchNormalization", [.input(0), weight, bias, .input(1), .input(2)], ["epsilon": .float(eps)])
      ]
    }
    let groups = try numbers([shape[0], inputs[1].shape[1], -1])
    let column = try numbers([1, channels] + Array(repeating: 1, count: shape.rank - 2))
    return try [
      ExportNode("Cast", [.input(0)], ["to": .string("float64")]), ExportNode("Reshape", [.node(0), groups]),
      ExportNode("Unsqueeze", [.input(1), numbers([2])]), ExportNode("Unsqueeze", [.input(2), numbers([2])]),
      ExportNode("Sub", [.node(1), .node(2)]), ExportNode("Add", [.node(3), number(eps, .float64)]),
      ExportNode("Sqrt", [.node(5)]), ExportNode("Div", [.node(4), .node(6)]),
      ExportNode("Reshape", [.node(7), numbers(shape.dimensions)]),
      ExportNode("Cast", [.node(8)], ["to": .string(dtype.rawValue)]), ExportNode("Reshape", [weight, column]),
      ExportNode("Reshape", [bias, column]), ExportNode("Mul", [.node(9), .node(10)]),
      ExportNode("Add", [.node(12), .node(11)]),
    ]
  }
}

extension LayerNormalize: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let weight: ExportNode.Operand = hasWeight ? .input(1) : .constant(try Tensor.ones(shape, dtype: inputs[0].dtype))
    let bias: [ExportNode.Operand] = hasBias ? [.input(hasWeight ? 2 : 1)] : []
    return [
      ExportNode(
        "LayerNormalization", [.input(0), weight] + bias, ["axis": .int(-shape.rank), "epsilon": .float(eps)])
    ]
  }
}
