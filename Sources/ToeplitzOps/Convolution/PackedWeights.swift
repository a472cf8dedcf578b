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
  /// How the work is cut for the sizes seen last.
  let plans = ConvolutionPlans()
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

/// A weight and bias in the order in which one kind of kernel reads them.
///
/// For each convolution group and row group the rows (output channels × phases) are cut into blocks; a block holds
/// `[channel][tap][row]`, the last block filled up with zeros.
final class PackedLayout: Sendable {
  /// The blocks of one convolution group and row group.
  struct Section {
    /// Rows of a block.
    var blockRows: Int
    /// Blocks.
    var blocks: Int
    /// Rows that exist.
    var rows: Int
    /// Elements before the first block.
    var weightOffset: Int
    /// Elements before the first start value.
    var startOffset: Int
  }

  /// Which kernels read it.
  let kind: BlockKind
  /// For each convolution group, for each row group.
  let sections: [[Section]]
  let stencil: ConvolutionStencil
  let weights: Storage
  let starts: Storage
  /// Bytes of a weight, and of a start value.
  let weightSize: Int
  let elementSize: Int
  /// How the weights are stored, and for int8 the factor of each row, numbered like the start values.
  let storage: WeightStorage
  let scales: Storage?

  init(
    _ geometry: ConvolutionGeometry, _ stencil: ConvolutionStencil, _ kind: BlockKind, weight: Tensor, bias: Tensor?
  ) throws {
    self.kind = kind
    self.stencil = stencil
    var weightCount = 0
    var startCount = 0
    sections = (0..<stencil.groups).map { _ in
      stencil.rowGroups.map { group in
        let rows = stencil.outputs * group.phaseCount
        let blockRows = kind.blockRows(rows)
        let blocks = (rows + blockRows - 1) / blockRows
        defer {
          weightCount += blocks * blockRows * stencil.channels * group.tapCount
          startCount += blocks * blockRows
        }
        return Section(
          blockRows: blockRows, blocks: blocks, rows: rows, weightOffset: weightCount, startOffset: startCount)
      }
    }
    elementSize = weight.dtype.byteSize
    weightSize = elementSize
    (storage, scales) = (.full, nil)
    // The kernels prefetch a little past the end.
    weights = try Storage(byteCount: weightCount * elementSize + 4096, operation: geometry.name)
    starts = try Storage(byteCount: startCount * elementSize, operation: geometry.name)
    if elementSize == 4 {
      pack(UInt32.self, geometry, weight, bias)
    } else {
      pack(UInt64.self, geometry, weight, bias)
    }
  }

  /// The same rows with weights in another form.
  init(_ other: PackedLayout, weights: Storage, weightSize: Int, storage: WeightStorage, scales: Storage?) {
    (kind, sections, stencil) = (other.kind, other.sections, other.stencil)
    (starts, elementSize) = (other.starts, other.elementSize)
    (self.weights, self.weightSize, self.storage, self.scales) = (weights, weightSize, storage, scales)
  }

  /// Bytes held.
  var byteCount: Int { weights.byteCount + starts.byteCount + (scales?.byteCount ?? 0) }

  /// The first weight of a section.
  func weightPointer(_ section: Section) -> UnsafeRawPointer {
    UnsafeRawPointer(weights.base + section.weightOffset * weightSize)
  }

  /// The first start value of a section.
  func startPointer(_ section: Section) -> UnsafeRawPointer {
    UnsafeRawPointer(starts.base + section.startOffset * elementSize)
  }

  /// `Bits` is an unsigned integer as wide as an element; packing only moves bits.
  ///
  /// The weight may lie anywhere, as it does in a file.
  private func pack<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ bits: Bits.Type, _ geometry: ConvolutionGeometry, _ weight: Tensor, _ bias: Tensor?
  ) {
    let view = WeightView(weight, geometry, stencil)
    let size = MemoryLayout<Bits>.size
    let target = weights.base.assumingMemoryBound(to: Bits.self)
    for (index, section) in sections.joined().enumerated() {
      let group = stencil.rowGroups[index % stencil.rowGroups.count]
      let base = UnsafeRawPointer(weight.elements) + (index / stencil.rowGroups.count) * view.group * size
      packSection(section, group, view.taps(group), base, view.output, view.input, target + section.weightOffset)
    }
    packStarts(bits, bias)
  }

  private func packSection<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ section: Section, _ group: RowGroup, _ taps: [[Int]], _ base: UnsafeRawPointer,
    _ outStride: Int, _ inStride: Int, _ target: UnsafeMutablePointer<Bits>
  ) {
    let phases = group.phaseCount
    let tapCount = group.tapCount
    let blockRows = section.blockRows
    let size = MemoryLayout<Bits>.size
    for block in 0..<section.blocks {
      let blockStart = target + block * blockRows * stencil.channels * tapCount
      if phases == 1, tapCount == 1, outStride < inStride {
        let rows = min(blockRows, section.rows - block * blockRows)
        let from = base + (block * blockRows * outStride + taps[0][0]) * size
        packColumns(rows, of: blockRows, from, outStride, inStride, blockStart)
        continue
      }
      for row in 0..<blockRows {
        let index = block * blockRows + row
        guard index < section.rows else {
          for at in 0..<(stencil.channels * tapCount) { blockStart[at * blockRows + row] = 0 }
          continue
        }
        taps[index % phases].withUnsafeBufferPointer { offsets in
          let from = base + (index / phases) * outStride * size
          for channel in 0..<stencil.channels {
            let to = blockStart + channel * tapCount * blockRows + row
            let channelStart = from + channel * inStride * size
            for tap in 0..<tapCount {
              to[tap * blockRows] = channelStart.loadUnaligned(fromByteOffset: offsets[tap] * size, as: Bits.self)
            }
          }
        }
      }
    }
  }

  /// A block of a weight whose rows lie closer together than its channels, such as a matrix seen transposed.
  private func packColumns<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ rows: Int, of blockRows: Int, _ base: UnsafeRawPointer, _ outStride: Int, _ inStride: Int,
    _ target: UnsafeMutablePointer<Bits>
  ) {
    let size = MemoryLayout<Bits>.size
    for channel in 0..<stencil.channels {
      let (from, to) = (base + channel * inStride * size, target + channel * blockRows)
      for row in 0..<rows { to[row] = from.loadUnaligned(fromByteOffset: row * outStride * size, as: Bits.self) }
      for row in rows..<blockRows { to[row] = 0 }
    }
  }

  private func packStarts<Bits: FixedWidthInteger>(_ bits: Bits.Type, _ bias: Tensor?) {
    let target = starts.base.assumingMemoryBound(to: Bits.self)
    for (groupIndex, group) in sections.enumerated() {
      for (section, rowGroup) in zip(group, stencil.rowGroups) {
        for row in 0..<(section.blocks * section.blockRows) {
          var value: Bits = 0
          if let bias, row < section.rows {
            let channel = groupIndex * stencil.outputs + row / rowGroup.phaseCount
            value = bias.pointer(Bits.self)[channel * bias.strides[0]]
          }
          target[section.startOffset + row] = value
        }
      }
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
