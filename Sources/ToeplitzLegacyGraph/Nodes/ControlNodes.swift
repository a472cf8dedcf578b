import ToeplitzOps
import ToeplitzTensor

/// One of two graphs, chosen by a truth value.
public struct IfNode: GraphOperation {
  private let whenTrue: Program
  private let whenFalse: Program
  /// `If`.
  public var name: String { "If" }

  /// A choice between two graphs without inputs.
  public init(then whenTrue: Program, else whenFalse: Program) {
    self.whenTrue = whenTrue
    self.whenFalse = whenFalse
  }

  /// What both graphs read.
  public var captures: [ValueID] { (whenTrue.captures + whenFalse.captures).map(\.outer) }

  /// Computes the chosen graph.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let condition = try (inputs.first ?? nil).required(name, 0).truth(name)
    return try (condition ? whenTrue : whenFalse).run([], context)
  }
}

/// A graph computed again and again.
///
/// Operands are the number of rounds, whether to begin, and the values handed from round to round. The body gets the
/// round's number, the condition and these values; it gives the next condition, the next values, and then what is
/// collected, one slice a round.
public struct LoopNode: GraphOperation {
  private let body: Program
  /// `Loop`.
  public var name: String { "Loop" }
  /// More rounds than this are refused: a few bytes of a file can ask for any number.
  private static let mostRounds = 1 << 17

  /// A loop of the given body.
  public init(body: Program) { self.body = body }

  /// What the body reads.
  public var captures: [ValueID] { body.captures.map(\.outer) }

  /// Computes the loop.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let carried = max(0, inputs.count - 2)
    let ports = body.graph.outputs
    guard body.graph.inputs.count == carried + 2, ports.count >= carried + 1 else {
      throw ToeplitzError(
        .argument, name, expected: "a body of \(carried + 2) inputs and at least \(carried + 1) outputs",
        got: "\(body.graph.inputs.count) and \(ports.count)")
    }
    let rounds = try inputs.first.flatMap { $0 }.map { try $0.cast(to: .int64).reshaped([]).item(Int64.self) } ?? .max
    var goesOn = try (inputs.count > 1 ? inputs[1] : nil)?.truth(name) ?? true
    var values = try (0..<carried).map { try inputs[$0 + 2].required(name, $0 + 2) }
    var collected = [[Tensor]](repeating: [], count: ports.count - carried - 1)
    var round: Int64 = 0
    while round < rounds, goesOn {
      guard round < Self.mostRounds else {
        throw ToeplitzError(.argument, name, expected: "at most \(Self.mostRounds) rounds", got: "more")
      }
      let results = try body.run([Tensor(scalar: round), Tensor(scalar: goesOn)] + values, context)
      goesOn = try results[0].truth(name)
      values = Array(results[1..<(carried + 1)])
      for index in collected.indices { collected[index].append(results[carried + 1 + index]) }
      round += 1
    }
    return values
      + (try collected.enumerated().map { index, slices in
        try slices.isEmpty ? Self.nothing(ports[carried + 1 + index]) : Tensor.stacked(slices)
      })
  }

  /// No slices of what a port describes.
  private static func nothing(_ port: PortDescription) throws -> Tensor {
    let sizes = (port.dimensions ?? []).map { if case .fixed(let size) = $0 { size } else { 0 } }
    return try Tensor.zeros(Shape([0] + sizes), dtype: port.dtype ?? .float32)
  }
}

/// A graph computed for each slice of some tensors.
///
/// Operands are the values handed from slice to slice, then the tensors that are cut.
public struct ScanNode: GraphOperation {
  private let body: Program
  private let count: Int
  private let axes: [Int]
  private let reversed: [Bool]
  private let resultAxes: [Int]
  private let resultReversed: [Bool]
  /// `Scan`.
  public var name: String { "Scan" }

  /// A scan over `count` tensors; lists may be empty, which stands for axis 0 and forwards.
  public init(
    body: Program, count: Int, axes: [Int] = [], reversed: [Bool] = [], resultAxes: [Int] = [],
    resultReversed: [Bool] = []
  ) {
    self.body = body
    self.count = count
    self.axes = axes
    self.reversed = reversed
    self.resultAxes = resultAxes
    self.resultReversed = resultReversed
  }

  /// What the body reads.
  public var captures: [ValueID] { body.captures.map(\.outer) }

  /// Computes the scan.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    let carried = (1...max(1, inputs.count)).contains(count) ? inputs.count - count : -1
    guard carried >= 0, body.graph.inputs.count == inputs.count, body.graph.outputs.count >= carried else {
      throw ToeplitzError(
        .argument, name, expected: "a body for \(inputs.count) operands", got: "\(body.graph.inputs.count)")
    }
    let all = try inputs.enumerated().map { try $1.required(name, $0) }
    var values = Array(all[..<carried])
    let cut = try all[carried...].enumerated().map { index, tensor in
      let axis = try tensor.shape.normalizedAxis(index < axes.count ? axes[index] : 0, operation: name)
      return (try index < reversed.count && reversed[index] ? tensor.flipped([axis]) : tensor, axis)
    }
    let length = cut[0].0.shape[cut[0].1]
    guard cut.allSatisfy({ $0.0.shape[$0.1] == length }), length > 0 else {
      throw ToeplitzError(.shape, name, expected: "tensors of one length of at least 1", got: "\(length)")
    }
    var collected = [[Tensor]](repeating: [], count: body.graph.outputs.count - carried)
    for step in 0..<length {
      let results = try body.run(values + cut.map { try $0.0.select(axis: $0.1, step) }, context)
      values = Array(results[..<carried])
      for index in collected.indices { collected[index].append(results[carried + index]) }
    }
    return values
      + (try collected.enumerated().map { index, slices in
        let ordered = index < resultReversed.count && resultReversed[index] ? slices.reversed() : slices
        return try Tensor.stacked(ordered, axis: index < resultAxes.count ? resultAxes[index] : 0)
      })
  }
}

extension Tensor {
  /// The truth value of a tensor of one.
  func truth(_ operation: String) throws -> Bool {
    guard dtype == .bool, count == 1 else {
      throw ToeplitzError(.dtype, operation, expected: "one bool as condition", got: "\(spec)")
    }
    return try item(Bool.self)
  }
}
