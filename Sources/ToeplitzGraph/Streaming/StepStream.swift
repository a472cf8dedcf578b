import ToeplitzOps
import ToeplitzTensor

/// A stream through a model of single steps, which takes its state as inputs and gives that of the next step as outputs.
///
/// Such models are written by others for streaming: voice detectors, streaming recognisers. Pieces of any length go in; the model runs
/// once for each block of them. A value, as ``TensorStream`` is.
///
/// ```swift
/// var stream = try executable.stepStream(block: 512, context: 64)
/// let speech = try stream.push(x)
/// ```
public struct StepStream: Sendable {
  /// How a model of steps is to be used; what its inputs and outputs tell need not be given.
  public struct Options: Sendable {
    /// Pairs of state input and output that the names do not tell.
    public var states: [StatePair] = []
    /// New positions of each step; nil takes the input's size, less the context.
    public var block: Int?
    /// Positions before those of a step that it gets again; zeros at first.
    public var context = 0
    /// The axis of the input that is time; what the model's file says, or the last, if nil.
    public var timeAxis: Int?
    /// The axis of each output along which steps are joined; what the model's file says, or the last, if nil.
    public var outputAxis: Int?
    /// Values of inputs that stay the same, and of states at the beginning, which are zeros otherwise.
    public var values: [String: Tensor] = [:]

    /// What the model tells.
    public init() {}
  }

  /// The model.
  public let executable: Executable
  /// The states.
  public let states: [StatePair]
  /// New positions of each step.
  public let block: Int
  /// The name of the input that goes in piece by piece.
  public let input: String
  /// The names of the outputs that come out.
  public let outputs: [String]
  /// How many input positions have been pushed.
  public private(set) var position = 0
  /// Whether ``finish()`` was called.
  public private(set) var isFinished = false
  private let options: Options
  private let axis: Int
  private var values: [String: Tensor]
  /// What the next step begins with: the context, then positions that are too few yet; nil before the first piece.
  private var pending: Tensor?
  /// What the outputs of a step are, once one has run.
  private var made: [TensorSpec]?
  /// What the model's file says of streaming.
  private let said: StreamMetadata?
  /// How many positions of each output have come from steps, with those that come before the first of the stream.
  private var counts: [String: Int] = [:]

  /// - Throws: ``ToeplitzError`` of kind `argument` that says what the model's inputs and outputs do not tell.
  init(_ executable: Executable, _ options: Options) throws {
    let states = try executable.statePairs(named: options.states)
    let said = try StreamMetadata(executable.metadata)
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.argument, "stepStream", expected: expected, got: got)
    }
    guard !states.isEmpty || said != nil else {
      throw refuse(
        "a model that takes its state and gives it back, or pairs of the names",
        "inputs " + executable.inputs.map(\.name).joined(separator: ", ") + " and outputs "
          + executable.outputs.map(\.name).joined(separator: ", "))
    }
    let open = executable.inputs.filter { port in
      options.values[port.name] == nil && !states.contains { $0.input == port.name }
    }
    guard open.count == 1, let port = open.first else {
      throw refuse(
        "one input beside states and values",
        open.isEmpty ? "none" : open.map { "'\($0.name)'" }.joined(separator: ", "))
    }
    let rank = port.dimensions?.count ?? 1
    let axis = options.timeAxis ?? said?.axis ?? rank - 1
    guard (0..<max(rank, 1)).contains(axis) else { throw refuse("a time axis in 0..<\(rank)", "\(axis)") }
    var known: Int?
    if let dimensions = port.dimensions, case .fixed(let size) = dimensions[axis] { known = size - options.context }
    guard let block = options.block ?? known ?? said?.block, block >= 1, known == nil || known == block,
      options.context >= 0
    else {
      throw refuse(
        known.map { "a block of \($0) positions, which the input '\(port.name)' (\(port.description)) takes" }
          ?? "a block, as the input '\(port.name)' (\(port.description)) is of any length",
        options.block.map(String.init) ?? "none")
    }
    outputs = executable.outputs.map(\.name).filter { name in !states.contains { $0.output == name } }
    guard !outputs.isEmpty else { throw refuse("an output beside states", "none") }
    (self.executable, self.states, self.block, self.axis) = (executable, states, block, axis)
    (self.options, self.said, input) = (options, said, port.name)
    values = options.values
  }

  /// Takes the next positions, any number of them, and gives what their whole blocks make of the first output, maybe nothing.
  ///
  /// - Throws: ``ToeplitzError`` if the tensor does not fit or the stream has ended; the stream is as it was then.
  public mutating func push(_ chunk: Tensor) throws -> Tensor { try pushAll(chunk)[0] }

  /// The same, of all outputs that are no states.
  public mutating func pushAll(_ chunk: Tensor) throws -> [Tensor] {
    try requireUnfinished()
    var next = self
    let made = try next.take(chunk)
    self = next
    return made
  }

  /// Ends the stream: runs the positions that make no whole block with zeros behind them, if there are any.
  ///
  /// A model that was written by ``StreamPlan`` gives what its outputs lag behind, and the padding at the end.
  ///
  /// - Throws: ``ToeplitzError`` if the stream has ended, or is of a length of which such a model cannot tell the end; the stream is
  ///   as it was then.
  public mutating func finish() throws -> Tensor { try finishAll()[0] }

  /// The same, of all outputs that are no states.
  public mutating func finishAll() throws -> [Tensor] {
    try requireUnfinished()
    var next = self
    if let said {
      let results = try next.takeRest(said)
      next.isFinished = true
      self = next
      return results
    }
    var made: [Tensor]?
    if let pending, pending.shape[axis] > options.context {
      let missing = options.context + block - pending.shape[axis]
      made = try next.take(Tensor.zeros(pending.shape.replacing(axis, by: missing), dtype: pending.dtype))
      next.position -= missing
    }
    next.isFinished = true
    let results = try made ?? next.joined([])
    self = next
    return results
  }

  /// Goes back to the beginning.
  public mutating func reset() throws { self = try StepStream(executable, options) }

  private func requireUnfinished() throws {
    guard !isFinished else {
      throw ToeplitzError(.argument, "StepStream", expected: "a stream that goes on", got: "one that was finished")
    }
  }

  /// What the outputs lack of the whole, from steps of zeros behind the end.
  private mutating func takeRest(_ said: StreamMetadata) throws -> [Tensor] {
    guard let pending, position > 0 else { return try joined([]) }
    guard position % said.multiple == 0 else {
      throw ToeplitzError(
        .shape, "StepStream.finish", expected: "a stream of a multiple of \(said.multiple) positions",
        got: "\(position)")
    }
    if let length = said.length { values[length] = try Tensor([Int64(position)], shape: [1], device: .cpu) }
    let (end, zeros) = (position, try Tensor.zeros(pending.shape.replacing(axis, by: block), dtype: pending.dtype))
    let wanted = said.outputs.mapValues { max(0, end / $0.denominator * $0.numerator + $0.rest) + $0.delay }
    var pieces: [[Tensor]] = []
    let before = counts
    // What is pending is whole after one step.
    while pieces.isEmpty && pending.shape[axis] > options.context
      || wanted.contains(where: { (counts[$0.key] ?? 0) < $0.value && said.outputs[$0.key]?.numerator ?? 0 > 0 })
    {
      pieces.append(try take(zeros))
    }
    position = end
    return try zip(outputs, joined(pieces)).map { name, tensor in
      guard let wanted = wanted[name], let delay = said.outputs[name]?.delay else { return tensor }
      let axis = outputAxis(tensor.rank, of: name)
      return try tensor.slice(axis: axis, 0..<min(tensor.shape[axis], wanted - max(delay, before[name] ?? 0)))
    }
  }

  private mutating func take(_ chunk: Tensor) throws -> [Tensor] {
    guard axis < chunk.rank else {
      throw ToeplitzError(.shape, "StepStream.push", expected: "more than \(axis) axes", got: "\(chunk.spec)")
    }
    let before =
      try pending ?? Tensor.zeros(chunk.shape.replacing(axis, by: options.context), dtype: chunk.dtype)
    var all = try Tensor.concatenate([before, chunk], axis: axis)
    try beginStates(chunk)
    var made: [[Tensor]] = []
    var first = 0
    let size = options.context + block
    while all.shape[axis] - first >= size {
      made.append(try step(all.slice(axis: axis, first..<(first + size))))
      first += block
    }
    all = try all.slice(axis: axis, first..<all.shape[axis]).copied()
    pending = all
    position += chunk.shape[axis]
    return try joined(made)
  }

  private mutating func step(_ piece: Tensor) throws -> [Tensor] {
    values[input] = piece
    let results = try executable(values)
    values[input] = nil
    for pair in states {
      // States that the model has itself are as they are in the first step.
      guard let result = results[pair.output], result.spec == (values[pair.input] ?? result).spec else {
        throw ToeplitzError(
          .shape, "state '\(pair.input)'", expected: "\(values[pair.input].map { "\($0.spec)" } ?? "a state")",
          got: results[pair.output].map { "\($0.spec)" } ?? "none")
      }
      values[pair.input] = result
    }
    // Scalars become the elements of a line.
    let given = try outputs.compactMap { name -> Tensor? in
      guard let result = results[name] else { return nil }
      guard result.rank > 0 else { return try result.reshaped([1]) }
      guard let delay = said?.outputs[name]?.delay else { return result }
      let axis = outputAxis(result.rank, of: name)
      let before = counts[name, default: 0]
      counts[name] = before + result.shape[axis]
      let skipped = min(max(0, delay - before), result.shape[axis])
      return skipped == 0 ? result : try result.slice(axis: axis, skipped..<result.shape[axis])
    }
    made = given.map(\.spec)
    return given
  }

  /// States that nobody has given are zeros, of the sizes that the model names as it names the input's, or 1.
  private mutating func beginStates(_ chunk: Tensor) throws {
    var sizes: [String: Int] = [:]
    for port in executable.inputs where port.name == input {
      for (size, dimension) in zip(chunk.shape, port.dimensions ?? []) {
        if case .symbol(let name) = dimension { sizes[name] = size }
      }
    }
    for port in executable.inputs where states.contains(where: { $0.input == port.name }) && values[port.name] == nil {
      values[port.name] = try Tensor.zeros(Self.shape(port, sizes), dtype: port.dtype ?? .float32)
    }
  }

  private static func shape(_ port: PortDescription, _ sizes: [String: Int]) -> TensorShape {
    TensorShape(
      (port.dimensions ?? []).map { dimension in
        switch dimension {
        case .fixed(let size): size
        case .symbol(let name): sizes[name] ?? 1
        case .any: 1
        }
      })
  }

  /// The outputs of several steps, one after the other.
  private func joined(_ steps: [[Tensor]]) throws -> [Tensor] {
    guard steps.isEmpty else {
      return try outputs.indices.map { index in
        try Tensor.concatenate(steps.map { $0[index] }, axis: outputAxis(steps[0][index].rank, of: outputs[index]))
      }
    }
    let specs =
      made
      ?? outputs.map { name in
        let port = executable.outputs.first { $0.name == name } ?? PortDescription(name: name)
        return TensorSpec(Self.shape(port, [:]), port.dtype ?? .float32)
      }
    return try zip(outputs, specs).map { name, spec in
      let shape: TensorShape =
        spec.shape.rank == 0 ? [0] : spec.shape.replacing(outputAxis(spec.shape.rank, of: name), by: 0)
      return try Tensor.zeros(shape, dtype: spec.dtype)
    }
  }

  /// The axis along which steps are joined, of an output of a rank.
  public func outputAxis(_ rank: Int, of output: String) -> Int {
    min(options.outputAxis ?? said?.outputs[output]?.axis ?? rank - 1, rank - 1)
  }
}

extension Executable {
  /// A stream through a model that takes its state as inputs and gives that of the next step as outputs.
  ///
  /// - Parameters:
  ///   - block: new positions of each step, where the input's size does not tell.
  ///   - context: positions before those of a step that it gets again.
  ///   - options: what else is to be said of the model.
  /// - Throws: ``ToeplitzError`` of kind `argument` that says what the model's inputs and outputs do not tell.
  public func stepStream(
    block: Int? = nil, context: Int = 0, options: StepStream.Options = .init()
  ) throws -> StepStream {
    var options = options
    options.block = block ?? options.block
    options.context = context == 0 ? options.context : context
    return try StepStream(self, options)
  }
}
