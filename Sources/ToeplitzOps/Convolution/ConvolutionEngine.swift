import CToeplitzKernels
import Synchronization
import ToeplitzTensor

/// What is computed together with a convolution while its data is in registers.
///
/// The result is `activation(leaky(outputScale × (convolution(leaky(x, inputSlope)) + residuals), outputSlope))`.
package struct ConvolutionFusion: Sendable {
  /// Inputs below zero are multiplied by this first (a leaky rectifier before the layer); 1 for nothing.
  package var inputSlope: Double
  /// At most two tensors of the output's shape that are added to the result.
  package var residuals: [Tensor]
  /// Which of them nobody else needs, so that the result may take its memory.
  package var overwritten: Int?
  /// Factor of the sum.
  package var outputScale: Double
  /// Results below zero are multiplied by this; 1 for nothing.
  package var outputSlope: Double
  /// What is applied last.
  package var activation: Activation?

  /// A fusion of the given parts.
  package init(
    inputSlope: Double = 1, residuals: [Tensor] = [], outputScale: Double = 1, outputSlope: Double = 1,
    activation: Activation? = nil
  ) {
    self.inputSlope = inputSlope
    self.residuals = residuals
    self.outputScale = outputScale
    self.outputSlope = outputSlope
    self.activation = activation
    // The rectifiers have a place of their own, in registers.
    if case .leakyReLU(let slope) = activation, outputSlope == 1 {
      self.outputSlope = slope
      self.activation = nil
    }
  }
}

extension ConvolutionFusion {
  /// What is left to do with the sums where a kernel has not done it.
  package func finish(_ sums: Tensor) throws -> Tensor {
    var result = try residuals.reduce(sums) { try $0 + $1 }
    if outputScale != 1 { result = try result * outputScale }
    if outputSlope != 1 { result = try result.leakyReLU(negativeSlope: outputSlope) }
    return try activation.map { try $0(result) } ?? result
  }
}

/// A tensor `[N, C, spatial…]` seen with three spatial axes.
struct SpatialView {
  let base: UnsafeMutableRawPointer
  let batch: Int
  let channel: Int
  /// Elements between neighbours on d, h, w.
  let spatial: SIMD3<Int>
  /// Sizes of d, h, w.
  let size: SIMD3<Int>

  /// Whether whole vectors may be read where only the first elements are inside.
  let hasSlack: Bool

  /// - Parameters:
  ///   - tensor: channels first, with batch; may be any strided view.
  ///   - isFlat: whether its positions are seen as one long row; ``isContiguous(_:)`` must hold.
  init(_ tensor: Tensor, isFlat: Bool) {
    base = tensor.elements
    batch = tensor.strides[0]
    channel = tensor.strides[1]
    hasSlack = !tensor.isBorrowed
    if isFlat {
      spatial = [0, 0, 1]
      size = [1, 1, tensor.shape.dimensions[2...].reduce(1, *)]
      return
    }
    var (spatial, size): (SIMD3<Int>, SIMD3<Int>) = ([0, 0, 0], [1, 1, 1])
    for axis in 2..<tensor.rank {
      spatial[axis + 3 - tensor.rank] = tensor.strides[axis]
      size[axis + 3 - tensor.rank] = tensor.shape[axis]
    }
    (self.spatial, self.size) = (spatial, size)
  }

  /// The sizes of a tensor that is in memory only in parts, rows after one another; `base` and other distances are not to be
  /// used.
  init(size: SIMD3<Int>, base: UnsafeMutableRawPointer) {
    self.base = base
    self.size = size
    batch = 0
    channel = 0
    spatial = [0, size[2], 1]
    hasSlack = false
  }

  /// Whether the positions of a channel of `tensor` follow one another in memory.
  static func isContiguous(_ tensor: Tensor) -> Bool {
    var step = 1
    for axis in (2..<tensor.rank).reversed() {
      guard tensor.strides[axis] == step || tensor.shape[axis] == 1 else { return false }
      step *= tensor.shape[axis]
    }
    return true
  }

  /// Whether `count` channels, read a few neighbours of each at a time, fit the first-level cache: channels that lie
  /// apart by a large power of two share few of its sets.
  func channelsFitCache(_ count: Int, elementSize: Int) -> Bool {
    let (sets, ways, line) = (64, 8, 64)
    let distance = channel * elementSize
    guard distance % line == 0 else { return true }
    let lines = distance / line
    var shared = 1
    while shared < sets, lines % (2 * shared) == 0 { shared *= 2 }
    return 2 * count <= min(sets, 2 * sets / shared) * ways
  }
}

/// Computes convolutions and transposed convolutions, one tile after another, on all threads.
///
/// Every output element is one chain of multiply-adds, channels outside and taps inside, started from the bias:
/// how the work is cut does not change a bit of the result.
///
/// An object, because copies of its references would take as long as a small convolution.
final class ConvolutionEngine {
  let packed: PackedWeights
  let table: UnsafePointer<tz_conv_table>
  let input: SpatialView
  let output: SpatialView
  let residuals: (UnsafeRawPointer?, UnsafeRawPointer?)
  let fusion: ConvolutionFusion
  let mode: PaddingMode
  let batch: Int
  /// Bytes of an element of panels, sums and weights.
  let elementSize: Int
  /// Bytes of an element of input, output and residuals.
  let storedSize: Int
  let ending: ConvolutionEnding

  /// - Parameter residuals: at most two, with the output's strides; the caller keeps them alive.
  init(
    packed: PackedWeights, table: UnsafePointer<tz_conv_table>, input: SpatialView, output: SpatialView,
    residuals: [Tensor], fusion: ConvolutionFusion, mode: PaddingMode, batch: Int,
    storedSize: Int
  ) {
    self.packed = packed
    self.table = table
    self.input = input
    self.output = output
    let addresses = residuals.map { UnsafeRawPointer($0.elements) }
    self.residuals = (addresses.first, addresses.count > 1 ? addresses[1] : nil)
    self.fusion = fusion
    self.mode = mode
    self.batch = batch
    self.storedSize = storedSize
    elementSize = packed.elementSize
    ending = ConvolutionEnding(fusion)
  }

  /// Computes into `output`, which nobody else has seen yet.
  ///
  /// All tensors have batch and channels first (by strides if not in memory), the geometry's legal sizes and one type, that
  /// of the weights before they were packed or the one they are computed in.
  static func run(
    _ geometry: ConvolutionGeometry, packed: PackedWeights, input: Tensor, output: Tensor,
    fusion: ConvolutionFusion
  ) throws {
    guard output.count > 0 else { return }
    if packed.hasNonFinite, TapwiseTranspose.mayReadOutside(geometry) {
      let tapwise = TapwiseTranspose(geometry: geometry, weight: try packed.weight, bias: packed.bias)
      return try tapwise.run(input: input, output: output, fusion: fusion)
    }
    guard let table = tz_conv_kernels(InstructionSet.current.code, input.dtype.kernelType) else {
      throw ToeplitzError(
        .device, geometry.name, expected: "kernels for this processor",
        got: "none for \(InstructionSet.current.rawValue)")
    }
    // The store walks residuals and output with one set of offsets.
    let residuals = try fusion.residuals.map { try $0.strides == output.strides ? $0 : $0.laidOut(like: output) }
    // Where each output reads one input, the shape of the positions means nothing.
    let isFlat =
      packed.stencil.isPointwise && SpatialView.isContiguous(input) && SpatialView.isContiguous(output)
    let engine = ConvolutionEngine(
      packed: packed, table: table, input: SpatialView(input, isFlat: isFlat),
      output: SpatialView(output, isFlat: isFlat),
      residuals: residuals, fusion: fusion,
      mode: geometry.paddingMode, batch: input.shape[0], storedSize: input.dtype.byteSize)
    for index in packed.stencil.rowGroups.indices {
      try engine.run(rowGroup: index, name: geometry.name)
    }
    withExtendedLifetime((input, output, residuals, packed)) {}
  }

  /// Whether kernels can read the input and write the output themselves; what is stored in half precision goes through
  /// the pack and the store.
  var isComputedAsStored: Bool { storedSize == elementSize }

  /// Computes the outputs of one row group.
  private func run(rowGroup index: Int, name: String) throws {
    let stencil = packed.stencil
    let group = stencil.rowGroups[index]
    let pairs = batch * stencil.groups
    // Read once: scratch memory is sized for it.
    let threads = ThreadPool.shared.threadCount
    let allowsInPlace = isComputedAsStored && input.hasSlack && input.spatial[2] == 1 && fusion.inputSlope == 1
    let plan = try packed.plan(
      rowGroup: index, inputSize: input.size, outputSize: output.size, batch: batch, threads: threads, table: table,
      allowsInPlace: allowsInPlace, name: name
    ) { allowsInPlace && readsInPlace(group, $0) }
    let schedule = plan.schedule
    let tiling = schedule.tiling
    guard tiling.tiles > 0 else { return }
    if let toomCook = plan.toomCook, toomCook.cost < schedule.cost || ToomCookPlan.always,
      try run(toomCook, rowGroup: index, threads: threads, name: name)
    {
      return
    }
    let layout = try packed.layout(schedule.kind)
    let task = TileTask(
      engine: self, layout: layout, group: group, groupIndex: index, tiling: tiling, splits: schedule.splits,
      readsInPlace: schedule.readsInPlace
        && (schedule.kind == .wide || input.channelsFitCache(tiling.channelBlock, elementSize: elementSize)))
    let rows = layout.sections[0][index].rows
    let work = Double(tiling.count.reduce(1, *)) * Double(rows * stencil.channels * group.tapCount) * Double(pairs)
    try Self.share(
      pairs * tiling.tiles * schedule.splits, work: work, threads: threads, scratchBytes: task.scratchBytes, name: name
    ) { task.run($0, $1) }
  }

  /// Whether kernels can read the input where it is, since it is as a panel would be: single taps, no padding.
  private func readsInPlace(_ group: RowGroup, _ positions: PositionGrid) -> Bool {
    group.tapCount == 1 && packed.stencil.step == [1, 1, 1] && positions.lowest == [0, 0, 0]
      && positions.first.allSatisfy { $0 >= 0 }
      && (0..<3).allSatisfy { positions.first[$0] + positions.count[$0] <= input.size[$0] }
      && positions.count[0] == 1 && positions.count[1] == 1
  }

  /// Computes a row group with fewer multiplications where that gives finite results.
  ///
  /// - Returns: whether the outputs have been computed.
  private func run(_ schedule: ToomCookSchedule, rowGroup index: Int, threads: Int, name: String) throws -> Bool {
    let stencil = packed.stencil
    let group = stencil.rowGroups[index]
    let pairs = batch * stencil.groups
    guard let transforms = tz_toom_kernels(InstructionSet.current.code),
      let weights = try packed.transformed(schedule.plan, schedule.kind, rowGroup: index)
    else { return false }
    let task = ToomCookTask(engine: self, schedule: schedule, weights: weights, group: group, transforms: transforms)
    // Where an input is not finite, or the transforms overflow, no result can be relied on.
    let isFinite = Finiteness()
    try Self.share(
      pairs * schedule.units * schedule.splits, work: .infinity, threads: threads, scratchBytes: task.scratchBytes,
      name: name
    ) { units, memory in
      if isFinite.holds, !task.run(units, memory) { isFinite.holds = false }
    }
    return isFinite.holds
  }

  private static let smallestScratch = 1 << 20

  /// Shares units of work, together `work` multiply-adds, among the threads; each has scratch memory.
  static func share(
    _ units: Int, work: Double, threads most: Int, scratchBytes: Int, name: String,
    _ body: @escaping (Range<Int>, UnsafeMutableRawPointer) -> Void
  ) throws {
    // Small units are handed out several at a time; work of a few microseconds stays on this thread.
    let items = work < 100_000 ? 1 : min(units, max(8 * most, Int(min(work, 1e15) / 20_000_000)))
    let threads = items == 1 ? 1 : most
    // Few different sizes, so that a new length finds the block of another.
    var bytes = Self.smallestScratch
    while bytes < scratchBytes { bytes *= 2 }
    let scratch = try Storage(byteCount: threads * bytes, isScratch: true, operation: name)
    ThreadPool.shared.run(items, threads: threads) { item, thread in
      body((item * units / items)..<((item + 1) * units / items), scratch.base + thread * bytes)
    }
  }
}

/// Whether all threads have seen only finite results.
private final class Finiteness: Sendable {
  private let seen = Atomic<Bool>(true)
  var holds: Bool {
    get { seen.load(ordering: .relaxed) }
    set { seen.store(newValue, ordering: .relaxed) }
  }
}

extension Tensor {
  /// The same values in memory with the strides of `other`, an output of this shape, which has elements and memory of its own.
  func laidOut(like other: Tensor) throws -> Tensor {
    let last = zip(shape.dimensions, other.strides).reduce(0) { $0 + ($1.0 - 1) * $1.1 }
    let memory = try Tensor(uninitialized: [last + 1], dtype: dtype, operation: "layout")
    let result = memory.view(shape: shape, strides: other.strides, offset: 0)
    result.fillOnce(from: self)
    return result
  }
}
