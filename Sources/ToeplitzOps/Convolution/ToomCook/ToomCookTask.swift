import CToeplitzKernels
import ToeplitzTensor

/// The work on one unit of a ``ToomCookSchedule``.
struct ToomCookTask {
  private let engine: ConvolutionEngine
  private let schedule: ToomCookSchedule
  private let plan: ToomCookPlan
  private let weights: ToomCookWeights
  private let transforms: UnsafePointer<tz_toom_table>
  private let stencil: ConvolutionStencil
  private let chunking: ColumnChunking
  private let chunks: Int
  /// Input positions that one phase of the packed inputs holds, on h and w, and the phases.
  private let packedCount: (h: Int, w: Int)
  private let phases: (h: [Int], w: [Int])
  private let planeCount: Int
  /// For each point of the input transform, where its column 0 lies in the packed inputs of a channel.
  private let offsets: [Int32]
  private let channelPitch: Int
  private let pieceOffsets: [Int32]
  /// Elements of the sums of one row, and between the 4 rows of a square tile.
  private let rowSums: Int
  private let imageSums: Int
  /// For each row of a kernel row's sums, its phase on d, h, w; how many differ in w only.
  private let rowPhases: [(Int32, Int32, Int32)]
  private let widePhases: Int32
  /// What the sums of points start from.
  private let zeros: [Float]
  /// Elements of the parts of scratch memory: packed inputs, transformed inputs, products, sums.
  private let parts: [Int]

  init(
    engine: ConvolutionEngine, schedule: ToomCookSchedule, weights: ToomCookWeights, group: RowGroup,
    transforms: UnsafePointer<tz_toom_table>
  ) {
    self.engine = engine
    self.schedule = schedule
    self.weights = weights
    self.transforms = transforms
    plan = schedule.plan
    stencil = engine.packed.stencil
    chunking = ColumnChunking(.narrow, blockRows: ToomCookWeights.blockRows, table: engine.table)
    chunks = chunking.count(height: 1, width: schedule.columns, pitch: schedule.columns, cutsRows: false)
    let step = plan.dilation
    if plan.isSquare {
      packedCount = (schedule.tilesHigh + 1, schedule.tilesWide)
      phases = ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5])
      let plane = packedCount.h * packedCount.w
      let width = packedCount.w
      offsets = (0..<plan.points).map { point in
        let (i, j) = (point / 6, point % 6)
        return Int32(((i % 4) * 6 + j) * plane + i / 4 * width)
      }
    } else {
      packedCount = (1, schedule.residueColumns)
      phases = ([0], (0..<4).flatMap { i in (0..<step).map { i * step + $0 } })
      let width = packedCount.w
      offsets = (0..<plan.points).map { Int32($0 % 4 * step * width + $0 / 4) }
    }
    planeCount = phases.h.count * phases.w.count
    let pitch = schedule.columns + plan.pieces + 16
    channelPitch = (pitch / 16) | 1 == pitch / 16 ? pitch / 16 * 16 : (pitch / 16 + 1) * 16
    pieceOffsets = (0..<plan.pieces).map { Int32($0) }
    imageSums = plan.isSquare ? 4 * schedule.columns : 0
    rowSums = plan.isSquare ? 4 * imageSums : 4 * max(schedule.columns, step * schedule.residueColumns)
    if plan.isSquare {
      rowPhases = (0..<4).map { (0, Int32($0), 0) }
    } else if step > 1 {
      rowPhases = (0..<step).map { (0, 0, Int32($0)) }
    } else {
      rowPhases = (0..<group.phaseCount).map { group.phase($0) }
    }
    zeros = Array(repeating: 0, count: ToomCookWeights.blockRows * weights.blocks)
    widePhases = Int32(group.axes[2].phases.count)
    let own = (weights.blocks + schedule.splits - 1) / schedule.splits
    parts = [
      planeCount * packedCount.h * packedCount.w + Self.slack,
      plan.points * stencil.channels * channelPitch + Self.slack,
      plan.points * own * ToomCookWeights.blockRows * schedule.columns,
      ToomCookWeights.blockRows * rowSums + Self.slack,
    ].map { ($0 + 15) / 16 * 16 }
  }

  /// Elements past the end that whole vectors may touch.
  private static let slack = 64

  /// Bytes of scratch memory.
  var scratchBytes: Int { parts.reduce(0, +) * 4 }

  /// Computes units of batch × groups × units × splits.
  ///
  /// - Returns: whether all results are finite.
  func run(_ units: Range<Int>, _ memory: UnsafeMutableRawPointer) -> Bool {
    let base = memory.assumingMemoryBound(to: Float.self)
    let packed = base
    let transformed = packed + parts[0]
    let products = transformed + parts[1]
    let sums = products + parts[2]
    // Columns past the last one are computed too, and should not look like an overflow.
    (packed + parts[0] - Self.slack - 16).update(repeating: 0, count: Self.slack + 16)
    var isFinite = true
    for unit in units {
      let place = place(unit)
      transformInput(place, packed, transformed)
      multiply(place, transformed, products)
      isFinite = store(place, products, sums) && isFinite
    }
    return isFinite
  }

  /// What a unit computes.
  private struct Place {
    var sample: Int
    var convolutionGroup: Int
    /// Its first tile on h and w, and its plane.
    var d: Int
    var h: Int
    var w: Int
    var blocks: Range<Int>
  }

  private func place(_ unit: Int) -> Place {
    let (whole, split) = unit.quotientAndRemainder(dividingBy: schedule.splits)
    let (pair, index) = whole.quotientAndRemainder(dividingBy: schedule.units)
    let (sample, group) = pair.quotientAndRemainder(dividingBy: stencil.groups)
    let w = index % schedule.unitsWide
    let h = index / schedule.unitsWide % schedule.unitsHigh
    let blocks = weights.blocks
    return Place(
      sample: sample, convolutionGroup: group, d: index / schedule.unitsWide / schedule.unitsHigh,
      h: h * schedule.tilesHigh, w: w * schedule.tilesWide,
      blocks: (split * blocks / schedule.splits)..<((split + 1) * blocks / schedule.splits))
  }

  /// Packs and transforms the inputs of all channels: `[point][channel][column]`.
  private func transformInput(
    _ place: Place, _ packed: UnsafeMutablePointer<Float>, _ transformed: UnsafeMutablePointer<Float>
  ) {
    let positions = schedule.positions
    let channel = place.convolutionGroup * stencil.channels
    var request = engine.packRequest(sample: place.sample, channel: channel, count: 1, panel: packed)
    request.panel_channel = planeCount * packedCount.h * packedCount.w
    request.panel_row = packedCount.w
    let origin = (0..<3).map { positions.first[$0] + positions.lowest[$0] }
    // Inputs of tile t begin at (t × tile size + phase) from the first.
    let h = phases.h.map { $0 + origin[1] }
    let w = phases.w.map { $0 + origin[2] }
    withUnsafePointers([0], h, w) { zero, h, w in
      request.axis = (
        engine.packAxis(0, first: origin[0] + place.d, count: 1, step: 1, phases: zero),
        engine.packAxis(1, first: place.h, count: packedCount.h, step: plan.tileRows, phases: h),
        engine.packAxis(2, first: place.w, count: packedCount.w, step: plan.tileColumns, phases: w)
      )
      offsets.withUnsafeBufferPointer { offsets in
        var input = tz_toom_input(
          planes: packed, offsets: offsets.baseAddress, x: transformed, point: stencil.channels * channelPitch,
          columns: schedule.columns + (plan.isSquare ? 0 : plan.pieces - 1))
        for _ in 0..<stencil.channels {
          tz_conv_pack(engine.table, &request)
          tz_toom_run_input(transforms, plan.kind, &input)
          request.x += engine.input.channel * engine.storedSize
          input.x += channelPitch
        }
      }
    }
  }

  /// The kernels' products: `[point][chunk][block][row][column]`.
  private func multiply(
    _ place: Place, _ transformed: UnsafeMutablePointer<Float>, _ products: UnsafeMutablePointer<Float>
  ) {
    let rows = ToomCookWeights.blockRows
    zeros.withUnsafeBufferPointer { zeros in
      pieceOffsets.withUnsafeBufferPointer { pieces in
        var tile = tz_conv_tile()
        tile.xs = channelPitch
        tile.toff = pieces.baseAddress
        tile.channels = Int32(stencil.channels)
        tile.taps = Int32(plan.pieces)
        tile.start = UnsafeRawPointer(zeros.baseAddress)
        for point in 0..<plan.points {
          let x = transformed + point * stencil.channels * channelPitch
          tile.w = weights.pointer(place.convolutionGroup, point: point)
          for chunk in 0..<chunks {
            let columns = columns(chunk)
            tile.x = UnsafeRawPointer(x + columns.first)
            tile.acc = UnsafeMutableRawPointer(
              products + productOffset(place, point, columns.first))
            var sweep = tz_conv_sweep()
            sweep.block_rows = Int32(rows)
            sweep.vectors = Int32(columns.count / chunking.unit)
            sweep.first_block = Int32(place.blocks.lowerBound)
            sweep.end_block = Int32(place.blocks.upperBound)
            sweep.rows = Int32(weights.rows)
            sweep.element = 4
            sweep.block_weights = weights.blockCount * 4
            sweep.block_sums = rows * columns.count * 4
            tz_conv_run(engine.table, &tile, &sweep)
          }
        }
      }
    }
  }

  private func columns(_ chunk: Int) -> (first: Int, count: Int) {
    chunking.columns(
      chunk, of: chunks, height: 1, width: schedule.columns, pitch: schedule.columns, cutsRows: false)
  }

  /// Elements before the products of a chunk that begins at `column`: chunks before it hold as many columns.
  private func productOffset(_ place: Place, _ point: Int, _ column: Int) -> Int {
    (point * schedule.columns + column) * place.blocks.count * ToomCookWeights.blockRows
  }

  /// Transforms the products back and stores the results.
  private func store(
    _ place: Place, _ products: UnsafeMutablePointer<Float>, _ sums: UnsafeMutablePointer<Float>
  ) -> Bool {
    let rows = ToomCookWeights.blockRows
    let start = weights.start(place.convolutionGroup)
    var isFinite = true
    rowPhases.withUnsafeBytes { phases in
      var output = description(phases.bindMemory(to: (Int32, Int32, Int32).self).baseAddress)
      engine.move(&output, sample: place.sample, channel: place.convolutionGroup * stencil.outputs)
      var area = area(place)
      var back = tz_toom_output()
      back.point = productOffset(place, 1, 0)
      back.sums = sums
      back.row = rowSums
      back.image = imageSums
      for block in place.blocks {
        let present = min(rows, weights.rows - block * rows)
        back.start = start + block * rows
        back.rows = Int32(present)
        for chunk in 0..<chunks {
          let columns = columns(chunk)
          let first = productOffset(place, 0, columns.first)
          back.y = UnsafePointer(products + first + (block - place.blocks.lowerBound) * rows * columns.count)
          back.vectors = Int32(columns.count / chunking.unit)
          back.sums = sums + 4 * columns.first
          isFinite = tz_toom_run_output(transforms, plan.kind, &back) && isFinite
        }
        let count = (area.height - 1) * area.pitch + area.width
        if plan.dilation == 1 {
          tz_conv_store_sums(
            engine.table, &output, &area, sums, rowSums / plan.tileRows, 0, count, Int32(block * rows * plan.tileRows),
            Int32(present * plan.tileRows))
        } else {
          for row in 0..<present {
            tz_conv_store_sums(
              engine.table, &output, &area, sums + row * rowSums, area.pitch, 0, count,
              Int32((block * rows + row) * plan.dilation),
              Int32(plan.dilation))
          }
        }
      }
    }
    return isFinite
  }

  /// The output as the store sees it: residues and rows of square tiles are phases.
  private func description(_ phases: UnsafePointer<(Int32, Int32, Int32)>?) -> tz_conv_output {
    var output = engine.outputDescription(phases: phases, count: rowPhases.count, wide: 1)
    if plan.isSquare {
      output.step.1 = 4
    } else if plan.dilation > 1 {
      output.step.2 = plan.dilation
      output.wide = Int32(plan.dilation)
    } else {
      output.wide = widePhases
    }
    return output
  }

  private func area(_ place: Place) -> tz_conv_area {
    let positions = schedule.positions
    if plan.isSquare {
      let left = positions.count[2] - 4 * place.w
      let high = (positions.count[1] + 3) / 4 - place.h
      return tz_conv_area(
        first: (positions.first[0] + place.d, place.h, positions.first[2] + 4 * place.w),
        height: min(schedule.tilesHigh, high), width: min(4 * schedule.tilesWide, left), pitch: 4 * schedule.tilesWide)
    }
    // Positions are numbered within a residue.
    let position = 4 * place.w
    let left = (positions.count[2] + plan.dilation - 1) / plan.dilation - position
    let first = plan.dilation > 1 ? position : positions.first[2] + position
    return tz_conv_area(
      first: (positions.first[0] + place.d, positions.first[1] + place.h, first), height: 1,
      width: min(4 * schedule.tilesWide, left), pitch: 4 * schedule.residueColumns)
  }
}

/// Calls `body` with the elements of three arrays.
private func withUnsafePointers(
  _ a: [Int], _ b: [Int], _ c: [Int],
  _ body: (UnsafeBufferPointer<Int>, UnsafeBufferPointer<Int>, UnsafeBufferPointer<Int>) -> Void
) {
  a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in c.withUnsafeBufferPointer { c in body(a, b, c) } }
  }
}
