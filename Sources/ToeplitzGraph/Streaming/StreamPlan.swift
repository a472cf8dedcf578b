import ToeplitzOps
import ToeplitzTensor

/// How a network computes a stream piece by piece, so that the pieces joined are, bit for bit, what it gives for the whole.
///
/// A plan is derived from the network's graph: every operation says which positions of time it reads (its rule of time), and
/// the plan keeps as many past positions of each value as are still read. What is not causal becomes latency; the padding of each
/// layer is reproduced at the beginning and the end of the stream. The plan holds the weights as they were when it was made.
///
/// ```swift
/// let plan = try executable.streamPlan(shape: [1, 80, nil])
/// var stream = try plan.makeStream()
/// let pieces = try [stream.push(x[0..., 0..., 0..<10]), stream.push(x[0..., 0..., 10...]), stream.finish()]
/// let whole = try Tensor.concatenate(pieces, axis: 2)
/// ```
public struct StreamPlan: Sendable, CustomStringConvertible {
  /// What one operation contributes.
  public struct Step: Sendable {
    /// The operation.
    public var operation: String
    /// Its layer; may be empty.
    public var path: String
    /// Positions of its result for each position of the stream's input.
    public var rate: Fraction
    /// Positions of its result by which it lags behind the input, beyond what its operands do.
    public var delay: Double
    /// Positions of its operands that it keeps, in the steady state.
    public var held: Int
    /// Bytes of these, and of states that it carries on.
    public var stateBytes: Int
  }

  /// A ratio of positions.
  public struct Fraction: Sendable, Hashable, CustomStringConvertible {
    /// The upper number, without common factor.
    public let numerator: Int
    /// The lower number.
    public let denominator: Int

    /// The ratio in lowest terms; the lower number must not be 0.
    init(_ numerator: Int, _ denominator: Int) {
      let divisor = max(1, gcd(numerator, denominator))
      (self.numerator, self.denominator) = (numerator / divisor, denominator / divisor)
    }

    /// As a number.
    public var value: Double { Double(numerator) / Double(denominator) }
    /// Such as `256` or `1/4`.
    public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
  }

  /// The least number of input positions that gives the same pattern again: multiples of it give equally many outputs each.
  public let blockSize: Int
  /// Output positions for each input position.
  public let outputRatio: Fraction
  /// By how many output positions the output is behind the input times the ratio, after whole blocks.
  ///
  /// Less than 0 where the network puts positions in front of its result, which come at once.
  public let latency: Int
  /// How many input positions beyond its own an output position reads, at most over the phases of a block.
  public let lookahead: Int
  /// From the first to the last input position that an output position reads, at most over the phases of a block.
  public let receptiveField: Int
  /// For each output position of a block, in order: the first and the last input position that it reads, counted from its own,
  /// which is its number divided by the ratio and rounded down; nil if it reads none.
  ///
  /// Operations that carry a state, such as recurrent layers, count as reading one position. Of blocks with more than 16384 outputs
  /// the first as many are told.
  public let receptiveFields: [ClosedRange<Int>?]
  /// What each operation contributes, in order.
  public let steps: [Step]
  /// Shape and element type of the input, with a time of 0.
  public let input: TensorSpec
  /// The axis of the input that is time.
  public let timeAxis: Int
  /// The axis of each output that is time.
  public let outputAxes: [Int]
  /// Bytes that a stream keeps between pushes of whole blocks.
  public let stateBytes: Int
  /// Multiply-adds for each input position, in the network as a whole.
  public let workPerStep: Double

  /// The least multiple of the block after which pushes compute the same again.
  let patternSize: Int
  let engine: StreamEngine
  /// Input positions, a multiple of the block, after which all delays are filled.
  package let steadyLength: Int

  /// Makes the plan of what `graph` gives for two or more lengths.
  init(_ networks: [StreamNetwork], timeAxis: Int) throws {
    let network = networks[0]
    for other in networks.dropFirst() { try network.requireSameRules(as: other) }
    engine = StreamEngine(network)
    self.timeAxis = timeAxis
    outputAxes = network.outputs.map { network.axes[$0] ?? 0 }
    input = network.spec(network.input, length: 0)
    let counting = engine.counting
    let rates = StreamRates(network)
    (blockSize, patternSize) = (rates.blockSize, rates.patternSize)
    let output = network.outputs[0]
    outputRatio = rates[output]
    // Run until all delays are filled and all that is ever held is.
    var counters = counting.beginning
    var warm = 0
    var last: [Int] = []
    for round in 0..<StreamRates.mostRounds {
      _ = try counting.advance(&counters, by: blockSize << min(round, 10), ends: false)
      warm += blockSize << min(round, 10)
      let lag = counting.timed.map { rates[$0].value * Double(warm) }.enumerated().map { Int($1) - counters.known[$0] }
      let now = lag + zip(counters.known, counters.kept).map { $0 - $1 }
      if now == last, counters.known.allSatisfy({ $0 > 0 }) { break }
      last = now
    }
    func lag(_ value: Int) -> Double {
      rates[value].value * Double(warm) - Double(counters.known[counting.place(value)])
    }
    steadyLength = warm
    latency = Int(lag(output).rounded())
    let field = try StreamField(network, rates, counters, counting)
    receptiveFields = field.phases
    lookahead = field.phases.reduce(0) { max($0, $1?.upperBound ?? 0) }
    receptiveField = field.phases.reduce(1) { max($0, $1?.count ?? 0) }
    var steps: [Step] = []
    for node in network.nodes {
      let result = node.outputs[0]
      let scale = rates[result].value
      let behind =
        node.inputs.enumerated().filter { node.axes[$0.offset] != nil }
        .map { lag($0.element) / rates[$0.element].value * scale }.max() ?? 0
      let place = counting.place(node.inputs[node.timed])
      let next = counters.known[counting.place(result)]
      let held =
        counters.known[place]
        - max(
          counters.kept[place],
          node.needed(from: next, known: counters.known[place], of: node.inputs[node.timed]))
      let spec = network.spec(node.inputs[node.timed], length: max(0, held))
      var bytes = spec.shape.reduce(1, *) * spec.dtype.byteSize
      if case .state(let carried, _) = node.kind {
        bytes += carried.reduce(0) { $0 + $1.shape.reduce(1, *) * $1.dtype.byteSize }
      }
      steps.append(
        Step(
          operation: node.name, path: node.path, rate: rates[result], delay: lag(result) - behind,
          held: max(0, held), stateBytes: bytes))
    }
    self.steps = steps
    workPerStep = StreamWork(network, rates).perPosition
    stateBytes =
      counting.timed.enumerated().reduce(0) { sum, value in
        let spec = network.spec(value.element, length: counters.known[value.offset] - counters.kept[value.offset])
        return sum + spec.shape.reduce(1, *) * spec.dtype.byteSize
      } + engine.carried.reduce(0) { $0 + $1.shape.reduce(1, *) * $1.dtype.byteSize }
  }

  /// A stream at its beginning; streams share the weights and what is compiled.
  public func makeStream() throws -> TensorStream { try TensorStream(self) }

  /// The plan's numbers, and a line for each operation that keeps or delays anything.
  public var description: String {
    var lines = [
      "block \(blockSize), output ratio \(outputRatio), latency \(latency) outputs, look-ahead \(lookahead) inputs, "
        + "receptive field \(receptiveField) inputs, state \(stateBytes) bytes"
    ]
    for step in steps where step.held > 0 || step.delay != 0 || step.stateBytes > 0 {
      lines.append(
        "\(step.operation)\(step.path.isEmpty ? "" : " '\(step.path)'"): rate \(step.rate), delay \(step.delay), "
          + "holds \(step.held) positions, \(step.stateBytes) bytes")
    }
    return lines.joined(separator: "\n")
  }
}

/// Positions of each value for each position of the input.
struct StreamRates {
  /// Far more rounds than any delay takes to fill, as each is longer than the one before.
  static let mostRounds = 64

  private var rates: [Int: StreamPlan.Fraction] = [:]
  private(set) var blockSize = 1
  private(set) var patternSize = 1

  init(_ network: StreamNetwork) {
    rates[network.input] = StreamPlan.Fraction(1, 1)
    for node in network.nodes {
      let rate = rates[node.inputs[node.timed]] ?? StreamPlan.Fraction(1, 1)
      let own: StreamPlan.Fraction
      switch node.kind {
      case .blocks(let from, let to, _, _): own = StreamPlan.Fraction(rate.numerator * to, rate.denominator * from)
      case .window(let window, _, _): own = StreamPlan.Fraction(rate.numerator, rate.denominator * window.stride)
      case .overlapAdd(let window, _): own = StreamPlan.Fraction(rate.numerator * window.stride, rate.denominator)
      case .state, .enclosed, .attention: own = rate
      }
      for output in node.outputs { rates[output] = own }
      blockSize = blockSize / gcd(blockSize, own.denominator) * own.denominator
    }
    // Attention that changes from query to query has a pattern of its own, and one of where pieces of keys begin.
    func extended(_ size: Int, _ multiple: (AttentionWindow) -> Int) -> Int {
      network.nodes.reduce(size) { size, node in
        guard case .attention(let attention) = node.kind else { return size }
        let rate = self[node.outputs[0]]
        let positions = size / rate.denominator * rate.numerator
        let multiple = multiple(attention.window)
        return size * (multiple / gcd(multiple, positions))
      }
    }
    blockSize = extended(blockSize) { $0.period }
    patternSize = extended(blockSize) { _ in AttentionWindow.alignment }
  }

  subscript(_ value: Int) -> StreamPlan.Fraction { rates[value] ?? StreamPlan.Fraction(1, 1) }
}

/// Which input positions an output position reads, in the middle of a stream.
struct StreamField {
  /// Of each output position of a block, from the first to the last, counted from its own; nil if it reads none.
  private(set) var phases: [ClosedRange<Int>?] = []

  init(
    _ network: StreamNetwork, _ rates: StreamRates, _ counters: StreamCounters, _ counting: StreamCounting
  ) throws {
    let output = network.outputs[0]
    let ratio = rates[output]
    // Far from both ends, at a multiple of the block.
    let block = rates.blockSize
    let middle = (counters.known[0] / 2 + (1 << 20)) / block * block
    let first = middle / ratio.denominator * ratio.numerator
    let phases = min(max(1, block * ratio.numerator / ratio.denominator), 1 << 14)
    for phase in 0..<phases {
      var read: [Int: RangeSet<Int>] = [output: RangeSet(first + phase..<first + phase + 1)]
      for node in network.nodes.reversed() {
        var wanted = RangeSet<Int>()
        for value in node.outputs { wanted.formUnion(read[value] ?? RangeSet()) }
        guard !wanted.isEmpty else { continue }
        let positions = Self.read(node, wanted)
        for (operand, value) in node.inputs.enumerated() where node.axes[operand] != nil {
          read[value, default: RangeSet()].formUnion(node.isQuery(operand) ? wanted : positions)
        }
      }
      guard let ranges = read[network.input]?.ranges, let low = ranges.first?.lowerBound,
        let high = ranges.last?.upperBound
      else {
        self.phases.append(nil)
        continue
      }
      let own = middle + phase * ratio.denominator / ratio.numerator
      self.phases.append(low - own...high - 1 - own)
    }
  }

  /// The positions of a node's input that some of its results read.
  private static func read(_ node: StreamNode, _ wanted: RangeSet<Int>) -> RangeSet<Int> {
    var positions = RangeSet<Int>()
    for range in wanted.ranges { add(node, range, to: &positions) }
    return positions
  }

  private static func add(_ node: StreamNode, _ wanted: Range<Int>, to positions: inout RangeSet<Int>) {
    func add(_ first: Int, _ end: Int) { positions.insert(contentsOf: first..<end) }
    switch node.kind {
    case .blocks(let from, let to, let reach, _):
      add(
        (floorDivide(wanted.lowerBound, to) - reach) * from, (floorDivide(wanted.upperBound - 1, to) + reach + 1) * from
      )
    case .window(let window, _, _) where window.dilation == 1 && window.extent >= window.stride:
      add(
        wanted.lowerBound * window.stride - window.low,
        (wanted.upperBound - 1) * window.stride - window.low + window.span)
    case .window(let window, _, _):
      for tap in 0..<window.extent {
        let shift = tap * window.dilation - window.low
        if window.stride == 1 {
          add(wanted.lowerBound + shift, wanted.upperBound + shift)
        } else {
          for result in wanted { add(result * window.stride + shift, result * window.stride + shift + 1) }
        }
      }
    case .overlapAdd(let window, _) where window.dilation == 1:
      let first = ceilDivide(wanted.lowerBound + window.low - window.span + 1, window.stride)
      let last = floorDivide(wanted.upperBound - 1 + window.low, window.stride)
      if first <= last { add(first, last + 1) }
    case .overlapAdd(let window, _):
      for result in wanted {
        for tap in 0..<window.extent {
          let position = result + window.low - tap * window.dilation
          let input = floorDivide(position, window.stride)
          if input * window.stride == position { add(input, input + 1) }
        }
      }
    // All before, of which the first is not known; only the look-ahead is.
    case .state: add(wanted.lowerBound, wanted.upperBound)
    case .enclosed(let before, _): add(wanted.lowerBound - before, wanted.upperBound - before)
    case .attention(let attention):
      let window = attention.window
      for query in wanted {
        add(query + window.first[query % window.period], query + window.last[query % window.period] + 1)
      }
    }
  }
}
