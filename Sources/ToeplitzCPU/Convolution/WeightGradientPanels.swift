import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The weight's gradient of a convolution without groups, of float32 numbers and enough input channels, as matrix products over
/// positions and samples.
///
///     w[o][c][tap] = Σ_position Σ_sample dy[o][position][sample] · x[position · stride + tap · dilation][sample][c]
///
/// A part of the positions is done after the other. Of each the cotangent and the input are transposed, samples last, the input in
/// panels of 32 channels. So neighbouring outputs of a row, all of their samples, are one run of steps, and the positions where a
/// tap reads padding are left out.
///
/// Each result is one chain of multiply-adds in the order of positions and samples: threads share output channels and panels.
struct WeightGradientPanels {
  private let x: Tensor
  private let dy: Tensor
  private let axes: [WeightGradientAxis]
  private let samples: Int
  private let inputs: Int
  private let outputs: Int
  private let taps: Int
  /// The outermost axis that is there, along which parts are cut.
  private let cut: Int
  private let table: UnsafePointer<tz_products_table>?

  private static let width = Int(TZ_PANEL)
  /// Positions and samples of a part: a panel of its inputs stays in the second-level cache.
  private static let mostSteps = max(1024, Platform.secondLevelCache / 2 / (4 * width))

  /// - Parameters:
  ///   - x: the input `[N, C, …]`, whose rows are contiguous.
  ///   - dy: the cotangent `[N, O, …]`, whose rows are contiguous.
  init(_ x: Tensor, _ dy: Tensor, _ conv: ConvolutionGeometry, padding: [Int]) {
    (self.x, self.dy) = (x, dy)
    axes = WeightGradientAxis.three(x, dy, conv, padding: padding)
    (samples, inputs, outputs) = (x.shape[0], x.shape[1], dy.shape[1])
    cut = 3 - conv.rank
    taps = axes.reduce(1) { $0 * $1.kernel }
    table = tz_products_kernels(InstructionSet.current.code)
  }

  /// Samples and outputs that are computed together, and where their inputs lie in a panel.
  private struct Part {
    var samples: Range<Int>
    var outputs: [Range<Int>]
    var read: [Range<Int>]
    /// Whole steps of w that are read, of which each phase has a row.
    var steps: Range<Int>
    var phases: Int

    /// Steps of the sums.
    var count: Int { outputs.reduce(samples.count) { $0 * $1.count } }
    /// Elements of a row of all phases in a panel, and of a panel.
    var rowSize: Int { phases * steps.count * samples.count * WeightGradientPanels.width }
    var panelSize: Int { read[0].count * read[1].count * rowSize }
  }

  private var parts: [Part] {
    let inner = axes[(cut + 1)...].reduce(1) { $0 * $1.output }
    let together = inner * samples <= Self.mostSteps ? samples : max(1, Self.mostSteps / inner)
    let along = max(1, Self.mostSteps / (inner * together))
    return stride(from: 0, to: samples, by: together).flatMap { sample in
      stride(from: 0, to: axes[cut].output, by: along).map { first in
        let outputs = axes.indices.map { axis in
          axis == cut ? first..<min(axes[cut].output, first + along) : 0..<axes[axis].output
        }
        let read = zip(axes, outputs).map { $0.read($1) }
        let stride = axes[2].stride
        return Part(
          samples: sample..<min(samples, sample + together), outputs: outputs, read: read,
          steps: (read[2].lowerBound / stride)..<max(
            read[2].lowerBound / stride, ceilDivide(read[2].upperBound, stride)), phases: stride)
      }
    }
  }

  /// The gradient `[O, C, taps]`.
  func callAsFunction() throws -> Tensor {
    let name = "convolution weight gradient"
    guard samples > 0, axes.allSatisfy({ $0.output > 0 }) else {
      return try Tensor.zeros([outputs, inputs, taps], dtype: .float32)
    }
    let result = try Tensor(uninitialized: [outputs, inputs, taps], dtype: .float32, operation: name)
    let parts = parts
    let panels = (inputs + Self.width - 1) / Self.width
    let pitch = spreadPitch(parts.reduce(0) { max($0, $1.count) }, elementSize: 4)
    let pool = ThreadPool.shared
    let threads = pool.threadCount
    let height = Int(tz_products_rows(table))
    let blocks = (outputs + height - 1) / height
    // Sums of a block of rows and a panel: kept from part to part.
    let tapSize = height * Self.width
    let kept = parts.count > 1 ? panels * blocks : threads
    func scratch(_ counts: Int...) throws -> Storage {
      let count = try checkedProduct(counts, name)
      return try Storage(byteCount: count * 4, for: .scratch, operation: name)
    }
    let (left, right) = (
      try scratch(outputs, pitch), try scratch(panels, parts.reduce(0) { max($0, $1.panelSize) })
    )
    let memory = try scratch(kept, taps, tapSize)
    let (dyT, xT, sums) = (pointer(left), pointer(right), pointer(memory))
    let to = result.pointer(Float.self)
    for (index, part) in parts.enumerated() {
      transposeCotangent(part, to: dyT, pitch: pitch)
      transposeInput(part, to: xT, panels: panels)
      let (isFirst, isLast) = (index == 0, index == parts.count - 1)
      pool.run(panels * blocks, threads: threads) { item, thread in
        let (panel, block) = item.quotientAndRemainder(dividingBy: blocks)
        let rows = outputs * block / blocks..<outputs * (block + 1) / blocks
        let own = sums + (parts.count > 1 ? item : thread) * taps * tapSize
        if isFirst { own.update(repeating: 0, count: taps * tapSize) }
        let columns = min(Self.width, inputs - panel * Self.width)
        add(
          part, dyT + rows.lowerBound * pitch, pitch, rows.count, xT + panel * part.panelSize, columns, to: own, tapSize
        )
        guard isLast else { return }
        for row in 0..<rows.count {
          let first = (rows.lowerBound + row) * inputs + panel * Self.width
          tz_transpose(own + row * Self.width, tapSize, taps, columns, to + first * taps, taps)
        }
      }
    }
    withExtendedLifetime((x, dy, left, right, memory)) {}
    return result
  }

  private func checkedProduct(_ factors: [Int], _ name: String) throws -> Int {
    try factors.reduce(1) { product, factor in
      let (next, overflow) = product.multipliedReportingOverflow(by: factor)
      guard !overflow, next < Int.max / 8 else {
        throw ToeplitzError(.memory, name, expected: "sizes that fit into memory", got: "\(factors) elements")
      }
      return next
    }
  }

  private func pointer(_ storage: Storage) -> UnsafeMutablePointer<Float> {
    storage.base.assumingMemoryBound(to: Float.self)
  }

  /// Adds the products of a part to the sums of some output channels and a panel of input channels, `[tap][row][column]`.
  private func add(
    _ part: Part, _ dyT: UnsafePointer<Float>, _ pitch: Int, _ rows: Int, _ xT: UnsafePointer<Float>, _ columns: Int,
    to sums: UnsafeMutablePointer<Float>, _ tapSize: Int
  ) {
    let count = part.samples.count
    let outputRow = part.outputs[2].count * count
    var product = tz_run_product()
    (product.a_row, product.a_run) = (pitch, outputRow)
    (product.rows, product.columns, product.adds) = (Int32(rows), Int32(columns), true)
    product.b_run = axes[1].stride * part.rowSize
    var tap = 0
    for kd in 0..<axes[0].kernel {
      let ds = axes[0].inside(part.outputs[0], tap: kd)
      for kh in 0..<axes[1].kernel {
        let hs = axes[1].inside(part.outputs[1], tap: kh)
        for kw in 0..<axes[2].kernel {
          let ws = axes[2].inside(part.outputs[2], tap: kw)
          product.sums = sums + tap * tapSize
          tap += 1
          guard !hs.isEmpty, !ws.isEmpty else { continue }
          (product.runs, product.steps) = (hs.count, ws.count * count)
          let offset = axes[2].offset(kw)
          let whole = floorDivide(offset, part.phases)
          let column = (offset - whole * part.phases) * part.steps.count + ws.lowerBound + whole - part.steps.lowerBound
          for d in ds {
            let output =
              (d - part.outputs[0].lowerBound) * part.outputs[1].count + hs.lowerBound - part.outputs[1].lowerBound
            product.a = dyT + output * outputRow + (ws.lowerBound - part.outputs[2].lowerBound) * count
            let plane = d * axes[0].stride + axes[0].offset(kd) - part.read[0].lowerBound
            let row = hs.lowerBound * axes[1].stride + axes[1].offset(kh) - part.read[1].lowerBound
            product.b = xT + (plane * part.read[1].count + row) * part.rowSize + column * count * Self.width
            tz_product_runs(table, &product)
          }
        }
      }
    }
  }

  // MARK: Layout

  /// The cotangent of a part, `[channel][position][sample]`.
  private func transposeCotangent(_ part: Part, to dyT: UnsafeMutablePointer<Float>, pitch: Int) {
    let from = dy.pointer(Float.self) + part.samples.lowerBound * dy.strides[0]
    let (ds, hs, ws) = (part.outputs[0], part.outputs[1], part.outputs[2])
    let count = part.samples.count
    // Rows without others beside them in memory are one.
    let joins = ws.count == axes[2].output && axes[1].outputStride == axes[2].output && hs.count == axes[1].output
    let (rows, columns) = joins ? (1, hs.count * ws.count) : (hs.count, ws.count)
    ThreadPool.shared.runRows(outputs, width: part.count) { range in
      for output in range {
        var to = dyT + output * pitch
        for d in ds {
          for h in 0..<rows {
            let source =
              from + output * dy.strides[1] + d * axes[0].outputStride + (hs.lowerBound + h) * axes[1].outputStride
              + ws.lowerBound
            tz_transpose(source, dy.strides[0], count, columns, to, count)
            to += columns * count
          }
        }
      }
    }
  }

  /// What a part reads of the input, in panels `[d][h][phase of w][w][sample][channel]`.
  private func transposeInput(_ part: Part, to xT: UnsafeMutablePointer<Float>, panels: Int) {
    let from = x.pointer(Float.self)
    let (ds, hs, ws) = (part.read[0], part.read[1], part.read[2])
    let (count, phases, width) = (part.samples.count, part.phases, Self.width)
    let rows = ds.count * hs.count
    ThreadPool.shared.runRows(panels * rows * count, width: width * max(1, ws.count)) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: phases == 1 ? 1 : ws.count * width) { line in
        guard let line = line.baseAddress else { return }
        for index in range {
          let (rest, sample) = index.quotientAndRemainder(dividingBy: count)
          let (panel, row) = rest.quotientAndRemainder(dividingBy: rows)
          let (d, h) = (ds.lowerBound + row / hs.count, hs.lowerBound + row % hs.count)
          let channels = min(width, inputs - panel * width)
          let source =
            from + (part.samples.lowerBound + sample) * x.strides[0] + panel * width * x.strides[1]
            + d * axes[0].inputStride + h * axes[1].inputStride + ws.lowerBound
          let to = xT + panel * part.panelSize + row * part.rowSize + sample * width
          if phases == 1 {
            tz_transpose(source, x.strides[1], channels, ws.count, to, count * width)
            continue
          }
          tz_transpose(source, x.strides[1], channels, ws.count, line, width)
          for (at, w) in ws.enumerated() {
            let place = w % phases * part.steps.count + w / phases - part.steps.lowerBound
            (to + place * count * width).update(from: line + at * width, count: channels)
          }
        }
      }
    }
  }
}
