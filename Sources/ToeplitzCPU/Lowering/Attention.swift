import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Scaled dot-product attention (Vaswani et al., 2017): `softmax(scale · Q Kᵀ + masks) V`, some rows of Q at a time, so that their
/// scores never leave the cache.
///
/// Operands are Q `[…, L, D]`, Kᵀ `[…, D, S]`, V `[…, S, E]`, and tensors that broadcast to the scores `[…, L, S]` and are added. The bits are those of
/// the operations one after the other.
struct FusedAttention: TensorOperation, CPUKernel {
  /// What scores are multiplied by, if anything.
  var scale: Double?
  var name: String { "Attention" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs.count >= 3, .argument, expected: "at least 3 tensors", got: "\(inputs.count)")
    let scores = try MatrixMultiply().infer([inputs[0], inputs[1]])[0]
    for mask in inputs[3...] {
      try require(
        try TensorShape.broadcast(scores.shape, mask.shape, operation: name) == scores.shape,
        expected: "masks that broadcast to \(scores.shape)", got: "\(mask.shape)")
    }
    return try MatrixMultiply().infer([scores, inputs[2]])
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: .float32, operation: name)
    guard result.count > 0 else { return [result] }
    let axes = result.rank - 2
    let batch = Array(result.shape.dimensions[..<axes])
    func wide(_ tensor: Tensor, _ rows: Int, _ columns: Int) -> Tensor {
      let shape = TensorShape(batch + [rows, columns])
      return tensor.view(shape: shape, strides: tensor.broadcastStrides(to: shape), offset: tensor.offset)
    }
    let (rows, depth) = (inputs[0].shape[inputs[0].rank - 2], inputs[0].shape[inputs[0].rank - 1])
    let (keys, width) = (inputs[1].shape[inputs[1].rank - 1], result.shape[axes + 1])
    let (q, k, v) = (wide(inputs[0], rows, depth), wide(inputs[1], depth, keys), wide(inputs[2], keys, width))
    let masks = inputs[3...].map { wide($0, rows, keys) }
    let products = tz_products_kernels(InstructionSet.current.code)
    let elements = tz_elementwise_kernels(InstructionSet.current.code)
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    let panel = PackedMatrix.width
    let (keyPanels, valuePanels) = ((keys + panel - 1) / panel, (width + panel - 1) / panel)
    let height = Int(tz_products_rows(products))
    let count = batch.reduce(1, *)
    let pool = ThreadPool.shared
    // Each item packs keys and values once.
    let splits = max(1, min(rows / (4 * height), (4 * pool.threadCount + count - 1) / count))
    let room = keyPanels * panel * depth + valuePanels * panel * keys + height * keyPanels * panel
    let scale = scale.map { Float($0) }
    let to = result.pointer(Float.self)
    pool.run(count * splits) { item, _ in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: room) { memory in
        guard let packedKeys = memory.baseAddress else { return }
        let packedValues = packedKeys + keyPanels * panel * depth
        let scores = packedValues + valuePanels * panel * keys
        let (index, split) = (item / splits, item % splits)
        func start(_ tensor: Tensor) -> UnsafeMutablePointer<Float> {
          var (rest, offset) = (index, 0)
          for axis in (0..<axes).reversed() {
            offset += rest % batch[axis] * tensor.strides[axis]
            rest /= batch[axis]
          }
          return tensor.pointer(Float.self) + offset
        }
        let (query, key, value) = (start(q), start(k), start(v))
        let (keyStrides, valueStrides) = (Array(k.strides[axes...]), Array(v.strides[axes...]))
        for at in 0..<keyPanels {
          PackedMatrix.pack(
            key + at * panel * keyStrides[1], keyStrides, packedKeys + at * panel * depth, depth,
            min(panel, keys - at * panel))
        }
        for at in 0..<valuePanels {
          PackedMatrix.pack(
            value + at * panel * valueStrides[1], valueStrides, packedValues + at * panel * keys, keys,
            min(panel, width - at * panel))
        }
        let (first, end) = (rows * split / splits, rows * (split + 1) / splits)
        let blocks = (end - first + height - 1) / height
        for block in 0..<blocks {
          let row = first + (end - first) * block / blocks
          let own = first + (end - first) * (block + 1) / blocks - row
          var one = tz_product()
          one.a = UnsafePointer(query + row * q.strides[axes])
          (one.a_row, one.a_step) = (q.strides[axes], q.strides[axes + 1])
          (one.rows, one.steps, one.c_row, one.b_step) = (own, depth, keys, panel)
          for at in 0..<keyPanels {
            one.b = UnsafePointer(packedKeys + at * panel * depth)
            one.c = scores + at * panel
            one.columns = Int32(min(panel, keys - at * panel))
            tz_product_panel(products, &one)
          }
          if var scale {
            tz_pairs_one(elements, TZ_MULTIPLY, scores, &scale, scores, own * keys)
          }
          for mask in masks {
            let (rowStride, step) = (mask.strides[axes], mask.strides[axes + 1])
            for at in 0..<own {
              let (line, other) = (scores + at * keys, start(mask) + (row + at) * rowStride)
              if step == 1 {
                tz_pairs_run(elements, TZ_ADD, line, other, line, keys)
              } else {
                for j in 0..<keys { line[j] += other[j * step] }
              }
            }
          }
          for at in 0..<own { table.softmax(scores + at * keys, scores + at * keys, keys, false) }
          (one.a, one.a_row, one.a_step) = (UnsafePointer(scores), keys, 1)
          (one.steps, one.c_row) = (keys, width)
          for at in 0..<valuePanels {
            one.b = UnsafePointer(packedValues + at * panel * keys)
            one.c = to + (index * rows + row) * width + at * panel
            one.columns = Int32(min(panel, width - at * panel))
            tz_product_panel(products, &one)
          }
        }
      }
    }
    withExtendedLifetime((inputs, result)) {}
    return [result]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension FusedAttention: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    let output = try infer(inputs)[0].shape
    let (depth, keys) = (inputs[0].shape[inputs[0].shape.rank - 1], inputs[1].shape[inputs[1].shape.rank - 1])
    return output.dropLast().reduce(1, *) * keys * (depth + output[output.rank - 1])
  }
}

/// Finds attention as exporters write it: two matrix products around a softmax over keys, with a factor and masks between.
enum Attentions {
  /// Scores of some rows must fit the second-level cache.
  private static let mostKeys = 1 << 13

  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is MatrixMultiply,
        let at = rewriter.soleMaker(node.inputs[0]), let softmax = rewriter.nodes[at],
        let operation = softmax.operation as? AxisSoftmax, !operation.isLogarithmic
      else { continue }
      let scores = rewriter.graph.specs[softmax.inputs[0]].shape
      guard operation.axis == -1 || operation.axis == scores.rank - 1 else { continue }
      var members = [at]
      var value = softmax.inputs[0]
      var masks: [Int] = []
      var scale: Double?
      while scale == nil, let maker = rewriter.soleMaker(value), let inner = rewriter.nodes[maker],
        let function = inner.arithmetic
      {
        if let place = inner.inputs.firstIndex(where: { rewriter.graph.number($0) != nil }),
          let number = rewriter.graph.number(inner.inputs[place]),
          function == .multiply || function == .divide && place == 1
        {
          // Only a power of two divides as its inverse multiplies.
          guard function == .multiply || number.significandWidth == 0 else { break }
          (scale, value) = (function == .multiply ? number : 1 / number, inner.inputs[1 - place])
        } else if function == .add,
          let scored = inner.inputs.firstIndex(where: {
            rewriter.graph.specs[$0].shape == scores && reaches($0, rewriter)
          })
        {
          masks.insert(inner.inputs[1 - scored], at: 0)
          value = inner.inputs[scored]
        } else {
          break
        }
        members.append(maker)
      }
      guard let maker = rewriter.soleMaker(value), let product = rewriter.nodes[maker],
        product.operation is MatrixMultiply
      else { continue }
      let operands = product.inputs + [node.inputs[1]] + masks
      let specs = operands.map { rewriter.graph.specs[$0] }
      let attention = FusedAttention(scale: scale)
      guard specs.allSatisfy({ $0.dtype == .float32 }), specs[..<3].allSatisfy({ $0.shape.rank >= 2 }),
        (1...mostKeys).contains(scores[scores.rank - 1]), let output = try? attention.infer(specs),
        output[0] == rewriter.graph.specs[node.outputs[0]],
        output[0].shape.rank == scores.rank, Array(output[0].shape.dropLast(2)) == Array(scores.dropLast(2))
      else { continue }
      members.append(maker)
      let names = members.reversed().compactMap { rewriter.nodes[$0]?.operation.name } + [node.operation.name]
      for member in members { rewriter.replace(member, by: nil) }
      rewriter.replace(
        index,
        by: Graph.Node(attention, inputs: operands, outputs: node.outputs, path: node.path, fused: names))
    }
    return rewriter.finished
  }

  /// Whether a value is a product, or one with a factor and masks.
  private static func reaches(_ value: Int, _ rewriter: GraphRewriter) -> Bool {
    var value = value
    for _ in 0..<4 {
      guard let maker = rewriter.soleMaker(value), let node = rewriter.nodes[maker] else { return false }
      if node.operation is MatrixMultiply { return true }
      guard node.arithmetic != nil, let next = node.inputs.first(where: { rewriter.soleMaker($0) != nil }) else {
        return false
      }
      value = next
    }
    return false
  }
}
