import ToeplitzOps
import ToeplitzTensor

/// What ``RNN``, ``GRU`` and ``LSTM`` share: options, parameters under PyTorch's names, and the order of the computation.
///
/// Layer `k` has `weight_ih_l<k>`, `weight_hh_l<k>`, `bias_ih_l<k>`, `bias_hh_l<k>` and, with a projection,
/// `weight_hr_l<k>`; the parameters of the backward direction end with `_reverse`.
open class RecurrentLayer: Module, UnaryLayer {
  /// Size of the input's last axis.
  public let inputSize: Int
  /// Numbers in a hidden state, or in a cell.
  public let hiddenSize: Int
  /// Layers, each of which takes the output of the one before.
  public let numLayers: Int
  /// Whether gates have biases.
  public let bias: Bool
  /// Whether the batch is axis 0 of input and output; otherwise time is.
  public let batchFirst: Bool
  /// The probability with which an element of a layer's output is dropped in training, except the last one's.
  public let dropout: Double
  /// Whether a second network reads the sequence backwards.
  public let bidirectional: Bool
  /// The size that hidden states are projected to; 0 for none.
  public let projSize: Int
  /// All parameters.
  public let weights: [String: Parameter]
  private let cell: Recurrence.Cell
  private let activations: [RecurrentActivation]?
  private let dropped: Dropout?

  init(
    _ cell: Recurrence.Cell, activations: [RecurrentActivation]? = nil, inputSize: Int, hiddenSize: Int, numLayers: Int,
    bias: Bool, batchFirst: Bool, dropout: Double, bidirectional: Bool, projSize: Int, dtype: DType, device: Device,
    generator: Generator?
  ) throws {
    let name = Recurrence(cell).name
    try device.requirePresent(name)
    for (label, count) in [("inputSize", inputSize), ("hiddenSize", hiddenSize), ("numLayers", numLayers)]
    where !(1...(1 << 24)).contains(count) {
      throw ToeplitzError(.argument, name, expected: "\(label) of at least 1", got: "\(count)")
    }
    guard projSize >= 0, projSize < hiddenSize else {
      throw ToeplitzError(.argument, name, expected: "projSize in 0..<\(hiddenSize)", got: "\(projSize)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, name, expected: "a floating-point type", got: "\(dtype)")
    }
    (self.cell, self.activations) = (cell, activations)
    (self.inputSize, self.hiddenSize, self.numLayers) = (inputSize, hiddenSize, numLayers)
    (self.bias, self.batchFirst, self.dropout) = (bias, batchFirst, dropout)
    (self.bidirectional, self.projSize) = (bidirectional, projSize)
    dropped = dropout > 0 && numLayers > 1 ? try Dropout(p: dropout) : nil
    let generator = generator ?? Generator()
    let bound = 1 / Double(hiddenSize).squareRoot()
    let gates = Recurrence(cell).gateCount * hiddenSize
    let width = projSize > 0 ? projSize : hiddenSize
    var weights: [String: Parameter] = [:]
    for layer in 0..<numLayers {
      let inputs = layer == 0 ? inputSize : width * (bidirectional ? 2 : 1)
      for ending in bidirectional ? ["", "_reverse"] : [""] {
        var shapes: [(String, TensorShape)] = [("weight_ih", [gates, inputs]), ("weight_hh", [gates, width])]
        if bias { shapes += [("bias_ih", [gates]), ("bias_hh", [gates])] }
        if projSize > 0 { shapes.append(("weight_hr", [projSize, hiddenSize])) }
        for (label, shape) in shapes {
          weights["\(label)_l\(layer)\(ending)"] = Parameter(
            try generator.uniform(shape, from: -bound, to: bound, dtype: dtype))
        }
      }
    }
    self.weights = weights
  }

  /// The parameters stand under their own names.
  open override func key(forProperty name: String) -> String {
    name == "weights" ? "" : super.key(forProperty: name)
  }

  /// The output sequence, from a state of zeros.
  open func forward(_ x: Tensor) throws -> Tensor { try run(x, nil).output }

  /// All hidden states of the last layer, and the last state of each layer and direction.
  ///
  /// - Parameters:
  ///   - x: `[T, N, inputSize]`, with ``batchFirst`` `[N, T, inputSize]`, or `[T, inputSize]` without batch.
  ///   - state: `[numLayers · directions, N, …]` for each part of the state, without N for an input without batch.
  func run(_ x: Tensor, _ state: [Tensor]?) throws -> (output: Tensor, state: [Tensor]) {
    guard x.rank == 2 || x.rank == 3, x.shape.last == inputSize else {
      throw ToeplitzError(
        .shape, displayName, expected: "an input of 2 or 3 dimensions whose last axis has \(inputSize) elements",
        got: "shape \(x.shape)")
    }
    let isBatched = x.rank == 3
    let directions = bidirectional ? 2 : 1
    var sequence = try isBatched ? (batchFirst ? x.transposed(0, 1) : x) : x.unsqueezed(1)
    let batch = sequence.shape[1]
    let widths = [projSize > 0 ? projSize : hiddenSize] + (Recurrence(cell).hasCell ? [hiddenSize] : [])
    for (part, width) in zip(state ?? [], widths) {
      let wanted = TensorShape([numLayers * directions] + (isBatched ? [batch] : []) + [width])
      guard part.shape == wanted else {
        throw ToeplitzError(.shape, displayName, expected: "a state of shape \(wanted)", got: "\(part.shape)")
      }
    }
    let initial = try state?.map { try isBatched ? $0 : $0.unsqueezed(1) }
    var last: [[Tensor]] = widths.map { _ in [] }
    for layer in 0..<numLayers {
      if layer > 0, let dropped { sequence = try dropped(sequence) }
      let outputs = try (0..<directions).map { direction in
        let results = try apply(
          sequence, layer, direction,
          initial?.map { try $0.select(axis: 0, layer * directions + direction) })
        for index in last.indices { last[index].append(results[1 + index]) }
        return results[0]
      }
      sequence = outputs.count == 1 ? outputs[0] : try Tensor.concatenate(outputs, axis: 2)
    }
    let output = try isBatched ? (batchFirst ? sequence.transposed(0, 1) : sequence) : sequence.squeezed(1)
    return (output, try last.map { try isBatched ? Tensor.stack($0) : Tensor.stack($0).squeezed(1) })
  }

  private func apply(
    _ sequence: Tensor, _ layer: Int, _ direction: Int, _ initial: [Tensor]?
  ) throws -> [Tensor] {
    func weight(_ label: String) throws -> Tensor {
      let key = "\(label)_l\(layer)\(direction == 1 ? "_reverse" : "")"
      guard let parameter = weights[key] else {
        throw ToeplitzError(.argument, displayName, expected: "a parameter '\(key)'", got: "none")
      }
      return parameter.value
    }
    var operation = Recurrence(cell, activations: activations, order: .pytorch)
    operation.isReversed = direction == 1
    operation.hasBias = bias
    operation.hasProjection = projSize > 0
    operation.hasInitialState = initial != nil
    var operands = [
      try sequence.linear(weight: weight("weight_ih"), bias: bias ? weight("bias_ih") : nil), try weight("weight_hh"),
    ]
    if bias { operands.append(try weight("bias_hh")) }
    if projSize > 0 { operands.append(try weight("weight_hr")) }
    return try applyAll(operation, operands + (initial ?? []))
  }

  /// The multiply-adds of all layers for one sequence or a batch.
  open override func multiplyAdds(input: TensorShape, output: TensorShape) throws -> Int {
    let positions = input.dropLast().reduce(1, *)
    return positions * weights.values.filter { $0.value.rank == 2 }.reduce(0) { $0 + $1.value.count }
  }

  /// PyTorch's options, where they differ from the defaults.
  open override var extraRepr: String {
    var parts = ["\(inputSize)", "\(hiddenSize)"]
    if projSize > 0 { parts.append("proj_size=\(projSize)") }
    if numLayers != 1 { parts.append("num_layers=\(numLayers)") }
    if !bias { parts.append("bias=False") }
    if batchFirst { parts.append("batch_first=True") }
    if dropout > 0 { parts.append("dropout=\(dropout)") }
    if bidirectional { parts.append("bidirectional=True") }
    return parts.joined(separator: ", ")
  }
}

/// A simple recurrent network (Elman, 1990): `h' = f(W x + b + R h + c)` for each position.
///
/// Input `[T, N, inputSize]` or, with `batchFirst`, `[N, T, inputSize]`; output `[T, N, directions · hiddenSize]`.
public final class RNN: RecurrentLayer {
  /// The function of the sums.
  public enum Nonlinearity: String, Sendable {
    /// The hyperbolic tangent.
    case tanh
    /// The rectifier.
    case relu
  }

  /// Creates a layer with random initial values, uniform within `1 / √hiddenSize`.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inputSize: Int, hiddenSize: Int, numLayers: Int = 1, nonlinearity: Nonlinearity = .tanh, bias: Bool = true,
    batchFirst: Bool = false, dropout: Double = 0, bidirectional: Bool = false, dtype: DType = .float32,
    device: Device = .cpu, generator: Generator? = nil
  ) throws {
    try super.init(
      .simple, activations: [nonlinearity == .tanh ? .tanh : .relu], inputSize: inputSize, hiddenSize: hiddenSize,
      numLayers: numLayers, bias: bias, batchFirst: batchFirst, dropout: dropout, bidirectional: bidirectional,
      projSize: 0, dtype: dtype, device: device, generator: generator)
  }

  /// All hidden states of the last layer, and the last one of each layer and direction.
  ///
  /// - Parameter hidden: the state to begin with, `[numLayers · directions, N, hiddenSize]`; zeros if nil.
  /// - Throws: ``ToeplitzError`` if shapes do not fit.
  public func callAsFunction(_ x: Tensor, hidden: Tensor?) throws -> (output: Tensor, hidden: Tensor) {
    let results = try run(x, hidden.map { [$0] })
    return (results.output, results.state[0])
  }
}

/// Gated recurrent units (Cho et al., 2014), as PyTorch computes them: the reset gate multiplies the recurrent product.
///
/// Input `[T, N, inputSize]` or, with `batchFirst`, `[N, T, inputSize]`; output `[T, N, directions · hiddenSize]`.
public final class GRU: RecurrentLayer {
  /// Creates a layer with random initial values, uniform within `1 / √hiddenSize`.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inputSize: Int, hiddenSize: Int, numLayers: Int = 1, bias: Bool = true, batchFirst: Bool = false,
    dropout: Double = 0, bidirectional: Bool = false, dtype: DType = .float32, device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try super.init(
      .gated(resetsAfter: true), inputSize: inputSize, hiddenSize: hiddenSize, numLayers: numLayers, bias: bias,
      batchFirst: batchFirst, dropout: dropout, bidirectional: bidirectional, projSize: 0, dtype: dtype, device: device,
      generator: generator)
  }

  /// All hidden states of the last layer, and the last one of each layer and direction.
  ///
  /// - Parameter hidden: the state to begin with, `[numLayers · directions, N, hiddenSize]`; zeros if nil.
  /// - Throws: ``ToeplitzError`` if shapes do not fit.
  public func callAsFunction(_ x: Tensor, hidden: Tensor?) throws -> (output: Tensor, hidden: Tensor) {
    let results = try run(x, hidden.map { [$0] })
    return (results.output, results.state[0])
  }
}

/// Long short-term memories (Hochreiter and Schmidhuber, 1997), with projections of hidden states (Sak et al., 2014).
///
/// Input `[T, N, inputSize]` or, with `batchFirst`, `[N, T, inputSize]`; output `[T, N, directions · P]`, where P is
/// `projSize`, or `hiddenSize` without projection.
public final class LSTM: RecurrentLayer {
  /// Creates a layer with random initial values, uniform within `1 / √hiddenSize`.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inputSize: Int, hiddenSize: Int, numLayers: Int = 1, bias: Bool = true, batchFirst: Bool = false,
    dropout: Double = 0, bidirectional: Bool = false, projSize: Int = 0, dtype: DType = .float32, device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try super.init(
      .memory(couplesGates: false), inputSize: inputSize, hiddenSize: hiddenSize, numLayers: numLayers, bias: bias,
      batchFirst: batchFirst, dropout: dropout, bidirectional: bidirectional, projSize: projSize, dtype: dtype,
      device: device, generator: generator)
  }

  /// All hidden states of the last layer, and the last hidden state and cell of each layer and direction.
  ///
  /// - Parameter state: the hidden states `[numLayers · directions, N, P]` and cells `[numLayers · directions, N,
  ///   hiddenSize]` to begin with; zeros if nil.
  /// - Throws: ``ToeplitzError`` if shapes do not fit.
  public func callAsFunction(
    _ x: Tensor, state: (hidden: Tensor, cell: Tensor)?
  ) throws -> (output: Tensor, state: (hidden: Tensor, cell: Tensor)) {
    let results = try run(x, state.map { [$0.hidden, $0.cell] })
    return (results.output, (results.state[0], results.state[1]))
  }
}
