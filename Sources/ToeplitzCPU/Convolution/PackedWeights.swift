import CToeplitzKernels
import ToeplitzOps
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
  /// The weight's memory, which holds what is packed of it and so must not be held by that.
  ///
  /// Who packs has the weight among the operands.
  private unowned let weightStorage: Storage
  private let weightView: TensorView
  // Holding these keeps their memory shared, so writing one of them copies it first and the identity comparison in
  // `matches` cannot be fooled.
  private let sourceBias: Tensor?
  private let biasView: TensorView?
  private let factors: Tensor?
  /// Whether some weights of a transposed convolution are infinite or NaN (see ``TapwiseTranspose``).
  let hasNonFinite: Bool
  let geometry: ConvolutionGeometry
  /// How the work is cut.
  let plans: GeometryPlans
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
    self.geometry = geometry
    weightStorage = weight.storage
    weightView = TensorView(weight)
    sourceBias = bias?.storage === weight.storage ? nil : bias
    biasView = bias.map { TensorView($0) }
    self.factors = factors
    let converted = try bias?.cast(to: weight.dtype.convolutionType)
    self.bias = try converted?.storage === weight.storage ? converted?.copied() : converted
    type = weight.dtype.convolutionType
    let size = type.byteSize
    guard geometry.isTransposed || storage != .full else {
      (self.storage, hasNonFinite) = (.full, false)
      plans = try GeometryPlans.of(geometry, elementSize: size, wideWeightSize: size)
      stencil = plans.stencil
      return
    }
    let values = try Self.converted(weight, factors, geometry)
    self.storage = try storage.usable(for: values)
    plans = try GeometryPlans.of(geometry, elementSize: size, wideWeightSize: self.storage.byteSize(of: size))
    stencil = plans.stencil
    // Rounding to bfloat16 may overflow; int8 is for finite weights only.
    let stored = try self.storage == .bfloat16 ? self.storage.rounded(values, geometry).weight : values
    hasNonFinite = try TapwiseTranspose.mayReadOutside(geometry) && stored.hasNonFinite()
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
    try storage.rounded(Self.converted(weightView.tensor(in: weightStorage), factors, geometry), geometry)
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
      weightStorage.forgetFilePages()
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
      weightStorage.forgetFilePages()
      return weights
    }
  }

  /// Bytes held beside the tensors.
  package var byteCount: Int {
    layouts.withLock { $0.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
      + transformed.withLock { $0.values.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
  }

  /// Whether this was packed with the very same bias and factors.
  fileprivate func matches(bias: Tensor?, factors: Tensor?) -> Bool {
    let isSameBias =
      switch (bias, biasView) {
      case (nil, nil): true
      case (let bias?, let view?): bias.storage === (sourceBias?.storage ?? weightStorage) && TensorView(bias) == view
      default: false
      }
    guard isSameBias else { return false }
    guard let factors, let own = self.factors else { return factors == nil && self.factors == nil }
    return own.isSameView(as: factors)
  }
}

/// How long weights keep their values.
package enum WeightUse {
  /// Whether they are about to change, as those of a step of training, so that nothing that is made of them is kept.
  @TaskLocal package static var isTransient = false
}

/// The packed forms of one weight, held by the weight's storage.
final class WeightPackings: PreparedValue {
  /// Which part of the storage the weight is, and how it is stored.
  private struct Key: Hashable, Sendable {
    var view: TensorView
    var storage: WeightStorage
  }

  /// A prepared weight and how convolutions with it are computed, for the sizes seen last.
  struct Kept: Sendable {
    let packed: PackedWeights
    let runs = IdleObjects<ConvolutionRun>(limit: 8)
    /// Residual units that begin with it.
    let units = IdleObjects<ResidualUnitRun>(limit: 8)
  }
  /// Padding that depends on the input's size makes several geometries of one weight; there are few of them, or the one
  /// used longest ago goes.
  private static let mostGeometries = 4

  /// At most one for each geometry, that of the newest bias; the one used last stands last.
  private let kept = Lock<[Kept]>([])

  private init() {}

  /// Bytes held beside the tensors.
  var byteCount: Int { kept.withLock { $0.reduce(0) { $0 + $1.packed.byteCount } } }

  /// The prepared weight, prepared now if these values have not been before.
  ///
  /// - Parameters:
  ///   - factors: what the float32 weights of each output channel are multiplied by, in float64.
  ///   - storage: how weights are stored.
  static func packed(
    _ geometry: ConvolutionGeometry, weight: Tensor, factors: Tensor? = nil, bias: Tensor?,
    storage: WeightStorage = .full
  ) throws -> Kept {
    func make() throws -> Kept {
      Kept(packed: try PackedWeights(geometry, weight: weight, factors: factors, bias: bias, storage: storage))
    }
    if WeightUse.isTransient { return try make() }
    let key = Key(view: TensorView(weight), storage: storage)
    return try weight.storage.prepared(key) { WeightPackings() }.kept.withLock { kept in
      if let index = kept.lastIndex(where: { $0.packed.geometry == geometry }) {
        let found = kept.remove(at: index)
        if found.packed.matches(bias: bias, factors: factors) {
          kept.append(found)
          return found
        }
      }
      let made = try make()
      kept.append(made)
      if kept.count > mostGeometries { kept.removeFirst() }
      return made
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
