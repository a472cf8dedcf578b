import ToeplitzGraph

/// The numbers of a plan, as `toeplitz inspect --stream --json` prints them.
struct StreamSummary: Encodable {
  var blockSize: Int
  /// Numerator and denominator.
  var outputRatio: [Int]
  var latency: Int
  var lookahead: Int
  var receptiveField: Int
  /// First and last input position of each output position of a block, counted from its own; null if it reads none.
  var receptiveFields: [[Int]?]
  var stateBytes: Int
  var workPerStep: Double

  enum CodingKeys: String, CodingKey {
    case blockSize = "block"
    case outputRatio = "output_ratio"
    case latency, lookahead
    case receptiveField = "receptive_field"
    case receptiveFields = "receptive_fields"
    case stateBytes = "state_bytes"
    case workPerStep = "work_per_step"
  }

  init(_ plan: StreamPlan) {
    blockSize = plan.blockSize
    outputRatio = [plan.outputRatio.numerator, plan.outputRatio.denominator]
    (latency, lookahead) = (plan.latency, plan.lookahead)
    receptiveField = plan.receptiveField
    receptiveFields = plan.receptiveFields.map { $0.map { [$0.lowerBound, $0.upperBound] } }
    stateBytes = plan.stateBytes
    workPerStep = plan.workPerStep
  }
}
