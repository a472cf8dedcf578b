import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// How a convolution is computed whose weights are read as they lie (see ``TapProductRun``), for inputs of one size.
///
/// Columns are the samples of neighbouring positions of a row. Positions whose taps read the same rows and columns of the input
/// and not the padding share a *line*, which leaves out all other taps.
final class TapProductPlan: Sendable {
  /// Some neighbouring outputs of a row, for all samples.
  struct Line: Sendable {
    /// Where the inputs and weights of its taps begin in ``inputOffsets`` and ``kernelIndices``, and how many there are.
    var firstTap: Int
    var tapCount: Int
    /// Where the input of its first column lies in a channel of the transposed input, without the taps' offsets.
    var input: Int
    /// Its outputs on d, h and w, the distance of those on w, and how many there are.
    var output: SIMD3<Int>
    var step: Int
    var count: Int
  }

  let lines: [Line]
  let inputOffsets: [Int32]
  let kernelIndices: [Int32]
  let samples: Int
  /// Input positions on d and h, phases and whole steps on w of the transposed input, and the first of the latter.
  let inputSize: SIMD3<Int>
  let phases: Int
  let steps: Range<Int>
  /// Elements of a channel of the transposed input.
  let channelSize: Int
  /// Estimated nanoseconds for a single thread.
  let cost: Double

  /// Elements of a row of one phase.
  var rowSize: Int { steps.count * samples }

  /// The positions of an axis that a phase's outputs have, and for each tap those at which it reads the input.
  private struct Axis {
    var positions: Range<Int>
    var inside: [Range<Int>]
    var step: Int
    var outStep: Int
    /// What is added to `m × outStep` to give the output.
    var shift: Int
    var offsets: [Int]
    var kernelIndices: [Int]

    func taps(at position: Int) -> [Int] { inside.indices.filter { inside[$0].contains(position) } }
  }

  /// Nil where a tap reads nothing but padding, whose weight might not be finite, or where there are too many elements to count.
  init?(
    _ stencil: ConvolutionStencil, kernelSize: [Int], samples: Int, inputSize: SIMD3<Int>, outputSize: SIMD3<Int>,
    lanes: Int, rows: Int
  ) {
    self.samples = samples
    self.inputSize = inputSize
    let kernel = Array(repeating: 1, count: 3 - kernelSize.count) + kernelSize
    phases = stencil.step[2]
    let parts = stencil.rowGroups.flatMap { group in
      (0..<group.phaseCount).map { phase in
        let at = group.phaseIndices(phase)
        return zip(0..<3, [at.d, at.h, at.w]).map { axis, index in
          Self.axis(stencil, axis, group.axes[axis], index, inputSize: inputSize, outputSize: outputSize)
        }
      }
    }
    // All of the input, and what the taps of any output read beside it.
    var (low, high) = (0, ceilDivide(inputSize[2], stencil.step[2]))
    for axis in parts.map({ $0[2] }) where !axis.positions.isEmpty {
      for whole in axis.offsets.map({ floorDivide($0, stencil.step[2]) }) {
        low = min(low, axis.positions.lowerBound + whole)
        high = max(high, axis.positions.upperBound + whole)
      }
    }
    steps = low..<high
    let (size, overflow) = (steps.count * phases * samples).multipliedReportingOverflow(by: inputSize[0] * inputSize[1])
    guard !overflow, size < Int(Int32.max) / 2 else { return nil }
    channelSize = size
    let row = steps.count * samples
    let plane = inputSize[1] * phases * row
    var lines: [Line] = []
    var inputOffsets: [Int32] = []
    var kernelIndices: [Int32] = []
    var lists: [[Int]: Int] = [:]
    var used = [Bool](repeating: false, count: kernel.reduce(1, *))
    var vectors = 0.0
    for axes in parts {
      let segments = Self.segments(axes[2], samples: samples, lanes: lanes)
      for d in axes[0].positions {
        for h in axes[1].positions {
          let (ds, hs) = (axes[0].taps(at: d), axes[1].taps(at: h))
          for segment in segments {
            var offsets: [Int] = []
            var indices: [Int] = []
            for i in ds {
              for j in hs {
                for k in segment.taps {
                  let offset = axes[2].offsets[k]
                  let whole = floorDivide(offset, phases)
                  offsets.append(
                    axes[0].offsets[i] * plane + (axes[1].offsets[j] * phases + offset - whole * phases) * row
                      + (whole - low) * samples)
                  indices.append(
                    (axes[0].kernelIndices[i] * kernel[1] + axes[1].kernelIndices[j]) * kernel[2]
                      + axes[2].kernelIndices[k])
                }
              }
            }
            for index in indices { used[index] = true }
            let first = lists[offsets + indices] ?? inputOffsets.count
            if first == inputOffsets.count {
              lists[offsets + indices] = first
              inputOffsets += offsets.map { Int32($0) }
              kernelIndices += indices.map { Int32($0) }
            }
            func output(_ axis: Int, _ position: Int) -> Int { position * axes[axis].outStep + axes[axis].shift }
            lines.append(
              Line(
                firstTap: first, tapCount: offsets.count,
                input: d * axes[0].step * plane + h * axes[1].step * phases * row
                  + segment.positions.lowerBound * samples,
                output: [output(0, d), output(1, h), output(2, segment.positions.lowerBound)],
                step: axes[2].outStep, count: segment.positions.count))
            vectors += Double((segment.positions.count * samples + lanes - 1) / lanes * offsets.count)
          }
        }
      }
    }
    guard used.allSatisfy({ $0 }), !lines.isEmpty else { return nil }
    (self.lines, self.inputOffsets, self.kernelIndices) = (lines, inputOffsets, kernelIndices)
    // Whole register blocks, a little more than the products, and both ends.
    let blocks = Double((stencil.outputs + rows - 1) / rows * rows)
    let outputs = Double(samples * outputSize[0] * outputSize[1] * outputSize[2])
    let inputs = Double(samples * inputSize[0] * inputSize[1] * inputSize[2])
    cost =
      vectors * Double(stencil.channels) * blocks * StepTime().narrow(vectors: 1, blockRows: 1, calls: 0) * Self.beside
      + outputs * Double(stencil.outputs) * Self.outputTime + inputs * Double(stencil.channels) * Self.inputTime
  }

  /// What kernels do beside multiplying, and nanoseconds for an element of the output and of the input.
  private static let beside = 1.08
  private static let outputTime = 0.7
  private static let inputTime = 0.35

  private static func axis(
    _ stencil: ConvolutionStencil, _ axis: Int, _ group: AxisPhases, _ index: Int, inputSize: SIMD3<Int>,
    outputSize: SIMD3<Int>
  ) -> Axis {
    let (step, outStep) = (stencil.step[axis], stencil.outStep[axis])
    let shift = group.phases[index] - stencil.outShift[axis]
    let first = ceilDivide(-shift, outStep)
    let end = max(first, floorDivide(outputSize[axis] - 1 - shift, outStep) + 1)
    let inside = group.offsets.map { offset -> Range<Int> in
      let low = max(first, ceilDivide(-offset, step))
      return low..<max(low, min(end, ceilDivide(inputSize[axis] - offset, step)))
    }
    return Axis(
      positions: first..<end, inside: inside, step: step, outStep: outStep, shift: shift, offsets: group.offsets,
      kernelIndices: group.kernelIndex[index])
  }

  /// How a row is cut: nowhere, or where taps begin or end to read padding, if that saves work.
  private static func segments(_ axis: Axis, samples: Int, lanes: Int) -> [(positions: Range<Int>, taps: [Int])] {
    guard !axis.positions.isEmpty else { return [] }
    let all = axis.inside.indices.filter { !axis.inside[$0].isEmpty }
    func vectors(_ positions: Range<Int>) -> Int { (positions.count * samples + lanes - 1) / lanes }
    let ends = Set(axis.inside.flatMap { [$0.lowerBound, $0.upperBound] } + [axis.positions.upperBound])
    var first = axis.positions.lowerBound
    var cut: [(positions: Range<Int>, taps: [Int])] = []
    for end in ends.sorted() where end > first && end <= axis.positions.upperBound {
      cut.append((first..<end, axis.taps(at: first)))
      first = end
    }
    let work = cut.reduce(0) { $0 + vectors($1.positions) * $1.taps.count }
    return work < vectors(axis.positions) * all.count ? cut : [(axis.positions, all)]
  }
}
