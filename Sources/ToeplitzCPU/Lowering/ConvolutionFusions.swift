import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A node of a convolution with its operands by what they are for.
struct ConvolutionNode {
  var operation: FusedConvolution
  var x: Int
  var weight: Int
  var bias: Int?
  var factors: Int?
  var residuals: [Int]

  /// The convolution of a node, if it is one.
  init?(_ node: Graph.Node?) {
    guard let node,
      let operation = node.operation as? FusedConvolution
        ?? (node.operation as? ConvolutionOperation).map({ FusedConvolution($0) })
    else { return nil }
    let operands = operation.operands(node.inputs)
    self.operation = operation
    (x, weight, bias, factors) = (operands.x, operands.weight, operands.bias, operands.factors)
    residuals = Array(operands.residuals)
  }

  /// The operands in order.
  var inputs: [Int] { [x, weight] + [bias, factors].compactMap { $0 } + residuals }

  /// The operation for these operands.
  var completed: FusedConvolution {
    var operation = operation
    operation.hasWeightFactors = factors != nil
    operation.residualCount = residuals.count
    return operation
  }

  /// Whether nothing comes after the sums, but maybe residuals.
  var endsPlainly: Bool {
    operation.epilogue == Epilogue(inputSlope: operation.epilogue.inputSlope)
  }

  /// As one of several stages that are computed together.
  var stage: ConvolutionStage { ConvolutionStage(completed, hasBias: bias != nil) }

  /// Weight, bias and factors.
  var weights: [Int] { [weight] + [bias, factors].compactMap { $0 } }
}

/// Fuses into convolutions what stands before and after them.
///
/// A convolution can pad and rectify its input, add a bias and two residuals, scale and rectify or activate again while
/// its data is in registers; a normalisation with constant statistics disappears in weight and bias.
struct ConvolutionFusions {
  private var rewriter: GraphRewriter
  /// Whether results must have the bits of the operations one after the other.
  private var isExact = false

  /// The graph after fusion.
  static func applied(to graph: Graph, _ folded: FoldedConstants) -> Graph {
    var pass = Self(rewriter: GraphRewriter(graph, folded))
    pass.foldConstants()
    pass.fuse()
    return pass.rewriter.finished
  }

  /// The same to the bits of the operations one after the other.
  static func exact(_ graph: Graph, _ folded: FoldedConstants) -> Graph {
    var pass = Self(rewriter: GraphRewriter(graph, folded), isExact: true)
    pass.fuse()
    return pass.rewriter.finished
  }

  /// The graph whose convolutions have constants after them as part of weights and biases, and nothing else fused.
  static func folded(_ graph: Graph, _ folded: FoldedConstants) -> Graph {
    var pass = Self(rewriter: GraphRewriter(graph, folded))
    pass.foldConstants()
    pass.scaleWeights()
    return pass.rewriter.finished
  }

  private mutating func foldConstants() {
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index] else { continue }
      switch node.operation {
      case let normalization as NormalizeChannels: foldNormalization(index, node, normalization)
      case let binary as Binary: foldArithmetic(index, node, binary)
      default: break
      }
    }
  }

  /// Makes convolutions into which nothing but constants was fused plain ones again.
  private mutating func scaleWeights() {
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index], let fused = node.operation as? FusedConvolution,
        let parts = ConvolutionNode(node)
      else { continue }
      var weight = parts.weight
      if let factors = rewriter.constant(parts.factors), let constant = rewriter.constant(weight),
        let scaled = rewriter.folded.result(ScaledWeight(geometry: fused.geometry), constant, factors)
      {
        weight = rewriter.graph.constant(scaled)
      }
      let inputs = [parts.x, weight] + [parts.bias].compactMap { $0 }
      rewriter.replace(
        index,
        by: Graph.Node(
          fused.convolution, inputs: inputs, outputs: node.outputs, path: node.path, fused: node.fused))
    }
  }

  private mutating func fuse() {
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index] else { continue }
      switch node.operation {
      case let binary as Binary: fuseArithmetic(index, node, binary)
      default: if let activation = Activation(node.operation) { fuseActivation(index, node, activation) }
      }
    }
    for index in rewriter.nodes.indices.reversed() {
      guard let node = rewriter.nodes[index] else { continue }
      if let pad = node.operation as? PadAxis { foldPad(index, node, pad) }
    }
    for index in rewriter.nodes.indices {
      guard let node = rewriter.nodes[index] else { continue }
      if case .leakyReLU(let slope)? = Activation(node.operation) { fusePreactivation(index, node, slope) }
    }
  }

  /// The convolution of floating-point numbers that makes a value for one user only.
  private func convolution(_ value: Int) -> (index: Int, node: Graph.Node, parts: ConvolutionNode)? {
    guard let index = rewriter.soleMaker(value), let node = rewriter.nodes[index], let parts = ConvolutionNode(node),
      rewriter.graph.specs[value].dtype.isFloatingPoint
    else { return nil }
    return (index, node, parts)
  }

  /// Puts a convolution into which more is fused in the place of `index`.
  private mutating func move(
    _ source: (index: Int, node: Graph.Node, parts: ConvolutionNode), to index: Int, _ user: Graph.Node,
    _ change: (inout ConvolutionNode) -> Void
  ) {
    var parts = source.parts
    change(&parts)
    let node = Graph.Node(
      parts.completed, inputs: parts.inputs, outputs: user.outputs, path: source.node.path,
      fused: source.node.fused + [user.operation.name])
    rewriter.replace(source.index, by: nil)
    rewriter.replace(index, by: node)
  }

  // MARK: Constants

  private mutating func foldNormalization(_ index: Int, _ node: Graph.Node, _ normalization: NormalizeChannels) {
    let kind = FoldedChannels.Kind.normalization(
      eps: normalization.eps, hasWeight: normalization.hasWeight, hasBias: normalization.hasBias)
    // Of rows that a linear map has made, be it of another shape.
    if let at = rewriter.soleMaker(node.inputs[0]), let reshape = rewriter.nodes[at], reshape.operation is Reshape,
      let source = convolution(reshape.inputs[0]), source.parts.operation.convolution.isLinear,
      rewriter.graph.specs[node.inputs[0]].shape.rank == 2, rewriter.graph.specs[node.inputs[1]].shape.rank == 1,
      rewriter.graph.specs[node.inputs[0]].shape[1] == source.parts.operation.geometry.outChannels,
      rewriter.graph.specs[reshape.inputs[0]].shape.last == source.parts.operation.geometry.outChannels
    {
      var user = node
      user.outputs = source.node.outputs
      if fold(kind, Array(node.inputs.dropFirst()), source, to: source.index, user) {
        var moved = reshape
        moved.outputs = node.outputs
        rewriter.replace(at, by: nil)
        rewriter.replace(index, by: moved)
      }
      return
    }
    guard let source = convolution(node.inputs[0]), source.parts.operation.layout == .channelsFirst,
      rewriter.graph.specs[node.inputs[1]].shape.rank == 1,
      rewriter.graph.specs[node.inputs[0]].shape.rank == source.parts.operation.geometry.rank + 2
    else { return }
    fold(kind, Array(node.inputs.dropFirst()), source, to: index, node)
  }

  /// Multiplies and shifts the channels of a convolution's output by constants; false if that is not possible.
  @discardableResult
  private mutating func fold(
    _ kind: FoldedChannels.Kind, _ constants: [Int],
    _ source: (index: Int, node: Graph.Node, parts: ConvolutionNode), to index: Int, _ user: Graph.Node
  ) -> Bool {
    let parts = source.parts
    let dtype = rewriter.graph.specs[parts.weight].dtype
    let operands = (constants + [parts.bias, parts.factors].compactMap { $0 }).compactMap { rewriter.constant($0) }
    guard parts.endsPlainly, parts.residuals.isEmpty, let weight = rewriter.constant(parts.weight),
      operands.count == constants.count + (parts.bias == nil ? 0 : 1) + (parts.factors == nil ? 0 : 1)
    else { return false }
    let operation = FoldedChannels(
      kind: kind, channels: parts.operation.geometry.outChannels, dtype: dtype, hasBias: parts.bias != nil,
      hasFactors: parts.factors != nil)
    guard let specs = try? operation.infer(operands.map(\.spec)),
      let results = rewriter.folded.results(operation, operands, specs)
    else { return false }
    var factors: Int? = parts.factors
    var weightValue = parts.weight
    if kind != .add {
      if dtype == .float32 {
        // Multiplied when the weight is packed, so that nothing is kept in memory but what is packed.
        factors = rewriter.graph.constant(results[0])
      } else {
        let geometry = parts.operation.geometry
        guard
          let scaled = rewriter.folded.result(
            ScaledWeight(geometry: geometry), weight, results[0])
        else { return false }
        weightValue = rewriter.graph.constant(scaled)
      }
    }
    let bias = rewriter.graph.constant(results[1])
    move(source, to: index, user) { ($0.weight, $0.bias, $0.factors) = (weightValue, bias, factors) }
    return true
  }

  // MARK: After

  private mutating func fuseActivation(_ index: Int, _ node: Graph.Node, _ activation: Activation) {
    guard let source = convolution(node.inputs[0]), source.parts.operation.epilogue.outputSlope == 1,
      source.parts.operation.epilogue.activation == nil
    else { return }
    if case .leakyReLU(let slope) = activation, !(0...1).contains(slope) { return }
    move(source, to: index, node) { parts in
      if case .leakyReLU(let slope) = activation {
        parts.operation.epilogue.outputSlope = slope
      } else {
        parts.operation.epilogue.activation = activation
      }
    }
  }

  /// A convolution that a constant is added to, or multiplied or divided by.
  private func changed(
    _ node: Graph.Node, _ binary: Binary
  ) -> (source: (index: Int, node: Graph.Node, parts: ConvolutionNode), constant: Int, kind: FoldedChannels.Kind)? {
    let kinds: [Binary.Function: FoldedChannels.Kind] = [.add: .add, .multiply: .multiply, .divide: .divide]
    guard let kind = kinds[binary.function], let at = node.inputs.firstIndex(where: { rewriter.constant($0) != nil }),
      let source = convolution(node.inputs[1 - at]), source.parts.endsPlainly, kind != .divide || at == 1,
      rewriter.graph.specs[node.outputs[0]] == rewriter.graph.specs[node.inputs[1 - at]]
    else { return nil }
    return (source, node.inputs[at], kind)
  }

  private mutating func fuseArithmetic(_ index: Int, _ node: Graph.Node, _ binary: Binary) {
    if let found = changed(node, binary) {
      return fuseConstant(found.constant, found.source, index, node, found.kind)
    }
    guard binary.function == .add, node.inputs[0] != node.inputs[1],
      node.inputs.allSatisfy({ rewriter.constant($0) == nil })
    else { return }
    // Of two convolutions the later one takes the other's result.
    let sources = node.inputs.compactMap { convolution($0) }
      .filter { $0.parts.endsPlainly && $0.parts.residuals.count < 2 }
    guard let source = sources.max(by: { $0.index < $1.index }),
      let other = node.inputs.first(where: { $0 != source.node.outputs[0] }),
      node.inputs.allSatisfy({ rewriter.graph.specs[$0] == rewriter.graph.specs[node.outputs[0]] })
    else { return }
    move(source, to: index, node) { $0.residuals.append(other) }
  }

  private mutating func foldArithmetic(_ index: Int, _ node: Graph.Node, _ binary: Binary) {
    guard let (source, value, kind) = changed(node, binary) else { return }
    let output = rewriter.graph.specs[node.outputs[0]].shape
    let spec = rewriter.graph.specs[value]
    let count = spec.shape.reduce(1, *)
    // The channels of a constant must stand where the output's are.
    let axis = source.parts.operation.convolution.channelAxis(output.rank) - (output.rank - spec.shape.rank)
    let channels = source.parts.operation.geometry.outChannels
    guard count == 1 || count == channels && axis >= 0 && spec.shape[axis] == channels else { return }
    fold(kind, [value], source, to: index, node)
  }

  private mutating func fuseConstant(
    _ value: Int, _ source: (index: Int, node: Graph.Node, parts: ConvolutionNode), _ index: Int, _ user: Graph.Node,
    _ kind: FoldedChannels.Kind
  ) {
    let spec = rewriter.graph.specs[value]
    if kind == .add, spec == rewriter.graph.specs[user.outputs[0]], source.parts.residuals.count < 2 {
      return move(source, to: index, user) { $0.residuals.append(value) }
    }
    guard kind != .add, let number = rewriter.graph.number(value), number != 0 || kind == .multiply else { return }
    // Only a power of two divides as its inverse multiplies.
    guard !isExact || kind == .multiply || number.significandWidth == 0 else { return }
    move(source, to: index, user) { $0.operation.epilogue.outputScale = kind == .divide ? 1 / number : number }
  }

  // MARK: Before

  /// The convolutions that are a value's only users, as their first operand.
  private func users(_ value: Int) -> [(Int, Graph.Node, ConvolutionNode)]? {
    guard rewriter.isHidden(value) else { return nil }
    let indices = rewriter.userIndices(value)
    guard !indices.isEmpty, Set(indices).count == indices.count else { return nil }
    var found: [(Int, Graph.Node, ConvolutionNode)] = []
    for index in indices {
      guard let node = rewriter.nodes[index], let parts = ConvolutionNode(node), parts.x == value else { return nil }
      found.append((index, node, parts))
    }
    return found
  }

  private mutating func fusePreactivation(_ index: Int, _ node: Graph.Node, _ slope: Double) {
    guard (0...1).contains(slope), rewriter.graph.specs[node.inputs[0]].dtype.isFloatingPoint,
      let users = users(node.outputs[0]), users.allSatisfy({ $0.2.operation.epilogue.inputSlope == 1 })
    else { return }
    for (at, user, parts) in users {
      var parts = parts
      parts.operation.epilogue.inputSlope = slope
      parts.x = node.inputs[0]
      rewriter.replace(
        at,
        by: Graph.Node(
          parts.completed, inputs: parts.inputs, outputs: user.outputs, path: user.path,
          fused: [node.operation.name] + user.fused))
    }
    rewriter.replace(index, by: nil)
  }

  private mutating func foldPad(_ index: Int, _ node: Graph.Node, _ pad: PadAxis) {
    guard let users = users(node.outputs[0]), users.count == 1, let (at, user, parts) = users.first,
      parts.operation.epilogue.inputSlope == 1, parts.operation.layout == .channelsFirst
    else { return }
    let geometry = parts.operation.geometry
    let rank = rewriter.graph.specs[parts.x].shape.rank
    let first = rank - geometry.rank
    let axis = (pad.axis < 0 ? pad.axis + rank : pad.axis) - first
    guard !geometry.isTransposed, axis >= 0, pad.low >= 0, pad.high >= 0 else { return }
    let isUnpadded = (geometry.paddingLow + geometry.paddingHigh).allSatisfy { $0 == 0 }
    let hasOwn = geometry.paddingLow[axis] != 0 || geometry.paddingHigh[axis] != 0
    if pad.mode == .zeros {
      guard pad.value == 0, geometry.paddingMode == .zeros || isUnpadded else { return }
    } else {
      guard isUnpadded || geometry.paddingMode == pad.mode && !hasOwn else { return }
    }
    guard
      let joined = try? geometry.padded(
        axis: axis, geometry.paddingLow[axis] + pad.low, geometry.paddingHigh[axis] + pad.high, mode: pad.mode)
    else { return }
    var changed = parts
    changed.operation.geometry = joined
    changed.x = node.inputs[0]
    let operation = changed.completed
    // Mirrors longer than the axis, say, are refused.
    guard let output = try? operation.infer(changed.inputs.map { rewriter.graph.specs[$0] }),
      output[0] == rewriter.graph.specs[user.outputs[0]]
    else { return }
    rewriter.replace(
      at,
      by: Graph.Node(
        operation, inputs: changed.inputs, outputs: user.outputs, path: user.path, fused: ["Pad"] + user.fused))
    rewriter.replace(index, by: nil)
  }
}
