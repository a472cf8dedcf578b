import ToeplitzOps
import ToeplitzTensor

/// The type in which statistics are computed: at least float32.
private func wide(_ dtype: DType) -> DType { dtype == .float64 ? .float64 : .float32 }

extension OperatorTable {
  static let normalizations: [String: OperatorMaker] = [
    "BatchNormalization": { node in
      let eps = try node.float("epsilon", 1e-5)
      guard try node.flag("spatial", true) else { throw node.refuse("spatial 1", got: "0") }
      guard try node.flag("training_mode") else {
        // Before opset 14 that was how training was asked for.
        guard node.resultCount == 1 else {
          throw node.refuse(
            "one result, as of a model in evaluation mode (call eval() before exporting)", got: "\(node.resultCount)")
        }
        return { x in
          let input = try x(0)
          return [
            try input.normalizedChannels(
              mean: x(3), variance: x(4), weight: x(1).cast(to: input.dtype), bias: x(2).cast(to: input.dtype),
              eps: eps,
              name: x.name)
          ]
        }
      }
      let momentum = try node.float("momentum", 0.9)
      return { x in
        let input = try x(0)
        let axes = Array(0..<input.rank).filter { $0 != 1 }
        let mean = try input.cast(to: .float64).mean(axes)
        let variance = try input.cast(to: .float64).variance(axes, correction: 0)
        let y = try input.normalizedChannels(
          mean: mean, variance: variance, weight: x(1), bias: x(2), eps: eps, name: "BatchNormalization")
        func running(_ old: Tensor, _ new: Tensor) throws -> Tensor {
          try (old.cast(to: .float64) * momentum + new * (1 - momentum)).cast(to: old.dtype)
        }
        return [y, try running(x(3), mean), try running(x(4), variance)]
      }
    },
    "InstanceNormalization": { node in
      let eps = try node.float("epsilon", 1e-5)
      return { x in
        let moments = try x(0).channelMoments(name: "InstanceNormalization")
        return [
          try x(0).normalizedChannels(
            mean: moments.mean, variance: moments.variance, weight: x(1), bias: x(2), eps: eps,
            name: "InstanceNormalization")
        ]
      }
    },
    "GroupNormalization": { node in
      let eps = try node.float("epsilon", 1e-5)
      guard let groups = try node.int("num_groups") else { throw node.refuse("num_groups", got: "none") }
      return { x in
        let input = try x(0)
        let moments = try input.channelMoments(groups: groups, name: "GroupNormalization")
        let channels = input.shape[1]
        // Opset 18 had a scale for each group, 21 has one for each channel.
        func perChannel(_ tensor: Tensor) throws -> Tensor {
          guard tensor.count == groups, groups != channels, groups > 0 else { return tensor }
          return try tensor.reshaped([groups, 1]).expanded(to: [groups, channels / groups]).reshaped([channels])
        }
        return [
          try input.normalizedChannels(
            mean: moments.mean, variance: moments.variance, weight: perChannel(x(1)), bias: perChannel(x(2)), eps: eps,
            name: "GroupNormalization")
        ]
      }
    },
    "LayerNormalization": { node in
      let (eps, axis) = (try node.float("epsilon", 1e-5), try node.int("axis", -1))
      let results = node.resultCount
      return { x in
        let input = try x(0)
        let at = try input.shape.normalizedAxis(axis, operation: "LayerNormalization")
        let shape = TensorShape(Array(input.shape[at...]))
        func whole(_ tensor: Tensor?) throws -> Tensor? { try tensor?.expanded(to: shape).contiguous() }
        let y = try input.layerNorm(shape, weight: whole(x(1)), bias: whole(x.optional(2)), eps: eps)
        guard results > 1 else { return [y] }
        let axes = Array(at..<input.rank)
        let exact = try input.cast(to: .float64)
        let deviation = try (exact.variance(axes, correction: 0, keepsAxes: true) + eps).sqrt().reciprocal()
        return [
          y, try exact.mean(axes, keepsAxes: true).cast(to: wide(input.dtype)),
          try deviation.cast(to: wide(input.dtype)),
        ]
      }
    },
    "RMSNormalization": rootMeanNormalization, "SimplifiedLayerNormalization": rootMeanNormalization,
    "LpNormalization": { node in
      let (axis, p) = (try node.int("axis", -1), try node.int("p", 2))
      guard p == 1 || p == 2 else { throw node.refuse("p 1 or 2", got: "\(p)") }
      return { x in
        let input = try x(0)
        let norm =
          try p == 1
          ? input.abs().sum([axis], keepsAxes: true)
          : (input * input).sum([axis], keepsAxes: true).sqrt()
        // A vector of zeros stays one.
        let zero = try Tensor.full([], 0, dtype: input.dtype)
        return [try Tensor.where(norm.equal(zero), zero, input / norm)]
      }
    },
    "MeanVarianceNormalization": { node in
      let axes = try node.ints("axes") ?? [0, 2, 3]
      return { x in
        let input = try x(0)
        let exact = try input.cast(to: .float64)
        let mean = try exact.mean(axes, keepsAxes: true)
        let deviation = try exact.variance(axes, correction: 0, keepsAxes: true).sqrt()
        return [try ((exact - mean) / (deviation + 1e-9)).cast(to: input.dtype)]
      }
    },
    "LRN": { node in
      guard let size = try node.int("size") else { throw node.refuse("a size", got: "none") }
      let (alpha, beta) = (try node.float("alpha", 1e-4), try node.float("beta", 0.75))
      let bias = try node.float("bias", 1)
      return { [try $0(0).localResponseNorm(size: size, alpha: alpha, beta: beta, k: bias)] }
    },
    "Dropout": { node in
      let (seed, ratio) = (try node.int("seed", 0), try node.float("ratio", 0.5))
      let results = node.resultCount
      let mayTrain = node.hasInput.count > 2 && node.hasInput[2]
      if !mayTrain, results == 1 { return { [try $0(0)] } }
      return { x in
        let input = try x(0)
        let share = try x.scalar(1) ?? ratio
        let isTraining = try x.scalar(2).map { $0 != 0 } ?? false
        var mask = try Tensor.full([], 1, dtype: .bool).expanded(to: input.shape)
        guard isTraining, share > 0 else { return results > 1 ? [input, mask] : [input] }
        // The numbers of the reference implementation, so that a seed means the same.
        var random = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed))
        let drawn = try Tensor((0..<input.count).map { _ in random.nextUnit() }, shape: input.shape, device: .cpu)
        mask = try drawn.greaterOrEqual(Tensor.full([], share, dtype: .float64))
        let kept = try mask.cast(to: input.dtype) * input * (share < 1 ? 1 / (1 - share) : 0)
        return results > 1 ? [kept, mask] : [kept]
      }
    },
  ]
}

extension OperatorTable {
  private static let rootMeanNormalization: OperatorMaker = { node in
    let (eps, axis) = (try node.float("epsilon", 1e-5), try node.int("axis", -1))
    return { x in
      let (y, deviation) = try x(0).rootMeanNormalized(axis: axis, weight: x(1), eps: eps)
      return [y, deviation]
    }
  }
}

extension Tensor {
  /// Elements divided by the root of the mean of their squares over the axes from `axis` on, times a weight; and one over that
  /// root, as float32 or wider.
  func rootMeanNormalized(axis: Int, weight: Tensor, eps: Double) throws -> (Tensor, deviation: Tensor) {
    let at = try shape.normalizedAxis(axis, operation: "RMSNormalization")
    let exact = try cast(to: wide(dtype))
    let root = try ((exact * exact).mean(Array(at..<rank), keepsAxes: true) + eps).sqrt()
    return (try (exact / root).cast(to: dtype) * weight.cast(to: dtype), try root.reciprocal())
  }
}

// MARK: Export

extension GroupMoments: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let weight: ExportNode.Operand = hasWeight ? .input(1) : .constant(try Tensor.ones(shape, dtype: inputs[0].dtype))
    let bias: [ExportNode.Operand] = hasBias ? [.input(hasWeight ? 2 : 1)] : []
    return [
      ExportNode(
        "LayerNormalization", [.input(0), weight] + bias, ["axis": .int(-shape.rank), "epsilon": .float(eps)])
    ]
  }
}

extension WeightNormalization: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let axes = normAxes(inputs[1].shape)
    let norms = TensorShape(inputs[1].shape.indices.map { axes.contains($0) ? 1 : inputs[1].shape[$0] })
    // Computed in float64, as here.
    return try [
      ExportNode("Cast", [.input(1)], ["to": .string("float64")]), ExportNode("Mul", [.node(0), .node(0)]),
      ExportNode("ReduceSum", [.node(1), numbers(axes)], ["keepdims": .int(1)]), ExportNode("Sqrt", [.node(2)]),
      ExportNode("Cast", [.input(0)], ["to": .string("float64")]),
      ExportNode("Reshape", [.node(4), numbers(norms.dimensions)]), ExportNode("Div", [.node(5), .node(3)]),
      ExportNode("Mul", [.node(0), .node(6)]),
      ExportNode("Cast", [.node(7)], ["to": .string(outputs[0].dtype.rawValue)]),
    ]
  }
}
