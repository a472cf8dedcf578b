import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let control: [String: ValueMaker] = [
    "If": { node in
      let (whenTrue, whenFalse) = (try node.graph("then_branch"), try node.graph("else_branch"))
      return { x in try (x(0).truth(x.name) ? whenTrue : whenFalse)([], of: x) }
    },
    "Loop": { node in
      let body = try node.graph("body")
      return { try loop(body, $0) }
    },
  ]

  static let scans: [String: OperatorMaker] = [
    "Scan": { node in
      if node.opset < 9 {
        let rule = ScanRule(
          body: try node.graph("body"), count: try node.int("num_scan_inputs", 0), axes: [],
          reversed: (try node.ints("directions") ?? []).map { $0 != 0 }, resultAxes: [], resultReversed: [])
        return { try rule.scanBatch($0) }
      }
      let rule = ScanRule(
        body: try node.graph("body"), count: try node.int("num_scan_inputs", 0),
        axes: try node.ints("scan_input_axes") ?? [],
        reversed: (try node.ints("scan_input_directions") ?? []).map { $0 != 0 },
        resultAxes: try node.ints("scan_output_axes") ?? [],
        resultReversed: (try node.ints("scan_output_directions") ?? []).map { $0 != 0 })
      return { try rule.scan($0) }
    }
  ]

  /// More rounds than this are refused: a few bytes of a file can ask for any number.
  private static let mostRounds = 1 << 17

  /// A graph computed again and again.
  ///
  /// Operands are the number of rounds, whether to begin, and the values handed from round to round. The body gets the
  /// round's number, the condition and these values; it gives the next condition, the next values, and then what is
  /// collected, one slice a round.
  private static func loop(_ body: ONNXBody, _ x: Operands) throws -> [ModelValue?] {
    let carried = max(0, x.count - 2)
    guard body.inputCount == carried + 2, body.outputCount >= carried + 1 else {
      throw x.refuse(
        "a body of \(carried + 2) inputs and at least \(carried + 1) outputs",
        got: "\(body.inputCount) and \(body.outputCount)")
    }
    let rounds = try x.optional(0).map { try $0.cast(to: .int64).reshaped([]).item(Int64.self) } ?? .max
    var goesOn = try x.optional(1)?.truth(x.name) ?? true
    var values = try (0..<carried).map { try x.value($0 + 2) }
    var collected = [[Tensor]](repeating: [], count: body.outputCount - carried - 1)
    var round: Int64 = 0
    while round < rounds, goesOn {
      guard round < mostRounds else { throw x.refuse("at most \(mostRounds) rounds", got: "more") }
      let count = [ModelValue.tensor(try Tensor(scalar: round)), .tensor(try Tensor(scalar: goesOn))]
      let results = try body(count + values, of: x)
      goesOn = try results[0].tensor(x).truth(x.name)
      values = Array(results[1..<(carried + 1)])
      for index in collected.indices { collected[index].append(try results[carried + 1 + index].tensor(x)) }
      round += 1
    }
    return values
      + (try collected.enumerated().map { index, slices in
        .tensor(try slices.isEmpty ? nothing(body.source.outputs[carried + 1 + index]) : Tensor.stack(slices))
      })
  }

  /// No slices of what a port describes.
  private static func nothing(_ port: PortDescription) throws -> Tensor {
    let sizes = (port.dimensions ?? []).map { if case .fixed(let size) = $0 { size } else { 0 } }
    return try Tensor.zeros(TensorShape([0] + sizes), dtype: port.dtype ?? .float32)
  }
}

/// A graph computed for each slice of some tensors.
///
/// Operands are the values handed from slice to slice, then the tensors that are cut. Lists may be empty, which stands for
/// axis 0 and forwards.
private struct ScanRule: Sendable {
  var body: ONNXBody
  var count: Int
  var axes: [Int]
  var reversed: [Bool]
  var resultAxes: [Int]
  var resultReversed: [Bool]

  func scan(_ x: Operands) throws -> [Tensor?] {
    let carried = (1...max(1, x.count)).contains(count) ? x.count - count : -1
    guard carried >= 0, body.inputCount == x.count, body.outputCount >= carried else {
      throw x.refuse("a body for \(x.count) operands", got: "\(body.inputCount)")
    }
    let all = try x.all()
    var values = Array(all[..<carried])
    let cut = try all[carried...].enumerated().map { index, tensor in
      let axis = try tensor.shape.normalizedAxis(index < axes.count ? axes[index] : 0, operation: x.name)
      return (try index < reversed.count && reversed[index] ? tensor.flipped([axis]) : tensor, axis)
    }
    let length = cut[0].0.shape[cut[0].1]
    guard cut.allSatisfy({ $0.0.shape[$0.1] == length }), length > 0 else {
      throw x.refuse(.shape, "tensors of one length of at least 1", got: "\(length)")
    }
    var collected = [[Tensor]](repeating: [], count: body.outputCount - carried)
    for step in 0..<length {
      let slices = try cut.map { try $0.0.select(axis: $0.1, step) }
      let results = try body((values + slices).map { .tensor($0) }, of: x).map { try $0.tensor(x) }
      values = Array(results[..<carried])
      for index in collected.indices { collected[index].append(results[carried + index]) }
    }
    return values
      + (try collected.enumerated().map { index, slices in
        let ordered = index < resultReversed.count && resultReversed[index] ? slices.reversed() : slices
        return try Tensor.stack(ordered, axis: index < resultAxes.count ? resultAxes[index] : 0)
      })
  }
}

extension ScanRule {
  /// The first version: tensors have a batch axis first, and samples are scanned one by one.
  ///
  /// Operand 0 may hold how many slices each sample has; results are zero behind these.
  fileprivate func scanBatch(_ x: Operands) throws -> [Tensor?] {
    let all = try (1..<max(1, x.count)).map { try x($0) }
    guard let batch = all.first?.shape.first, batch > 0, all.allSatisfy({ $0.shape.first == batch }) else {
      throw x.refuse(.shape, "tensors of one batch size of at least 1", got: "others")
    }
    let lengths = try x.optionalInts(0)
    guard lengths.map({ $0.count == batch }) ?? true else { throw x.refuse("\(batch) lengths", got: "others") }
    let carried = all.count - count
    let samples = try (0..<batch).map { sample -> [Tensor] in
      var parts = try all.map { try $0.select(axis: 0, sample) }
      var rest = 0
      if let lengths {
        for index in parts.indices where index >= carried && parts[index].rank > 0 {
          let size = parts[index].shape[0]
          guard (1...max(1, size)).contains(lengths[sample]) else {
            throw x.refuse("lengths in 1...\(size)", got: "\(lengths[sample])")
          }
          rest = size - lengths[sample]
          parts[index] = try parts[index].slice(axis: 0, 0..<lengths[sample])
        }
      }
      var operands = Operands(name: x.name, values: parts.map { .tensor($0) })
      operands.captured = x.captured
      return try scan(operands).enumerated().compactMap { index, result in
        index < carried || rest == 0 ? result : try result?.padded([(0, 0, rest)])
      }
    }
    return try (samples.first ?? []).indices.map { index in try Tensor.stack(samples.map { $0[index] }) }
  }
}

extension ModelValue {
  /// The tensor that it must be.
  func tensor(_ x: Operands) throws -> Tensor {
    guard let tensor else { throw x.refuse("a tensor from the graph inside", got: description) }
    return tensor
  }
}

extension Tensor {
  /// The truth value of a tensor of one.
  fileprivate func truth(_ operation: String) throws -> Bool {
    guard dtype == .bool, count == 1 else {
      throw ToeplitzError(.dtype, operation, expected: "one bool as condition", got: "\(spec)")
    }
    return try item(Bool.self)
  }
}
