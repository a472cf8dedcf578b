import ToeplitzOps
import ToeplitzTensor

/// The attributes that recurrent layers share.
private struct RecurrentAttributes: Sendable {
  var directions: Int
  var hiddenSize: Int?
  var batchFirst: Bool
  /// For each direction what it computes.
  var recurrences: [Recurrence]

  init(_ node: OperatorNode, _ cell: Recurrence.Cell) throws {
    let direction = try node.string("direction", "forward")
    guard ["forward", "reverse", "bidirectional"].contains(direction) else {
      throw node.refuse("direction forward, reverse or bidirectional", got: direction)
    }
    let directions = direction == "bidirectional" ? 2 : 1
    self.directions = directions
    let isReverse = direction == "reverse"
    hiddenSize = try node.int("hidden_size")
    batchFirst = try node.flag("layout")
    let count = Recurrence(cell).activations.count
    var (alphas, betas) = (try node.floats("activation_alpha") ?? [], try node.floats("activation_beta") ?? [])
    let names = try node.strings("activations")
    guard names.map({ $0.count == directions * count }) ?? true else {
      throw node.refuse("\(directions * count) activations", got: "\(names?.count ?? 0)")
    }
    let all = try names?.map { try Self.activation($0, &alphas, &betas, node) }
    let clip = try node.float("clip")
    recurrences = (0..<directions).map { index in
      var recurrence = Recurrence(cell, activations: all.map { Array($0[(index * count)..<((index + 1) * count)]) })
      recurrence.clip = clip
      recurrence.isReversed = isReverse || index == 1
      return recurrence
    }
  }

  private static func activation(
    _ name: String, _ alphas: inout [Double], _ betas: inout [Double], _ node: OperatorNode
  ) throws -> RecurrentActivation {
    func next(_ list: inout [Double], _ standard: Double) -> Double { list.isEmpty ? standard : list.removeFirst() }
    switch name.lowercased() {
    case "sigmoid": return .sigmoid
    case "tanh": return .tanh
    case "relu": return .relu
    case "softsign": return .softsign
    case "softplus": return .softplus
    case "affine": return .affine(a: next(&alphas, 1), b: next(&betas, 0))
    case "leakyrelu": return .leakyReLU(slope: next(&alphas, 0.01))
    case "thresholdedrelu": return .thresholdedReLU(alpha: next(&alphas, 1))
    case "scaledtanh": return .scaledTanh(a: next(&alphas, 1), b: next(&betas, 1))
    case "hardsigmoid": return .hardSigmoid(alpha: next(&alphas, 0.2), beta: next(&betas, 0.5))
    case "elu": return .elu(alpha: next(&alphas, 1))
    default: throw ToeplitzError(.unsupported, node.operation, expected: "a known activation", got: name)
    }
  }

  /// Runs all directions and arranges the results as ONNX wants them.
  func callAsFunction(_ x: Operands) throws -> [Tensor?] {
    let input = try batchFirst ? x(0).transposed(0, 1) : x(0)
    guard input.rank == 3 else { throw x.refuse(.shape, "an input of 3 dimensions", got: "shape \(input.shape)") }
    let count = recurrences[0].gateCount
    let (weights, recurrent) = (try x(1), try x(2))
    guard recurrent.rank == 3, weights.rank == 3, recurrent.shape[0] == directions, weights.shape[0] == directions,
      recurrent.shape[1] % count == 0, recurrent.shape[1] / count == recurrent.shape[2],
      weights.shape[1] == recurrent.shape[1],
      hiddenSize.map({ $0 == recurrent.shape[2] }) ?? true
    else {
      throw x.refuse(
        .shape, "weights of \(directions) directions and \(count) gates", got: "\(weights.shape) and \(recurrent.shape)"
      )
    }
    let (batch, size) = (input.shape[1], recurrent.shape[2])
    func initial(_ index: Int, _ direction: Int) throws -> Tensor {
      guard let given = x.optional(index) else { return try Tensor.zeros([batch, size], dtype: input.dtype) }
      return try (batchFirst ? given.transposed(0, 1) : given).select(axis: 0, direction)
    }
    let results = try recurrences.enumerated().map { index, recurrence in
      var recurrence = recurrence
      let bias = try x.optional(3)?.select(axis: 0, index)
      if let bias, bias.count != 2 * count * size {
        throw x.refuse(.shape, "biases of \(2 * count * size) numbers", got: "shape \(bias.shape)")
      }
      let inputBias = try bias?.slice(axis: 0, 0..<(count * size))
      let stateBias = try bias?.slice(axis: 0, (count * size)..<(2 * count * size))
      // Only a reset gate tells the biases apart.
      if case .gated(resetsAfter: true) = recurrence.cell { recurrence.hasBias = bias != nil }
      let whole = try inputBias.flatMap { a in try stateBias.map { recurrence.hasBias ? a : try a + $0 } }
      var operands = [
        try input.linear(weight: weights.select(axis: 0, index), bias: whole), try recurrent.select(axis: 0, index),
      ]
      if recurrence.hasBias, let stateBias { operands.append(stateBias) }
      if let lengths = x.optional(4) {
        recurrence.hasLengths = true
        operands.append(lengths)
      }
      if recurrence.hasCell, let peepholes = x.optional(7) {
        recurrence.hasPeepholes = true
        operands.append(try peepholes.select(axis: 0, index))
      }
      if x.optional(5) != nil || recurrence.hasCell && x.optional(6) != nil {
        recurrence.hasInitialState = true
        operands.append(try initial(5, index))
        if recurrence.hasCell { operands.append(try initial(6, index)) }
      }
      return try applyAll(recurrence, operands)
    }
    let all = try Tensor.stack(results.map { $0[0] }, axis: 1)
    return [try batchFirst ? all.permuted([2, 0, 1, 3]) : all]
      + (try results[0].indices.dropFirst().map { state in
        try Tensor.stack(results.map { $0[state] }, axis: batchFirst ? 1 : 0)
      })
  }
}

extension OperatorTable {
  static let recurrent: [String: OperatorMaker] = [
    "RNN": { node in
      let layer = try RecurrentAttributes(node, .simple)
      return { try layer($0) }
    },
    "GRU": { node in
      let layer = try RecurrentAttributes(node, .gated(resetsAfter: try node.flag("linear_before_reset")))
      return { try layer($0) }
    },
    "LSTM": { node in
      let layer = try RecurrentAttributes(node, .memory(couplesGates: try node.flag("input_forget")))
      return { try layer($0) }
    },
  ]
}

// MARK: Export

extension LSTMCell: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let size = inputs[1].shape[1]
    let places = order.memory
    func gate(_ index: Int) throws -> ExportNode {
      let operands = try [[index * size], [(index + 1) * size], [1]].map(numbers)
      return ExportNode("Slice", [.input(0)] + operands)
    }
    return try [
      gate(places.input), gate(places.output), gate(places.forget), gate(places.candidate),
      ExportNode("Sigmoid", [.node(0)]), ExportNode("Sigmoid", [.node(1)]),
      ExportNode("Sigmoid", [.node(2)]), ExportNode("Tanh", [.node(3)]), ExportNode("Mul", [.node(6), .input(1)]),
      ExportNode("Mul", [.node(4), .node(7)]), ExportNode("Add", [.node(8), .node(9)], result: 1),
      ExportNode("Tanh", [.node(10)]), ExportNode("Mul", [.node(11), .node(5)], result: 0),
    ]
  }
}

extension Recurrence: ExportableOperation {
  /// For each row of gates in ONNX's order the row where it stands.
  private func onnxRows(_ size: Int) -> [Int] {
    let gates: [Int]
    switch cell {
    case .simple: gates = [0]
    case .gated: gates = [order.gated.update, order.gated.reset, 2]
    case .memory: gates = [order.memory.input, order.memory.output, order.memory.forget, order.memory.candidate]
    }
    return gates.flatMap { gate in (0..<size).map { gate * size + $0 } }
  }

  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    guard !hasProjection else { throw unexportable("a projection") }
    let positions = operands(Array(inputs.indices))
    let (width, dtype) = (inputs[0].shape[2], inputs[0].dtype)
    // The gates' sums are the input already: they are multiplied by the identity, with its rows in ONNX's order.
    let rows = onnxRows(width / gateCount)
    let identity = rows.flatMap { row in (0..<width).map { $0 == row ? 1.0 : 0 } }
    let one = ExportNode.Operand.constant(
      try Tensor(identity, shape: [1, width, width], device: .cpu).cast(to: dtype))
    var nodes: [ExportNode] = []
    func add(_ node: ExportNode) -> ExportNode.Operand {
      nodes.append(node)
      return .node(nodes.count - 1)
    }
    func widened(_ position: Int?) throws -> ExportNode.Operand {
      guard let position else { return .none }
      return add(ExportNode("Unsqueeze", [.input(position), try numbers([0])]))
    }
    func ordered(_ position: Int) throws -> ExportNode.Operand {
      order == .onnx
        ? .input(position) : add(ExportNode("Gather", [.input(position), try numbers(rows)], ["axis": .int(0)]))
    }
    let recurrent = add(ExportNode("Unsqueeze", [try ordered(positions.recurrent), try numbers([0])]))
    var bias = ExportNode.Operand.none
    if let position = positions.bias {
      let zeros = ExportNode.Operand.constant(try Tensor.zeros([width], dtype: dtype))
      let both = add(ExportNode("Concat", [zeros, try ordered(position)], ["axis": .int(0)]))
      bias = add(ExportNode("Unsqueeze", [both, try numbers([0])]))
    }
    let lengths = positions.lengths.map { add(ExportNode("Cast", [.input($0)], ["to": .string("int32")])) } ?? .none
    let states = [positions.hidden] + (hasCell ? [positions.cell, positions.peepholes] : [])
    let rest = try states.map(widened)
    var attributes: [String: ExportNode.Attribute] = [
      "hidden_size": .int(width / gateCount), "direction": .string(isReversed ? "reverse" : "forward"),
    ]
    guard activations == Recurrence(cell).activations else {
      throw unexportable("other activations than the usual ones")
    }
    if let clip { attributes["clip"] = .float(clip) }
    switch cell {
    case .simple: break
    case .gated(let resetsAfter): attributes["linear_before_reset"] = .int(resetsAfter ? 1 : 0)
    case .memory(let couplesGates): attributes["input_forget"] = .int(couplesGates ? 1 : 0)
    }
    let layer = nodes.count
    var node = ExportNode(name, [.input(0), one, recurrent, bias, lengths] + rest, attributes)
    node.resultCount = outputs.count
    nodes.append(node)
    for result in outputs.indices {
      nodes.append(
        ExportNode("Squeeze", [.result(of: layer, result), try numbers([result == 0 ? 1 : 0])], result: result))
    }
    return nodes
  }
}
