import CToeplitzKernels
import Synchronization
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A convolution of certain sizes ready to be computed, wherever its tensors lie.
///
/// To find out how takes as long as a small convolution. One caller at a time may use it.
final class ConvolutionRun {
  /// What it has been made for.
  struct Form: Equatable {
    private var sizes: [TensorShape]
    private var strides: [[Int]]
    private var hasSlack: Bool
    private var dtype: DType
    private var factors: SIMD3<Double>
    private var activation: Activation?
    fileprivate var mode: PaddingMode
    private var numerics: Numerics
    fileprivate var forced: ToomCookPlan.Forced?
    let threads: Int
    let table: UnsafePointer<tz_conv_table>

    /// - Throws: ``ToeplitzError`` of kind `device` if there are no kernels.
    init(
      _ input: Tensor, _ output: Tensor, _ epilogue: Epilogue, mode: PaddingMode = .zeros, name: String
    ) throws {
      guard let table = tz_conv_kernels(InstructionSet.current.code, input.dtype.kernelType) else {
        throw ToeplitzError(
          .device, name, expected: "kernels for this processor", got: "none for \(InstructionSet.current.rawValue)")
      }
      sizes = [input.shape, output.shape]
      strides = [input.strides, output.strides]
      hasSlack = !input.isBorrowed
      dtype = input.dtype
      factors = [epilogue.inputSlope, epilogue.outputScale, epilogue.outputSlope]
      activation = epilogue.activation
      self.mode = mode
      numerics = Numerics.current
      forced = numerics == .fast ? ToomCookPlan.Forced() : nil
      // Read once: scratch memory is sized for it.
      threads = ThreadPool.shared.threadCount
      self.table = table
    }
  }

  let form: Form
  private let engine: ConvolutionEngine
  private let name: String
  private var ways: [Way]

  /// How one row group is computed.
  private struct Way {
    var plan: ConvolutionPlan?
    /// With fewer multiplications, and directly, once that has been wanted.
    var transformed: ToomCookTask?
    var direct: TileTask?
  }

  init(
    _ form: Form, _ packed: PackedWeights, input: Tensor, output: Tensor, epilogue: Epilogue, name: String
  ) {
    self.form = form
    self.name = name
    // Where each output reads one input, the shape of the positions means nothing.
    let isFlat = packed.stencil.isPointwise && SpatialView.isContiguous(input) && SpatialView.isContiguous(output)
    engine = ConvolutionEngine(
      packed: packed, table: form.table, input: SpatialView(input, isFlat: isFlat),
      output: SpatialView(output, isFlat: isFlat), epilogue: epilogue, mode: form.mode, batch: input.shape[0],
      storedSize: input.dtype.byteSize)
    ways = packed.stencil.rowGroups.map { _ in Way() }
  }

  /// Computes into `output`, which nobody else has seen yet.
  ///
  /// - Parameter residuals: at most two, of the output's shape.
  func callAsFunction(input: Tensor, output: Tensor, residuals: [Tensor]) throws {
    let residuals = try residuals.laidOut(like: output)
    engine.bind(input: input, output: output, residuals: residuals)
    for index in ways.indices { try run(rowGroup: index) }
    withExtendedLifetime((input, output, residuals)) {}
  }

  /// Computes the outputs of one row group.
  private func run(rowGroup index: Int) throws {
    let plan = try ways[index].plan ?? plan(rowGroup: index)
    ways[index].plan = plan
    if case .transformed(let schedule) = plan,
      let task = try ways[index].transformed ?? transformed(schedule, rowGroup: index)
    {
      ways[index].transformed = task
      if try run(task) { return }
    }
    try runDirectly(plan, rowGroup: index)
  }

  private func runDirectly(_ plan: ConvolutionPlan, rowGroup index: Int) throws {
    guard let task = try ways[index].direct ?? direct(plan, rowGroup: index) else { return }
    ways[index].direct = task
    try ConvolutionEngine.share(
      task.units, work: work(task), threads: form.threads, scratchBytes: task.scratchBytes, name: name
    ) { task.run($0) }
  }

  /// The multiply-adds of a task.
  private func work(_ task: TileTask) -> Double {
    let steps = task.section.rows * engine.packed.stencil.channels * task.tapCount * engine.packed.stencil.groups
    return Double(task.tiling.count.reduce(engine.batch, *)) * Double(steps)
  }

  // MARK: Tensors that stay where they are

  /// What computes the convolution of these tensors whenever it is called, on what they hold then.
  ///
  /// - Parameter residuals: at most two, that lie as the output does.
  func bound(input: Tensor, output: Tensor, residuals: [Tensor], memory: ProgramMemory) throws -> BoundComputation {
    engine.bind(input: input, output: output, residuals: residuals)
    let groups = try ways.indices.compactMap { try bound(rowGroup: $0, memory) }
    return { [self] in
      for group in groups { try group() }
      withExtendedLifetime((self, input, output, residuals)) {}
    }
  }

  private func bound(rowGroup index: Int, _ memory: ProgramMemory) throws -> BoundComputation? {
    let plan = try plan(rowGroup: index)
    if case .transformed(let schedule) = plan, let task = try transformed(schedule, rowGroup: index) {
      let isFinite = Finiteness()
      let share = try ConvolutionEngine.sharing(
        task.units, work: .infinity, threads: form.threads, scratchBytes: task.scratchBytes, name: name, memory: memory
      ) { work in
        if isFinite.holds, !task.run(work) { isFinite.holds = false }
      }
      return { [unowned self] in
        isFinite.holds = true
        share()
        if !isFinite.holds { try runDirectly(plan, rowGroup: index) }
      }
    }
    guard let task = try direct(plan, rowGroup: index) else { return nil }
    return try ConvolutionEngine.sharing(
      task.units, work: work(task), threads: form.threads, scratchBytes: task.scratchBytes, name: name, memory: memory
    ) { task.run($0) }
  }

  private func plan(rowGroup index: Int) throws -> ConvolutionPlan {
    try engine.packed.plan(request(rowGroup: index), name: name) { readsInPlace(index, $0) }
  }

  /// Nil where there are no outputs.
  private func direct(_ plan: ConvolutionPlan, rowGroup index: Int) throws -> TileTask? {
    let schedule =
      if case .direct(let schedule) = plan { schedule } else {
        try engine.packed.schedule(request(rowGroup: index), name: name) { readsInPlace(index, $0) }
      }
    guard schedule.tiling.tiles > 0 else { return nil }
    return TileTask(
      engine: engine, layout: try engine.packed.layout(schedule.kind), group: engine.packed.stencil.rowGroups[index],
      groupIndex: index, tiling: schedule.tiling, splits: schedule.splits, threads: form.threads,
      readsInPlace: schedule.readsInPlace
        && (schedule.kind == .wide
          || engine.input.channelsFitCache(schedule.tiling.channelBlock, elementSize: engine.elementSize))
    )
  }

  private func request(rowGroup index: Int) -> ConvolutionPlan.Request {
    ConvolutionPlan.Request(
      rowGroup: index, inputSize: engine.input.size, outputSize: engine.output.size, batch: engine.batch,
      threads: form.threads, table: form.table, allowsInPlace: allowsInPlace,
      skipsPadding: form.mode == .zeros && engine.packed.storage == .full, forced: form.forced)
  }

  private var allowsInPlace: Bool {
    engine.isComputedAsStored && engine.input.hasSlack && engine.input.spatial[2] == 1
      && engine.epilogue.inputSlope == 1
  }

  /// Nil where the transformed weights are not finite.
  private func transformed(_ schedule: ToomCookSchedule, rowGroup index: Int) throws -> ToomCookTask? {
    guard let transforms = tz_toom_kernels(InstructionSet.current.code),
      let weights = try engine.packed.transformed(schedule.plan, schedule.kind, rowGroup: index)
    else { return nil }
    return ToomCookTask(
      engine: engine, schedule: schedule, weights: weights, group: engine.packed.stencil.rowGroups[index],
      transforms: transforms, threads: form.threads)
  }

  /// Computes a row group with fewer multiplications where that gives finite results.
  ///
  /// - Returns: whether the outputs have been computed.
  private func run(_ task: ToomCookTask) throws -> Bool {
    // Where an input is not finite, or the transforms overflow, no result can be relied on.
    let isFinite = Finiteness()
    try ConvolutionEngine.share(
      task.units, work: .infinity, threads: form.threads, scratchBytes: task.scratchBytes, name: name
    ) { work in
      if isFinite.holds, !task.run(work) { isFinite.holds = false }
    }
    return isFinite.holds
  }

  /// Whether kernels can read the input where it is, since it is as a panel would be: single taps, no padding.
  private func readsInPlace(_ index: Int, _ positions: PositionGrid) -> Bool {
    let stencil = engine.packed.stencil
    return allowsInPlace && stencil.rowGroups[index].tapCount == 1 && stencil.step == [1, 1, 1]
      && positions.lowest == [0, 0, 0] && positions.first.allSatisfy { $0 >= 0 }
      && (0..<3).allSatisfy { positions.first[$0] + positions.count[$0] <= engine.input.size[$0] }
      && positions.count[0] == 1 && positions.count[1] == 1
  }
}

/// Whether all threads have seen only finite results.
final class Finiteness: Sendable {
  private let seen = Atomic<Bool>(true)
  var holds: Bool {
    get { seen.load(ordering: .relaxed) }
    set { seen.store(newValue, ordering: .relaxed) }
  }
}
