import Testing
import Toeplitz

/// Lengths forwards and backwards.
@Suite struct OutputLengthTests {
  /// Checks the identities for all lengths and returns how many had an output.
  private func check(_ g: ConvolutionGeometry) -> Int {
    var outputs = 0
    for length in 1...400 {
      guard let output = try? g.outputSize([length])[0] else { continue }
      outputs += 1
      let range = g.inputLengths(for: output)
      var wrong = !range.contains(length) || range.lowerBound < 1
      // Every length of the range maps back, and its neighbours do not.
      for other in range where (try? g.outputSize([other])[0]) != output { wrong = true }
      for other in [range.lowerBound - 1, range.upperBound] where (try? g.outputSize([other])[0]) == output {
        wrong = true
      }
      if wrong {
        Issue.record("\(g.name) \(g.kernelSize) \(g.stride) \(g.dilation) \(g.padding) \(length): \(range)")
      }
    }
    // Outputs that no input gives have no inputs.
    let reached = Set((1...800).compactMap { try? g.outputSize([$0])[0] })
    for output in 1...(g.isTransposed ? 100 : 400 / g.stride[0]) where !reached.contains(output) {
      #expect(g.inputLengths(for: output).isEmpty, "\(g) \(output)")
    }
    return outputs
  }

  @Test(arguments: [false, true])
  func inputLengthsAreTheInverseOfOutputLength(transposed: Bool) throws {
    var geometries = 0
    var lengths = 0
    let paddings: [Padding] = [0, 3, .asymmetric([(5, 0)]), .asymmetric([(1, 9)]), .causal, .same]
    for kernel in [1, 2, 3, 7, 12] {
      for stride in [1, 2, 3, 5, 16] {
        for dilation in [1, 2, 7] {
          for padding in paddings {
            for mode in [PaddingMode.zeros, .circular, .reflect] {
              let extra = transposed ? (stride + dilation) % max(stride, dilation) : 0
              guard
                let g = try? ConvolutionGeometry(
                  rank: 1, isTransposed: transposed, inChannels: 1, outChannels: 1,
                  kernelSize: PerAxis(kernel),
                  stride: PerAxis(stride), padding: padding, outputPadding: PerAxis(extra),
                  dilation: PerAxis(dilation), paddingMode: mode)
              else { continue }
              lengths += check(g)
              geometries += 1
            }
          }
        }
      }
    }
    print("lengths, transposed \(transposed): \(geometries) geometries, \(lengths) lengths")
    #expect(geometries > 400 && lengths > 150_000)
  }

  @Test func aSequenceOfLayersComposes() throws {
    let model = try Sequential(
      Conv1d(inChannels: 1, outChannels: 1, kernelSize: 4, stride: 3),
      ConvTranspose1d(inChannels: 1, outChannels: 1, kernelSize: 5, stride: 2, padding: 1),
      Conv1d(inChannels: 1, outChannels: 1, kernelSize: 3, stride: 4, padding: 1))
    var byOutput: [Int: [Int]] = [:]
    for length in 1...400 {
      guard let output = try? model.outputLength(for: length) else { continue }
      #expect(try length > 60 || model(.ones([1, 1, length])).shape[2] == output)
      byOutput[output, default: []].append(length)
    }
    for (output, lengths) in byOutput where output < 50 {
      let range = model.inputLengths(for: output)
      #expect(range == lengths[0]..<(lengths[lengths.count - 1] + 1), "\(output)")
    }
    #expect(model.inputLengths(for: 0).isEmpty && model.inputLengths(for: -3).isEmpty)
    // Axes are told apart.
    let plane = try Conv2d(inChannels: 1, outChannels: 1, kernelSize: [1, 4], stride: [2, 1])
    #expect(plane.inputLengths(for: 3, axis: 0) == 5..<7 && plane.inputLengths(for: 3, axis: 1) == 6..<7)
    #expect(try plane.outputSize(for: [6, 6]) == [3, 3])
  }
}
