import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Joins two nearest-neighbour resamplings, of rows and of columns, which otherwise write the half-made image to memory.
enum NearestPlanes {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    guard graph.nodes.contains(where: { $0.operation is Resample }) else { return graph }
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let second = rewriter.nodes[index], second.operation is Resample,
        let at = rewriter.soleMaker(second.inputs[0]), let first = rewriter.nodes[at], let a = axis(first, rewriter),
        let b = axis(second, rewriter), a.axis != b.axis
      else { continue }
      let (rows, columns) = a.axis < b.axis ? (a, b) : (b, a)
      let rank = rewriter.graph.specs[second.outputs[0]].shape.rank
      guard rows.axis == rank - 2, columns.axis == rank - 1 else { continue }
      let operation = NearestPlane(rows: rows.places, columns: columns.places)
      rewriter.replace(at, by: nil)
      rewriter.replace(
        index,
        by: Graph.Node(
          operation, inputs: first.inputs, outputs: second.outputs, path: second.path,
          fused: first.history + second.history))
    }
    return rewriter.finished
  }

  /// The axis of a resampling that moves elements of four bytes as they are, and the position that each result takes.
  private static func axis(_ node: Graph.Node, _ rewriter: GraphRewriter) -> (axis: Int, places: [Int32])? {
    guard let operation = node.operation as? Resample else { return nil }
    let spec = rewriter.graph.specs[node.inputs[0]]
    guard spec.dtype.byteSize == 4, let axis = try? spec.shape.normalizedAxis(operation.axis, operation: "resize"),
      let places = operation.rule.nearestPositions(length: spec.shape[axis])
    else { return nil }
    return (axis, places.map { Int32($0) })
  }
}

/// Planes `[…, H, W]` whose result `(i, j)` is element `(rows[i], columns[j])`.
struct NearestPlane: TensorOperation, CPUKernel {
  var rows: [Int32]
  var columns: [Int32]
  var name: String { "Upsample" }
  var flushesSubnormals: Bool { false }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return [TensorSpec(TensorShape(inputs[0].shape.dropLast(2) + [rows.count, columns.count]), inputs[0].dtype)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    let y = try Tensor(uninitialized: outputs[0].shape, dtype: x.dtype, operation: name)
    guard y.count > 0 else { return [y] }
    let (height, width) = (x.shape[x.rank - 2], x.shape[x.rank - 1])
    let (from, to) = (x.elements.assumingMemoryBound(to: Float.self), y.elements.assumingMemoryBound(to: Float.self))
    let take = tz_windows_kernels(InstructionSet.current.code).pointee.take
    let (tall, wide) = (rows.count, columns.count)
    let planes = y.count / (tall * wide)
    rows.withUnsafeBufferPointer { rows in
      columns.withUnsafeBufferPointer { columns in
        let (rowBase, columnBase) = (rows, columns.baseAddress)
        ThreadPool.shared.runRows(planes * tall, width: wide) { range in
          for item in range {
            let (plane, row) = (item / tall, item % tall)
            let target = to + item * wide
            // The row before, while it is in the nearest cache.
            if item > range.lowerBound, row > 0, rowBase[row] == rowBase[row - 1] {
              target.update(from: target - wide, count: wide)
            } else {
              take?(from + (plane * height + Int(rowBase[row])) * width, target, columnBase, 1, width, wide, 1)
            }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return [y]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}
