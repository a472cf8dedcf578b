import ToeplitzTensor

/// How outputs depend on inputs along time, which a plan for streaming is derived from.
///
/// A rule also gives the operation for another padding or length, since a stream reproduces padding at its ends only.
public enum TimeRule: Sendable {
  /// Each position of `axis` of every output depends on the inputs' at the same position. `resized` gives the operation for
  /// another length where an attribute holds it.
  case pointwise(axis: Int, resized: (@Sendable (_ length: Int) -> any TensorOperation)? = nil)
  /// Each group of `from` positions of the input becomes a group of `to` positions of `axis` of the output, which also reads
  /// `reach` groups on either side; at the ends there are fewer. `resized` gives the operation for another length of the output.
  case blocks(
    from: Int, to: Int, reach: Int = 0, axis: Int, resized: @Sendable (_ length: Int) -> any TensorOperation)
  /// Position t of the output reads positions `t · stride + k · dilation − low` of the inputs, k from 0 to `extent` − 1.
  /// `repadded` is the operation with other padding; what it pads with is `mode`, whose zeros stand for the number `padding`; nil where
  /// windows at the ends have fewer positions instead.
  case window(
    AxisWindow, axis: Int, mode: PaddingMode = .zeros, padding: Double? = 0,
    repadded: @Sendable (_ low: Int, _ high: Int) throws -> any TensorOperation
  )
  /// Position i of the input adds to positions `i · stride + k · dilation − low`. `recropped` is the operation with other
  /// crops, negative ones being positions added.
  case overlapAdd(AxisWindow, axis: Int, recropped: @Sendable (_ low: Int, _ high: Int) throws -> any TensorOperation)
  /// Positions are computed one after the other. `stepped` is the operation that takes what is carried on as more operands,
  /// of the specifications `carried` (zeros at first), and gives it as more results.
  case state(axis: Int, carried: [TensorSpec], stepped: any TensorOperation)
  /// Every output position may depend on all positions of the axis, or their number.
  case whole(because: String)
}

/// What a rule of time is asked about.
public struct TimeCall: Sendable {
  /// The specifications of the operands.
  public let inputs: [TensorSpec]
  /// The axis of each operand that is time, nil where it has none; at least one has.
  public let axes: [Int?]
  /// The specifications of the results.
  public let outputs: [TensorSpec]

  /// A call about operands whose `axes` are time.
  public init(inputs: [TensorSpec], axes: [Int?], outputs: [TensorSpec]) {
    (self.inputs, self.axes, self.outputs) = (inputs, axes, outputs)
  }

  /// Whether only the first operand has time.
  public var isOfFirstAlone: Bool { axes[0] != nil && axes.dropFirst().allSatisfy { $0 == nil } }
}

extension TimeRule {
  /// The rule of an operation on pairs of elements with broadcasting: time must lie at the same place, counted from the
  /// end, in all operands that have it, and no other operand may change along it.
  static func broadcast(_ call: TimeCall) -> TimeRule {
    var place: Int?
    for (spec, axis) in zip(call.inputs, call.axes) {
      guard let axis else { continue }
      let fromEnd = spec.shape.rank - axis
      guard place == nil || place == fromEnd else {
        return .whole(because: "time lies on different axes of its operands")
      }
      place = fromEnd
    }
    guard let place else { return .whole(because: "no operand has time") }
    for (spec, axis) in zip(call.inputs, call.axes) {
      let (at, isTime) = (spec.shape.rank - place, axis != nil)
      if isTime
        ? spec.shape[at] == 1 && call.outputs[0].shape[call.outputs[0].shape.rank - place] != 1
        : at >= 0 && spec.shape[at] != 1
      {
        return .whole(because: "an operand without time changes along it")
      }
    }
    return .pointwise(axis: call.outputs[0].shape.rank - place)
  }

  /// The rule of an operation whose one input keeps its shape and mixes elements along some axes.
  static func pointwise(_ call: TimeCall, except mixed: [Int], because reason: String) -> TimeRule {
    guard call.isOfFirstAlone, let axis = call.axes[0] else {
      return .whole(because: "operands beside the first change along time")
    }
    let rank = call.inputs[0].shape.rank
    return mixed.contains { ($0 < 0 ? $0 + rank : $0) == axis } ? .whole(because: reason) : .pointwise(axis: axis)
  }
}
