import Synchronization
import ToeplitzOps
import ToeplitzTensor

/// A batch normalisation of any rank.
protocol BatchNormLayer: UnaryLayer {
  var spatialRank: Int { get }
  var weight: Parameter? { get }
  var bias: Parameter? { get }
  var runningMean: Parameter? { get }
  var runningVar: Parameter? { get }
  var numFeatures: Int { get }
  var eps: Double { get }
  /// Whether nobody has derived from the layer, so that its value is known without calling it.
  var isPlain: Bool { get }
}

extension BatchNorm: BatchNormLayer {
  var spatialRank: Int { Rank.count }
  var isPlain: Bool { type(of: self) == BatchNorm<Rank>.self }
}

/// Weight and bias of a convolution with the batch normalisation that follows it multiplied in.
final class FoldedNorm {
  private let norm: any BatchNormLayer
  /// What it was made of; holding the tensors keeps their memory from being written in place.
  private let sources: [Tensor?]
  /// How many changes there had been when the sources last were those of the layers.
  private let confirmed: Atomic<Int>
  let weight: Tensor
  let bias: Tensor

  /// `weight · s` and `(bias − mean) · s + β` for each output channel, where `s = γ / √(variance + eps)`, computed in
  /// double precision.
  ///
  /// - Parameter changes: how many there had been before the sources were looked up.
  init(_ geometry: ConvolutionGeometry, _ norm: any BatchNormLayer, sources: [Tensor?], changes: Int) throws {
    self.norm = norm
    self.sources = sources
    confirmed = Atomic(changes)
    func wide(_ index: Int) throws -> Tensor? { try sources[index]?.cast(to: .float64) }
    let channels: Shape = [geometry.outChannels]
    let mean = try wide(2) ?? Tensor.zeros(channels, dtype: .float64)
    let variance = try wide(3) ?? Tensor.ones(channels, dtype: .float64)
    let scale = try (wide(4) ?? Tensor.ones(channels, dtype: .float64)) / (variance + norm.eps).squareRoot()
    let start = try wide(1) ?? Tensor.zeros(channels, dtype: .float64)
    let shift = try (start - mean) * scale + (wide(5) ?? Tensor.zeros(channels, dtype: .float64))
    // A transposed weight is [in, out / groups, k…]: output channel g · out / groups + o is row o of group g's inputs.
    let taps = geometry.kernelSize.reduce(1, *)
    let groups = geometry.isTransposed ? geometry.groups : 1
    let rows = geometry.outChannels / groups
    let columns = geometry.isTransposed ? geometry.inChannels / groups : 1
    let width = geometry.isTransposed ? taps : geometry.inChannels / geometry.groups * taps
    let dtype = sources[0]?.dtype ?? .float32
    let scaled =
      try (wide(0) ?? Tensor.zeros(geometry.weightShape, dtype: .float64))
      .reshaped([groups, columns, rows, width]) * scale.reshaped([groups, 1, rows, 1])
    weight = try scaled.reshaped(geometry.weightShape).cast(to: dtype)
    bias = try shift.cast(to: dtype)
  }

  /// Whether it was made of this normalisation, and nothing at all has changed since.
  func isUnchanged(_ norm: any BatchNormLayer) -> Bool {
    self.norm === norm && confirmed.load(ordering: .relaxed) == ModuleChanges.count
  }

  /// Whether it was made of this normalisation and these very values.
  ///
  /// - Parameter changes: how many there had been before the values were looked up.
  func matches(_ norm: any BatchNormLayer, _ others: [Tensor?], changes: Int) -> Bool {
    let isSame =
      self.norm === norm
      && zip(sources, others).allSatisfy { own, other in
        guard let own, let other else { return own == nil && other == nil }
        return own.isSameView(as: other)
      }
    if isSame { confirmed.store(changes, ordering: .relaxed) }
    return isSame
  }
}

extension ConvolutionLayer {
  /// Whether what follows an output can be computed with it to the same value: half precision would be rounded between
  /// the two, and a layer that somebody has derived from may do something else.
  var fusesWhatFollows: Bool {
    guard isPlain else { return false }
    let dtype = weight.dtype
    return dtype == .float32 || dtype == .float64
  }

  /// Weight and bias, with `norm` folded into them if there is one; nil if it cannot be.
  func values(_ x: Tensor, _ norm: (any BatchNormLayer)?) throws -> (weight: Tensor, bias: Tensor?)? {
    guard let norm else { return (try weight.value(), bias?.value) }
    return try folded(x, norm).map { ($0.weight, $0.bias) }
  }

  /// The convolution with `norm` folded into weight and bias, if `norm` in its present mode can be.
  func folded(_ x: Tensor, _ norm: any BatchNormLayer) throws -> FoldedNorm? {
    if let foldedNorm, foldedNorm.isUnchanged(norm), x.rank == geometry.rank + 2 { return foldedNorm }
    let changes = ModuleChanges.count
    let dtype = weight.dtype
    // What does not fit is left to the normalisation to refuse.
    guard !norm.isTraining, let mean = norm.runningMean?.value, let variance = norm.runningVar?.value,
      norm.isPlain, fusesWhatFollows, layout == .channelsFirst, x.rank == geometry.rank + 2,
      norm.spatialRank == geometry.rank, norm.numFeatures == geometry.outChannels,
      [norm.weight, norm.bias].allSatisfy({ $0.map { $0.value.dtype == dtype } ?? true })
    else { return nil }
    let sources = [try weight.value(), bias?.value, mean, variance, norm.weight?.value, norm.bias?.value]
    if let foldedNorm, foldedNorm.matches(norm, sources, changes: changes) { return foldedNorm }
    let made = try FoldedNorm(geometry, norm, sources: sources, changes: changes)
    foldedNorm = made
    return made
  }

  func normalized(
    _ x: Tensor, _ norm: any BatchNormLayer, _ epilogue: Epilogue, adding residuals: [Tensor] = []
  ) throws -> Tensor {
    guard let folded = try folded(x, norm) else {
      let first = Epilogue(inputSlope: epilogue.inputSlope)
      return try epilogue.finish(norm(epilogue.inputSlope == 1 ? self(x) : self(x, epilogue: first)), adding: residuals)
    }
    let y = try observed(x) {
      try compute(geometry, x, epilogue, weight: folded.weight, bias: folded.bias, adding: residuals)
    }
    norm.heard(y, y)
    return y
  }
}

extension Conv {
  /// The convolution of `x`, normalised: `norm(self(x))`, in evaluation in one pass.
  ///
  /// In evaluation mode the normalisation is multiplied into weight and bias (once for each set of values, in double
  /// precision) and costs nothing any more. In training it is computed by itself.
  ///
  /// ``Sequential`` does this to every batch normalisation that follows a convolution.
  ///
  /// - Throws: ``ToeplitzError`` if `x` or `norm` does not fit.
  public func callAsFunction(_ x: Tensor, normalizedBy norm: BatchNorm<Rank>) throws -> Tensor {
    try normalized(x, norm, Epilogue())
  }

  /// The same together with what can be computed in the same pass after the normalisation.
  package func callAsFunction(
    _ x: Tensor, normalizedBy norm: BatchNorm<Rank>, epilogue: Epilogue, adding residuals: [Tensor] = []
  ) throws -> Tensor {
    try normalized(x, norm, epilogue, adding: residuals)
  }
}

extension ConvTranspose {
  /// The transposed convolution of `x`, normalised: `norm(self(x))`, in evaluation in one pass.
  ///
  /// As for ``Conv``.
  public func callAsFunction(_ x: Tensor, normalizedBy norm: BatchNorm<Rank>) throws -> Tensor {
    try normalized(x, norm, Epilogue())
  }
}
