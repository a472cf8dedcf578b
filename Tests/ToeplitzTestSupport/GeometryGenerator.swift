import ToeplitzOps
import ToeplitzTensor

/// A random convolution with a legal input size.
package struct GeneratedConvolution: CustomStringConvertible, Sendable {
  package var geometry: ConvolutionGeometry
  package var batch: Int
  package var inputSize: [Int]
  package var outputSize: [Int]

  package var inputShape: TensorShape { TensorShape([batch, geometry.inChannels] + inputSize) }
  package var outputShape: TensorShape { TensorShape([batch, geometry.outChannels] + outputSize) }
  package var description: String {
    let g = geometry
    return
      "\(g.name)(\(g.inChannels), \(g.outChannels), kernel \(g.kernelSize), stride \(g.stride), dilation \(g.dilation), "
      + "padding \(g.paddingLow) \(g.paddingHigh) \(g.paddingMode), outputPadding \(g.outputPadding), "
      + "groups \(g.groups)) on \(inputShape)"
  }

  /// Draws until the options are legal together.
  package static func random(
    using random: inout RandomSource, rank: Int? = nil, transposed: Bool? = nil, largest: Int = 2000
  ) -> GeneratedConvolution {
    while true {
      if let found = try? attempt(using: &random, rank, transposed, largest) { return found }
    }
  }

  private static func attempt(
    using random: inout RandomSource, _ rank: Int?, _ transposed: Bool?, _ largest: Int
  ) throws -> GeneratedConvolution? {
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    let rank = rank ?? pick(1...3)
    let transposed = transposed ?? (pick(0...1) == 1)
    let side = [60, 11, 6][rank - 1]
    func each(_ range: ClosedRange<Int>) -> [Int] { (0..<rank).map { _ in pick(range) } }
    let groups = [1, 1, 2, 3, 5][pick(0...4)]
    let depthwise = pick(0...5) == 0
    let inChannels = groups * (depthwise ? 1 : pick(1...9))
    let outChannels = groups * (depthwise ? pick(1...2) : pick(1...11))
    let kernel = each(1...[12, 5, 3][rank - 1])
    let stride = each(1...[9, 4, 3][rank - 1])
    let dilation = each(1...[5, 3, 2][rank - 1])
    let modes: [PaddingMode] =
      transposed ? [.zeros, .zeros, .circular] : [.zeros, .zeros, .reflect, .replicate, .circular]
    let pads = (0..<rank).map { _ in (low: pick(0...6), high: pick(0...6)) }
    let outputPadding = (0..<rank).map { transposed ? pick(0...(max(stride[$0], dilation[$0]) - 1)) : 0 }
    let geometry = try ConvolutionGeometry(
      rank: rank, isTransposed: transposed, inChannels: inChannels, outChannels: outChannels,
      kernelSize: PerAxis(kernel), stride: PerAxis(stride), padding: .asymmetric(pads),
      outputPadding: PerAxis(outputPadding), dilation: PerAxis(dilation), groups: groups,
      paddingMode: modes[pick(0...(modes.count - 1))])
    let inputSize = each(1...side)
    let outputSize = try geometry.outputSize(inputSize)
    let batch = pick(1...3)
    guard batch * outChannels * outputSize.reduce(1, *) <= 40 * largest else { return nil }
    return GeneratedConvolution(geometry: geometry, batch: batch, inputSize: inputSize, outputSize: outputSize)
  }
}
