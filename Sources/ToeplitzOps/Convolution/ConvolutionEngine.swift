import CToeplitzKernels
import ToeplitzTensor

/// What is computed together with a convolution while its data is in registers.
package struct ConvolutionFusion: Sendable {
  /// Inputs below zero are multiplied by this first (a leaky rectifier before the layer); 1 for nothing.
  package var inputSlope: Double
  /// Added to the result; of the output's shape.
  package var residual: Tensor?
  /// Results below zero are multiplied by this last; 1 for nothing.
  package var outputSlope: Double

  /// A fusion of the given parts.
  package init(inputSlope: Double = 1, residual: Tensor? = nil, outputSlope: Double = 1) {
    self.inputSlope = inputSlope
    self.residual = residual
    self.outputSlope = outputSlope
  }
}

/// A tensor `[N, C, spatial…]` seen with three spatial axes.
struct SpatialView {
  let base: UnsafeMutableRawPointer
  let batch: Int
  let channel: Int
  /// Elements between neighbours on d, h, w.
  let spatial: [Int]
  /// Sizes of d, h, w.
  let size: [Int]

  /// - Parameter tensor: channels first, with batch; may be any strided view.
  init(_ tensor: Tensor) {
    base = tensor.elements
    batch = tensor.strides[0]
    channel = tensor.strides[1]
    let missing = 5 - tensor.rank
    spatial = Array(repeating: 0, count: missing) + tensor.strides[2...]
    size = Array(repeating: 1, count: missing) + tensor.shape.dimensions[2...]
  }
}

/// Computes convolutions and transposed convolutions, one tile after another, on all threads.
///
/// Every output element is one chain of multiply-adds, channels outside and taps inside, started from the bias:
/// how the work is cut does not change a bit of the result.
struct ConvolutionEngine {
  let packed: PackedWeights
  let table: UnsafePointer<tz_conv_table>
  let input: SpatialView
  let output: SpatialView
  let residual: UnsafeRawPointer?
  let inputSlope: Double
  let outputSlope: Double
  let mode: PaddingMode
  let batch: Int
  let elementSize: Int

  /// Computes into `output`, which nobody else has seen yet. All tensors have batch and channels first (by strides
  /// if not in memory) and the geometry's legal sizes.
  static func run(
    _ geometry: ConvolutionGeometry, packed: PackedWeights, input: Tensor, output: Tensor,
    fusion: ConvolutionFusion
  ) throws {
    guard output.count > 0 else { return }
    if packed.needsTapwise {
      let tapwise = TapwiseTranspose(geometry: geometry, weight: packed.weight, bias: packed.bias)
      return try tapwise.run(input: input, output: output, fusion: fusion)
    }
    guard let table = tz_conv_kernels(InstructionSet.current.code, packed.type) else {
      throw ToeplitzError(
        .device, geometry.name, expected: "kernels for this processor",
        got: "none for \(InstructionSet.current.rawValue)")
    }
    var residual = fusion.residual
    if let given = residual, given.strides != output.strides {
      // The store walks both with one set of offsets.
      let same = try Tensor(uninitialized: output.shape, dtype: output.dtype, operation: geometry.name)
      let aligned = same.view(shape: output.shape, strides: output.strides, offset: 0)
      aligned.fillOnce(from: given)
      residual = aligned
    }
    let engine = ConvolutionEngine(
      packed: packed, table: table, input: SpatialView(input), output: SpatialView(output),
      residual: residual.map { UnsafeRawPointer($0.elements) }, inputSlope: fusion.inputSlope,
      outputSlope: fusion.outputSlope, mode: geometry.paddingMode, batch: input.shape[0],
      elementSize: input.dtype.byteSize)
    for index in packed.stencil.rowGroups.indices {
      try engine.run(rowGroup: index, name: geometry.name)
    }
    withExtendedLifetime((input, output, residual, packed)) {}
  }

  /// Computes the outputs of one row group.
  private func run(rowGroup index: Int, name: String) throws {
    let stencil = packed.stencil
    let group = stencil.rowGroups[index]
    let section = packed.sections[0][index]
    let pairs = batch * stencil.groups
    let pool = ThreadPool.shared
    // Read once: scratch memory is sized for it.
    let poolThreads = pool.threadCount
    let wanted = max(1, 4 * poolThreads / pairs)
    let tiling = try ConvolutionTiling(
      stencil: stencil, group: group, outputSize: output.size, blockRows: section.blockRows,
      blocks: section.blocks, table: table.pointee, elementSize: elementSize, wantedTiles: wanted,
      name: name)
    guard tiling.tiles > 0 else { return }
    // Too few tiles for the threads: cut the rows as well; each part packs the panel again.
    let splits = tiling.tiles >= wanted ? 1 : max(1, min(section.blocks / 2, (wanted + tiling.tiles - 1) / tiling.tiles))
    let task = TileTask(engine: self, group: group, groupIndex: index, tiling: tiling, blocks: section.blocks, splits: splits)
    let units = pairs * tiling.tiles * splits
    let work = Double(tiling.count.reduce(1, *)) * Double(section.rows * stencil.channels * group.tapCount) * Double(pairs)
    let items = work < 100_000 ? 1 : min(units, max(8 * poolThreads, Int(work / 20_000_000)))
    let threads = items == 1 ? 1 : poolThreads
    let scratchBytes = task.scratchBytes
    let scratch = try Storage(byteCount: threads * scratchBytes, operation: name)
    pool.run(items, threads: threads) { item, thread in
      let memory = scratch.base + thread * scratchBytes
      for unit in (item * units / items)..<((item + 1) * units / items) { task.run(unit, memory) }
    }
  }
}
