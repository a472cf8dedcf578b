import ToeplitzOps
import ToeplitzTensor

/// One axis of a group of output rows that share their taps.
///
/// Outputs are counted in positions m. A convolution has one phase: position m is output m and reads inputs
/// `m × stride + offset`. A transposed convolution with stride s has s phases f: position m of phase f is output
/// `m × s + f − paddingLow` and reads inputs `m + offset`, so it is a plain convolution for each phase (polyphase
/// decomposition: no zeros are inserted and nothing is scattered). Phases whose taps lie at the same offsets are
/// one group and share the loaded inputs.
struct AxisPhases: Hashable, Sendable {
  /// The phases f, ascending.
  var phases: [Int]
  /// For each tap, its input offset, in order of ascending kernel index.
  var offsets: [Int]
  /// For each phase and tap, the kernel index.
  var kernelIndex: [[Int]]
}

/// Output rows (channels × phases) that share the same taps; what one weight panel serves.
struct RowGroup: Sendable {
  /// The axes d, h, w.
  let axes: [AxisPhases]
  /// Taps of one row.
  let tapCount: Int
  /// Phases for each output channel.
  let phaseCount: Int

  init(axes: [AxisPhases]) {
    self.axes = axes
    tapCount = axes.reduce(1) { $0 * $1.offsets.count }
    phaseCount = axes.reduce(1) { $0 * $1.phases.count }
  }

  /// The phase indices on the axes d, h, w of phase `index`; the last axis varies fastest.
  func phaseIndices(_ index: Int) -> (d: Int, h: Int, w: Int) {
    let w = index % axes[2].phases.count
    let rest = index / axes[2].phases.count
    return (rest / axes[1].phases.count, rest % axes[1].phases.count, w)
  }

  /// Phase `index` on d, h, w, as the store function wants it.
  func phase(_ index: Int) -> (Int32, Int32, Int32) {
    let at = phaseIndices(index)
    return (Int32(axes[0].phases[at.d]), Int32(axes[1].phases[at.h]), Int32(axes[2].phases[at.w]))
  }
}

/// A geometry as the kernels see it: both directions as correlations over three axes, missing axes having size 1.
///
/// An object, because copies of its arrays' references would take as long as a small convolution.
final class ConvolutionStencil: Sendable {
  /// Input positions between neighbouring output positions, on d, h, w.
  let step: SIMD3<Int>
  /// Outputs between neighbouring output positions.
  let outStep: SIMD3<Int>
  /// What is subtracted from `m × outStep + phase` to give the output index.
  let outShift: SIMD3<Int>
  /// Groups of rows with the same taps.
  let rowGroups: [RowGroup]
  /// Convolution groups.
  let groups: Int
  /// Input channels of a group.
  let channels: Int
  /// Output channels of a group.
  let outputs: Int

  /// Whether each output reads the input of its own position and no other.
  let isPointwise: Bool

  /// Most phases (the product of the strides) of a transposed convolution: each costs memory when the weight is
  /// packed, whether taps reach it or not.
  private static let mostPhases = 1 << 22

  /// - Throws: ``ToeplitzError`` of kind `memory` for more phases, channels or taps than the kernels can count.
  init(_ geometry: ConvolutionGeometry) throws {
    try Self.checkCounts(geometry)
    let missing = 3 - geometry.rank
    func pad(_ values: [Int], _ filler: Int) -> [Int] { Array(repeating: filler, count: missing) + values }
    let kernel = pad(geometry.kernelSize, 1)
    let stride = pad(geometry.stride, 1)
    let dilation = pad(geometry.dilation, 1)
    let low = pad(geometry.paddingLow, 0)
    let ones: SIMD3 = [1, 1, 1]
    if geometry.isTransposed {
      step = ones
      outStep = SIMD3(stride)
      outShift = SIMD3(low)
    } else {
      step = SIMD3(stride)
      outStep = ones
      outShift = [0, 0, 0]
    }
    let axes = (0..<3).map { axis in
      geometry.isTransposed
        ? Self.transposedAxis(kernel: kernel[axis], stride: stride[axis], dilation: dilation[axis])
        : [Self.axis(kernel: kernel[axis], dilation: dilation[axis], low: low[axis])]
    }
    rowGroups = axes[0].flatMap { d in axes[1].flatMap { h in axes[2].map { w in RowGroup(axes: [d, h, w]) } } }
    groups = geometry.groups
    channels = geometry.inChannels / geometry.groups
    outputs = geometry.outChannels / geometry.groups
    isPointwise =
      step == ones && outStep == ones && outShift == [0, 0, 0] && rowGroups.count == 1
      && rowGroups[0].axes.allSatisfy { $0.offsets == [0] }
  }

  private static func checkCounts(_ geometry: ConvolutionGeometry) throws {
    func product(_ factors: [Int]) -> Double { factors.reduce(1) { $0 * Double($1) } }
    func require(_ condition: Bool, _ expected: String, _ got: String) throws {
      if !condition { throw ToeplitzError(.memory, geometry.name, expected: expected, got: got) }
    }
    try require(
      !geometry.isTransposed || product(geometry.stride) <= Double(mostPhases),
      "strides whose product is at most \(mostPhases)", "stride \(geometry.stride)")
    try require(
      product(geometry.kernelSize) <= Double(Int32.max), "at most \(Int32.max) taps",
      "kernelSize \(geometry.kernelSize)")
    try require(
      geometry.inChannels / geometry.groups <= Int(Int32.max), "at most \(Int32.max) input channels of a group",
      "\(geometry.inChannels / geometry.groups)")
  }

  private static func axis(kernel: Int, dilation: Int, low: Int) -> AxisPhases {
    AxisPhases(
      phases: [0], offsets: (0..<kernel).map { $0 * dilation - low }, kernelIndex: [Array(0..<kernel)])
  }

  /// Tap k adds input i to output `i × s + k × d`, that is to phase `f = k d mod s` at position `m = i + k d / s`.
  private static func transposedAxis(kernel: Int, stride: Int, dilation: Int) -> [AxisPhases] {
    var order: [[Int]] = []
    var groups: [[Int]: AxisPhases] = [:]
    var taps: [Int: [Int]] = [:]
    for k in 0..<kernel { taps[k * dilation % stride, default: []].append(k) }
    for phase in 0..<stride {
      let indices = taps[phase] ?? []
      let offsets = indices.map { -($0 * dilation / stride) }
      if groups[offsets] == nil {
        order.append(offsets)
        groups[offsets] = AxisPhases(phases: [], offsets: offsets, kernelIndex: [])
      }
      groups[offsets]?.phases.append(phase)
      groups[offsets]?.kernelIndex.append(indices)
    }
    return order.compactMap { groups[$0] }
  }
}
