import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Lets networks that are quantised operator by operator (QuantizeLinear and DequantizeLinear around each) compute with whole
/// numbers: values stay codes through what only moves or compares them, and convolutions and linear maps between codes become
/// ``QuantizedConvolution``.
enum QuantizedNetworks {
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    guard graph.nodes.contains(where: { $0.operation is Dequantize || $0.operation is Quantize }) else { return graph }
    var graph = movingCodes(graph)
    graph = joiningConvolutions(graph, folded)
    graph = joiningFunctions(graph, folded)
    graph = repeatingConversions(graph)
    // What is left is computed with numbers.
    graph.removeDeadNodes()
    graph.foldConstants(folded, keepsCodes: false)
    graph.removeDeadNodes()
    return graph
  }

  // MARK: Codes through what moves them

  /// Quantises the operands of operations that commute with it, instead of their result.
  private static func movingCodes(_ graph: Graph) -> Graph {
    var result = graph
    result.nodes = []
    var users = [Int](repeating: 0, count: graph.specs.count)
    var quantizers: [Int: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for input in node.inputs { users[input] += 1 }
      if node.operation is Quantize { quantizers[node.inputs[0]] = index }
    }
    for output in graph.outputs { users[output.value] += 1 }
    // Codes that were made by dequantisation, by their numbers.
    var codes: [Int: Graph.Node] = [:]
    var same: [Int: Int] = [:]
    var done: Set<Int> = []
    for (index, original) in graph.nodes.enumerated() where !done.contains(index) {
      var node = original
      node.inputs = node.inputs.map { same[$0] ?? $0 }
      if node.operation is Dequantize { codes[node.outputs[0]] = node }
      if node.operation is Quantize, let source = codes[node.inputs[0]], areEqual(source, node, graph) {
        same[node.outputs[0]] = source.inputs[0]
        continue
      }
      guard commutes(node.operation), node.outputs.count == 1, users[node.outputs[0]] == 1,
        let at = quantizers[node.outputs[0]], node.inputs.allSatisfy({ codes[$0] != nil }),
        graph.nodes[at].inputs[1...].allSatisfy({ graph.constants[$0]?.count == 1 })
      else {
        result.nodes.append(node)
        continue
      }
      let quantizer = graph.nodes[at]
      let operands = node.inputs.map { input -> Int in
        if let source = codes[input], areEqual(source, quantizer, graph) { return source.inputs[0] }
        let value = result.value(TensorSpec(graph.specs[input].shape, graph.specs[quantizer.outputs[0]].dtype))
        result.nodes.append(
          Graph.Node(
            quantizer.operation, inputs: [input] + quantizer.inputs[1...], outputs: [value], path: quantizer.path))
        return value
      }
      result.nodes.append(
        Graph.Node(node.operation, inputs: operands, outputs: quantizer.outputs, path: node.path, fused: node.fused))
      done.insert(at)
    }
    for index in result.outputs.indices {
      result.outputs[index].value = same[result.outputs[index].value] ?? result.outputs[index].value
    }
    return result
  }

  /// Whether an operation of quantised operands is the quantised result.
  private static func commutes(_ operation: any TensorOperation) -> Bool {
    switch operation {
    case let pooling as MaxPooling: pooling.positions == nil
    case is Concatenate: true
    default: operation.isView
    }
  }

  /// Whether two nodes dequantise and quantise by the same numbers.
  private static func areEqual(_ a: Graph.Node, _ b: Graph.Node, _ graph: Graph) -> Bool {
    let (zero, other) = (graph.specs[a.inputs[2]], graph.specs[b.inputs[2]])
    guard zero.dtype == other.dtype, graph.specs[a.inputs[0]].dtype == zero.dtype else { return false }
    if a.inputs[1...] == b.inputs[1...] { return graph.constants[a.inputs[1]].map { $0.count == 1 } ?? false }
    guard let scale = graph.number(a.inputs[1]), scale == graph.number(b.inputs[1]),
      let one = graph.constants[a.inputs[2]], let two = graph.constants[b.inputs[2]], one.count == 1, two.count == 1
    else { return false }
    return (try? one.cast(to: .int32).scalars(Int32.self)) == (try? two.cast(to: .int32).scalars(Int32.self))
  }

  /// Gives each user of numbers that were codes a conversion of its own, which is computed together with it.
  private static func repeatingConversions(_ graph: Graph) -> Graph {
    var result = graph
    result.nodes = []
    var sources: [Int: Graph.Node] = [:]
    var used: Set<Int> = []
    for node in graph.nodes {
      var node = node
      if node.operation is Dequantize, graph.constants[node.inputs[0]] == nil { sources[node.outputs[0]] = node }
      for (at, input) in node.inputs.enumerated() {
        guard var source = sources[input] else { continue }
        guard used.contains(input) else {
          used.insert(input)
          continue
        }
        let value = result.value(graph.specs[input])
        source.outputs = [value]
        result.nodes.append(source)
        node.inputs[at] = value
      }
      result.nodes.append(node)
    }
    return result
  }

  // MARK: Convolutions

  private static func joiningConvolutions(_ graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is Quantize,
        node.inputs[1...].allSatisfy({ rewriter.constant($0)?.count == 1 })
      else { continue }
      join(index, node, &rewriter)
    }
    return rewriter.finished
  }

  private static func join(_ index: Int, _ quantizer: Graph.Node, _ rewriter: inout GraphRewriter) {
    var (value, epilogue, fused) = bounded(quantizer.inputs[0], rewriter)
    // A bias may stand behind a matrix product.
    var bias: Int?
    if let at = rewriter.soleMaker(value), let node = rewriter.nodes[at], node.arithmetic == .add,
      let other = node.inputs.first(where: { codedBias($0, rewriter) != nil }),
      let product = node.inputs.first(where: { $0 != other })
    {
      bias = other
      fused.append(at)
      value = product
    }
    guard let at = rewriter.soleMaker(value), let node = rewriter.nodes[at],
      let maps = linear(node, rewriter), let x = codes(node.inputs[0], rewriter),
      x.inputs[1...].allSatisfy({ rewriter.constant($0)?.count == 1 }),
      [.uint8, .int8].contains(rewriter.graph.specs[x.inputs[0]].dtype),
      bias == nil || node.inputs.count == 2
    else { return }
    var convolution = maps.convolution
    convolution.epilogue = epilogue
    var operands = x.inputs
    operands += [
      rewriter.graph.constant(maps.weight), rewriter.graph.constant(maps.scales), maps.zero, quantizer.inputs[1],
      quantizer.inputs[2],
    ]
    if let given = bias ?? (node.inputs.count > 2 ? node.inputs[2] : nil) {
      guard let tensor = codedBias(given, rewriter), tensor.count == convolution.geometry.outChannels,
        let flat = try? tensor.reshaped([tensor.count])
      else { return }
      operands.append(rewriter.graph.constant(flat))
    }
    let operation = QuantizedConvolution(convolution: convolution)
    guard let spec = try? operation.infer(operands.map { rewriter.graph.specs[$0] }),
      spec[0] == rewriter.graph.specs[quantizer.outputs[0]]
    else { return }
    let names = ([at] + fused.reversed()).compactMap { rewriter.nodes[$0]?.operation.name } + ["quantize"]
    let path = node.path
    for place in [at] + fused { rewriter.replace(place, by: nil) }
    rewriter.replace(
      index,
      by: Graph.Node(operation, inputs: operands, outputs: quantizer.outputs, path: path, fused: names))
  }

  /// The value that a bound is applied to, if its maker is one, with the bound as an epilogue and the node that applies it.
  private static func bounded(_ value: Int, _ rewriter: GraphRewriter) -> (value: Int, epilogue: Epilogue, nodes: [Int])
  {
    guard let at = rewriter.soleMaker(value), let node = rewriter.nodes[at],
      let activation = Activation(node.operation),
      Epilogue(activation: activation).bounds != nil
    else { return (value, Epilogue(), []) }
    return (node.inputs[0], Epilogue(activation: activation), [at])
  }

  /// The node that dequantises a value.
  private static func codes(_ value: Int, _ rewriter: GraphRewriter) -> Graph.Node? {
    guard let at = rewriter.maker(value), let node = rewriter.nodes[at], node.operation is Dequantize else {
      return nil
    }
    return node
  }

  /// A constant bias: the codes where it is dequantised, else its numbers.
  private static func codedBias(_ value: Int, _ rewriter: GraphRewriter) -> Tensor? {
    if let node = codes(value, rewriter), let tensor = rewriter.constant(node.inputs[0]), tensor.dtype == .int32 {
      return tensor
    }
    guard let tensor = rewriter.constant(value), tensor.dtype == .float32 else { return nil }
    return tensor
  }

  /// A convolution or matrix product whose right operand is constant int8 codes with one scale, or one for each output.
  private static func linear(
    _ node: Graph.Node, _ rewriter: GraphRewriter
  ) -> (convolution: FusedConvolution, weight: Tensor, scales: Tensor, zero: Int)? {
    guard node.inputs.count > 1 else { return nil }
    var order: [Int]?
    var value = node.inputs[1]
    if let at = rewriter.maker(value), let permute = rewriter.nodes[at], let operation = permute.operation as? Permute {
      (order, value) = (operation.order, permute.inputs[0])
    }
    guard let weight = codes(value, rewriter), let tensor = rewriter.constant(weight.inputs[0]), tensor.dtype == .int8,
      let scales = rewriter.constant(weight.inputs[1]), let zeros = rewriter.constant(weight.inputs[2]),
      let known = try? zeros.cast(to: .int32).scalars(Int32.self), known.allSatisfy({ $0 == 0 })
    else { return nil }
    guard let moved = order.map({ rewriter.folded.result(Permute(order: $0), tensor) }) ?? tensor,
      let spread = try? scales.broadcastTo(rank: tensor.rank),
      let wide = order.map({ rewriter.folded.result(Permute(order: $0), spread) }) ?? spread
    else { return nil }
    var convolution: FusedConvolution
    var matrix = moved
    var factors = wide
    if let parts = ConvolutionNode(node) {
      convolution = parts.operation
    } else {
      guard node.operation is MatrixMultiply, moved.rank == 2, rewriter.graph.specs[node.inputs[0]].shape.rank >= 2,
        let map = try? linearMap(from: moved.shape[0], to: moved.shape[1]),
        let turned = rewriter.folded.result(Permute(order: [1, 0]), moved),
        let other = rewriter.folded.result(Permute(order: [1, 0]), wide)
      else { return nil }
      (convolution, matrix, factors) = (FusedConvolution(map), turned, other)
    }
    guard QuantizedConvolution.supports(convolution),
      factors.count == 1 || factors.shape[0] == factors.count && factors.count == convolution.geometry.outChannels,
      let flat = try? factors.reshaped([factors.count])
    else { return nil }
    return (convolution, matrix, flat, weight.inputs[2])
  }

  // MARK: Sums, products, means

  /// Joins sums, products and means of codes with the quantisation of their results.
  private static func joiningFunctions(_ graph: Graph, _ folded: FoldedConstants) -> Graph {
    var rewriter = GraphRewriter(graph, folded)
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], node.operation is Quantize, isByWhole(node, rewriter) else { continue }
      joinFunction(index, node, &rewriter)
    }
    return rewriter.finished
  }

  /// Whether a conversion is by one scale and one zero point, which are constant, between bytes and float32.
  private static func isByWhole(_ node: Graph.Node, _ rewriter: GraphRewriter) -> Bool {
    let specs = rewriter.graph.specs
    let (codes, numbers) =
      node.operation is Quantize ? (node.outputs[0], node.inputs[0]) : (node.inputs[0], node.outputs[0])
    return node.inputs[1...].allSatisfy { rewriter.constant($0)?.count == 1 }
      && [.uint8, .int8].contains(specs[codes].dtype) && specs[numbers].dtype == .float32
      && specs[node.inputs[1]].dtype == .float32
  }

  private static func joinFunction(_ index: Int, _ quantizer: Graph.Node, _ rewriter: inout GraphRewriter) {
    let (value, epilogue, fused) = bounded(quantizer.inputs[0], rewriter)
    guard let at = rewriter.soleMaker(value), let node = rewriter.nodes[at] else { return }
    let sources = node.inputs.compactMap { codes($0, rewriter) }.filter { isByWhole($0, rewriter) }
    guard sources.count == node.inputs.count else { return }
    let operation: any TensorOperation
    switch node.operation {
    case _ where node.arithmetic == .add: operation = QuantizedArithmetic(.sum, epilogue: epilogue)
    case _ where node.arithmetic == .multiply: operation = QuantizedArithmetic(.product, epilogue: epilogue)
    case let reduction as Reduction where fused.isEmpty:
      guard let mean = QuantizedMean(reduction, of: rewriter.graph.specs[sources[0].inputs[0]].shape) else { return }
      operation = mean
    default: return
    }
    let operands = sources.map { $0.inputs[0] } + sources.flatMap { $0.inputs[1...] } + quantizer.inputs[1...]
    guard let spec = try? operation.infer(operands.map { rewriter.graph.specs[$0] }),
      spec[0] == rewriter.graph.specs[quantizer.outputs[0]]
    else { return }
    let names = ([at] + fused).compactMap { rewriter.nodes[$0]?.operation.name } + ["quantize"]
    for place in [at] + fused { rewriter.replace(place, by: nil) }
    rewriter.replace(
      index, by: Graph.Node(operation, inputs: operands, outputs: quantizer.outputs, path: node.path, fused: names))
  }
}

extension Tensor {
  /// The same numbers with axes of one element before the others.
  fileprivate func broadcastTo(rank: Int) throws -> Tensor {
    try reshaped(TensorShape(Array(repeating: 1, count: Swift.max(0, rank - self.rank)) + shape.dimensions))
  }
}
