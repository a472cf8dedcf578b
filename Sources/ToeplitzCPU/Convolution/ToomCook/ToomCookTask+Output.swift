import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ToomCookTask {
  /// How the outputs of a unit lie in scratch memory, some rows at a time.
  struct OutputPlan {
    /// Rows that are transformed back and stored together: a narrow block, or a vector of a wide one.
    let rows: Int
    /// Elements of the sums of one column in a row.
    let column: Int
    /// Elements of the sums of one row, or of one row of its tiles; in squares also between those of two rows that lie
    /// together, of the next ones, and between the rows of a tile (or its outputs, where they do not lie side by side).
    let row: Int
    let group: Int
    let image: Int
    /// Rows that the store interleaves, since they differ in the phase on w only.
    let together: Int
    /// Elements of all of them.
    let count: Int
    /// For each row of sums its phase on d, h, w, and how many differ in w only.
    let phases: [(Int32, Int32, Int32)]
    let widePhases: Int

    init(
      _ schedule: ToomCookSchedule, stencil: ConvolutionStencil, group rowGroup: RowGroup, blockRows: Int, lanes: Int
    ) {
      let plan = schedule.plan
      rows = schedule.kind == .wide ? lanes : blockRows
      let wide = rowGroup.axes[2].phases.count
      if plan.isSquare {
        column = plan.tile
        together = rows % wide == 0 ? wide : 1
        row = plan.tile * ((schedule.columns + lanes - 1) / lanes * lanes)
        image = together * row
        group = plan.tile * image
        count = rows / together * group
        phases = Self.phases(schedule, stencil, rowGroup, together: together)
        widePhases = together
        return
      }
      let columns = plan.dilation * schedule.residueColumns
      (together, group) = (1, 0)
      row = plan.tile * max(schedule.columns, columns)
      count = rows * row
      if plan.dilation > 1 {
        // A tile's outputs of all residues are as many phases; each lies in a row of its own.
        (column, image) = (1, columns)
        let (d, h, w) = rowGroup.phase(0)
        phases = (0..<plan.tileColumns).map { (d, h, w + Int32($0 * stencil.outStep[2])) }
        widePhases = plan.tileColumns
      } else {
        (column, image) = (plan.tile, 0)
        phases = (0..<rowGroup.phaseCount).map { rowGroup.phase($0) }
        widePhases = wide
      }
    }

    /// The phases of squares: rows of tiles are such, between the phases of the h axis and those of the w axis where
    /// these lie together, else after both.
    private static func phases(
      _ schedule: ToomCookSchedule, _ stencil: ConvolutionStencil, _ group: RowGroup, together: Int
    ) -> [(Int32, Int32, Int32)] {
      let first = schedule.positions.first[1]
      return stride(from: 0, to: group.phaseCount, by: together).flatMap { index in
        (0..<schedule.plan.tile).flatMap { i in
          (0..<together).map { q in
            let phase = group.phase(index + q)
            return (phase.0, phase.1 + Int32((first + i) * stencil.outStep[1]), phase.2)
          }
        }
      }
    }
  }

  /// Transforms the products back and stores the results.
  ///
  /// - Returns: whether they are finite.
  func store(
    _ place: Place, _ products: UnsafeMutablePointer<Float>, _ sums: UnsafeMutablePointer<Float>
  ) -> Bool {
    let start = weights.start(place.convolutionGroup)
    var isFinite = true
    output.phases.withUnsafeBytes { phases in
      var description = description(phases.bindMemory(to: (Int32, Int32, Int32).self).baseAddress)
      engine.move(&description, sample: place.sample, channel: place.convolutionGroup * stencil.outputs)
      var area = area(place)
      var back = tz_toom_output()
      back.point = productPitch
      back.row = output.row
      back.group = output.group
      back.image = output.image
      back.together = Int32(output.together)
      back.is_sorted = sortsTiles
      let first = place.blocks.lowerBound * weights.blockRows
      let end = min(place.blocks.upperBound * weights.blockRows, weights.rows)
      for row in stride(from: first, to: end, by: output.rows) {
        let present = min(output.rows, end - row)
        back.start = start + row
        back.rows = Int32(present)
        isFinite = transformBack(&back, products, row: row - first, of: place.blocks.count, sums) && isFinite
        let count = (area.height - 1) * area.pitch + area.width
        if plan.dilation == 1 {
          tz_conv_store_sums(
            engine.table, &description, &area, sums, output.row, 0, count, Int32(row * plan.tileRows),
            Int32(present * plan.tileRows))
        } else {
          for r in 0..<present {
            tz_conv_store_sums(
              engine.table, &description, &area, sums + r * output.row, area.pitch, 0, count,
              Int32((row + r) * plan.tileColumns), Int32(plan.tileColumns))
          }
        }
      }
    }
    return isFinite
  }

  /// Transforms back the products of some rows, the first being number `row` of the unit's blocks.
  private func transformBack(
    _ back: inout tz_toom_output, _ products: UnsafeMutablePointer<Float>, row: Int, of blocks: Int,
    _ sums: UnsafeMutablePointer<Float>
  ) -> Bool {
    let (block, rest) = row.quotientAndRemainder(dividingBy: weights.blockRows)
    back.sums = sums
    if schedule.kind == .wide {
      back.y = UnsafePointer(products + block * weights.blockRows * schedule.columns + rest)
      back.columns = Int32(schedule.columns)
      return tz_toom_run_turned(transforms, plan.kind, &back)
    }
    var isFinite = true
    for chunk in (0..<chunks).reversed() {
      let columns = columns(chunk)
      back.y = UnsafePointer(products + (columns.first * blocks + block * columns.count) * weights.blockRows)
      back.vectors = Int32(columns.count / chunking.unit)
      back.sums = sums + output.column * columns.first
      isFinite = tz_toom_run_output(transforms, plan.kind, &back) && isFinite
    }
    return isFinite
  }

  /// The output as the store sees it: residues and rows of square tiles are phases.
  private func description(_ phases: UnsafePointer<(Int32, Int32, Int32)>?) -> tz_conv_output {
    var description = engine.outputDescription(phases: phases, count: output.phases.count, wide: output.widePhases)
    if plan.isSquare {
      description.step.1 *= plan.tile
    } else if plan.dilation > 1 {
      // Tiles are counted from the first position.
      description.step.2 *= plan.tileColumns
      description.shift.2 -= schedule.positions.first[2] * stencil.outStep[2]
    }
    return description
  }

  private func area(_ place: Place) -> tz_conv_area {
    let positions = schedule.positions
    let position = plan.tile * place.w
    if plan.isSquare {
      let high = (positions.count[1] + plan.tile - 1) / plan.tile - place.h
      return tz_conv_area(
        first: (positions.first[0] + place.d, place.h, positions.first[2] + position),
        height: min(schedule.tilesHigh, high),
        width: min(plan.tile * schedule.tilesWide, positions.count[2] - position), pitch: plan.tile * schedule.tilesWide
      )
    }
    let (d, h) = (positions.first[0] + place.d, positions.first[1] + place.h)
    if plan.dilation > 1 {
      let left = (positions.count[2] + plan.tileColumns - 1) / plan.tileColumns - place.w
      return tz_conv_area(
        first: (d, h, place.w), height: 1, width: min(schedule.tilesWide, left), pitch: schedule.residueColumns)
    }
    return tz_conv_area(
      first: (d, h, positions.first[2] + position), height: 1,
      width: min(plan.tile * schedule.tilesWide, positions.count[2] - position),
      pitch: plan.tile * schedule.residueColumns)
  }
}
