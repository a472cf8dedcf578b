import ToeplitzLegacyGraph
import ToeplitzOps
import ToeplitzTensor

/// The attributes and weights that recurrent layers share.
private struct Recurrence: Sendable {
  typealias Activation = @Sendable (Tensor) throws -> Tensor

  var name: String
  var directions: Int
  var isReverse: Bool
  var hiddenSize: Int?
  var batchFirst: Bool
  var clip: Double?
  /// For each direction its activations.
  var activations: [[Activation]]
  /// For each direction the product with the recurrent weight, prepared once.
  var recurrent: [LinearNode]
  var input: [LinearNode]

  init(_ node: OperatorNode, _ standard: [String]) throws {
    name = node.operation
    let direction = try node.string("direction", "forward")
    guard ["forward", "reverse", "bidirectional"].contains(direction) else {
      throw node.refuse("direction forward, reverse or bidirectional", got: direction)
    }
    directions = direction == "bidirectional" ? 2 : 1
    isReverse = direction == "reverse"
    hiddenSize = try node.int("hidden_size")
    batchFirst = try node.flag("layout")
    clip = try node.float("clip")
    let names = try node.strings("activations") ?? Array(repeating: standard, count: directions).flatMap { $0 }
    guard names.count == directions * standard.count else {
      throw node.refuse("\(directions * standard.count) activations", got: "\(names.count)")
    }
    var (alphas, betas) = (try node.floats("activation_alpha") ?? [], try node.floats("activation_beta") ?? [])
    let all = try names.map { try Self.activation($0, &alphas, &betas, node) }
    activations = (0..<directions).map { Array(all[($0 * standard.count)..<(($0 + 1) * standard.count)]) }
    recurrent = (0..<directions).map { _ in LinearNode(name: node.operation, isTransposed: true) }
    input = (0..<directions).map { _ in LinearNode(name: node.operation, isTransposed: true) }
  }

  private static func activation(
    _ name: String, _ alphas: inout [Double], _ betas: inout [Double], _ node: OperatorNode
  ) throws -> Activation {
    func next(_ list: inout [Double], _ standard: Double) -> Double { list.isEmpty ? standard : list.removeFirst() }
    switch name.lowercased() {
    case "sigmoid": return { try $0.sigmoid() }
    case "tanh": return { try $0.hyperbolicTangent() }
    case "relu": return { try $0.relu() }
    case "softsign": return { try $0.softsign() }
    case "softplus": return { try $0.softplus(threshold: 1e30) }
    case "affine":
      let (a, b) = (next(&alphas, 1), next(&betas, 0))
      return { try $0 * a + b }
    case "leakyrelu":
      let a = next(&alphas, 0.01)
      return { try $0.leakyReLU(negativeSlope: a) }
    case "thresholdedrelu":
      let a = next(&alphas, 1)
      return { try $0.thresholdedReLU(alpha: a) }
    case "scaledtanh":
      let (a, b) = (next(&alphas, 1), next(&betas, 1))
      return { try ($0 * b).hyperbolicTangent() * a }
    case "hardsigmoid":
      let (a, b) = (next(&alphas, 0.2), next(&betas, 0.5))
      return { try $0.hardsigmoid(alpha: a, beta: b) }
    case "elu":
      let a = next(&alphas, 1)
      return { try $0.elu(alpha: a) }
    default: throw ToeplitzError(.unsupported, node.operation, expected: "a known activation", got: name)
    }
  }

  func clipped(_ x: Tensor) throws -> Tensor { try clip.map { try x.clamped(from: -$0, to: $0) } ?? x }

  /// The operands of one direction.
  struct Direction {
    /// `[T, N, gates · H]`: the inputs' part of all gates, with both biases.
    var gates: Tensor
    /// `[gates · H, H]`.
    var recurrent: Tensor
    /// `[gates · H]`, the recurrent bias where it is not in `gates`.
    var recurrentBias: Tensor?
    var hidden: Tensor
    var cell: Tensor?
    var peephole: Tensor?
  }

  /// Runs all directions and arranges the results as ONNX wants them.
  func run(
    _ x: Operands, gates count: Int, hasCell: Bool, keepsBiasApart: Bool,
    _ step: (Direction, Int, Tensor, Tensor, Tensor?) throws -> (hidden: Tensor, cell: Tensor?)
  ) throws -> [Tensor?] {
    var input = try x(0)
    guard input.rank == 3 else { throw x.refuse(.shape, "an input of 3 dimensions", got: "shape \(input.shape)") }
    if batchFirst { input = try input.transposed(0, 1) }
    let (time, batch) = (input.shape[0], input.shape[1])
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
    let hidden = recurrent.shape[2]
    let lengths = try x.optionalInts(4)
    if let lengths, lengths.count != batch || !lengths.allSatisfy({ (0...time).contains($0) }) {
      throw x.refuse("\(batch) lengths in 0...\(time)", got: "\(lengths)")
    }
    func initial(_ index: Int, _ direction: Int) throws -> Tensor {
      guard let given = x.optional(index) else { return try Tensor.zeros([batch, hidden], dtype: input.dtype) }
      return try (batchFirst ? given.transposed(0, 1) : given).select(axis: 0, direction)
    }
    var (sequences, lastHidden, lastCell): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for index in 0..<directions {
      let backwards = isReverse || index == 1
      let series = backwards ? try reversed(input, lengths) : input
      let bias = try x.optional(3)?.select(axis: 0, index)
      if let bias, bias.count != 2 * count * hidden {
        throw x.refuse(.shape, "biases of \(2 * count * hidden) numbers", got: "shape \(bias.shape)")
      }
      let inputBias = try bias?.slice(axis: 0, 0..<(count * hidden))
      let stateBias = try bias?.slice(axis: 0, (count * hidden)..<(2 * count * hidden))
      let whole = try inputBias.flatMap { a in try stateBias.map { keepsBiasApart ? a : try a + $0 } }
      let flat = try self.input[index].evaluate(
        [series.contiguous(), weights.select(axis: 0, index).contiguous(), whole?.contiguous()], EvaluationContext())
      let direction = Direction(
        gates: try flat[0].required(name, 0), recurrent: try recurrent.select(axis: 0, index).contiguous(),
        recurrentBias: try keepsBiasApart ? stateBias?.contiguous() : nil, hidden: try initial(5, index),
        cell: hasCell ? try initial(6, index) : nil,
        peephole: hasCell ? try x.optional(7)?.select(axis: 0, index) : nil)
      var (state, cell) = (direction.hidden, direction.cell)
      var outputs: [Tensor] = []
      for t in 0..<time {
        let (next, nextCell) = try step(direction, index, direction.gates.select(axis: 0, t), state, cell)
        guard let lengths else {
          (state, cell) = (next, nextCell)
          outputs.append(next)
          continue
        }
        // Sequences that are over keep their state and give zeros.
        let runs = try Tensor(lengths.map { $0 > t }, shape: [batch, 1])
        outputs.append(try runs.choosing(next, Tensor.full([], 0, dtype: next.dtype)))
        state = try runs.choosing(next, state)
        cell = try nextCell.flatMap { new in try cell.map { try runs.choosing(new, $0) } }
      }
      let stacked =
        outputs.isEmpty
        ? try Tensor.zeros([0, batch, hidden], dtype: input.dtype) : try Tensor.stacked(outputs)
      sequences.append(backwards ? try reversed(stacked, lengths) : stacked)
      lastHidden.append(state)
      if let cell { lastCell.append(cell) }
    }
    func arranged(_ states: [Tensor]) throws -> Tensor { try Tensor.stacked(states, axis: batchFirst ? 1 : 0) }
    let all = try Tensor.stacked(sequences, axis: 1)
    return [try batchFirst ? all.permuted([2, 0, 1, 3]) : all, try arranged(lastHidden)]
      + (hasCell ? [try arranged(lastCell)] : [])
  }

  /// Each sequence backwards within its length.
  private func reversed(_ x: Tensor, _ lengths: [Int]?) throws -> Tensor {
    guard let lengths else { return try x.flipped([0]) }
    return try Tensor.concatenated(
      lengths.enumerated().map { index, length in
        let one = try x.slice(axis: 1, index..<(index + 1))
        return try Tensor.concatenated(
          [one.slice(axis: 0, 0..<length).flipped([0]), one.slice(axis: 0, length..<x.shape[0])])
      }, axis: 1)
  }

  /// The product of a state with the recurrent weight.
  func product(_ state: Tensor, _ direction: Direction, _ index: Int) throws -> Tensor {
    try recurrent[index].evaluate([state, direction.recurrent, direction.recurrentBias], EvaluationContext())[0]
      .required(name, 0)
  }
}

extension Tensor {
  /// Part `index` of the last axis, in parts of `size`.
  fileprivate func gate(_ index: Int, _ size: Int) throws -> Tensor {
    try slice(axis: -1, (index * size)..<((index + 1) * size))
  }
}

extension OperatorTable {
  static let recurrent: [String: OperatorMaker] = [
    "RNN": { node in
      let rule = try Recurrence(node, ["Tanh"])
      return node.function { x in
        try rule.run(x, gates: 1, hasCell: false, keepsBiasApart: false) { direction, index, gates, state, _ in
          let sum = try gates + rule.product(state, direction, index)
          return (try rule.activations[index][0](rule.clipped(sum)), nil)
        }
      }
    },
    "GRU": { node in
      let rule = try Recurrence(node, ["Sigmoid", "Tanh"])
      let resetsAfter = try node.flag("linear_before_reset")
      return node.function { x in
        try rule.run(x, gates: 3, hasCell: false, keepsBiasApart: resetsAfter) { direction, index, gates, state, _ in
          let (f, g) = (rule.activations[index][0], rule.activations[index][1])
          let size = state.shape[1]
          let product = try rule.product(state, direction, index)
          let update = try f(rule.clipped(gates.gate(0, size) + product.gate(0, size)))
          let reset = try f(rule.clipped(gates.gate(1, size) + product.gate(1, size)))
          let inner: Tensor
          if resetsAfter {
            inner = try gates.gate(2, size) + reset * product.gate(2, size)
          } else {
            let weight = try direction.recurrent.slice(axis: 0, (2 * size)..<(3 * size))
            inner = try gates.gate(2, size) + (reset * state).matrixMultiplied(by: weight.transposed(0, 1))
          }
          let candidate = try g(rule.clipped(inner))
          return (try candidate + update * (state - candidate), nil)
        }
      }
    },
    "LSTM": { node in
      let rule = try Recurrence(node, ["Sigmoid", "Tanh", "Tanh"])
      let isCoupled = try node.flag("input_forget")
      let isPlain = try !isCoupled && node.strings("activations") == nil && rule.clip == nil
      return node.function { x in
        try rule.run(x, gates: 4, hasCell: true, keepsBiasApart: false) { direction, index, gates, state, cell in
          let (f, g, h) = (rule.activations[index][0], rule.activations[index][1], rule.activations[index][2])
          guard let cell else { throw x.refuse("a cell state", got: "none") }
          let size = state.shape[1]
          let sums = try gates + rule.product(state, direction, index)
          if isPlain, direction.peephole == nil, sums.dtype == .float32 {
            let both = try sums.lstmStep(cell: cell)
            return (both.hidden, both.cell)
          }
          func peeped(_ gate: Int, _ part: Int, _ cell: Tensor) throws -> Tensor {
            let sum = try sums.gate(gate, size)
            return try rule.clipped(direction.peephole.map { try sum + $0.gate(part, size) * cell } ?? sum)
          }
          let input = try f(peeped(0, 0, cell))
          let forget = try isCoupled ? Tensor.full([], 1, dtype: input.dtype) - input : f(peeped(2, 2, cell))
          let next = try forget * cell + input * g(rule.clipped(sums.gate(3, size)))
          let output = try f(peeped(1, 1, next))
          return (try output * h(next), next)
        }
      }
    },
  ]
}

// MARK: Export

extension LSTMCell: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let size = inputs[1].shape[1]
    func gate(_ index: Int) throws -> ExportNode {
      let operands = try [[index * size], [(index + 1) * size], [1]].map(numbers)
      return ExportNode("Slice", [.input(0)] + operands)
    }
    return try [
      gate(0), gate(1), gate(2), gate(3), ExportNode("Sigmoid", [.node(0)]), ExportNode("Sigmoid", [.node(1)]),
      ExportNode("Sigmoid", [.node(2)]), ExportNode("Tanh", [.node(3)]), ExportNode("Mul", [.node(6), .input(1)]),
      ExportNode("Mul", [.node(4), .node(7)]), ExportNode("Add", [.node(8), .node(9)], result: 1),
      ExportNode("Tanh", [.node(10)]), ExportNode("Mul", [.node(11), .node(5)], result: 0),
    ]
  }
}
