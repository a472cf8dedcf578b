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
    let items = AttentionItems(inputs, result, scale: scale)
    ThreadPool.shared.run(items.count) { item, _ in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: items.room) { memory in
        if let scratch = memory.baseAddress { items.compute(item, scratch) }
      }
    }
    withExtendedLifetime((inputs, result)) {}
    return [result]
  }

  func bound(_ call: BoundCall) throws -> BoundComputation? {
    let (operands, result) = (call.operands, call.results[0])
    guard result.isContiguous, result.count > 0 else { return nil }
    let items = AttentionItems(operands, result, scale: scale)
    let (pool, memory) = (ThreadPool.shared, call.memory)
    try memory.reserveScratch(pool.threadCount * items.room * MemoryLayout<Float>.stride, operation: name)
    let compute: (Int, Int) -> Void = { item, thread in
      guard let scratch = memory.scratchBase else { return }
      items.compute(item, scratch.assumingMemoryBound(to: Float.self) + thread * items.room)
      withExtendedLifetime((operands, result)) {}
    }
    return { pool.run(items.count, compute) }
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

/// Items of work of an attention, each of which packs keys and values once and computes some queries.
private struct AttentionItems {
  /// How many items there are, and floats that each wants as scratch memory.
  let count: Int
  let room: Int
  private let q: Operand
  private let k: Operand
  private let v: Operand
  private let masks: [Operand]
  private let batch: [Int]
  private let rows: Int
  private let depth: Int
  private let keys: Int
  private let width: Int
  private let splits: Int
  private let scale: Float?
  private let to: UnsafeMutablePointer<Float>
  private let products: UnsafePointer<tz_products_table>?
  private let elements: UnsafePointer<tz_elementwise_table>?
  private let table: tz_rows_table

  /// A tensor with the batch axes of the result.
  private struct Operand {
    let base: UnsafeMutablePointer<Float>
    let strides: [Int]
    /// Of the last two axes.
    let matrix: [Int]

    init(_ tensor: Tensor, _ shape: TensorShape) {
      strides = tensor.broadcastStrides(to: shape)
      matrix = Array(strides.suffix(2))
      base = tensor.pointer(Float.self)
    }

    /// Where a matrix begins.
    func start(_ index: Int, _ batch: [Int]) -> UnsafeMutablePointer<Float> {
      var (rest, offset) = (index, 0)
      for axis in batch.indices.reversed() {
        offset += rest % batch[axis] * strides[axis]
        rest /= batch[axis]
      }
      return base + offset
    }
  }

  /// - Parameter result: contiguous.
  init(_ inputs: [Tensor], _ result: Tensor, scale: Double?) {
    let axes = result.rank - 2
    let batch = Array(result.shape.dimensions[..<axes])
    (rows, depth) = (inputs[0].shape[inputs[0].rank - 2], inputs[0].shape[inputs[0].rank - 1])
    (keys, width) = (inputs[1].shape[inputs[1].rank - 1], result.shape[axes + 1])
    let (rows, depth, keys, width) = (rows, depth, keys, width)
    q = Operand(inputs[0], TensorShape(batch + [rows, depth]))
    k = Operand(inputs[1], TensorShape(batch + [depth, keys]))
    v = Operand(inputs[2], TensorShape(batch + [keys, width]))
    masks = inputs[3...].map { Operand($0, TensorShape(batch + [rows, keys])) }
    products = tz_products_kernels(InstructionSet.current.code)
    elements = tz_elementwise_kernels(InstructionSet.current.code)
    table = tz_rows_kernels(InstructionSet.current.code).pointee
    let panel = PackedMatrix.width
    let height = Int(tz_products_rows(products))
    let matrices = batch.reduce(1, *)
    splits = max(1, min(rows / (4 * height), (4 * ThreadPool.shared.threadCount + matrices - 1) / matrices))
    count = matrices * splits
    let (keyPanels, valuePanels) = ((keys + panel - 1) / panel, (width + panel - 1) / panel)
    room = keyPanels * panel * depth + valuePanels * panel * keys + height * keyPanels * panel
    (self.batch, self.scale, to) = (batch, scale.map { Float($0) }, result.pointer(Float.self))
  }

  /// Computes an item with scratch memory.
  func compute(_ item: Int, _ packedKeys: UnsafeMutablePointer<Float>) {
    let (panel, height) = (PackedMatrix.width, Int(tz_products_rows(products)))
    let (keyPanels, valuePanels) = ((keys + panel - 1) / panel, (width + panel - 1) / panel)
    let packedValues = packedKeys + keyPanels * panel * depth
    let scores = packedValues + valuePanels * panel * keys
    let (index, split) = (item / splits, item % splits)
    let (query, key, value) = (q.start(index, batch), k.start(index, batch), v.start(index, batch))
    for at in 0..<keyPanels {
      PackedMatrix.pack(
        key + at * panel * k.matrix[1], k.matrix, packedKeys + at * panel * depth, depth, min(panel, keys - at * panel))
    }
    for at in 0..<valuePanels {
      PackedMatrix.pack(
        value + at * panel * v.matrix[1], v.matrix, packedValues + at * panel * keys, keys,
        min(panel, width - at * panel))
    }
    let (first, end) = (rows * split / splits, rows * (split + 1) / splits)
    let blocks = (end - first + height - 1) / height
    for block in 0..<blocks {
      let row = first + (end - first) * block / blocks
      let own = first + (end - first) * (block + 1) / blocks - row
      var one = tz_product()
      one.a = UnsafePointer(query + row * q.matrix[0])
      (one.a_row, one.a_step) = (q.matrix[0], q.matrix[1])
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
        let start = mask.start(index, batch)
        for at in 0..<own {
          let (line, other) = (scores + at * keys, start + (row + at) * mask.matrix[0])
          if mask.matrix[1] == 1 {
            tz_pairs_run(elements, TZ_ADD, line, other, line, keys)
          } else {
            for j in 0..<keys { line[j] += other[j * mask.matrix[1]] }
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
