import ToeplitzTensor

extension Reshape: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Reshape", [.input(0), try numbers(outputs[0].shape.dimensions)], ["allowzero": .int(1)])]
  }
}

extension Permute: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let axes = try order.map { try inputs[0].shape.normalizedAxis($0, operation: name) }
    return [ExportNode("Transpose", [.input(0)], ["perm": .ints(axes)])]
  }
}

extension Slice: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let operands = try [[range.lowerBound], [range.upperBound], [axis], [step]].map(numbers)
    return [ExportNode("Slice", [.input(0)] + operands)]
  }
}

extension Flip: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let count = axes.count
    let ends = Array(repeating: -Int(Int32.max), count: count)
    let operands = try [Array(repeating: -1, count: count), ends, axes, Array(repeating: -1, count: count)].map(numbers)
    return [ExportNode("Slice", [.input(0)] + operands)]
  }
}

extension Expand: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Expand", [.input(0), try numbers(outputs[0].shape.dimensions)])]
  }
}

extension Concatenate: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Concat", inputs.indices.map { .input($0) }, ["axis": .int(axis)])]
  }
}

extension PadAxis: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let rank = inputs[0].shape.rank
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    var pads = Array(repeating: 0, count: 2 * rank)
    (pads[axis], pads[axis + rank]) = (low, high)
    // `wrap` came with opset 19.
    let modes: [PaddingMode: String] = [.zeros: "constant", .reflect: "reflect", .replicate: "edge"]
    guard let text = modes[mode] else { throw unexportable("circular padding") }
    let fill: [ExportNode.Operand] = mode == .zeros ? [try number(value, inputs[0].dtype)] : []
    return [ExportNode("Pad", [.input(0), try numbers(pads)] + fill, ["mode": .string(text)])]
  }
}

extension Cast: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Cast", [.input(0)], ["to": .string(dtype.rawValue)])]
  }
}

extension EmbeddingLookup: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Gather", [.input(1), .input(0)])]
  }
}

extension MatrixMultiply: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("MatMul", [.input(0), .input(1)])]
  }
}

extension Reduction: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let rank = inputs[0].shape.rank
    let axes = axes ?? Array(0..<rank)
    let keeps: [String: ExportNode.Attribute] = ["keepdims": .int(keepsAxes ? 1 : 0)]
    switch function {
    case .argMaximum, .argMinimum:
      guard axes.count == 1 else { throw unexportable("a position in several axes") }
      return [
        ExportNode(
          function == .argMaximum ? "ArgMax" : "ArgMin", [.input(0)],
          keeps.merging(["axis": .int(axes[0])]) { first, _ in first })
      ]
    case .variance:
      let count = try Double(
        axes.reduce(1) { $0 * inputs[0].shape[try inputs[0].shape.normalizedAxis($1, operation: name)] })
      return try [
        ExportNode("ReduceMean", [.input(0), numbers(axes)], ["keepdims": .int(1)]),
        ExportNode("Sub", [.input(0), .node(0)]), ExportNode("Mul", [.node(1), .node(1)]),
        ExportNode("ReduceSum", [.node(2), numbers(axes)], keeps),
        ExportNode("Div", [.node(3), number(max(0, count - correction), inputs[0].dtype)]),
      ]
    default: break
    }
    let names: [Function: String] = [
      .sum: "ReduceSum", .mean: "ReduceMean", .product: "ReduceProd", .maximum: "ReduceMax", .minimum: "ReduceMin",
    ]
    guard let operation = names[function], outputs[0].dtype == inputs[0].dtype else {
      throw unexportable("\(function) of \(inputs[0].dtype)")
    }
    return [ExportNode(operation, [.input(0), try numbers(axes)], keeps)]
  }
}

extension Resample: ExportableOperation {
  package func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let shape = inputs[0].shape
    let axis = try shape.normalizedAxis(axis, operation: name)
    var scales = [Float](repeating: 1, count: shape.rank)
    scales[axis] = Float(factor ?? Double(size) / Double(shape[axis]))
    let known = factor == nil || Int((Double(shape[axis]) * (factor ?? 1)).rounded(.down)) == size
    guard known else { throw unexportable("a size of \(size) at factor \(factor ?? 1)") }
    var attributes: [String: ExportNode.Attribute]
    switch interpolation {
    case .nearest:
      attributes = [
        "mode": .string("nearest"), "coordinate_transformation_mode": .string("asymmetric"),
        "nearest_mode": .string("floor"),
      ]
    case .nearestExact: attributes = ["mode": .string("nearest"), "nearest_mode": .string("round_prefer_ceil")]
    case .linear: attributes = ["mode": .string("linear")]
    case .cubic: attributes = ["mode": .string("cubic")]
    }
    if alignCorners { attributes["coordinate_transformation_mode"] = .string("align_corners") }
    if factor == nil {
      let sizes = try numbers(outputs[0].shape.dimensions)
      return [ExportNode("Resize", [.input(0), .none, .none, sizes], attributes)]
    }
    return [ExportNode("Resize", [.input(0), .none, .constant(try Tensor(scales))], attributes)]
  }
}
