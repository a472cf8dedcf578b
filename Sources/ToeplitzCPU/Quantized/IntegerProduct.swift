import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Rows of bytes, less a zero point, times a constant int8 matrix: exact int32 sums, as ONNX's MatMulInteger gives them.
///
/// Operands are x `[…, K]`, uint8 or int8, its zero point (one int32), and the weight `[N, K]`.
struct IntegerProduct: TensorOperation, CPUKernel {
  var geometry: ConvolutionGeometry
  var name: String { "IntegerProduct" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    try require(
      inputs[0].shape.last == geometry.inChannels, expected: "rows of \(geometry.inChannels)",
      got: "shape \(inputs[0].shape)")
    return [TensorSpec(Shape(inputs[0].shape.dropLast() + [geometry.outChannels]), .int32)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: .int32, operation: name)
    guard result.count > 0 else { return [result] }
    let table = tz_int8_kernels(InstructionSet.current.code).pointee
    let packed = try PackedInt8.packed(geometry, inputs[2], hasWords: table.has_words)
    let isSigned = inputs[0].dtype == .int8
    let rows = inputs[0].count / geometry.inChannels
    // Unsigned bytes with room to read beyond the last.
    var x = try inputs[0].dense()
    if isSigned || x.isBorrowed {
      let copy = try Tensor(uninitialized: [x.count], dtype: .uint8, operation: name)
      tz_bytes_interleave(
        x.elements.assumingMemoryBound(to: UInt8.self), 1, 1, 1, x.count, isSigned ? 0x80 : 0, copy.pointer(UInt8.self))
      x = copy
    }
    let zero = try inputs[1].reshaped([]).item(Int32.self) &+ (isSigned ? 128 : 0)
    let bias = (0..<packed.padded).map { $0 < packed.sums.count ? 0 &- zero &* packed.sums[$0] : 0 }
    let (offsets, scale) = ([Int32(0)], [Float](repeating: 0, count: packed.padded))
    var t = tz_int8_convolution()
    t.x = UnsafePointer(x.elements.assumingMemoryBound(to: UInt8.self))
    (t.x_row, t.x_pixel, t.width) = (0, geometry.inChannels, rows)
    (t.steps, t.quads, t.panel) = (1, Int32(packed.quads), packed.panel)
    t.w = UnsafeRawPointer(packed.storage.base)
    (t.y_row, t.y_pixel, t.channels) = (0, geometry.outChannels, geometry.outChannels)
    // Offsets count from here; nothing is stored as bytes.
    (t.sums, t.y) = (result.pointer(Int32.self), result.elements.assumingMemoryBound(to: UInt8.self))
    let pool = ThreadPool.shared
    let work = rows * packed.padded * packed.quads
    let items = work < 1 << 14 ? 1 : min(packed.panels, 8 * pool.threadCount)
    offsets.withUnsafeBufferPointer { offsets in
      bias.withUnsafeBufferPointer { bias in
        scale.withUnsafeBufferPointer { scale in
          (t.offsets, t.bias, t.scale) = (offsets.baseAddress, bias.baseAddress, scale.baseAddress)
          let template = t
          pool.run(items) { item, _ in
            var t = template
            let (first, end) = (packed.panels * item / items, packed.panels * (item + 1) / items)
            table.rows(&t, 0, 1, first, end - first)
          }
        }
      }
    }
    withExtendedLifetime((x, result)) {}
    return [result]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension IntegerProduct: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    inputs[0].shape.reduce(1, *) * geometry.outChannels
  }
}

/// Finds products of bytes, widened to int32 and less a zero point, with constant matrices of small numbers.
enum IntegerProducts {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is MatrixMultiply,
        rewriter.graph.specs[node.outputs[0]].dtype == .int32, let matrix = rewriter.constant(node.inputs[1]),
        matrix.rank == 2, matrix.count > 0, rewriter.graph.specs[node.inputs[0]].shape.rank >= 2,
        let left = bytes(node.inputs[0], &rewriter), let weight = int8(matrix, folded),
        let geometry = try? ConvolutionGeometry(
          rank: 1, inChannels: matrix.shape[0], outChannels: matrix.shape[1], kernelSize: 1)
      else { continue }
      let operation = IntegerProduct(geometry: geometry)
      let inputs = [left.x, left.zero, rewriter.graph.constant(weight)]
      guard let spec = try? operation.infer(inputs.map { rewriter.graph.specs[$0] }),
        spec[0] == rewriter.graph.specs[node.outputs[0]]
      else { continue }
      rewriter.replace(
        index,
        by: Graph.Node(
          operation, inputs: inputs, outputs: node.outputs, path: node.path, fused: ["subtract"] + node.history))
    }
    return rewriter.finished
  }

  /// The bytes and the zero point that an int32 value is made of.
  private static func bytes(_ value: Int, _ rewriter: inout GraphRewriter) -> (x: Int, zero: Int)? {
    func widened(_ value: Int) -> Int? {
      guard let at = rewriter.maker(value), let node = rewriter.nodes[at], node.inputs.count == 1,
        [.uint8, .int8].contains(rewriter.graph.specs[node.inputs[0]].dtype), node.operation.name == "cast"
      else { return nil }
      return node.inputs[0]
    }
    if let x = widened(value), let zero = try? Tensor(scalar: Int32(0)) { return (x, rewriter.graph.constant(zero)) }
    guard let at = rewriter.maker(value), let node = rewriter.nodes[at], node.arithmetic == .subtract,
      let x = widened(node.inputs[0]), rewriter.graph.specs[node.inputs[1]].shape.reduce(1, *) == 1
    else { return nil }
    return (x, node.inputs[1])
  }

  /// A matrix `[K, N]` as int8 `[N, K]`, if its numbers are so small.
  private static func int8(_ matrix: Tensor, _ folded: FoldedConstants) -> Tensor? {
    guard let numbers = try? matrix.scalars(Int32.self), numbers.allSatisfy({ (-128...127).contains($0) }) else {
      return nil
    }
    // Kept with the matrix, so that it is packed once for all signatures.
    return folded.result(Cast(dtype: .int8), matrix).flatMap { folded.result(Permute(order: [1, 0]), $0) }
  }
}
