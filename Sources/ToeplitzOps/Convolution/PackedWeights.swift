import CToeplitzKernels
import Synchronization
import ToeplitzTensor

/// How rows are grouped into the blocks of one kernel.
enum BlockKind: Int, CaseIterable {
  /// 8 rows (4 or 1 where there are so few) by vectors of columns: for many positions.
  case narrow
  /// 32 rows as vectors by single columns: for few positions, where vectors of columns would be half empty.
  case wide

  /// Rows of a block for a group of `rows` rows.
  func blockRows(_ rows: Int) -> Int {
    switch self {
    case .narrow: rows == 1 ? 1 : rows <= 4 ? 4 : 8
    case .wide: 32
    }
  }
}

/// A weight and bias prepared for the kernels.
///
/// The order of the packed weight depends on the geometry and the kind of kernel alone, so one packing serves every
/// input size and instruction set; each kind is packed when it is first wanted.
package final class PackedWeights: Sendable {
  /// The correlations to compute.
  let stencil: ConvolutionStencil
  /// How weights are stored for the kernels that stream them.
  let storage: WeightStorage
  /// The bias in the type it is computed in.
  let bias: Tensor?
  /// The type that the kernels compute with.
  let type: DType
  // Holding the tensors keeps their memory shared, so writing one of them copies it first and the identity
  // comparison in `matches` cannot be fooled.
  private let source: (weight: Tensor, bias: Tensor?)
  private let factors: Tensor?
  /// Whether some weights of a transposed convolution are infinite or NaN (see ``TapwiseTranspose``).
  let hasNonFinite: Bool
  private let geometry: ConvolutionGeometry
  /// How the work is cut for the sizes seen last, directly and where fewer multiplications are allowed.
  let schedules = RecentPlans<ConvolutionSchedule>()
  let fastPlans = RecentPlans<ConvolutionPlan>()
  private let layouts = Lock<[PackedLayout?]>(BlockKind.allCases.map { _ in nil })
  /// Transformed weights, once they have been wanted; nil where they are not finite.
  private let transformed = Lock<[ToomCookWeights.Key: ToomCookWeights?]>([:])

  /// Prepares `weight`, of the geometry's weight shape, and `bias`, one value for each output channel.
  ///
  /// Both may be strided views. Half precision is computed in float32 and small integers in int32.
  ///
  /// - Parameter factors: what the float32 weights of each output channel are multiplied by, in float64.
  package init(
    _ geometry: ConvolutionGeometry, weight: Tensor, factors: Tensor? = nil, bias: Tensor?,
    storage: WeightStorage = .full
  ) throws {
    stencil = try ConvolutionStencil(geometry)
    self.geometry = geometry
    source = (weight, bias)
    self.factors = factors
    self.bias = try bias?.cast(to: weight.dtype.convolutionType)
    type = weight.dtype.convolutionType
    guard geometry.isTransposed || storage != .full else {
      (self.storage, hasNonFinite) = (.full, false)
      return
    }
    let converted = try Self.converted(weight, factors, geometry)
    self.storage = try storage.usable(for: converted)
    // Rounding to bfloat16 may overflow; int8 is for finite weights only.
    let stored = try self.storage == .bfloat16 ? self.storage.rounded(converted, geometry).weight : converted
    hasNonFinite = try geometry.isTransposed && stored.hasNonFinite()
  }

  /// The weight in the type it is computed in.
  ///
  /// It is made for each kind of kernel anew: kept beside what is packed it would take as much memory again.
  private static func converted(
    _ weight: Tensor, _ factors: Tensor?, _ geometry: ConvolutionGeometry
  ) throws -> Tensor {
    try factors.map { try geometry.scaled(weight, by: $0) } ?? weight.cast(to: weight.dtype.convolutionType)
  }

  /// The weight in the type it is computed in, rounded to what is stored, and for int8 the scale of each output channel.
  private func rounded() throws -> (weight: Tensor, scales: [Float]) {
    try storage.rounded(Self.converted(source.weight, factors, geometry), geometry)
  }

  /// The weight in the type it is computed in, rounded to what is stored.
  var weight: Tensor { get throws { try rounded().weight } }
  /// Bytes of an element of panels, sums and full weights.
  var elementSize: Int { type.byteSize }

  /// The weight in the order of one kind of kernel, packed now if it has not been before.
  func layout(_ kind: BlockKind) throws -> PackedLayout {
    try layouts.withLock { layouts in
      if let layout = layouts[kind.rawValue] { return layout }
      let rounded = try rounded()
      var layout = try PackedLayout(geometry, stencil, kind, weight: rounded.weight, bias: bias)
      if kind == .wide, storage != .full {
        layout = try PackedLayout(narrowing: layout, storage, scales: rounded.scales, name: geometry.name)
      }
      layouts[kind.rawValue] = layout
      Self.preparations.add(1, ordering: .relaxed)
      return layout
    }
  }

  /// The weights of a row group as a plan transforms them for one kind of kernel, transformed now if they have not been
  /// before; nil where they are not finite.
  func transformed(_ plan: ToomCookPlan, _ kind: BlockKind, rowGroup index: Int) throws -> ToomCookWeights? {
    try transformed.withLock { transformed in
      let key = ToomCookWeights.Key(rowGroup: index, transform: plan.kind.rawValue, kind: kind)
      if let weights = transformed[key] { return weights }
      let weights = try ToomCookWeights(
        plan, kind, geometry, stencil, group: stencil.rowGroups[index], weight: weight, bias: bias)
      transformed[key] = .some(weights)
      Self.preparations.add(1, ordering: .relaxed)
      return weights
    }
  }

  private static let preparations = Atomic(0)
  /// How often a weight of the process has been brought into another order.
  package static var preparationCount: Int { preparations.load(ordering: .relaxed) }

  /// Bytes held beside the tensors.
  package var byteCount: Int {
    layouts.withLock { $0.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
      + transformed.withLock { $0.values.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
  }

  /// Whether this was packed from the very same values.
  package func matches(weight: Tensor, bias: Tensor?) -> Bool {
    guard source.weight.isSameView(as: weight) else { return false }
    guard let bias, let own = source.bias else { return bias == nil && source.bias == nil }
    return own.isSameView(as: bias)
  }
}

/// Keeps the prepared weight of a layer for as long as the layer's weight and bias stay the same values.
package final class PackedWeightsCache: Sendable {
  /// A prepared weight and how convolutions with it are computed, for the sizes seen last.
  struct Kept: Sendable {
    let packed: PackedWeights
    let runs = IdleObjects<ConvolutionRun>(limit: 8)
    /// Residual units that begin with it.
    let units = IdleObjects<ResidualUnitRun>(limit: 8)
  }
  private let state = Lock((kept: Kept?.none, storage: WeightStorage.full))

  /// An empty cache.
  package init() {}

  /// How weights are stored; preparing them anew waits for the next call.
  package var storage: WeightStorage {
    get { state.withLock { $0.storage } }
    set { state.withLock { if $0.storage != newValue { $0 = (nil, newValue) } } }
  }

  /// Bytes held beside the tensors.
  package var byteCount: Int { state.withLock { $0.kept?.packed.byteCount ?? 0 } }

  /// The prepared weight, prepared now if these values have not been before.
  ///
  /// - Parameter factors: what the weights of each output channel are multiplied by; the same in every call.
  func packed(
    _ geometry: ConvolutionGeometry, weight: Tensor, factors: Tensor? = nil, bias: Tensor?
  ) throws -> Kept {
    try state.withLock { state in
      if let kept = state.kept, kept.packed.matches(weight: weight, bias: bias) { return kept }
      let kept = Kept(
        packed: try PackedWeights(geometry, weight: weight, factors: factors, bias: bias, storage: state.storage))
      state.kept = kept
      return kept
    }
  }
}

/// Where the values of a weight tensor lie: distances in elements.
struct WeightView {
  /// Between output channels, input channels and convolution groups.
  let output: Int
  let input: Int
  let group: Int
  private let kernel: [Int]

  init(_ weight: Tensor, _ geometry: ConvolutionGeometry, _ stencil: ConvolutionStencil) {
    let strides = weight.strides
    (output, input) = geometry.isTransposed ? (strides[1], strides[0]) : (strides[0], strides[1])
    group = geometry.isTransposed ? stencil.channels * input : stencil.outputs * output
    kernel = Array(repeating: 0, count: 3 - geometry.rank) + strides[2...]
  }

  /// For each phase and tap of a row group, how far its weight lies from that of kernel index 0.
  func taps(_ group: RowGroup) -> [[Int]] {
    (0..<group.phaseCount).map { phase in
      let at = group.phaseIndices(phase)
      let (d, h, w) = (
        group.axes[0].kernelIndex[at.d], group.axes[1].kernelIndex[at.h], group.axes[2].kernelIndex[at.w]
      )
      return d.flatMap { kd in h.flatMap { kh in w.map { kd * kernel[0] + kh * kernel[1] + $0 * kernel[2] } } }
    }
  }
}

extension DType {
  /// The kernels' name of a type that they read and write; other types are converted first.
  var kernelType: tz_type {
    switch self {
    case .float64: TZ_F64
    case .float16: TZ_F16
    case .bfloat16: TZ_BF16
    case .int64, .uint64: TZ_I64
    case .int32, .uint32, .int8, .uint8, .int16, .uint16, .bool: TZ_I32
    default: TZ_F32
    }
  }

  /// The type that a convolution of this type reads and writes: half precision is widened and rounded on the way.
  var convolutionStorage: DType { self == .float16 || self == .bfloat16 ? self : convolutionType }

  /// The type in which a convolution of this type is computed.
  package var convolutionType: DType {
    switch self {
    case .float32, .float64, .int32, .int64: self
    case .uint64: .int64
    case .int8, .uint8, .int16, .uint16, .uint32, .bool: .int32
    default: .float32
    }
  }
}
