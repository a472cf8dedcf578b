import ToeplitzTensor

/// A function that gates of a recurrent layer apply to each element.
package enum RecurrentActivation: Sendable, Hashable {
  case sigmoid, tanh, relu, softsign, softplus
  /// `a x + b`.
  case affine(a: Double, b: Double)
  case leakyReLU(slope: Double)
  case thresholdedReLU(alpha: Double)
  /// `a tanh(b x)`.
  case scaledTanh(a: Double, b: Double)
  case hardSigmoid(alpha: Double, beta: Double)
  case elu(alpha: Double)

  /// Its value for each element.
  func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch self {
    case .sigmoid: try x.sigmoid()
    case .tanh: try x.tanh()
    case .relu: try x.relu()
    case .softsign: try x.softsign()
    case .softplus: try x.softplus(threshold: 1e30)
    case .affine(let a, let b): try x * a + b
    case .leakyReLU(let slope): try x.leakyReLU(negativeSlope: slope)
    case .thresholdedReLU(let alpha): try x.thresholdedReLU(alpha: alpha)
    case .scaledTanh(let a, let b): try (x * b).tanh() * a
    case .hardSigmoid(let alpha, let beta): try x.hardsigmoid(alpha: alpha, beta: beta)
    case .elu(let alpha): try x.elu(alpha: alpha)
    }
  }
}

/// One direction of a recurrent layer over a whole sequence: a simple network (Elman, 1990), a gated recurrent unit (Cho et
/// al., 2014) or a long short-term memory (Hochreiter and Schmidhuber, 1997), with ONNX's options.
///
/// Operands are the inputs' part of all gates `[T, N, G · H]` (with the biases), the recurrent weight `[G · H, P]`, then,
/// as far as there are any: a recurrent bias `[G · H]`, the lengths of the sequences `[N]`, the weights of peepholes
/// `[3 · H]`, a projection `[P, H]`, and the initial hidden state `[N, P]` and cell `[N, H]` (zeros otherwise). Results are
/// all hidden states `[T, N, P]`, the last one, and for a memory the last cell. P is H without projection.
package struct Recurrence: TensorOperation {
  /// What a step computes.
  package enum Cell: Sendable, Hashable {
    /// `f(gates + R h)`.
    case simple
    /// With `resetsAfter` the reset gate multiplies the product with the recurrent weight, as in PyTorch; otherwise the
    /// hidden state before it.
    case gated(resetsAfter: Bool)
    /// With `couplesGates` the forget gate is one less the input gate.
    case memory(couplesGates: Bool)
  }

  package var cell: Cell
  /// The functions of the gates: of sums, or of gates and candidate, or of gates, candidate and cell.
  package var activations: [RecurrentActivation]
  /// In which order the gates stand.
  package var order: GateOrder
  /// Sums are kept within this bound of zero.
  package var clip: Double?
  /// Whether the sequence is read backwards.
  package var isReversed = false
  package var hasBias = false
  package var hasLengths = false
  package var hasPeepholes = false
  package var hasProjection = false
  package var hasInitialState = false

  package init(_ cell: Cell, activations: [RecurrentActivation]? = nil, order: GateOrder = .onnx) {
    (self.cell, self.order) = (cell, order)
    let usual: [RecurrentActivation]
    switch cell {
    case .simple: usual = [.tanh]
    case .gated: usual = [.sigmoid, .tanh]
    case .memory: usual = [.sigmoid, .tanh, .tanh]
    }
    self.activations = activations ?? usual
  }

  package var name: String {
    switch cell {
    case .simple: "RNN"
    case .gated: "GRU"
    case .memory: "LSTM"
    }
  }

  /// How many gates there are.
  package var gateCount: Int {
    switch cell {
    case .simple: 1
    case .gated: 3
    case .memory: 4
    }
  }

  package var hasCell: Bool { if case .memory = cell { true } else { false } }

  /// The operands by what they are for.
  package struct Operands<T> {
    package var gates: T
    package var recurrent: T
    package var bias: T?
    package var lengths: T?
    package var peepholes: T?
    package var projection: T?
    package var hidden: T?
    package var cell: T?
  }

  /// The operands by what they are for; their number has been checked.
  package func operands<T>(_ inputs: [T]) -> Operands<T> {
    var rest = inputs.dropFirst(2)
    func next(_ isThere: Bool) -> T? { isThere ? rest.removeFirst() : nil }
    return Operands(
      gates: inputs[0], recurrent: inputs[1], bias: next(hasBias), lengths: next(hasLengths),
      peepholes: next(hasPeepholes), projection: next(hasProjection), hidden: next(hasInitialState),
      cell: next(hasInitialState && hasCell))
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    let flags = [hasBias, hasLengths, hasPeepholes, hasProjection, hasInitialState, hasInitialState && hasCell]
    try require(inputs, count: 2 + flags.count { $0 })
    let x = operands(inputs)
    let (shape, dtype) = (x.gates.shape, x.gates.dtype)
    try require(dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(dtype)")
    try require(
      shape.rank == 3 && shape[2] % gateCount == 0 && shape[2] > 0, expected: "gates [T, N, \(gateCount) · H]",
      got: "shape \(shape)")
    let (batch, size) = (shape[1], shape[2] / gateCount)
    let width = x.projection?.shape.first ?? size
    func check(_ spec: TensorSpec?, _ wanted: TensorShape, _ label: String) throws {
      guard let spec else { return }
      try require(spec.shape == wanted, expected: "\(label) of shape \(wanted)", got: "\(spec.shape)")
      try require(spec.dtype == dtype, .dtype, expected: "\(label) of the type \(dtype)", got: "\(spec.dtype)")
    }
    try check(x.recurrent, [gateCount * size, width], "a recurrent weight")
    try check(x.bias, [gateCount * size], "a recurrent bias")
    try check(x.peepholes, [3 * size], "peepholes")
    try check(x.projection, [width, size], "a projection")
    try check(x.hidden, [batch, width], "an initial state")
    try check(x.cell, [batch, size], "an initial cell")
    if let lengths = x.lengths {
      try require(
        lengths.shape == [batch] && lengths.dtype.isInteger, expected: "\(batch) lengths", got: "\(lengths)")
    }
    let functions = hasCell ? 3 : gateCount == 3 ? 2 : 1
    try require(
      activations.count == functions, .argument, expected: "\(functions) activations", got: "\(activations.count)")
    let state = TensorSpec([batch, width], dtype)
    return [TensorSpec([shape[0], batch, width], dtype), state]
      + (hasCell ? [TensorSpec([batch, size], dtype)] : [])
  }

  // MARK: Steps

  /// The results, as operations on each step.
  package func unrolled(_ inputs: [Tensor]) throws -> [Tensor] {
    let x = operands(inputs)
    let (steps, batch, dtype) = (x.gates.shape[0], x.gates.shape[1], x.gates.dtype)
    let size = x.gates.shape[2] / gateCount
    let width = x.recurrent.shape[1]
    var hidden = try x.hidden ?? Tensor.zeros([batch, width], dtype: dtype)
    var cell = hasCell ? try x.cell ?? Tensor.zeros([batch, size], dtype: dtype) : nil
    let lengths = try x.lengths?.cast(to: .int64).reshaped([batch, 1])
    let products = try Products(self, x)
    var outputs: [Tensor] = []
    for t in isReversed ? Array((0..<steps).reversed()) : Array(0..<steps) {
      var next = try step(x.gates.select(axis: 0, t), hidden, cell, x, products)
      if let lengths {
        // Sequences that are over keep their state and give zeros.
        let runs = try lengths.greater(Tensor(scalar: Int64(t)))
        outputs.append(try next.hidden.masked(by: runs))
        next.hidden = try Tensor.where(runs, next.hidden, hidden)
        next.cell = try next.cell.flatMap { new in try cell.map { try Tensor.where(runs, new, $0) } }
      } else {
        outputs.append(next.hidden)
      }
      (hidden, cell) = next
    }
    if isReversed { outputs.reverse() }
    let all = outputs.isEmpty ? try Tensor.zeros([0, batch, width], dtype: dtype) : try Tensor.stack(outputs)
    return [all, hidden] + [cell].compactMap { $0 }
  }

  private func clipped(_ x: Tensor) throws -> Tensor { try clip.map { try x.clip(from: -$0, to: $0) } ?? x }

  /// The linear maps of a step, which are the same for all.
  private struct Products {
    /// Of the hidden state to all gates.
    var recurrent: (Tensor) throws -> Tensor
    /// To the candidate alone.
    var candidate: (Tensor) throws -> Tensor
    var projection: ((Tensor) throws -> Tensor)?

    init(_ operation: Recurrence, _ x: Operands<Tensor>) throws {
      func map(_ weight: Tensor, _ bias: Tensor?) throws -> (Tensor) throws -> Tensor {
        let map = try linearMap(from: weight.shape[1], to: weight.shape[0])
        return { try map($0, weight: weight, bias: bias) }
      }
      recurrent = try map(x.recurrent, x.bias)
      candidate = recurrent
      if case .gated(resetsAfter: false) = operation.cell {
        let size = x.recurrent.shape[0] / 3
        let rows = (2 * size)..<(3 * size)
        candidate = try map(x.recurrent.slice(axis: 0, rows), x.bias?.slice(axis: 0, rows))
      }
      projection = try x.projection.map { try map($0, nil) }
    }
  }

  private func step(
    _ gates: Tensor, _ hidden: Tensor, _ cell: Tensor?, _ x: Operands<Tensor>, _ products: Products
  ) throws -> (hidden: Tensor, cell: Tensor?) {
    let size = gates.shape[1] / gateCount
    func gate(_ tensor: Tensor, _ index: Int) throws -> Tensor {
      try tensor.slice(axis: -1, (index * size)..<((index + 1) * size))
    }
    let product = try products.recurrent(hidden)
    switch self.cell {
    case .simple: return (try activations[0](clipped(gates + product)), nil)
    case .gated(let resetsAfter):
      let places = order.gated
      let update = try activations[0](clipped(gate(gates, places.update) + gate(product, places.update)))
      let reset = try activations[0](clipped(gate(gates, places.reset) + gate(product, places.reset)))
      let inner =
        try resetsAfter ? reset * gate(product, 2) : products.candidate(reset * hidden)
      let candidate = try activations[1](clipped(gate(gates, 2) + inner))
      return (try candidate + update * (hidden - candidate), nil)
    case .memory(let couplesGates):
      let cell = try cell ?? Tensor.zeros([gates.shape[0], size], dtype: gates.dtype)
      let sums = try gates + product
      var next: (hidden: Tensor, cell: Tensor)
      let isPlain = activations == [.sigmoid, .tanh, .tanh] && clip == nil && !couplesGates && x.peepholes == nil
      if isPlain, sums.dtype == .float32 || sums.dtype == .float64 {
        let results = try applyAll(LSTMCell(order: order), [sums, cell])
        next = (results[0], results[1])
      } else {
        func peeped(_ index: Int, _ part: Int, _ cell: Tensor) throws -> Tensor {
          let sum = try gate(sums, index)
          return try clipped(x.peepholes.map { try sum + gate($0, part) * cell } ?? sum)
        }
        let places = order.memory
        let input = try activations[0](peeped(places.input, 0, cell))
        let forget = try couplesGates ? input.negated() + 1 : activations[0](peeped(places.forget, 2, cell))
        let made = try forget * cell + input * activations[1](clipped(gate(sums, places.candidate)))
        let output = try activations[0](peeped(places.output, 1, made))
        next = (try output * activations[2](made), made)
      }
      if let projection = products.projection { next.hidden = try projection(next.hidden) }
      return next
    }
  }

  // MARK: Rules

  package var gradient: GradientRule { .vjp { try $0.differentiated(unrolled) } }

  package func time(_ call: TimeCall) -> TimeRule {
    guard call.isOfFirstAlone, call.axes[0] == 0 else {
      return .whole(because: "each sample has a state of its own")
    }
    guard !isReversed, !hasLengths else { return .whole(because: "it begins with the last position") }
    guard !hasInitialState else { return .whole(because: "an operand gives the state that it begins with") }
    var stepped = self
    stepped.hasInitialState = true
    return .state(axis: 0, carried: Array(call.outputs.dropFirst()), stepped: stepped)
  }
}
