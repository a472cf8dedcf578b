import ToeplitzOps
import ToeplitzTensor

/// Joins to convolutions what stands before and after them.
///
/// A convolution can be padded, rectify its input, add a bias and two residuals, scale and rectify again while its data
/// is in registers; a normalisation with constant statistics disappears in weight and bias.
enum ConvolutionFusions {
  static func apply(to graph: inout Graph, _ report: inout CompilationReport) {
    var pass = Pass(graph: graph, editor: GraphEditor(graph), report: report)
    pass.run()
    graph = pass.graph
    graph.nodes = pass.editor.remaining
    report = pass.report
  }
}

private struct Pass {
  var graph: Graph
  var editor: GraphEditor
  var report: CompilationReport

  mutating func run() {
    for index in editor.nodes.indices {
      guard let node = editor.nodes[index] else { continue }
      switch node.operation {
      case let normalization as BatchNormNode: foldNormalization(index, node, normalization)
      case let leaky as LeakyNode where (0...1).contains(leaky.slope):
        fuseActivation(index, node, .leakyReLU(slope: leaky.slope))
      case let other as ActivationNode: fuseActivation(index, node, other.activation)
      case is ClipNode: if let clamp = graph.clamp(node) { fuseActivation(index, node, clamp) }
      case let elementwise as ElementwiseNode: fuseArithmetic(index, node, elementwise)
      default: break
      }
    }
    for index in editor.nodes.indices {
      guard let node = editor.nodes[index] else { continue }
      if let pad = node.operation as? PadNode { foldPad(index, node, pad) }
      if let leaky = editor.nodes[index]?.operation as? LeakyNode { fusePreactivation(index, node, leaky) }
    }
  }

  private mutating func note(_ what: String) { report.counts[what, default: 0] += 1 }

  /// The convolution that makes a value for one user only.
  private func convolution(_ value: ValueID?) -> (index: Int, node: Graph.Node, operation: ConvolutionNode)? {
    guard let index = editor.soleMaker(value), let node = editor.nodes[index],
      let operation = node.operation as? ConvolutionNode
    else { return nil }
    return (index, node, operation)
  }

  /// Puts a convolution with more joined to it in the place of `index`.
  private mutating func move(
    _ from: (index: Int, node: Graph.Node, operation: ConvolutionNode), to index: Int, _ user: Graph.Node,
    _ what: String,
    _ change: (inout ConvolutionNode, inout Graph.Node) -> Void
  ) {
    var (operation, node) = (from.operation, from.node)
    change(&operation, &node)
    node.operation = operation
    node.outputs = user.outputs
    node.fused.append(user.operation.name)
    editor.replace(from.index, by: nil)
    editor.replace(index, by: node)
    note(what)
  }

  // MARK: Constants

  private mutating func foldNormalization(_ index: Int, _ node: Graph.Node, _ normalization: BatchNormNode) {
    guard node.inputs.count >= 5, node.outputs.dropFirst().allSatisfy({ $0 == nil }) || node.outputs.count == 1,
      let source = convolution(node.inputs[0]), source.operation.isPlain, source.node.inputs.count <= 3,
      let scale = graph.constant(of: node.inputs[1]), let bias = graph.constant(of: node.inputs[2]),
      let mean = graph.constant(of: node.inputs[3]), let variance = graph.constant(of: node.inputs[4])
    else { return }
    let factor =
      try? scale.cast(to: .float64)
      / (variance.cast(to: .float64) + normalization.eps).squareRoot()
    guard let factor, let shift = try? bias.cast(to: .float64) - mean.cast(to: .float64) * factor else { return }
    scaleChannels(source, to: index, node, factor, shift, "normalisations folded into convolutions")
  }

  /// Multiplies the outputs of a convolution by a factor a channel and adds a number a channel.
  private mutating func scaleChannels(
    _ source: (index: Int, node: Graph.Node, operation: ConvolutionNode), to index: Int, _ user: Graph.Node,
    _ factor: Tensor, _ shift: Tensor, _ what: String
  ) {
    guard let id = source.node.inputs[1], let weight = graph.values[id.index].stored, weight.dtype.isFloatingPoint,
      weight.rank >= 3
    else { return }
    let biasID = source.node.inputs.count > 2 ? source.node.inputs[2] : nil
    let channels = source.operation.isTransposed ? weight.shape[1] * source.operation.groups : weight.shape[0]
    guard biasID == nil || graph.constant(of: biasID) != nil, source.operation.groups > 0,
      factor.shape == [channels], shift.shape == [channels],
      let bias = try? graph.constant(of: biasID).map({ try $0.cast(to: .float64) * factor + shift }) ?? shift,
      let newBias = (try? bias.cast(to: weight.dtype)).map({ graph.constant($0) })
    else { return }
    // A weight in a file is multiplied when it is prepared, so that nothing is kept in memory but what is prepared.
    if weight.isBorrowed, weight.dtype == .float32 {
      guard let product = try? source.operation.weightFactors.map({ try $0 * factor }) ?? factor.contiguous() else {
        return
      }
      return move(source, to: index, user, what) { operation, node in
        operation.weightFactors = product
        node.inputs = [node.inputs[0], id, newBias]
      }
    }
    guard let scaled = try? Self.scaled(weight, source.operation, channels, factor: factor) else { return }
    let weightID = graph.constant(scaled)
    move(source, to: index, user, what) { _, node in node.inputs = [node.inputs[0], weightID, newBias] }
  }

  private static func scaled(
    _ weight: Tensor, _ operation: ConvolutionNode, _ channels: Int, factor: Tensor
  ) throws -> Tensor {
    let groups = operation.groups
    let ones = Array(repeating: 1, count: weight.rank - 2)
    let spread: Tensor
    if operation.isTransposed {
      // The weight is [in, out / groups, …]; the inputs of a group share its factors.
      guard weight.shape[0] % groups == 0 else {
        throw ToeplitzError(.shape, "fold", expected: "groups of channels", got: "\(weight.shape)")
      }
      let perGroup = weight.shape[0] / groups
      spread = try factor.reshaped([groups, 1, channels / groups])
        .expanded(to: [groups, perGroup, channels / groups])
        .reshaped(Shape([weight.shape[0], channels / groups] + ones))
    } else {
      spread = try factor.reshaped(Shape([channels, 1] + ones))
    }
    return try (weight.cast(to: .float64) * spread).cast(to: weight.dtype)
  }

  /// The numbers of a constant that has one element, or one for each channel of a convolution's output.
  private func perChannel(_ constant: Tensor, _ operation: ConvolutionNode, _ weight: TensorSpec) -> Tensor? {
    let channels = operation.isTransposed ? weight.shape[1] * operation.groups : weight.shape[0]
    guard constant.dtype == weight.dtype, constant.count == channels || constant.count == 1,
      constant.rank <= weight.shape.rank
    else { return nil }
    if constant.count == channels, channels > 1 {
      // The channels must stand on axis 1 of the output.
      let axis = constant.rank - (weight.shape.rank - 1)
      guard axis >= 0, constant.shape[axis] == channels else { return nil }
    }
    return try? constant.cast(to: .float64).reshaped([constant.count]).expanded(to: [channels])
  }

  // MARK: After

  private mutating func fuseActivation(_ index: Int, _ node: Graph.Node, _ activation: Activation) {
    guard let source = convolution(node.inputs.first ?? nil), source.operation.outputSlope == 1,
      source.operation.activation == nil
    else { return }
    move(source, to: index, node, "activations joined to convolutions") { operation, _ in
      if case .leakyReLU(let slope) = activation {
        operation.outputSlope = slope
      } else {
        operation.activation = activation
      }
    }
  }

  private mutating func fuseArithmetic(_ index: Int, _ node: Graph.Node, _ elementwise: ElementwiseNode) {
    guard node.inputs.count == 2, elementwise.kind != .other else { return }
    if let at = node.inputs.firstIndex(where: { graph.constantSpec($0) != nil }) {
      guard let constant = graph.constant(of: node.inputs[at]), let source = convolution(node.inputs[1 - at]),
        source.operation.isPlain,
        elementwise.kind != .divide || at == 1
      else { return }
      foldConstant(constant, source, index, node, elementwise.kind)
      return
    }
    guard elementwise.kind == .add, node.inputs[0] != node.inputs[1] else { return }
    // Of two convolutions the later one takes the other's result.
    let sources = node.inputs.compactMap { convolution($0) }
      .filter { $0.operation.isPlain && $0.node.inputs.count < 5 }
    guard let source = sources.max(by: { $0.index < $1.index }),
      let other = node.inputs.first(where: { $0 != source.node.outputs.first ?? nil }) ?? nil
    else { return }
    move(source, to: index, node, "residuals joined to convolutions") { _, node in
      if node.inputs.count < 3 { node.inputs.append(nil) }
      node.inputs.append(other)
    }
  }

  private mutating func foldConstant(
    _ constant: Tensor, _ source: (index: Int, node: Graph.Node, operation: ConvolutionNode), _ index: Int,
    _ user: Graph.Node, _ kind: ElementwiseNode.Kind
  ) {
    guard let weight = graph.constantSpec(source.node.inputs[1]), constant.dtype.isFloatingPoint else { return }
    if constant.count == 1, constant.rank <= weight.shape.rank, kind != .add, constant.dtype == weight.dtype,
      let number = try? constant.cast(to: .float64).item(Double.self), number != 0 || kind == .multiply
    {
      let scale = kind == .divide ? 1 / number : number
      // A constant weight takes the factor for nothing, unless residuals come in between.
      if source.node.inputs.count > 3 || weight.shape.rank < 3 {
        move(source, to: index, user, "scalings joined to convolutions") { operation, _ in operation.outputScale = scale
        }
        return
      }
    }
    guard source.node.inputs.count <= 3, let numbers = perChannel(constant, source.operation, weight),
      let zeros = try? Tensor.zeros(numbers.shape, dtype: .float64),
      let ones = try? Tensor.ones(numbers.shape, dtype: .float64)
    else { return }
    switch kind {
    case .add: scaleChannels(source, to: index, user, ones, numbers, "biases joined to convolutions")
    case .multiply: scaleChannels(source, to: index, user, numbers, zeros, "scalings joined to convolutions")
    case .divide:
      guard let inverse = try? ones / numbers else { return }
      scaleChannels(source, to: index, user, inverse, zeros, "scalings joined to convolutions")
    case .other: break
    }
  }

  // MARK: Before

  /// The convolutions that are a value's only users, as their first operand.
  private func users(_ value: ValueID?) -> [(Int, Graph.Node, ConvolutionNode)]? {
    guard let value, editor.isHidden(value) else { return nil }
    let indices = editor.userIndices(value)
    guard !indices.isEmpty, Set(indices).count == indices.count else { return nil }
    var found: [(Int, Graph.Node, ConvolutionNode)] = []
    for index in indices {
      guard let node = editor.nodes[index], let operation = node.operation as? ConvolutionNode,
        node.inputs.first == value
      else { return nil }
      found.append((index, node, operation))
    }
    return found
  }

  private mutating func fusePreactivation(_ index: Int, _ node: Graph.Node, _ leaky: LeakyNode) {
    guard (0...1).contains(leaky.slope), let users = users(node.outputs.first ?? nil),
      users.allSatisfy({ $0.2.inputSlope == 1 })
    else { return }
    for (at, user, operation) in users {
      var (operation, user) = (operation, user)
      operation.inputSlope = leaky.slope
      user.operation = operation
      user.inputs[0] = node.inputs[0]
      user.fused.insert(node.operation.name, at: 0)
      editor.replace(at, by: user)
    }
    editor.replace(index, by: nil)
    note("activations joined to convolutions")
  }

  private mutating func foldPad(_ index: Int, _ node: Graph.Node, _ pad: PadNode) {
    guard let users = users(node.outputs.first ?? nil), users.count == 1, let (at, user, operation) = users.first,
      !operation.isTransposed, operation.inputSlope == 1, let weight = graph.constantSpec(user.inputs[1]),
      weight.shape.rank >= 3, node.inputs.dropFirst().allSatisfy({ $0 == nil || graph.constantSpec($0) != nil })
    else { return }
    let axes = weight.shape.rank - 2
    // The pads' rank is that of the convolution's input.
    guard let probe = try? Tensor.zeros(Shape(Array(repeating: 1, count: weight.shape.rank))),
      let pads = try? pad.resolvedPads([probe] + node.inputs.dropFirst().map { graph.constant(of: $0) }),
      pads.allSatisfy({ $0.low >= 0 && $0.high >= 0 && ($0.axis >= 2 || $0.low == 0 && $0.high == 0) })
    else { return }
    var (low, high) = (Array(repeating: 0, count: axes), Array(repeating: 0, count: axes))
    switch operation.padding {
    case .none: break
    case .explicit(let own, let last):
      // Sums of larger ones could overflow; the nodes refuse them one by one.
      guard own.count == axes, last.count == axes, (own + last).allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
        return
      }
      (low, high) = (own, last)
    case .same: return
    }
    var joined = operation
    if pad.mode == .zeros {
      let value = node.inputs.count > 2 ? graph.constant(of: node.inputs[2]) : nil
      let fill = (try? value?.cast(to: .float64).reshaped([]).item(Double.self)) ?? pad.value
      guard fill == 0, operation.paddingMode == .zeros else { return }
    } else {
      guard (low + high).allSatisfy({ $0 == 0 }) else { return }
      joined.paddingMode = pad.mode
    }
    for entry in pads where entry.axis >= 2 {
      low[entry.axis - 2] += entry.low
      high[entry.axis - 2] += entry.high
    }
    joined.padding = .explicit(low: low, high: high)
    var target = user
    target.operation = joined
    target.inputs[0] = node.inputs[0]
    target.fused.insert("Pad", at: 0)
    editor.replace(at, by: target)
    editor.replace(index, by: nil)
    note("pads folded into convolutions")
  }
}
