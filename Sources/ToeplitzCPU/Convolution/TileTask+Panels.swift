import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension TileTask {
  /// Calls `body` with the description of the panel that a tile needs for some of the channels.
  func withPackRequest(
    _ task: UnitTask, _ channels: Range<Int>, into panel: UnsafeMutableRawPointer, _ body: (inout tz_pack) -> Void
  ) {
    var request = engine.packRequest(
      sample: task.sample, channel: task.convolutionGroup * stencil.channels + channels.lowerBound,
      count: channels.count, panel: panel)
    request.panel_channel = tiling.panelChannel
    request.panel_row = tiling.pitch
    tiling.phases[0].withUnsafeBufferPointer { d in
      tiling.phases[1].withUnsafeBufferPointer { h in
        tiling.phases[2].withUnsafeBufferPointer { w in
          func axis(_ index: Int, _ first: Int, _ phases: UnsafeBufferPointer<Int>) -> tz_pack_axis {
            engine.packAxis(
              index, first: first + tiling.lowest[index], count: tiling.panelCount[index], step: stencil.step[index],
              phases: phases)
          }
          request.axis = (axis(0, task.area.first.0, d), axis(1, task.area.first.1, h), axis(2, task.area.first.2, w))
          body(&request)
        }
      }
    }
  }

  /// What packing some channels of a tile will read; nil if there are other panels.
  func nearPack(_ task: UnitTask, _ channels: Range<Int>) -> tz_near? {
    guard source == nil, !readsInPlace else { return nil }
    var near = tz_near()
    // Packs read it, and do not write to it.
    withPackRequest(task, channels, into: engine.input.base) { tz_near_pack(&near, &$0, engine.storedSize) }
    return near
  }

  /// How far single rows lie apart.
  private var distances: tz_conv_planes {
    // Sections of the convolution groups are alike.
    let next = layout.sections[min(1, stencil.groups - 1)][groupIndex]
    return tz_conv_planes(
      count: 1, input: stencil.channels * engine.input.channel, weights: next.weightOffset - section.weightOffset,
      start: next.startOffset - section.startOffset, output: engine.output.channel, element: engine.elementSize,
      stored: engine.storedSize)
  }

  /// Points `tile` at the weights of a convolution group.
  private func aim(_ tile: inout tz_conv_tile, _ group: Int, _ distances: tz_conv_planes) {
    tile.w = layout.weightPointer(section) + group * distances.weights * distances.element
    tile.start = layout.startPointer(section) + group * distances.start * distances.element
  }

  /// Units of a single row each, as in depthwise convolutions: so little work that what they share is set up once.
  func runPlanes(_ units: Range<Int>, _ memory: UnsafeMutableRawPointer, _ output: inout tz_conv_output) {
    let tiles = tiling.tiles
    let everything = UnitTask(area: area(0), tile: 0, sample: 0, convolutionGroup: 0, blocks: 0..<1)
    tiling.tapOffsets.withUnsafeBufferPointer { offsets in
      var tile = tz_conv_tile()
      tile.x = UnsafeRawPointer(memory)
      tile.xs = tiling.panelChannel
      tile.toff = offsets.baseAddress
      tile.channels = Int32(stencil.channels)
      tile.taps = Int32(tapCount)
      var planes = distances
      withPackRequest(everything, 0..<stencil.channels, into: memory) { request in
        var unit = units.lowerBound
        while unit < units.upperBound {
          let (band, group) = unit.quotientAndRemainder(dividingBy: stencil.groups)
          let (sample, index) = band.quotientAndRemainder(dividingBy: tiles)
          engine.move(&output, sample: sample, channel: group)
          let distance = sample * engine.input.batch + group * planes.input
          request.x = UnsafeRawPointer(engine.input.base + distance * planes.stored)
          var place = everything.area
          if tiles > 1 {
            place = area(index)
            request.axis.0.first = place.first.0 + tiling.lowest[0]
            request.axis.1.first = place.first.1 + tiling.lowest[1]
            request.axis.2.first = place.first.2 + tiling.lowest[2]
          }
          // Channels of one sample follow one another.
          planes.count = min(units.upperBound - unit, stencil.groups - group)
          aim(&tile, group, planes)
          tz_conv_run_planes(engine.table, &request, &tile, &output, &place, &planes)
          unit += planes.count
        }
      }
    }
  }

  /// Units of an image of one channel each.
  ///
  /// A tile is a band of the image.
  func runImages(_ units: Range<Int>, _ images: UnpackedConvolution, _ output: inout tz_conv_output) {
    var unit = units.lowerBound
    while unit < units.upperBound {
      let (band, group) = unit.quotientAndRemainder(dividingBy: stencil.groups)
      let (sample, index) = band.quotientAndRemainder(dividingBy: tiling.tiles)
      engine.move(&output, sample: sample, channel: group)
      let count = min(units.upperBound - unit, stencil.groups - group)
      images.run(
        group..<(group + count), from: images.source(group, sample: sample, in: engine.input.base),
        area(index, inImage: true), &output)
      unit += count
    }
  }
}
