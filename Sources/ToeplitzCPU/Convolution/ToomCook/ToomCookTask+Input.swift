import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ToomCookTask {
  /// How the inputs of a unit lie in scratch memory, one channel at a time.
  struct InputPlan {
    /// Input positions that one phase of the packed inputs holds, on h and w, and the phases; squares have one.
    let count: (h: Int, w: Int)
    let phases: (h: [Int], w: [Int])
    /// For each point of a transform on one axis, where its column 0 lies in the packed inputs of a channel.
    let offsets: [Int32]
    /// Elements of one half of what has been transformed along h.
    let half: Int

    /// Elements of the packed inputs of a channel.
    var packedCount: Int { phases.h.count * phases.w.count * count.h * count.w }
    /// Elements of what has been transformed along h.
    let betweenCount: Int

    init(_ schedule: ToomCookSchedule) {
      let plan = schedule.plan
      if plan.isSquare {
        let (tile, more) = (plan.tile, plan.taps - 1)
        count = (tile * schedule.tilesHigh + more, tile * schedule.tilesWide + more)
        phases = ([0], [0])
        offsets = []
        // Whole vectors of at most 16 tiles are read, and two vectors past the end written.
        half = spreadPitch(tile * ((schedule.tilesHigh * schedule.tilesWide + 15) / 16 * 16) + 32, elementSize: 4)
        betweenCount = 2 * plan.axisPoints * half
        return
      }
      let step = plan.dilation
      let width = schedule.residueColumns
      count = (1, width)
      phases = ([0], (0..<4).flatMap { i in (0..<step).map { i * step + $0 } })
      offsets = (0..<plan.points).map { Int32($0 % 4 * step * width + $0 / 4) }
      (half, betweenCount) = (0, 0)
    }
  }

  /// Packs and transforms the inputs of all channels on one axis: `[point][channel][column]`.
  func transformInput(
    _ place: Place, _ packed: UnsafeMutablePointer<Float>, _ transformed: UnsafeMutablePointer<Float>
  ) {
    input.offsets.withUnsafeBufferPointer { offsets in
      var request = tz_toom_input(
        planes: packed, offsets: offsets.baseAddress, x: transformed, point: pointPitch,
        columns: schedule.columns + plan.pieces - 1)
      // Inputs of tile t begin at (t × tile size + phase) from the first.
      packChannels(place, packed, first: (place.h, place.w), step: (1, plan.tileColumns)) {
        tz_toom_run_input(transforms, plan.kind, &request)
        request.x += channelPitch
      }
    }
  }

  /// Packs and transforms the inputs of all channels on both axes: `[point][channel][column]`.
  func transformImage(
    _ place: Place, _ packed: UnsafeMutablePointer<Float>, _ between: UnsafeMutablePointer<Float>,
    _ transformed: UnsafeMutablePointer<Float>
  ) {
    if readsWholeImages { return transformSmallImage(place, transformed) }
    var request = tz_toom_image(
      image: packed, row: input.count.w, high: schedule.tilesHigh, wide: schedule.tilesWide, between: between,
      half: input.half, x: transformed, point: pointPitch)
    packChannels(place, packed, first: (plan.tile * place.h, plan.tile * place.w), step: (1, 1)) {
      tz_toom_run_image(transforms, plan.kind, &request)
      request.x += channelPitch
    }
  }

  /// The same for all channels of an image of 4 × 4 tiles, from where they lie.
  private func transformSmallImage(_ place: Place, _ transformed: UnsafeMutablePointer<Float>) {
    let (view, origin) = (engine.input, schedule.positions.origin)
    let input = engine.packRequest(
      sample: place.sample, channel: place.convolutionGroup * stencil.channels, count: stencil.channels,
      panel: transformed)
    var request = tz_toom_small(
      image: input.x.assumingMemoryBound(to: Float.self), image_channel: input.x_channel, row: view.spatial[1],
      size: (view.size[1], view.size[2]), first: (origin[1], origin[2]), slope: Float(input.slope),
      is_sorted: sortsTiles, channels: stencil.channels, x: transformed, channel: channelPitch, point: pointPitch)
    tz_toom_run_small(transforms, &request)
  }

  /// Calls `body` after having packed each channel.
  private func packChannels(
    _ place: Place, _ packed: UnsafeMutablePointer<Float>, first: (h: Int, w: Int), step: (h: Int, w: Int),
    _ body: () -> Void
  ) {
    let origin = schedule.positions.origin
    let channel = place.convolutionGroup * stencil.channels
    var request = engine.packRequest(sample: place.sample, channel: channel, count: 1, panel: packed)
    request.panel_channel = input.packedCount
    request.panel_row = input.count.w
    let h = input.phases.h.map { $0 + origin[1] }
    let w = input.phases.w.map { $0 + origin[2] }
    withUnsafePointers([0], h, w) { zero, h, w in
      request.axis = (
        engine.packAxis(0, first: origin[0] + place.d, count: 1, step: 1, phases: zero),
        engine.packAxis(1, first: first.h, count: input.count.h, step: step.h, phases: h),
        engine.packAxis(2, first: first.w, count: input.count.w, step: step.w, phases: w)
      )
      for _ in 0..<stencil.channels {
        tz_conv_pack(engine.table, &request)
        body()
        request.x += engine.input.channel * engine.storedSize
      }
    }
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
