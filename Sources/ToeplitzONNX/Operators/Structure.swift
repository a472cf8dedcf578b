import ToeplitzOps
import ToeplitzTensor

extension OperatorNode {
  /// Whole numbers that older opsets give as an attribute and newer ones as an operand.
  func numbers(_ attribute: String, operand index: Int) throws -> @Sendable (Operands) throws -> [Int]? {
    let fixed = try ints(attribute)
    return { try fixed ?? $0.optionalInts(index) }
  }
}

extension OperatorTable {
  static let structure: [String: OperatorMaker] = [
    "Concat": { node in
      let axis = try node.int("axis", 1)
      return { [try Tensor.concatenate($0.all(), axis: axis)] }
    },
    "Split": { node in
      let axis = try node.int("axis", 0)
      let sizes = try node.numbers("split", operand: 1)
      let results = node.resultCount
      return { x in
        let input = try x(0)
        let at = try input.shape.normalizedAxis(axis, operation: "Split")
        let length = input.shape[at]
        // The last part takes what is left where the parts cannot be equal.
        let part = length / max(results, 1) + (length % max(results, 1) == 0 ? 0 : 1)
        var left = length
        let equal = (0..<results).map { _ -> Int in
          defer { left -= min(part, left) }
          return min(part, left)
        }
        let parts = try sizes(x) ?? equal
        // What is left after all parts; −1 once a part is impossible.
        let rest = parts.reduce(length) { $1 >= 0 && $1 <= $0 ? $0 - $1 : -1 }
        guard parts.count == results, rest == 0 else {
          throw x.refuse("\(results) parts that together are \(length)", got: "\(parts)")
        }
        var start = 0
        return try parts.map { size in
          defer { start += size }
          return try input.slice(axis: at, start..<(start + size))
        }
      }
    },
    "Reshape": { node in
      let sizes = try node.numbers("shape", operand: 1)
      let keepsZero = try node.flag("allowzero")
      return { x in
        let input = try x(0)
        guard var shape = try sizes(x) else { throw x.refuse("a shape", got: "none") }
        if !keepsZero {
          for axis in shape.indices where shape[axis] == 0 && axis < input.rank { shape[axis] = input.shape[axis] }
        }
        return [try input.reshaped(TensorShape(shape))]
      }
    },
    "Flatten": { node in
      let axis = try node.int("axis", 1)
      return { x in
        let input = try x(0)
        let at = axis < 0 ? axis + input.rank : axis
        guard (0...input.rank).contains(at) else { throw x.refuse("an axis in 0...\(input.rank)", got: "\(axis)") }
        return [try input.reshaped([input.shape[..<at].reduce(1, *), input.shape[at...].reduce(1, *)])]
      }
    },
    "Transpose": { node in
      let order = try node.ints("perm")
      return { x in
        let input = try x(0)
        return [try input.permuted(order ?? Array((0..<input.rank).reversed()))]
      }
    },
    "Squeeze": { node in
      let axes = try node.numbers("axes", operand: 1)
      return { x in
        let input = try x(0)
        let gone =
          try axes(x)?.map { try input.shape.normalizedAxis($0, operation: "Squeeze") }
          ?? input.shape.indices.filter { input.shape[$0] == 1 }
        if let wrong = gone.first(where: { input.shape[$0] != 1 }) {
          throw x.refuse(.shape, "size 1 on axis \(wrong)", got: "shape \(input.shape)")
        }
        return [
          try input.reshaped(TensorShape(input.shape.indices.filter { !gone.contains($0) }.map { input.shape[$0] }))
        ]
      }
    },
    "Unsqueeze": { node in
      let axes = try node.numbers("axes", operand: 1)
      return { x in
        let input = try x(0)
        guard let given = try axes(x) else { throw x.refuse("axes", got: "none") }
        let rank = input.rank + given.count
        let added = given.map { $0 < 0 ? $0 + rank : $0 }
        guard added.allSatisfy({ (0..<rank).contains($0) }), Set(added).count == added.count else {
          throw x.refuse("different axes in \(-rank)..<\(rank)", got: "\(given)")
        }
        var rest = input.shape.makeIterator()
        return [try input.reshaped(TensorShape((0..<rank).map { added.contains($0) ? 1 : rest.next() ?? 1 }))]
      }
    },
    "Expand": { node in
      { x in
        let input = try x(0)
        let shape = try TensorShape.broadcast(input.shape, TensorShape(x.ints(1)), operation: "Expand")
        return [try input.expanded(to: shape)]
      }
    },
    "Tile": { node in
      { x in
        let input = try x(0)
        var repeats = try x.ints(1)
        // Opset 1 named one axis.
        if repeats.count == 1, let axis = try x.optionalInts(2)?.first, input.rank > 0 {
          let at = try input.shape.normalizedAxis(axis, operation: "Tile")
          repeats = input.shape.indices.map { $0 == at ? repeats[0] : 1 }
        }
        guard repeats.count == input.rank else { throw x.refuse("\(input.rank) repeats", got: "\(repeats)") }
        return [try input.tiled(repeats)]
      }
    },
    "Pad": { node in
      let mode = try node.string("mode", "constant")
      guard let paddingMode = padModes[mode] else {
        throw node.refuse("mode \(padModes.keys.sorted().joined(separator: ", "))", got: mode)
      }
      let pads = try node.numbers(node.opset < 2 ? "paddings" : "pads", operand: 1)
      let value = try node.float("value", 0)
      return { x in
        guard let pads = try pads(x) else { throw x.refuse("pads", got: "none") }
        let input = try x(0)
        let axes =
          try x.optionalInts(3)?.map { try input.shape.normalizedAxis($0, operation: "Pad") }
          ?? Array(0..<input.rank)
        guard pads.count == 2 * axes.count, Set(axes).count == axes.count else {
          throw x.refuse("\(2 * axes.count) pads", got: "\(pads.count)")
        }
        // Sums of larger ones could overflow.
        let legal = -Int(Int32.max)...Int(Int32.max)
        if let wrong = pads.first(where: { !legal.contains($0) }) {
          throw x.refuse("pads of at most \(Int32.max)", got: "\(wrong)")
        }
        let entries = axes.enumerated().map { (axis: $1, low: pads[$0], high: pads[$0 + axes.count]) }
          .filter { $0.low != 0 || $0.high != 0 }
        return [try input.extended(entries, paddingMode, value: x.optional(2), otherwise: value)]
      }
    },
    "DepthToSpace": { node in
      guard let block = try node.int("blocksize") else { throw node.refuse("a blocksize", got: "none") }
      let mode = try node.string("mode", "DCR")
      guard mode == "DCR" || mode == "CRD" else { throw node.refuse("mode DCR or CRD", got: mode) }
      return { x in
        let input = try x(0)
        guard input.rank == 4, input.shape.allSatisfy({ $0 < 1 << 31 }), (1...(1 << 20)).contains(block),
          input.shape[1] % (block * block) == 0
        else {
          throw x.refuse(.shape, "[N, C, H, W] with C a multiple of \(block)²", got: "shape \(input.shape)")
        }
        let (n, c, h, w) = (input.shape[0], input.shape[1] / (block * block), input.shape[2], input.shape[3])
        let parts =
          try mode == "DCR"
          ? input.reshaped([n, block, block, c, h, w]).permuted([0, 3, 4, 1, 5, 2])
          : input.reshaped([n, c, block, block, h, w]).permuted([0, 1, 4, 2, 5, 3])
        return [try parts.reshaped([n, c, h * block, w * block])]
      }
    },
    "SpaceToDepth": { node in
      guard let block = try node.int("blocksize") else { throw node.refuse("a blocksize", got: "none") }
      let mode = try node.string("mode", "DCR")
      guard mode == "DCR" || mode == "CRD" else { throw node.refuse("mode DCR or CRD", got: mode) }
      return { x in
        let input = try x(0)
        guard input.rank == 4, input.shape.allSatisfy({ $0 < 1 << 31 }), (1...(1 << 20)).contains(block),
          input.shape[2] % block == 0, input.shape[3] % block == 0
        else {
          throw x.refuse(.shape, "[N, C, H, W] with H and W multiples of \(block)", got: "shape \(input.shape)")
        }
        let (n, c, h, w) = (input.shape[0], input.shape[1], input.shape[2] / block, input.shape[3] / block)
        let parts = try input.reshaped([n, c, h, block, w, block])
        let order = mode == "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]
        return [try parts.permuted(order).reshaped([n, c * block * block, h, w])]
      }
    },
    "CenterCropPad": { node in
      let axes = try node.ints("axes")
      return { x in
        var input = try x(0)
        let sizes = try x.ints(1)
        let at =
          try axes?.map { try input.shape.normalizedAxis($0, operation: "CenterCropPad") } ?? Array(0..<input.rank)
        guard at.count == sizes.count, sizes.allSatisfy({ $0 >= 0 }) else {
          throw x.refuse("\(at.count) sizes of at least 0", got: "\(sizes)")
        }
        for (axis, size) in zip(at, sizes) {
          let change = size - input.shape[axis]
          if change < 0 {
            let start = -change / 2
            input = try input.slice(axis: axis, start..<(start + size))
          } else {
            input = try input.padded([(axis, change / 2, change - change / 2)])
          }
        }
        return [input]
      }
    },
  ]

  private static let padModes: [String: PaddingMode] = [
    "constant": .zeros, "reflect": .reflect, "edge": .replicate, "wrap": .circular,
  ]
}

extension Tensor {
  /// Axes extended, or cropped by negative numbers; new positions hold `fill` if it is there, else `value`.
  fileprivate func extended(
    _ pads: [(axis: Int, low: Int, high: Int)], _ mode: PaddingMode, value fill: Tensor?, otherwise value: Double
  ) throws -> Tensor {
    // Mirrors and circles longer than the axis are made of several steps.
    guard mode == .zeros else { return try pads.reduce(self) { try $0.mirrored($1, mode) } }
    guard let fill else { return try padded(pads, mode: mode, value: value) }
    if dtype.isFloatingPoint, fill.count == 1, let number = try? fill.number("Pad") {
      return try padded(pads, mode: mode, value: number)
    }
    // The value as it is, in any element type.
    return try pads.reduce(self) { whole, pad in
      let x =
        pad.low < 0 || pad.high < 0
        ? try whole.padded([(pad.axis, Swift.min(pad.low, 0), Swift.min(pad.high, 0))]) : whole
      func block(_ size: Int) throws -> Tensor {
        var shape = x.shape
        shape[pad.axis] = size
        return try fill.reshaped([]).expanded(to: shape)
      }
      let parts = (pad.low > 0 ? [try block(pad.low)] : []) + [x] + (pad.high > 0 ? [try block(pad.high)] : [])
      return parts.count > 1 ? try Tensor.concatenate(parts, axis: pad.axis) : x
    }
  }

  private func mirrored(_ pad: (axis: Int, low: Int, high: Int), _ mode: PaddingMode) throws -> Tensor {
    let size = shape[pad.axis]
    let most = mode == .reflect ? size - 1 : mode == .circular ? size : Int.max
    guard most > 0 || (pad.low <= 0 && pad.high <= 0) else {
      throw ToeplitzError(.shape, "Pad", expected: "more positions to mirror or repeat", got: "shape \(shape)")
    }
    if pad.low <= most, pad.high <= most { return try padded([pad], mode: mode) }
    // A mirror goes there and back; its ends stand once.
    let period = mode == .reflect ? 2 * (size - 1) : size
    var result = shape
    result[pad.axis] = Swift.max(0, size + pad.low + pad.high)
    let count = try result.elementCount("Pad")
    guard Swift.max(count, 2 * result[pad.axis]) <= Platform.memoryLimit / 8 else {
      throw ToeplitzError(.memory, "Pad", expected: Platform.memoryBound, got: "shape \(result)")
    }
    let places = (0..<result[pad.axis]).map { index -> Int64 in
      let at = ((index - pad.low) % period + period) % period
      return Int64(at < size ? at : period - at)
    }
    return try gathered(Tensor(places, shape: nil, device: .cpu), axis: pad.axis)
  }
}

// MARK: Export

extension StopGradient: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Identity", [.input(0)])]
  }
}

extension Recomputed: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Identity", [.input(0)])]
  }
}

extension Reshape: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Reshape", [.input(0), try numbers(outputs[0].shape.dimensions)], ["allowzero": .int(1)])]
  }
}

extension Permute: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let axes = try order.map { try inputs[0].shape.normalizedAxis($0, operation: name) }
    return [ExportNode("Transpose", [.input(0)], ["perm": .ints(axes)])]
  }
}

extension Slice: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let operands = try [[range.lowerBound], [range.upperBound], [axis], [step]].map(numbers)
    return [ExportNode("Slice", [.input(0)] + operands)]
  }
}

extension Unfold: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let rank = inputs[0].shape.rank
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    let count = outputs[0].shape[axis]
    let places = (0..<count).flatMap { piece in (0..<size).map { Int64(piece * step + $0) } }
    let indices = ExportNode.Operand.constant(try Tensor(places, shape: [count, size], device: .cpu))
    guard low > 0 || high > 0 else { return [ExportNode("Gather", [.input(0), indices], ["axis": .int(axis)])] }
    var pads = Array(repeating: 0, count: 2 * rank)
    (pads[axis], pads[axis + rank]) = (low, high)
    return [
      ExportNode("Pad", [.input(0), try numbers(pads)]),
      ExportNode("Gather", [.node(0), indices], ["axis": .int(axis)]),
    ]
  }
}

extension Flip: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let count = axes.count
    let ends = Array(repeating: -Int(Int32.max), count: count)
    let operands = try [Array(repeating: -1, count: count), ends, axes, Array(repeating: -1, count: count)].map(numbers)
    return [ExportNode("Slice", [.input(0)] + operands)]
  }
}

extension Expand: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Expand", [.input(0), try numbers(outputs[0].shape.dimensions)])]
  }
}

extension Concatenate: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Concat", inputs.indices.map { .input($0) }, ["axis": .int(axis)])]
  }
}

extension PadAxis: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let rank = inputs[0].shape.rank
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    var pads = Array(repeating: 0, count: 2 * rank)
    (pads[axis], pads[axis + rank]) = (low, high)
    if mode == .circular {
      var chain = NodeChain(.input(0))
      try chain.wrap(axis: axis, size: inputs[0].shape[axis], low: low, high: high)
      return chain.nodes.isEmpty ? [ExportNode("Identity", [.input(0)])] : chain.nodes
    }
    let modes: [PaddingMode: String] = [.zeros: "constant", .reflect: "reflect", .replicate: "edge"]
    guard let text = modes[mode] else { throw unexportable("padding \(mode)") }
    let fill: [ExportNode.Operand] = mode == .zeros ? [try number(value, inputs[0].dtype)] : []
    return [ExportNode("Pad", [.input(0), try numbers(pads)] + fill, ["mode": .string(text)])]
  }
}

extension CumulativeSum: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard outputs[0].dtype == inputs[0].dtype else { throw unexportable("a sum of another type than its terms") }
    let place = ExportNode.Operand.constant(try Tensor(scalar: Int64(axis)))
    guard carries else { return [ExportNode("CumSum", [.input(0), place])] }
    // What is carried in is the first term.
    let wide = inputs[1].dtype
    let length = inputs[0].shape[axis < 0 ? axis + inputs[0].shape.rank : axis]
    func part(_ range: Range<Int>, result: Int?) throws -> ExportNode {
      let bounds = try [[range.lowerBound], [range.upperBound], [axis]].map(numbers)
      return ExportNode("Slice", [.node(2)] + bounds, result: result)
    }
    return [
      ExportNode("Cast", [.input(0)], ["to": .string(wide.rawValue)]),
      ExportNode("Concat", [.input(1), .node(0)], ["axis": .int(axis)]), ExportNode("CumSum", [.node(1), place]),
      try part(1..<(length + 1), result: nil), try part(length..<(length + 1), result: 1),
      ExportNode("Cast", [.node(3)], ["to": .string(outputs[0].dtype.rawValue)], result: 0),
    ]
  }
}
