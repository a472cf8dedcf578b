import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A convolution without groups, of float32 numbers, whose weights are read as they lie.
///
/// To copy weights into the order of the other kernels takes longer than to use them where images are small, and weights that
/// are trained are new at each step. Here an element of a weight is broadcast, as it lies, and columns are samples: the input is
/// transposed, `[channel][d][h][phase of w][w][sample]`, with its padding on w, so that a tap is an offset.
///
/// Sums are those of all other kernels, channels outside and taps inside. Taps that read padding are left out; a weight that is
/// not finite makes results that are not, and all is computed anew then.
struct TapProductRun {
  private let plan: TapProductPlan
  private let stencil: ConvolutionStencil
  private let weights: (base: UnsafePointer<Float>, row: Int, channel: Int)
  private let starts: UnsafePointer<Float>?
  private let input: Tensor
  private let output: Tensor
  private let weight: Tensor
  private let bias: Tensor?
  private let table: UnsafePointer<tz_products_table>?

  /// Whether weights are read as they lie wherever they can be, whatever the estimate says, or nowhere (for tests).
  @TaskLocal static var always: Bool?

  /// Fewer weights are packed in no time.
  private static let fewestWeights = 1 << 13
  /// Nanoseconds for a byte of packed weights: they are read and written, and memory for them is new.
  private static let packTime = 0.35
  /// Bytes of inputs that lines of one item read at most, so that they stay in the second-level cache.
  private static let itemBytes = 384 * 1024

  /// Nil where other kernels are to compute it.
  ///
  /// - Parameters:
  ///   - input, output: with batch and channels first.
  init?(_ geometry: ConvolutionGeometry, weight: Tensor, bias: Tensor?, input: Tensor, output: Tensor) throws {
    guard Numerics.current == .invariant, geometry.groups == 1, geometry.paddingMode == .zeros,
      weight.dtype == .float32, input.dtype == .float32, Self.always ?? (weight.count >= Self.fewestWeights),
      weight.rank == geometry.rank + 2, weight.isAligned,
      Self.areTapsContiguous(weight), output.count > 0, input.shape[0] * output.strides[0] < Int(Int32.max),
      input.strides[input.rank - 1] == 1 || input.shape[input.rank - 1] == 1
    else { return nil }
    let plans = try GeometryPlans.of(geometry, elementSize: 4, wideWeightSize: 4)
    let table = tz_products_kernels(InstructionSet.current.code)
    guard let kernels = tz_conv_kernels(InstructionSet.current.code, TZ_F32) else { return nil }
    let (read, made) = (SpatialView(input, isFlat: false), SpatialView(output, isFlat: false))
    let request = ConvolutionPlan.Request(
      rowGroup: -1, inputSize: read.size, outputSize: made.size, batch: input.shape[0], threads: 1, table: kernels)
    let stencil = plans.stencil
    let known: (TapProductPlan, Bool)? = try plans.products.plan(request) {
      let plan = TapProductPlan(
        stencil, kernelSize: geometry.kernelSize, samples: input.shape[0], inputSize: read.size, outputSize: made.size,
        lanes: Int(kernels.pointee.lanes), rows: Int(tz_products_rows(table)))
      guard let plan else { return nil }
      let other = try Self.packedCost(plans, request, weights: weight.count, name: geometry.name)
      return (plan, plan.cost < other)
    }
    guard let (plan, pays) = known, pays || Self.always == true else { return nil }
    (self.plan, self.stencil, self.table) = (plan, stencil, table)
    let view = WeightView(weight, geometry, stencil)
    weights = (UnsafePointer(weight.pointer(Float.self)), view.output, view.input)
    self.bias = try bias?.contiguous()
    starts = self.bias.map { UnsafePointer($0.pointer(Float.self)) }
    (self.input, self.output, self.weight) = (input, output, weight)
  }

  private static func areTapsContiguous(_ weight: Tensor) -> Bool {
    var expected = 1
    for axis in (2..<weight.rank).reversed() where weight.shape[axis] != 1 {
      guard weight.strides[axis] == expected else { return false }
      expected *= weight.shape[axis]
    }
    return true
  }

  /// Estimated nanoseconds for packing weights and for the kernels that take them, on a single thread.
  private static func packedCost(
    _ plans: GeometryPlans, _ request: ConvolutionPlan.Request, weights: Int, name: String
  ) throws -> Double {
    var total = Double(weights * 4) * packTime
    for (index, group) in plans.stencil.rowGroups.enumerated() {
      var one = request
      (one.rowGroup, one.skipsPadding) = (index, true)
      let schedule = try plans.schedules.plan(one) {
        try ConvolutionSchedule(
          stencil: plans.stencil, group: group, outputSize: one.outputSize, samples: one.batch, threads: 1,
          table: one.table, elementSize: 4, wideWeightSize: 4, skipped: one.inputSize, name: name,
          readsInPlace: { _ in false })
      }
      // Of one sample.
      total += schedule.cost * Double(request.batch)
    }
    return total
  }

  /// Computes the output, which nobody else has seen yet.
  ///
  /// - Returns: whether all of it is finite.
  func callAsFunction(name: String) throws -> Bool {
    let slack = 2 * TZ_PANEL
    let transposed = try Storage(
      byteCount: (stencil.channels * plan.channelSize + slack) * 4, for: .scratch, operation: name)
    let x = transposed.base.assumingMemoryBound(to: Float.self)
    transpose(to: x)
    let places = outputPlaces()
    let pool = ThreadPool.shared
    let height = Int(tz_products_rows(table))
    let blocks = (stencil.outputs + height - 1) / height
    // Lines whose inputs stay in the cache while all rows use them; where there are few, threads share the rows.
    let perLine = max(1, stencil.channels * plan.channelSize * 4 / max(1, plan.lines.count))
    let most = max(1, Self.itemBytes / perLine)
    var chunks = max(1, (plan.lines.count + most - 1) / most)
    let wanted = 4 * pool.threadCount
    let splits = chunks >= wanted ? 1 : min(blocks, (wanted + chunks - 1) / chunks)
    if chunks * splits < wanted { chunks = min(plan.lines.count, (wanted + splits - 1) / splits) }
    let isFinite = Finiteness()
    pool.run(chunks * splits) { [chunks] item, _ in
      let (chunk, split) = item.quotientAndRemainder(dividingBy: splits)
      let lines = plan.lines.count * chunk / chunks..<plan.lines.count * (chunk + 1) / chunks
      for block in blocks * split / splits..<blocks * (split + 1) / splits {
        let rows = stencil.outputs * block / blocks..<stencil.outputs * (block + 1) / blocks
        if !compute(lines, rows, x, places) { isFinite.holds = false }
      }
    }
    withExtendedLifetime((transposed, input, output, weight, bias)) {}
    return isFinite.holds
  }

  /// For each column of the longest line how far its output lies from the line's first.
  private func outputPlaces() -> [Int32] {
    let view = SpatialView(output, isFlat: false)
    let longest = plan.lines.reduce(0) { max($0, $1.count) }
    let step = plan.lines[0].step * view.spatial[2]
    return (0..<longest).flatMap { at in (0..<plan.samples).map { Int32(at * step + $0 * view.batch) } }
  }

  /// Some rows of some lines.
  private func compute(
    _ lines: Range<Int>, _ rows: Range<Int>, _ x: UnsafePointer<Float>, _ places: [Int32]
  ) -> Bool {
    let view = SpatialView(output, isFlat: false)
    let y = view.base.assumingMemoryBound(to: Float.self) + rows.lowerBound * view.channel
    var product = tz_tap_product()
    product.w = weights.base + rows.lowerBound * weights.row
    (product.w_row, product.w_channel) = (weights.row, weights.channel)
    product.x_channel = plan.channelSize
    product.channels = Int32(stencil.channels)
    product.rows = Int32(rows.count)
    product.start = starts.map { $0 + rows.lowerBound }
    product.y_row = view.channel
    var isFinite = true
    plan.kernelIndices.withUnsafeBufferPointer { indices in
      plan.inputOffsets.withUnsafeBufferPointer { offsets in
        places.withUnsafeBufferPointer { places in
          guard let places = places.baseAddress else { return }
          for line in plan.lines[lines] {
            product.w_taps = indices.baseAddress.map { $0 + line.firstTap }
            product.x_taps = offsets.baseAddress.map { $0 + line.firstTap }
            product.taps = Int32(line.tapCount)
            product.y = y + (line.output &* view.spatial).wrappedSum()
            let columns = line.count * plan.samples
            for first in stride(from: 0, to: columns, by: Int(TZ_PANEL)) {
              product.x = x + line.input + first
              product.columns = Int32(min(Int(TZ_PANEL), columns - first))
              product.places = places + first
              if !tz_product_taps(table, &product) { isFinite = false }
            }
          }
        }
      }
    }
    return isFinite
  }

  // MARK: Input

  /// Transposes the input, with zeros where w is padded.
  private func transpose(to x: UnsafeMutablePointer<Float>) {
    let view = SpatialView(input, isFlat: false)
    let from = view.base.assumingMemoryBound(to: Float.self)
    let (planes, rows, columns) = (view.size[0], view.size[1], view.size[2])
    let (samples, row) = (plan.samples, plan.rowSize)
    let (phases, steps) = (plan.phases, plan.steps)
    ThreadPool.shared.runRows(stencil.channels * planes, width: rows * columns * samples) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: phases == 1 ? 1 : columns * samples) { line in
        guard let line = line.baseAddress else { return }
        for index in range {
          let (channel, plane) = index.quotientAndRemainder(dividingBy: planes)
          for h in 0..<rows {
            let source = from + channel * view.channel + plane * view.spatial[0] + h * view.spatial[1]
            let to = x + channel * plan.channelSize + (plane * rows + h) * phases * row
            if phases == 1 {
              let start = -steps.lowerBound * samples
              to.update(repeating: 0, count: start)
              tz_transpose(source, view.batch, samples, columns, to + start, samples)
              let end = start + columns * samples
              (to + end).update(repeating: 0, count: row - end)
              continue
            }
            tz_transpose(source, view.batch, samples, columns, line, samples)
            for phase in 0..<phases {
              let target = to + phase * row
              let start = -steps.lowerBound * samples
              let count = max(0, (columns - phase + phases - 1) / phases)
              target.update(repeating: 0, count: start)
              for at in 0..<count {
                (target + start + at * samples).update(from: line + (at * phases + phase) * samples, count: samples)
              }
              let end = start + count * samples
              (target + end).update(repeating: 0, count: row - end)
            }
          }
        }
      }
    }
  }
}
