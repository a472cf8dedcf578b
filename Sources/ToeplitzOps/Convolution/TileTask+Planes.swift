import CToeplitzKernels
import ToeplitzTensor

extension TileTask {
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
    let everything = UnitTask(area: area(0), sample: 0, convolutionGroup: 0, blocks: 0..<1)
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
  func runImages(_ units: Range<Int>, _ images: ImageConvolution, _ output: inout tz_conv_output) {
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
