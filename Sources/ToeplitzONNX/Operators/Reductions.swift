import ToeplitzOps
import ToeplitzTensor

/// An operator that combines elements along axes: attributes or, in newer opsets, an operand say which.
private func reduction(
  _ body: @escaping @Sendable (Tensor, [Int]?, Bool) throws -> Tensor
) -> OperatorMaker {
  { node in
    let axes = try node.numbers("axes", operand: 1)
    let keeps = try node.flag("keepdims", true)
    let leavesAlone = try node.flag("noop_with_empty_axes")
    return { x in
      let input = try x(0)
      var gone = try axes(x)
      if gone?.isEmpty ?? true { gone = leavesAlone ? [] : nil }
      return [try body(input, gone, keeps).cast(to: input.dtype)]
    }
  }
}

private func position(_ largest: Bool) -> OperatorMaker {
  { node in
    let (axis, keeps) = (try node.int("axis", 0), try node.flag("keepdims", true))
    let last = try node.flag("select_last_index")
    return { x in
      let input = try x(0)
      let at = try input.shape.normalizedAxis(axis, operation: "ArgMax")
      let source = last ? try input.flipped([at]) : input
      let found = try largest ? source.argmax(axis: at, keepsAxis: keeps) : source.argmin(axis: at, keepsAxis: keeps)
      guard last else { return [found] }
      return [try Tensor.full([], Double(input.shape[at] - 1), dtype: .int64) - found]
    }
  }
}

/// The largest or smallest element; of none at all the other end of the type's range.
private func extreme(_ largest: Bool) -> @Sendable (Tensor, [Int]?, Bool) throws -> Tensor {
  { x, axes, keeps in
    let gone = try (axes ?? Array(0..<x.rank)).map { try x.shape.normalizedAxis($0, operation: "Reduce") }
    if x.dtype == .bool {
      return try extreme(largest)(x.cast(to: .uint8), axes, keeps).cast(to: .bool)
    }
    guard !gone.contains(where: { x.shape[$0] == 0 }) else {
      let sizes = (0..<x.rank).compactMap { gone.contains($0) ? (keeps ? 1 : nil) : x.shape[$0] }
      let value = largest ? -Double.infinity : .infinity
      return try Tensor.full(TensorShape(sizes), value, dtype: x.dtype)
    }
    return try largest ? x.max(gone, keepsAxes: keeps) : x.min(gone, keepsAxes: keeps)
  }
}

extension OperatorTable {
  static let reductions: [String: OperatorMaker] = [
    "ReduceSum": reduction { try $0.sum($1, keepsAxes: $2) },
    "ReduceMean": reduction { x, axes, keeps in
      if x.dtype.isFloatingPoint { return try x.mean(axes, keepsAxes: keeps) }
      return try x.cast(to: .float64).mean(axes, keepsAxes: keeps)
    },
    "ReduceProd": reduction { try $0.product($1, keepsAxes: $2) },
    "ReduceMax": reduction(extreme(true)),
    "ReduceMin": reduction(extreme(false)),
    "ReduceL1": reduction { try ($0.dtype.isUnsigned ? $0 : $0.abs()).sum($1, keepsAxes: $2) },
    "ReduceL2": reduction { x, axes, keeps in
      let exact = try x.cast(to: .float64)
      return try (exact * exact).sum(axes, keepsAxes: keeps).sqrt()
    },
    "ReduceSumSquare": reduction { try ($0 * $0).sum($1, keepsAxes: $2) },
    "ReduceLogSum": reduction { try $0.cast(to: .float64).sum($1, keepsAxes: $2).log() },
    "ReduceLogSumExp": reduction { x, axes, keeps in
      let exact = try x.cast(to: .float64)
      guard exact.count > 0 else { return try exact.exp().sum(axes, keepsAxes: keeps).log() }
      // The largest exponent becomes 0, so nothing overflows; an infinite one stays out of it.
      let most = try exact.max(axes, keepsAxes: true)
      let shift = try Tensor.where(most.isInfinite(), Tensor.full([], 0, dtype: .float64), most)
      let sums = try (exact - shift).exp().sum(axes, keepsAxes: true).log() + shift
      return try keeps ? sums : sums.reshaped(exact.sum(axes).shape)
    },
    "ArgMax": position(true),
    "ArgMin": position(false),
  ]
}

// MARK: Export

extension Reduction: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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
