import ToeplitzTensor

/// One step of a long short-term memory (Hochreiter and Schmidhuber, 1997) once its gates' sums are known.
///
/// Inputs are the sums `[N, 4 H]` and the cell `[N, H]`; outputs are the hidden state and the next cell. Together they take
/// a fifth of the time of the operations one by one.
package struct LSTMCell: TensorOperation {
  package var order: GateOrder

  package init(order: GateOrder = .onnx) { self.order = order }

  package var name: String { "LSTM cell" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 2)
    let (sums, cell) = (inputs[0], inputs[1])
    try require(
      sums.dtype == cell.dtype && (cell.dtype == .float32 || cell.dtype == .float64), .dtype,
      expected: "float32 or float64 elements", got: "\(sums.dtype) and \(cell.dtype)")
    try require(
      sums.shape.rank == 2 && cell.shape.rank == 2 && sums.shape[0] == cell.shape[0]
        && sums.shape[1] / 4 == cell.shape[1] && sums.shape[1] % 4 == 0,
      expected: "sums [N, 4 H] and a cell [N, H]", got: "\(sums.shape) and \(cell.shape)")
    return [cell, cell]
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (sums, cell) = (call.x, call.inputs[1])
      let size = cell.shape[1]
      let places = order.memory
      func gate(_ index: Int) throws -> Tensor { try sums.slice(axis: 1, (index * size)..<((index + 1) * size)) }
      let (input, output) = (try gate(places.input).sigmoid(), try gate(places.output).sigmoid())
      let forget = try gate(places.forget).sigmoid()
      let candidate = try gate(places.candidate).tanh()
      let bounded = try (forget * cell + input * candidate).tanh()
      let dHidden = try call.cotangent(0)
      let dNext = try call.cotangent(1) + dHidden * output * ((bounded * bounded).negated() + 1)
      func slope(_ gate: Tensor) throws -> Tensor { try gate * (gate.negated() + 1) }
      let parts = [
        (places.input, try dNext * candidate * slope(input)), (places.output, try dHidden * bounded * slope(output)),
        (places.forget, try dNext * cell * slope(forget)),
        (places.candidate, try dNext * input * ((candidate * candidate).negated() + 1)),
      ]
      let ordered = parts.sorted { $0.0 < $1.0 }.map(\.1)
      return [try Tensor.concatenate(ordered, axis: 1), try dNext * forget]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    call.axes == [0, 0] ? .pointwise(axis: 0) : .whole(because: "it is one step of a recurrence")
  }
}

/// In which order gates stand one after the other.
package enum GateOrder: Sendable, Hashable {
  /// Input, output, forget, candidate; update, reset, candidate.
  case onnx
  /// Input, forget, candidate, output; reset, update, candidate.
  case pytorch

  /// The places of a memory's gates.
  package var memory: (input: Int, output: Int, forget: Int, candidate: Int) {
    self == .onnx ? (0, 1, 2, 3) : (0, 3, 1, 2)
  }

  /// The places of a gated unit's gates; the candidate is the last.
  package var gated: (update: Int, reset: Int) { self == .onnx ? (0, 1) : (1, 0) }
}

extension Tensor {
  /// The hidden state and next cell of a long short-term memory whose gates' sums `[N, 4 H]` this is, in the order
  /// input, output, forget, candidate.
  ///
  /// - Throws: ``ToeplitzError`` if the shapes do not fit or the elements are not float32.
  package func lstmStep(cell: Tensor) throws -> (hidden: Tensor, cell: Tensor) {
    let results = try applyAll(LSTMCell(), [self, cell])
    return (results[0], results[1])
  }
}
