import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Finds convolutions and products of bytes, widened to int32 and less a zero point, with constant weights of small numbers.
///
/// ONNX's ConvInteger, MatMulInteger, QLinearConv and QLinearMatMul are made of these. Where the sums are multiplied by constant
/// factors and quantised, that is done with them.
enum IntegerSums {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    guard graph.nodes.contains(where: { graph.specs[$0.outputs[0]].dtype == .int32 }) else { return graph }
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is Quantize else { continue }
      joinQuantization(index, node, &rewriter)
    }
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], rewriter.graph.specs[node.outputs[0]].dtype == .int32,
        let sums = Sums(node, &rewriter), let one = number(1, &rewriter)
      else { continue }
      let zero = rewriter.graph.constant(sums.weightZero)
      var operation = sums.operation
      operation.givesSums = true
      replace(
        index, node, operation, sums.operands(scales: one, outputScale: one, outputZero: zero, &rewriter), &rewriter)
    }
    return rewriter.finished
  }

  /// `clamp(round(float(sums) · factor) + zero)`, as QLinearConv and QLinearMatMul are spelt.
  private static func joinQuantization(_ index: Int, _ quantizer: Graph.Node, _ rewriter: inout GraphRewriter) {
    guard number(quantizer.inputs[1], rewriter) == 1, rewriter.constant(quantizer.inputs[2])?.count == 1,
      let at = rewriter.soleMaker(quantizer.inputs[0]), let product = rewriter.nodes[at],
      product.arithmetic == .multiply,
      let side = product.inputs.firstIndex(where: { rewriter.constant($0) != nil }), product.inputs.count == 2,
      let factor = rewriter.constant(product.inputs[side]), factor.dtype == .float32,
      let castAt = rewriter.soleMaker(product.inputs[1 - side]), let cast = rewriter.nodes[castAt],
      cast.operation.name == "cast", rewriter.graph.specs[cast.inputs[0]].dtype == .int32
    else { return }
    var removed = [at, castAt]
    var value = cast.inputs[0]
    // The bias of a matrix product.
    var bias: Tensor?
    if let sumAt = rewriter.soleMaker(value), let sum = rewriter.nodes[sumAt], sum.arithmetic == .add,
      let given = sum.inputs.first(where: { rewriter.constant($0) != nil }),
      let other = sum.inputs.first(where: { $0 != given })
    {
      bias = rewriter.constant(given)
      removed.append(sumAt)
      value = other
    }
    guard let nodeAt = rewriter.soleMaker(value), let node = rewriter.nodes[nodeAt], var sums = Sums(node, &rewriter),
      let one = number(1, &rewriter)
    else { return }
    let shape = rewriter.graph.specs[node.outputs[0]].shape
    let convolution = sums.operation.convolution
    let axis = convolution.isLinear ? shape.rank - 1 : shape.rank - convolution.geometry.rank - 1
    func isPerChannel(_ tensor: Tensor) -> Bool {
      let from = tensor.rank - (shape.rank - axis)
      return tensor.count == 1
        || from >= 0 && tensor.shape[from] == tensor.count && tensor.count == shape[axis]
    }
    guard isPerChannel(factor), let scales = try? factor.reshaped([factor.count]) else { return }
    if let bias {
      guard sums.bias == nil, bias.dtype == .int32, isPerChannel(bias), bias.count == shape[axis],
        let flat = try? bias.reshaped([bias.count])
      else { return }
      sums.bias = rewriter.graph.constant(flat)
    }
    let operands = sums.operands(
      scales: rewriter.graph.constant(scales), outputScale: one, outputZero: quantizer.inputs[2], &rewriter)
    guard replace(index, quantizer, sums.operation, operands, &rewriter, fused: node.history + ["quantize"]) else {
      return
    }
    for place in removed + [nodeAt] { rewriter.replace(place, by: nil) }
  }

  @discardableResult
  private static func replace(
    _ index: Int, _ node: Graph.Node, _ operation: QuantizedConvolution, _ operands: [Int],
    _ rewriter: inout GraphRewriter, fused: [String]? = nil
  ) -> Bool {
    guard let spec = try? operation.infer(operands.map { rewriter.graph.specs[$0] }),
      spec[0] == rewriter.graph.specs[node.outputs[0]]
    else { return false }
    rewriter.replace(
      index,
      by: Graph.Node(
        operation, inputs: operands, outputs: node.outputs, path: node.path, fused: fused ?? ["subtract"] + node.history
      ))
    return true
  }

  /// The one number of a constant.
  private static func number(_ value: Int, _ rewriter: GraphRewriter) -> Float? {
    guard let tensor = rewriter.constant(value), tensor.count == 1, tensor.dtype == .float32 else { return nil }
    return try? tensor.reshaped([]).item(Float.self)
  }

  private static func number(_ value: Float, _ rewriter: inout GraphRewriter) -> Int? {
    (try? Tensor(scalar: value)).map { rewriter.graph.constant($0) }
  }
}

/// A convolution or product of bytes with int32 sums.
private struct Sums {
  var operation: QuantizedConvolution
  /// The bytes and their zero point.
  var x: (codes: Int, zero: Int)
  var weight: Int
  /// Zero, as int8.
  var weightZero: Tensor
  /// int32.
  var bias: Int?

  init?(_ node: Graph.Node, _ rewriter: inout GraphRewriter) {
    guard node.inputs.count >= 2, let matrix = rewriter.constant(node.inputs[1]), matrix.dtype == .int32,
      matrix.count > 0, let zero = try? Tensor(scalar: Int8(0))
    else { return nil }
    weightZero = zero
    if let parts = ConvolutionNode(node) {
      guard QuantizedConvolution.supports(parts.operation), parts.factors == nil, parts.residuals.isEmpty,
        parts.bias.map({ rewriter.constant($0)?.dtype == .int32 }) ?? true,
        let small = Self.int8(matrix, rewriter.folded)
      else { return nil }
      (operation, bias, weight) = (
        QuantizedConvolution(convolution: parts.operation), parts.bias, rewriter.graph.constant(small)
      )
    } else {
      guard rewriter.multipliesByConstant(node),
        let linear = QuantizedConvolution(linearFrom: matrix.shape[0], to: matrix.shape[1]),
        let small = Self.int8(matrix, rewriter.folded), let turned = rewriter.folded.transposed(small)
      else { return nil }
      (operation, weight) = (linear, rewriter.graph.constant(turned))
    }
    guard let bytes = Self.bytes(node.inputs[0], &rewriter) else { return nil }
    x = bytes
  }

  /// The operands of a ``QuantizedConvolution`` whose input counts in steps of 1.
  func operands(scales: Int, outputScale: Int, outputZero: Int, _ rewriter: inout GraphRewriter) -> [Int] {
    [x.codes, outputScale, x.zero, weight, scales, rewriter.graph.constant(weightZero), outputScale, outputZero]
      + [bias].compactMap { $0 }
  }

  /// The bytes and the zero point that an int32 value is made of.
  private static func bytes(_ value: Int, _ rewriter: inout GraphRewriter) -> (codes: Int, zero: Int)? {
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

  /// int32 numbers as int8, if they are so small.
  private static func int8(_ numbers: Tensor, _ folded: FoldedConstants) -> Tensor? {
    guard let all = try? numbers.scalars(Int32.self), all.allSatisfy({ (-128...127).contains($0) }) else { return nil }
    // Kept with the numbers, so that they are packed once for all signatures.
    return folded.result(Cast(dtype: .int8), numbers)
  }
}
