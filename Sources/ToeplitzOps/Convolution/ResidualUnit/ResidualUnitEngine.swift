import CToeplitzKernels
import ToeplitzTensor

/// Computes `x + second(leaky(first(leaky(x))))` for two one-dimensional convolutions in one pass.
package struct ResidualUnitEngine {
  /// Whether it is used wherever it can be, or never, whatever the estimate says (for tests).
  @TaskLocal package static var isForced: Bool?

  let first: PackedWeights
  let second: PackedWeights
  let middleSlope: Double

  /// Whether the engine is made for convolutions of these geometries.
  static func supports(_ first: ConvolutionGeometry, _ second: ConvolutionGeometry, _ dtype: DType) -> Bool {
    dtype == .float32
      && [first, second].allSatisfy {
        $0.rank == 1 && !$0.isTransposed && $0.groups == 1 && $0.stride == [1] && $0.paddingMode == .zeros
      }
  }

  /// Computes into `output`, which nobody else has seen yet, if one pass is estimated to be faster than two.
  ///
  /// - Parameters:
  ///   - input: `[N, C, L]`, by strides if not in memory; so is `output`.
  ///   - middleLength: positions between the convolutions.
  ///   - fusion: what happens to the input first, and to the result of the second convolution.
  /// - Returns: whether it has been computed.
  func run(input: Tensor, output: Tensor, middleLength: Int, fusion: ConvolutionFusion, name: String) throws -> Bool {
    guard Self.isForced ?? true, output.count > 0, middleLength > 0, output.strides[2] == 1 || output.shape[2] == 1,
      let table = tz_conv_kernels(InstructionSet.current.code, first.type.kernelType)
    else { return false }
    let elementSize = input.dtype.byteSize
    let (batch, length) = (output.shape[0], output.shape[2])
    // Read once: scratch memory is sized for it.
    let threads = ThreadPool.shared.threadCount
    func positions(_ packed: PackedWeights, _ length: Int) -> PositionGrid {
      PositionGrid(stencil: packed.stencil, group: packed.stencil.rowGroups[0], outputSize: [1, 1, length])
    }
    let grids = (positions(first, middleLength), positions(second, length))
    // Also bounds the sizes of scratch memory below.
    guard grids.0.span[2] + grids.1.span[2] <= Self.widestSpan else { return false }
    func stage(_ packed: PackedWeights, _ grid: PositionGrid) -> ResidualUnitSchedule.Stage {
      ResidualUnitSchedule.Stage(
        channels: packed.stencil.channels, outputs: packed.stencil.outputs,
        taps: packed.stencil.rowGroups[0].tapCount, span: grid.span[2])
    }
    let schedule = ResidualUnitSchedule(
      stage(first, grids.0), stage(second, grids.1), length: length, pairs: batch, threads: threads,
      lanes: Int(table.pointee.lanes), vectors: Int(table.pointee.max_vectors8), elementSize: elementSize)
    if Self.isForced == nil {
      let bytes = Double(first.stencil.outputs * middleLength * elementSize)
      func cost(_ packed: PackedWeights, from: Int, to: Int) throws -> Double {
        try packed.plan(
          rowGroup: 0, inputSize: [1, 1, from], outputSize: [1, 1, to], batch: batch, threads: threads, table: table,
          allowsInPlace: false, name: name
        ) { _ in false }.cost
      }
      let separate = try cost(first, from: length, to: middleLength) + cost(second, from: middleLength, to: length)
      guard schedule.cost < separate + ResidualUnitSchedule.trafficCost(bytes: bytes) else { return false }
    }
    func kernels(_ packed: PackedWeights, _ grid: PositionGrid) throws -> ResidualStage {
      let blockRows = BlockKind.narrow.blockRows(packed.stencil.outputs)
      let tiling = try ConvolutionTiling(
        stencil: packed.stencil, group: packed.stencil.rowGroups[0], positions: grid,
        chunking: ColumnChunking(.narrow, blockRows: blockRows, table: table), columns: schedule.width,
        elementSize: elementSize, name: name)
      return try ResidualStage(packed, tiling, span: grid.span[2], elementSize: elementSize)
    }
    let residuals = try fusion.residuals.map { try $0.strides == output.strides ? $0 : $0.laidOut(like: output) }
    let addresses = residuals.map { UnsafeRawPointer($0.elements) }
    let task = ResidualUnitTask(
      schedule, first: try kernels(first, grids.0), second: try kernels(second, grids.1), fusion: fusion,
      middleSlope: middleSlope, input: SpatialView(input, isFlat: false), output: SpatialView(output, isFlat: false),
      residuals: (addresses.first, addresses.count > 1 ? addresses[1] : nil), middleSize: middleLength, table: table)
    let work = [first, second].reduce(0.0) {
      $0 + Double($1.stencil.outputs * $1.stencil.channels * $1.stencil.rowGroups[0].tapCount)
    }
    try ConvolutionEngine.share(
      batch * task.tiles, work: work * Double(batch * length), threads: threads, scratchBytes: task.scratchBytes,
      name: name
    ) { task.run($0, $1) }
    withExtendedLifetime((input, output, residuals, first, second)) {}
    return true
  }

  /// Taps of both convolutions that lie further apart leave little of a tile.
  private static let widestSpan = 4096
}
