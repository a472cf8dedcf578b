import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzTensor

/// A number of positions, or of milliseconds.
enum ChunkLength: ExpressibleByArgument {
  case positions(Int)
  case milliseconds(Double)

  init?(argument: String) {
    if let count = Int(argument), count >= 1 {
      self = .positions(count)
    } else if argument.hasSuffix("ms"), let time = Double(argument.dropLast(2)), time > 0, time < 1e6 {
      self = .milliseconds(time)
    } else {
      return nil
    }
  }

  /// The positions at a rate.
  func positions(rate: Int?) throws -> Int {
    switch self {
    case .positions(let count): return count
    case .milliseconds(let time):
      guard let rate else {
        throw ToeplitzError(.argument, "--chunk", expected: "--rate HZ, at which so many ms are positions", got: "none")
      }
      return max(1, Int((time * Double(rate) / 1000).rounded()))
    }
  }
}

/// The options of `toeplitz run` that stream a model.
struct StreamRunOptions: ParsableArguments {
  @Option(
    help: """
      Stream the model: give it so many positions of its one input at a time, and join what comes out. The result is that of the \
      whole, bit for bit; times of the pieces are printed. A model of single steps, which takes its state as inputs and gives it as \
      outputs, is run step by step instead. As 20ms it is that long at the rate of --rate.
      """)
  var chunk: ChunkLength?

  @Option(
    name: .customLong("state"),
    help:
      "With --chunk: a state of a model of single steps as INPUT=OUTPUT, where the names do not tell; may be repeated.")
  var states: [String] = []

  @Option(help: "With --chunk: positions before those of a step that a model of single steps gets again.")
  var context: Int?

  @Option(help: "With --chunk: the axis of the input that is time, of a model of single steps. (default: the last)")
  var timeAxis: Int?

  @Option(
    help: "With --chunk: new positions of each step, where the model leaves that open. (default: those of --chunk)")
  var block: Int?

  func validate() throws {
    if let block, block < 1 { throw ValidationError("--block must be at least 1, not \(block)") }
    if let context, context < 0 { throw ValidationError("--context must be at least 0, not \(context)") }
    guard chunk != nil || (states.isEmpty && context == nil && block == nil && timeAxis == nil) else {
      throw ValidationError("--state, --context, --block and --time-axis go with --chunk")
    }
    for state in states where pair(state) == nil { throw ValidationError("--state takes INPUT=OUTPUT, not \(state)") }
  }

  private func pair(_ text: String) -> StatePair? {
    guard let equals = text.lastIndex(of: "="), equals > text.startIndex else { return nil }
    return StatePair(input: String(text[..<equals]), output: String(text[text.index(after: equals)...]))
  }

  /// The states of a model that is to be streamed.
  func pairs(_ executable: Executable) throws -> [StatePair] {
    guard chunk != nil, executable.inputs.count > 1 || !states.isEmpty || executable.isStepModel else { return [] }
    return try executable.statePairs(named: states.compactMap(pair))
  }
}

extension Executable {
  /// Whether the file says that it is a model of single steps.
  fileprivate var isStepModel: Bool { metadata["stream.block"] != nil }
}

/// A model that gets its input piece by piece.
final class StreamedRun {
  private enum Kind {
    case plan(StreamPlan)
    /// A model of single steps, whose states are at their beginning.
    case steps(StepStream)
  }
  private let kind: Kind
  private let input: Tensor
  private let axis: Int
  private let chunk: Int
  /// The names of the outputs.
  let outputs: [String]
  /// Milliseconds of each piece of the fastest run.
  private var times: [Double] = []

  /// - Parameter rate: positions of sound a second.
  /// - Throws: ``ToeplitzError`` if the model cannot be streamed or its input is no tensor.
  init?(_ executable: Executable, _ values: [String: ModelValue], _ options: StreamRunOptions, rate: Int?) throws {
    guard let chunk = try options.chunk?.positions(rate: rate) else { return nil }
    self.chunk = chunk
    let states = try options.pairs(executable)
    guard !states.isEmpty || executable.isStepModel else {
      (kind, input) = try Self.plan(executable, values)
      axis = if case .plan(let plan) = kind { plan.timeAxis } else { 0 }
      outputs = executable.outputs.map(\.name)
      return
    }
    // Scalars and the like stay the same; the input is what is left.
    let given = values.compactMapValues(\.tensor)
    let open = executable.inputs.filter { port in
      !states.contains { $0.input == port.name } && given[port.name].map { $0.rank > 0 } ?? true
    }
    guard open.count == 1, let port = open.first, let input = given[port.name] else {
      throw ToeplitzError(
        .argument, "--chunk", expected: "one input along time beside states",
        got: open.isEmpty ? "none" : open.map { "'\($0.name)'" }.joined(separator: ", "))
    }
    var step = StepStream.Options()
    step.states = states
    step.context = options.context ?? 0
    let axis = options.timeAxis ?? executable.metadata["stream.axis"].flatMap { Int($0) } ?? input.rank - 1
    guard input.shape.indices.contains(axis) else {
      throw ToeplitzError(.argument, "--time-axis", expected: "an axis of \(input.spec)", got: "\(axis)")
    }
    step.timeAxis = axis
    step.values = given.filter { $0.key != port.name }
    if let sizes = port.dimensions, sizes.indices.contains(axis), case .fixed = sizes[axis] {
      step.block = options.block
    } else {
      step.block = options.block ?? chunk
    }
    let stream = try executable.stepStream(options: step)
    (kind, self.input, outputs) = (.steps(stream), input, stream.outputs)
    self.axis = axis
  }

  private static func plan(
    _ executable: Executable, _ values: [String: ModelValue]
  ) throws -> (Kind, Tensor) {
    guard let name = executable.inputs.first?.name, let input = values[name]?.tensor else {
      throw ToeplitzError(.argument, "--chunk", expected: "a model of one input that is a tensor", got: "another")
    }
    var sizes: [Int?] = input.shape.dimensions
    // Time is the last axis that the model leaves open.
    guard
      let axis = executable.inputs[0].dimensions.map({ dimensions in
        dimensions.lastIndex { if case .fixed = $0 { false } else { true } }
      }) ?? (input.rank - 1)
    else {
      throw ToeplitzError(
        .argument, "--chunk", expected: "an input of open length", got: executable.inputs[0].description)
    }
    sizes[axis] = nil
    return (.plan(try executable.streamPlan(shape: sizes)), input)
  }

  /// The outputs, joined.
  func run() throws -> [Tensor] {
    var pieces: [[Tensor]] = []
    var spent: [Double] = []
    let clock = ContinuousClock()
    func pushAll(_ push: (Tensor) throws -> [Tensor]) throws {
      for first in stride(from: 0, to: input.shape[axis], by: chunk) {
        let piece = try input.slice(axis: axis, first..<min(first + chunk, input.shape[axis]))
        let start = clock.now
        pieces.append(try push(piece))
        spent.append((clock.now - start) / .milliseconds(1))
      }
    }
    var axes = outputs.indices.map { _ in 0 }
    switch kind {
    case .plan(let plan):
      var stream = try plan.makeStream()
      try pushAll { try stream.pushAll($0) }
      pieces.append(try stream.finishAll())
      axes = plan.outputAxes
    case .steps(var stream):
      try pushAll { try stream.pushAll($0) }
      pieces.append(try stream.finishAll())
      // What no step has made yet may be of another shape.
      let made = pieces.filter { piece in piece.allSatisfy { $0.count > 0 } }
      if !made.isEmpty { pieces = made }
      axes = zip(outputs, pieces[0]).map { stream.outputAxis($1.rank, of: $0) }
    }
    if times.isEmpty || spent.reduce(0, +) < times.reduce(0, +) { times = spent }
    return try axes.enumerated().map { output, axis in
      try Tensor.concatenate(pieces.map { $0[output] }, axis: axis)
    }
  }

  /// The plan's numbers and the times of the pieces.
  var summary: String {
    let delays =
      switch kind {
      case .plan(let plan): "latency \(plan.latency) outputs, look-ahead \(plan.lookahead) inputs"
      case .steps(let stream):
        "steps of \(stream.block), states " + stream.states.map { "\($0.input) ← \($0.output)" }.joined(separator: ", ")
      }
    let spread = Spread(times)
    return String(
      format: "%d pieces of %d: median %.3f ms, 99 %% %.3f ms, worst %.3f ms; %@", times.count, chunk, spread.median,
      spread.late, spread.worst, delays)
  }
}
