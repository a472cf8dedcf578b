import ToeplitzTensor

/// Its operand, through which no gradient passes.
package struct StopGradient: TensorOperation {
  package init() {}

  package var name: String { "stopGradient" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return inputs
  }

  package var gradient: GradientRule { .zero }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension StopGradient: PairMove {}

/// Its operand, as a value that compilation does not merge with it.
///
/// What is computed of it once more stays apart from what was computed before, so that the latter can be forgotten.
package struct Recomputed: TensorOperation {
  /// Tells segments apart.
  package var segment: Int

  package init(segment: Int) { self.segment = segment }

  package var name: String { "recomputed" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    return inputs
  }

  package var gradient: GradientRule { .vjp { [try $0.dy] } }
  package func time(_ call: TimeCall) -> TimeRule { .broadcast(call) }
}

extension Tensor {
  /// The same values, through which no gradient passes: what they were computed of counts as constant.
  public func stopGradient() throws -> Tensor { isTraced ? try apply(StopGradient(), self) : self }
}

/// Runs `body`, whose intermediate values are computed again for its gradient instead of being kept.
///
/// Saves memory for time: of all that `body` computes only what it starts from and what others use stays (Chen et al.,
/// *Training Deep Nets with Sublinear Memory Cost*, 2016). Outside a gradient it changes nothing. The results are the same to
/// the bit. Of nested segments the outermost counts.
public func checkpointed<Result>(_ body: () throws -> Result) rethrows -> Result {
  guard let trace = Trace.running else { return try body() }
  let first = trace.beginSegment()
  defer { trace.endSegment(from: first) }
  return try body()
}
