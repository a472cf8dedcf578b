import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// `x + second(leaky(first(leaky(x))))` for two one-dimensional convolutions, ready to be computed in one pass wherever its
/// tensors lie.
///
/// One caller at a time may use it.
final class ResidualUnitRun {
  /// Whether one pass is made wherever it can be, or never, whatever the estimate says (for tests).
  @TaskLocal static var isForced: Bool?

  private let form: ConvolutionRun.Form
  private let first: PackedWeights
  private let second: PackedWeights
  private let middleSlope: Double
  private let isForced: Bool?
  /// Nil where two passes are estimated to be faster.
  private var task: ResidualUnitTask?
  private let work: Double
  private let name: String

  /// Whether there are kernels for convolutions of these geometries.
  static func supports(_ first: ConvolutionGeometry, _ second: ConvolutionGeometry, _ dtype: DType) -> Bool {
    dtype == .float32
      && [first, second].allSatisfy {
        $0.rank == 1 && !$0.isTransposed && $0.groups == 1 && $0.stride == [1] && $0.paddingMode == .zeros
      }
  }

  /// Computes into `output`, which nobody else has seen yet, if one pass is estimated to be faster than two.
  ///
  /// - Parameters:
  ///   - first: the first convolution's weights, where it is also kept how units are computed.
  ///   - second: the second convolution's weights.
  ///   - input: `[N, C, L]`, by strides if not in memory; so is `output`.
  ///   - middleLength: positions between the convolutions.
  ///   - middleSlope: factor of values between the convolutions below zero.
  ///   - epilogue: what happens to the input first, and to the result of the second convolution.
  ///   - residuals: what is added to the second convolution: the input, and maybe another tensor.
  /// - Returns: whether it has been computed.
  static func run(
    _ first: WeightPackings.Kept, _ second: PackedWeights, input: Tensor, output: Tensor, middleLength: Int,
    middleSlope: Double, epilogue: Epilogue, residuals: [Tensor], name: String
  ) throws -> Bool {
    guard Self.isForced ?? true, output.count > 0, middleLength > 0, output.strides[2] == 1 || output.shape[2] == 1
    else { return false }
    let form = try ConvolutionRun.Form(input, output, epilogue, name: name)
    let kept = first.units.take {
      $0.form == form && $0.second === second && $0.middleSlope == middleSlope && $0.isForced == Self.isForced
    }
    let run =
      try kept
      ?? ResidualUnitRun(
        form, first.packed, second, input: input, output: output, middleLength: middleLength, middleSlope: middleSlope,
        epilogue: epilogue, name: name)
    let isDone = try run(input: input, output: output, residuals: residuals)
    first.units.give(run)
    return isDone
  }

  private init(
    _ form: ConvolutionRun.Form, _ first: PackedWeights, _ second: PackedWeights, input: Tensor, output: Tensor,
    middleLength: Int, middleSlope: Double, epilogue: Epilogue, name: String
  ) throws {
    (self.form, self.first, self.second, self.middleSlope) = (form, first, second, middleSlope)
    self.name = name
    isForced = Self.isForced
    let elementSize = input.dtype.byteSize
    let (batch, length) = (output.shape[0], output.shape[2])
    let (threads, table) = (form.threads, form.table)
    let steps = [first, second].reduce(0.0) {
      $0 + Double($1.stencil.outputs * $1.stencil.channels * $1.stencil.rowGroups[0].tapCount)
    }
    work = steps * Double(batch * length)
    func positions(_ packed: PackedWeights, _ length: Int) -> PositionGrid {
      PositionGrid(stencil: packed.stencil, group: packed.stencil.rowGroups[0], outputSize: [1, 1, length])
    }
    let grids = (positions(first, middleLength), positions(second, length))
    // Also bounds the sizes of scratch memory below.
    guard grids.0.span[2] + grids.1.span[2] <= Self.widestSpan else { return }
    func stage(_ packed: PackedWeights, _ grid: PositionGrid) -> ResidualUnitSchedule.Stage {
      ResidualUnitSchedule.Stage(
        channels: packed.stencil.channels, outputs: packed.stencil.outputs,
        taps: packed.stencil.rowGroups[0].tapCount, span: grid.span[2])
    }
    func cut(batch: Int, threads: Int) -> ResidualUnitSchedule {
      ResidualUnitSchedule(
        stage(first, grids.0), stage(second, grids.1), length: length, pairs: batch, threads: threads,
        lanes: Int(table.pointee.lanes), vectors: Int(table.pointee.max_vectors8), elementSize: elementSize)
    }
    let schedule = cut(batch: batch, threads: threads)
    if Self.isForced == nil {
      let bytes = Double(first.stencil.outputs * middleLength * elementSize)
      func separate(batch: Int, threads: Int) throws -> [ConvolutionPlan] {
        try [(first, length, middleLength), (second, middleLength, length)].map { packed, from, to in
          let request = ConvolutionPlan.Request(
            inputSize: [1, 1, from], outputSize: [1, 1, to], batch: batch, threads: threads, table: table)
          return try packed.plan(request, name: name) { _ in false }
        }
      }
      var plans = try separate(batch: batch, threads: threads)
      var together = schedule
      // Then the choice decides about bits, and is the best one for a single thread and sample.
      if plans.contains(where: \.isTransformed) {
        plans = try separate(batch: 1, threads: 1)
        together = cut(batch: 1, threads: 1)
      }
      let cost = plans.reduce(ResidualUnitSchedule.trafficCost(bytes: bytes)) { $0 + $1.cost }
      guard together.cost < cost else { return }
    }
    func kernels(_ packed: PackedWeights, _ grid: PositionGrid) throws -> ResidualStage {
      let blockRows = BlockKind.narrow.blockRows(packed.stencil.outputs)
      let tiling = try ConvolutionTiling(
        stencil: packed.stencil, group: packed.stencil.rowGroups[0], positions: grid,
        chunking: ColumnChunking(.narrow, blockRows: blockRows, table: table), columns: schedule.width,
        elementSize: elementSize, name: name)
      return try ResidualStage(packed, tiling, span: grid.span[2], elementSize: elementSize)
    }
    task = ResidualUnitTask(
      schedule, first: try kernels(first, grids.0), second: try kernels(second, grids.1), epilogue: epilogue,
      middleSlope: middleSlope, input: SpatialView(input, isFlat: false), output: SpatialView(output, isFlat: false),
      middleSize: middleLength, table: table)
  }

  /// Computes the unit, unless two passes are estimated to be faster.
  private func callAsFunction(input: Tensor, output: Tensor, residuals: [Tensor]) throws -> Bool {
    guard var task else { return false }
    let residuals = try residuals.laidOut(like: output)
    task.bind(input: input, output: output, residuals: residuals)
    let bound = task
    try ConvolutionEngine.share(
      output.shape[0] * bound.tiles, work: work, threads: form.threads, scratchBytes: bound.scratchBytes, name: name
    ) { bound.run($0.units, $0.memory) }
    withExtendedLifetime((input, output, residuals)) {}
    return true
  }

  /// Taps of both convolutions that lie further apart leave little of a tile.
  private static let widestSpan = 4096
}
