import ToeplitzOps
import ToeplitzTensor

extension OperatorNode {
  /// The windows of a pooling, which may depend on the input's sizes.
  fileprivate func windows() throws -> @Sendable (TensorShape) throws -> PoolGeometry {
    guard let kernel = try ints("kernel_shape") else { throw refuse("a kernel_shape", got: "none") }
    let stride = try ints("strides") ?? Array(repeating: 1, count: kernel.count)
    let dilation = try ints("dilations") ?? Array(repeating: 1, count: kernel.count)
    let padding = try padding()
    let ceilMode = try flag("ceil_mode")
    let name = operation
    guard stride.count == kernel.count, dilation.count == kernel.count,
      (kernel + stride + dilation).allSatisfy({ (1...Int(Int32.max)).contains($0) })
    else { throw refuse("kernel, strides and dilations of as many numbers of at least 1", got: "others") }
    return { shape in
      let zeros = Array(repeating: 0, count: kernel.count)
      var (low, high) = (zeros, zeros)
      switch padding {
      case .none: break
      case .explicit(let first, let last): (low, high) = (first, last)
      case .same(let restAtEnd):
        guard shape.rank == kernel.count + 2 else { break }
        for axis in kernel.indices {
          (low[axis], high[axis]) = Padding.same(
            length: shape[axis + 2], extent: dilation[axis] * (kernel[axis] - 1) + 1, stride: stride[axis],
            restAtEnd: restAtEnd)
        }
      }
      guard low.count == kernel.count, high.count == kernel.count, shape.rank == kernel.count + 2 else {
        throw ToeplitzError(
          .shape, name, expected: "an input of \(kernel.count + 2) dimensions and \(2 * kernel.count) pads",
          got: "shape \(shape) and \(low + high)")
      }
      return try PoolGeometry(
        name: name, kernelSize: kernel, stride: stride, dilation: dilation, low: low, high: high, ceilMode: ceilMode)
    }
  }
}

/// A pooling over all spatial axes.
private func global(_ body: @escaping @Sendable (Tensor, [Int]) throws -> Tensor) -> OperatorMaker {
  { node in
    { x in
      let x = try x(0)
      guard x.rank >= 2 else {
        throw ToeplitzError(.shape, "global pooling", expected: "an input [N, C, …]", got: "shape \(x.shape)")
      }
      return [try body(x, Array(2..<x.rank))]
    }
  }
}

extension OperatorTable {
  static let pooling: [String: OperatorMaker] = [
    "MaxPool": { node in
      let windows = try node.windows()
      let columnMajor = try node.flag("storage_order")
      let givesPositions = node.resultCount > 1
      return { x in
        let x = try x(0)
        guard givesPositions else { return [try x.maxPooled(windows(x.shape))] }
        let both = try x.maxPooledWithPositions(windows(x.shape), columnMajor: columnMajor)
        return [both.values, both.positions]
      }
    },
    "AveragePool": { node in
      let windows = try node.windows()
      let countsPadding = try node.flag("count_include_pad")
      return { x in
        let x = try x(0)
        return [try x.averagePooled(windows(x.shape), countIncludePad: countsPadding)]
      }
    },
    "LpPool": { node in
      let windows = try node.windows()
      let p = try node.int("p", 2)
      guard p > 0 else { throw node.refuse("p of at least 1", got: "\(p)") }
      return { x in
        let x = try x(0)
        return [try x.normPooled(windows(x.shape), p: Double(p))]
      }
    },
    "GlobalAveragePool": global { try $1.isEmpty ? $0 : $0.mean($1, keepsAxes: true) },
    "GlobalMaxPool": global { try $1.isEmpty ? $0 : $0.max($1, keepsAxes: true) },
    "GlobalLpPool": { node in
      let p = Double(try node.int("p", 2))
      return try global { x, axes in
        try x.abs().pow(p).sum(axes, keepsAxes: true).pow(1 / p)
      }(node)
    },
    "MaxUnpool": { node in
      guard let kernel = try node.ints("kernel_shape") else { throw node.refuse("a kernel_shape", got: "none") }
      let strides = try node.ints("strides") ?? Array(repeating: 1, count: kernel.count)
      let pads = try node.ints("pads") ?? Array(repeating: 0, count: 2 * kernel.count)
      guard strides.count == kernel.count, pads.count == 2 * kernel.count else {
        throw node.refuse("\(kernel.count) strides and \(2 * kernel.count) pads", got: "others")
      }
      guard (kernel + strides + pads).allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
        throw node.refuse("sizes of at least 0", got: "others")
      }
      return { x in
        let (values, indices) = (try x(0), try x(1))
        guard values.rank == kernel.count + 2, values.shape.allSatisfy({ $0 < 1 << 31 }) else {
          throw x.refuse(.shape, "an input of \(kernel.count + 2) dimensions", got: "shape \(values.shape)")
        }
        let natural = kernel.indices.map { axis in
          (values.shape[axis + 2] - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + kernel.count]
        }
        // The indices count in the natural output, which a given shape extends.
        let shape = TensorShape(values.shape[..<2] + natural)
        let count = try shape.elementCount("MaxUnpool")
        let flat = try Tensor.zeros([count], dtype: values.dtype)
        let spread = try flat.scatteredElements(values.reshaped([-1]), at: indices.reshaped([-1])).reshaped(shape)
        guard let wanted = try x.optionalInts(2), wanted.count == shape.rank else { return [spread] }
        return [try spread.padded((2..<shape.rank).map { ($0, 0, wanted[$0] - shape[$0]) })]
      }
    },
  ]
}

// MARK: Export

extension PoolGeometry {
  /// The attributes of ONNX's poolings.
  func attributes() -> [String: ExportNode.Attribute] {
    [
      "kernel_shape": .ints(kernelSize), "strides": .ints(stride), "pads": .ints(paddingLow + paddingHigh),
      "ceil_mode": .int(ceilMode ? 1 : 0),
    ]
  }
}

extension MaxPooling: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard positions != .plane, inputs[0].shape.rank == geometry.rank + 2 else {
      throw unexportable("positions in a plane, or no batch axis")
    }
    var attributes = geometry.attributes()
    attributes["dilations"] = .ints(geometry.dilation)
    guard case .tensor(let columnMajor) = positions else { return [ExportNode("MaxPool", [.input(0)], attributes)] }
    attributes["storage_order"] = .int(columnMajor ? 1 : 0)
    return [ExportNode("MaxPool", [.input(0)], attributes, results: [0, 1])]
  }
}

extension AveragePooling: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    // Dilation came with opset 19.
    guard divisor == nil, inputs[0].shape.rank == geometry.rank + 2, geometry.dilation.allSatisfy({ $0 == 1 }) else {
      throw unexportable("a divisor, dilation, or no batch axis")
    }
    var attributes = geometry.attributes()
    attributes["count_include_pad"] = .int(countsPadding ? 1 : 0)
    return [ExportNode("AveragePool", [.input(0)], attributes)]
  }
}

extension AdaptivePooling: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
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
