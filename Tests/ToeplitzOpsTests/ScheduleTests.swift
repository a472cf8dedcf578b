import CToeplitzKernels
import Testing

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// How the work of a convolution is cut.
@Suite struct ScheduleTests {
  /// The tiles of each convolution group, and into how many parts its rows are cut.
  private func cut(_ g: ConvolutionGeometry, size: [Int], threads: Int) throws -> (tiles: Int, splits: Int) {
    let stencil = try ConvolutionStencil(g)
    let output = Array(repeating: 1, count: 3 - g.rank) + (try g.outputSize(size))
    let table = try #require(tz_conv_kernels(InstructionSet.current.code, TZ_F32))
    let schedule = try ConvolutionSchedule(
      stencil: stencil, group: stencil.rowGroups[0], outputSize: SIMD3(output), samples: 1, threads: threads,
      table: table, elementSize: 4, wideWeightSize: 4, name: "test", readsInPlace: { _ in false })
    return (schedule.tiling.tiles, schedule.splits)
  }

  @Test func threadsShareChannelsOfShortRows() throws {
    let sequences = try ConvolutionGeometry(
      rank: 1, inChannels: 512, outChannels: 512, kernelSize: 7, padding: 3, groups: 512)
    let images = try ConvolutionGeometry(
      rank: 2, inChannels: 512, outChannels: 512, kernelSize: 3, padding: 1, groups: 512)
    for threads in [2, 4, 8] {
      #expect(try cut(sequences, size: [400], threads: threads).tiles == 1, "\(threads) threads")
      #expect(try cut(images, size: [14, 14], threads: threads).tiles == 1, "\(threads) threads")
    }
  }

  @Test func threadsSharePositionsOfLongRows() throws {
    let sequences = try ConvolutionGeometry(
      rank: 1, inChannels: 2, outChannels: 2, kernelSize: 7, padding: 3, groups: 2)
    let images = try ConvolutionGeometry(
      rank: 2, inChannels: 32, outChannels: 32, kernelSize: 3, padding: 1, groups: 32)
    let dense = try ConvolutionGeometry(rank: 1, inChannels: 64, outChannels: 64, kernelSize: 3, padding: 1)
    for threads in [2, 4, 8] {
      #expect(try cut(sequences, size: [1_000_000], threads: threads).tiles >= threads, "\(threads) threads")
      #expect(try cut(images, size: [224, 224], threads: threads).tiles >= 2, "\(threads) threads")
      #expect(try cut(dense, size: [12800], threads: threads).tiles >= threads, "\(threads) threads")
    }
  }

  @Test func lightLayersWriteLongRows() throws {
    // One channel, ten taps, 512 rows: tiles of a sixth of the row and more, not of as many columns as would bound sums.
    let waveform = try ConvolutionGeometry(rank: 1, inChannels: 1, outChannels: 512, kernelSize: 10, stride: 5)
    let (tiles, splits) = try cut(waveform, size: [16000], threads: 2)
    #expect(tiles <= 6 && tiles * splits >= 2, "\(tiles) tiles, \(splits) parts")
  }
}
