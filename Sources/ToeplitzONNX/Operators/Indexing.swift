import ToeplitzOps
import ToeplitzTensor

extension OperatorNode {
  fileprivate func reduction() throws -> ScatterReduction {
    let name = try string("reduction", "none")
    guard let reduction = ScatterReduction(rawValue: name) else {
      throw refuse("reduction none, add, mul, max or min", got: name)
    }
    return reduction
  }
}

extension OperatorTable {
  static let indexing: [String: OperatorMaker] = [
    "Slice": { node in
      let starts = try node.numbers("starts", operand: 1)
      let ends = try node.numbers("ends", operand: 2)
      let axes = try node.numbers("axes", operand: 3)
      return { x in
        var result = try x(0)
        guard let starts = try starts(x), let ends = try ends(x), starts.count == ends.count else {
          throw x.refuse("as many starts as ends", got: "others")
        }
        let axes = try axes(x) ?? Array(starts.indices)
        let steps = try x.optionalInts(4) ?? Array(repeating: 1, count: starts.count)
        guard axes.count == starts.count, steps.count == starts.count else {
          throw x.refuse("\(starts.count) axes and steps", got: "\(axes.count) and \(steps.count)")
        }
        for index in starts.indices {
          result = try result.sliced(axes[index], starts[index], ends[index], steps[index])
        }
        return [result]
      }
    },
    "Gather": { node in
      let axis = try node.int("axis", 0)
      return { x in
        let (data, indices) = (try x(0), try x(1))
        // One known index is a view.
        if !indices.isTraced, indices.count == 1, indices.rank <= 1, data.rank > 0, indices.dtype.isInteger {
          let at = try data.shape.normalizedAxis(axis, operation: "Gather")
          let given = try indices.reshaped([]).cast(to: .int64).item(Int64.self)
          let index = given < 0 ? given + Int64(data.shape[at]) : given
          if (0..<Int64(data.shape[at])).contains(index) {
            return [
              indices.rank == 0
                ? try data.select(axis: at, Int(index)) : try data.slice(axis: at, Int(index)..<Int(index) + 1)
            ]
          }
        }
        return [try data.gathered(indices, axis: axis)]
      }
    },
    "GatherElements": { node in
      let axis = try node.int("axis", 0)
      return { [try $0(0).gatheredElements($0(1), axis: axis)] }
    },
    "GatherND": { node in
      let batch = try node.int("batch_dims", 0)
      return { [try $0(0).gatheredND($0(1), batch: batch)] }
    },
    "ScatterElements": scatterElements,
    "Scatter": scatterElements,
    "ScatterND": { node in
      let reduction = try node.reduction()
      return { [try $0(0).scatteredND($0(2), at: $0(1), reduction: reduction)] }
    },
    "TopK": { node in
      let axis = try node.int("axis", -1)
      let fixed = try node.int("k")
      let largest = try node.flag("largest", true)
      return { x in
        guard let count = try fixed ?? x.optionalInts(1)?.first else { throw x.refuse("a k", got: "none") }
        let top = try x(0).topK(count, axis: axis, largest: largest)
        return [top.values, top.indices]
      }
    },
    "CumSum": { node in
      let (exclusive, reverse) = (try node.flag("exclusive"), try node.flag("reverse"))
      return { x in
        guard let axis = try x.ints(1).first else { throw x.refuse("an axis", got: "none") }
        return [try x(0).accumulated(axis: axis, exclusive: exclusive, reverse: reverse)]
      }
    },
    "CumProd": { node in
      let (exclusive, reverse) = (try node.flag("exclusive"), try node.flag("reverse"))
      return { x in
        guard let axis = try x.ints(1).first else { throw x.refuse("an axis", got: "none") }
        return [try x(0).accumulated(axis: axis, product: true, exclusive: exclusive, reverse: reverse)]
      }
    },
    "Compress": { node in
      let axis = try node.int("axis")
      return { x in
        let input = try axis == nil ? x(0).reshaped([-1]) : x(0)
        let at = try input.shape.normalizedAxis(axis ?? 0, operation: "Compress")
        let flags = try x(1).cast(to: .bool).scalars(Bool.self)
        guard flags.count <= input.shape[at] else {
          throw x.refuse(.shape, "at most \(input.shape[at]) conditions", got: "\(flags.count)")
        }
        let kept = flags.indices.filter { flags[$0] }.map { Int64($0) }
        return [try input.gathered(Tensor(kept, shape: nil, device: .cpu), axis: at)]
      }
    },
    "ReverseSequence": { node in
      let (batchAxis, timeAxis) = (try node.int("batch_axis", 1), try node.int("time_axis", 0))
      return { x in
        let input = try x(0)
        let batch = try input.shape.normalizedAxis(batchAxis, operation: "ReverseSequence")
        let time = try input.shape.normalizedAxis(timeAxis, operation: "ReverseSequence")
        let lengths = try x.ints(1)
        guard lengths.count == input.shape[batch], batch != time else {
          throw x.refuse("\(input.shape[batch]) lengths", got: "\(lengths.count)")
        }
        let rows = try lengths.enumerated().map { index, length in
          let row = try input.slice(axis: batch, index..<(index + 1))
          guard (0...input.shape[time]).contains(length) else {
            throw x.refuse("lengths in 0...\(input.shape[time])", got: "\(length)")
          }
          let head = try row.slice(axis: time, 0..<length).flipped([time])
          return try Tensor.concatenate([head, row.slice(axis: time, length..<input.shape[time])], axis: time)
        }
        return [rows.isEmpty ? input : try Tensor.concatenate(rows, axis: batch)]
      }
    },
  ]

  private static let scatterElements: OperatorMaker = { node in
    let axis = try node.int("axis", 0)
    let reduction = try node.reduction()
    return { [try $0(0).scatteredElements($0(2), at: $0(1), axis: axis, reduction: reduction)] }
  }
}

extension Tensor {
  /// A slice by NumPy's rules: negative positions count from the end, and what lies outside is cut off.
  func sliced(_ axis: Int, _ start: Int, _ end: Int, _ step: Int) throws -> Tensor {
    let at = try shape.normalizedAxis(axis, operation: "Slice")
    let size = shape[at]
    guard step != 0, step != .min else {
      throw ToeplitzError(.argument, "Slice", expected: "a step other than 0", got: "\(step)")
    }
    func place(_ position: Int, _ low: Int, _ high: Int) -> Int {
      let (moved, overflow) = position.addingReportingOverflow(size)
      return Swift.min(Swift.max(position < 0 ? (overflow ? low : moved) : position, low), high)
    }
    if step > 0 {
      let first = place(start, 0, size)
      return try slice(axis: at, first..<Swift.max(first, place(end, 0, size)), step: step)
    }
    let (first, last) = (place(start, -1, size - 1), place(end, -1, size - 1))
    guard first > last else { return try slice(axis: at, 0..<0) }
    // Backwards from `first` down to the one after `last` is forwards in the reversed axis.
    return try flipped([at]).slice(axis: at, (size - 1 - first)..<(size - 1 - last), step: -step)
  }
}

// MARK: Export

extension EmbeddingLookup: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("Gather", [.input(1), .input(0)])]
  }
}

extension Gather: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    switch kind {
    case .slices(let axis): return [ExportNode("Gather", [.input(0), .input(1)], ["axis": .int(axis)])]
    case .elements(let axis): return [ExportNode("GatherElements", [.input(0), .input(1)], ["axis": .int(axis)])]
    case .rows(let batch): return [ExportNode("GatherND", [.input(0), .input(1)], ["batch_dims": .int(batch)])]
    }
  }
}

extension Scatter: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let how: [String: ExportNode.Attribute] = ["reduction": .string(reduction.rawValue)]
    let operands: [ExportNode.Operand] = [.input(0), .input(1), .input(2)]
    switch kind {
    case .elements(let axis):
      return [ExportNode("ScatterElements", operands, how.merging(["axis": .int(axis)]) { first, _ in first })]
    case .rows: return [ExportNode("ScatterND", operands, how)]
    }
  }
}

extension TopElements: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [
      ExportNode(
        "TopK", [.input(0), try numbers([count])], ["axis": .int(axis), "largest": .int(largest ? 1 : 0)],
        results: [0, 1])
    ]
  }
}
