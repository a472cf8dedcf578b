import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The work on one unit of a ``ToomCookSchedule``.
struct ToomCookTask {
  let engine: ConvolutionEngine
  let schedule: ToomCookSchedule
  let plan: ToomCookPlan
  let weights: ToomCookWeights
  let transforms: UnsafePointer<tz_toom_table>
  let stencil: ConvolutionStencil
  let chunking: ColumnChunking
  let chunks: Int
  /// How inputs and outputs of a unit lie in scratch memory.
  let input: InputPlan
  let output: OutputPlan
  /// Whether images are so small that they are transformed without a copy.
  let readsWholeImages: Bool
  /// Whether the last tiles of such images have one output only on h, and on w, so that some of their products are not needed.
  let endsInSingle: (row: Bool, column: Bool)
  var sortsTiles: Bool { endsInSingle.row || endsInSingle.column }
  /// Into how many parts the row blocks are cut, and how many units that makes.
  private let splits: Int
  let units: Int
  /// Elements from one channel of the transformed inputs to the next, and from one point to the next.
  let channelPitch: Int
  let pointPitch: Int
  /// Elements from the products of one point to those of the next.
  let productPitch: Int
  private let pieceOffsets: [Int32]
  /// What the sums of points start from.
  private let zeros: [Float]
  /// Elements of the parts of scratch memory: packed inputs, inputs transformed along h, transformed inputs, products,
  /// sums.
  private let parts: [Int]

  /// - Parameter threads: how many threads share the units.
  init(
    engine: ConvolutionEngine, schedule: ToomCookSchedule, weights: ToomCookWeights, group: RowGroup,
    transforms: UnsafePointer<tz_toom_table>, threads: Int
  ) {
    self.engine = engine
    self.schedule = schedule
    self.weights = weights
    self.transforms = transforms
    plan = schedule.plan
    stencil = engine.packed.stencil
    let columns = schedule.columns
    chunking = ColumnChunking(schedule.kind, blockRows: weights.blockRows, table: engine.table)
    chunks = chunking.count(height: 1, width: columns, pitch: columns, cutsRows: false)
    input = InputPlan(schedule)
    output = OutputPlan(schedule, stencil: stencil, group: group, blockRows: weights.blockRows, lanes: chunking.lanes)
    readsWholeImages =
      plan.kind == TZ_TOOM_2X3 && schedule.tilesHigh == 4 && schedule.tilesWide == 4 && schedule.unitsHigh == 1
      && schedule.unitsWide == 1 && engine.input.size[0] == 1 && schedule.positions.count[0] == 1
      && schedule.positions.origin[0] == 0 && engine.input.spatial[2] == 1 && engine.mode == .zeros
      && engine.isComputedAsStored && tz_toom_has_small(transforms)
    let canSkip = readsWholeImages && schedule.kind == .wide
    endsInSingle = (
      canSkip && schedule.positions.count[1] % 2 == 1, canSkip && schedule.positions.count[2] % 2 == 1
    )
    channelPitch = spreadPitch(columns + plan.pieces - 1, elementSize: 4)
    // Channels often are a power of two: points would share a few sets of the cache.
    pointPitch = stencil.channels * channelPitch + 16
    pieceOffsets = (0..<plan.pieces).map { Int32($0) }
    zeros = Array(repeating: 0, count: weights.blockRows * weights.blocks)
    // A thread that goes on with the same inputs has transformed them. Wide kernels go on with the next block of weights, which
    // comes near meanwhile.
    let places = engine.batch * stencil.groups * schedule.units
    let isFiner = threads > 1 && schedule.kind == .narrow
    let wanted = isFiner ? (Self.unitsForEachThread * threads + places - 1) / places : 1
    splits = max(schedule.splits, min(weights.blocks * weights.blockRows / Self.fewestRows, wanted))
    units = places * splits
    let own = (weights.blocks + splits - 1) / splits
    productPitch = own * weights.blockRows * columns + 16
    parts = [
      input.packedCount + Self.slack, input.betweenCount, plan.points * pointPitch + Self.slack,
      plan.points * productPitch, output.count + Self.slack,
    ].map { ($0 + 15) / 16 * 16 }
  }

  /// So many let a slow thread fall behind without stopping the others.
  private static let unitsForEachThread = 4
  /// Rows of a part at least.
  private static let fewestRows = 32

  /// Elements past the end that whole vectors may touch.
  private static let slack = 64

  /// Bytes of scratch memory.
  var scratchBytes: Int { parts.reduce(0, +) * 4 }

  /// Computes units of batch × groups × units × splits.
  ///
  /// - Returns: whether all results are finite.
  func run(_ work: ConvolutionEngine.Work) -> Bool {
    let memory = work.memory
    let packed = memory.assumingMemoryBound(to: Float.self)
    let between = packed + parts[0]
    let transformed = between + parts[1]
    let products = transformed + parts[2]
    let sums = products + parts[3]
    // Columns past the last one are computed too, and should not look like an overflow.
    (packed + parts[0] - Self.slack - 16).update(repeating: 0, count: Self.slack + 16 + parts[1])
    var isFinite = true
    for unit in work.units {
      let place = place(unit)
      if ConvolutionEngine.exchangeHeld(memory, unit / splits) {
        // Transformed by this thread for the unit before.
      } else if plan.isSquare {
        transformImage(place, packed, between, transformed)
      } else {
        transformInput(place, packed, transformed)
      }
      if schedule.kind == .wide {
        let next = unit + 1 < work.units.upperBound ? unit + 1 : work.next
        multiplyWide(place, next: next.map { self.place($0) }, transformed, products)
      } else {
        multiply(place, transformed, products)
      }
      isFinite = store(place, products, sums) && isFinite
    }
    return isFinite
  }

  /// What a unit computes.
  struct Place {
    var sample: Int
    var convolutionGroup: Int
    /// Its first tile on h and w, and its plane.
    var d: Int
    var h: Int
    var w: Int
    var blocks: Range<Int>
  }

  private func place(_ unit: Int) -> Place {
    let (whole, split) = unit.quotientAndRemainder(dividingBy: splits)
    let (pair, index) = whole.quotientAndRemainder(dividingBy: schedule.units)
    let (sample, group) = pair.quotientAndRemainder(dividingBy: stencil.groups)
    let w = index % schedule.unitsWide
    let h = index / schedule.unitsWide % schedule.unitsHigh
    let blocks = weights.blocks
    return Place(
      sample: sample, convolutionGroup: group, d: index / schedule.unitsWide / schedule.unitsHigh,
      h: h * schedule.tilesHigh, w: w * schedule.tilesWide,
      blocks: (split * blocks / splits)..<((split + 1) * blocks / splits))
  }

  /// The products of narrow kernels: `[point][chunk][block][row][column]`.
  private func multiply(
    _ place: Place, _ transformed: UnsafeMutablePointer<Float>, _ products: UnsafeMutablePointer<Float>
  ) {
    let rows = weights.blockRows
    chunking.withPieces(width: schedule.columns) { piece, _ in
      piece.output = -1
      piece.block_sums = rows * piece.count * 4
      piece.sums = piece.column * place.blocks.count * rows * 4 - place.blocks.lowerBound * piece.block_sums
    } _: { pieces in
      withTile { tile in
        var sweep = tz_conv_sweep()
        sweep.block_rows = Int32(rows)
        sweep.first_block = Int32(place.blocks.lowerBound)
        sweep.end_block = Int32(place.blocks.upperBound)
        sweep.rows = Int32(weights.rows)
        sweep.element = 4
        sweep.pieces = pieces.baseAddress
        sweep.piece_count = pieces.count
        for point in 0..<plan.points {
          tile.x = UnsafeRawPointer(transformed + point * pointPitch)
          tile.w = weights.pointer(place.convolutionGroup, point: point)
          tile.taps = Int32(plan.pieces(at: point))
          sweep.block_weights = weights.blockCount(point: point) * 4
          tile.acc = UnsafeMutableRawPointer(products + point * productPitch)
          tz_conv_run(engine.table, &tile, &sweep)
        }
      }
    }
  }

  /// The products of wide kernels: `[point][block][column][row]`.
  ///
  /// - Parameter next: what the thread will probably go on with.
  private func multiplyWide(
    _ place: Place, next: Place?, _ transformed: UnsafeMutablePointer<Float>, _ products: UnsafeMutablePointer<Float>
  ) {
    // Squares have one piece.
    let blockBytes = weights.blockCount(point: 0) * 4
    func firstWeights(_ place: Place, point: Int) -> UnsafeRawPointer {
      weights.pointer(place.convolutionGroup, point: point) + place.blocks.lowerBound * blockBytes
    }
    withTile { tile in
      for point in 0..<plan.points {
        let x = transformed + point * pointPitch
        let needed = neededColumns(point)
        let chunks = chunking.count(height: 1, width: needed.count, pitch: needed.count, cutsRows: false)
        var weight = firstWeights(place, point: point)
        let after =
          point + 1 < plan.points ? firstWeights(place, point: point + 1) : next.map { firstWeights($0, point: 0) }
        for block in place.blocks {
          tile.w = weight
          let following = block + 1 < place.blocks.upperBound ? weight + blockBytes : after ?? weight
          let to =
            products + point * productPitch
            + (block - place.blocks.lowerBound) * weights.blockRows * schedule.columns
          // What is made of the others is dropped, but should not look like an overflow.
          for column in 0..<schedule.columns where !needed.contains(column) {
            (to + column * weights.blockRows).update(repeating: 0, count: weights.blockRows)
          }
          for chunk in 0..<chunks {
            let columns = chunking.columns(
              chunk, of: chunks, height: 1, width: needed.count, pitch: needed.count, cutsRows: false)
            let first = needed.lowerBound + columns.first
            tile.x = UnsafeRawPointer(x + first)
            tile.acc = UnsafeMutableRawPointer(to + first * weights.blockRows)
            // While the chunks of a block run, the next block's weights come nearer.
            tile.ahead = following + chunk * blockBytes / chunks
            tile.ahead_step = blockBytes / chunks / stencil.channels
            tz_conv_run_wide(engine.table, Int32(columns.count), &tile)
          }
          weight += blockBytes
        }
      }
    }
  }

  /// The columns whose products of a point are needed, those of sorted tiles if some are not.
  private func neededColumns(_ point: Int) -> Range<Int> {
    let (p, q) = point.quotientAndRemainder(dividingBy: 4)
    let (skipsRow, skipsColumn) = (endsInSingle.row && p == 3, endsInSingle.column && q == 3)
    return (skipsRow ? 3 : 0)..<(skipsColumn ? 12 : skipsRow ? 15 : schedule.columns)
  }

  /// Calls `body` with what all kernel calls have in common.
  private func withTile(_ body: (inout tz_conv_tile) -> Void) {
    zeros.withUnsafeBufferPointer { zeros in
      pieceOffsets.withUnsafeBufferPointer { pieces in
        var tile = tz_conv_tile()
        tile.xs = channelPitch
        tile.toff = pieces.baseAddress
        tile.channels = Int32(stencil.channels)
        tile.taps = Int32(plan.pieces)
        tile.start = UnsafeRawPointer(zeros.baseAddress)
        body(&tile)
      }
    }
  }

  /// The columns of a kernel call.
  func columns(_ chunk: Int) -> (first: Int, count: Int) {
    chunking.columns(
      chunk, of: chunks, height: 1, width: schedule.columns, pitch: schedule.columns, cutsRows: false)
  }
}
