import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The slope below zero of the leaky rectifiers inside the generator.
private let slope = 0.1
/// The slope before the last convolution (PyTorch's default, which the authors left there).
private let lastSlope = 0.01

/// A residual block of a HiFi-GAN generator: `x + convs2(leaky(convs1(leaky(x))))` for each pair (kind "1"), or
/// `x + convs(leaky(x))` for each convolution (kind "2").
final class HiFiGANResBlock: Module, UnaryLayer {
  private let convs1: ModuleList<WeightNormConv1d>?
  private let convs2: ModuleList<WeightNormConv1d>?
  private let convs: ModuleList<WeightNormConv1d>?

  init(kind: String, channels: Int, kernel: Int, dilations: [Int], _ generator: Generator) throws {
    func convolutions(_ dilations: [Int]) throws -> ModuleList<WeightNormConv1d> {
      ModuleList(
        try dilations.map { dilation in
          try WeightNormConv1d(
            inChannels: channels, outChannels: channels, kernelSize: PerAxis(kernel),
            padding: .uniform(dilation * (kernel - 1) / 2), dilation: PerAxis(dilation), generator: generator)
        })
    }
    let isPaired = kind == "1"
    convs1 = isPaired ? try convolutions(dilations) : nil
    convs2 = isPaired ? try convolutions(dilations.map { _ in 1 }) : nil
    convs = isPaired ? nil : try convolutions(dilations)
  }

  /// For each step the convolutions that follow one another before the addition.
  private var steps: [[WeightNormConv1d]] {
    if let convs1, let convs2 { return zip(convs1, convs2).map { [$0, $1] } }
    return convs.map { $0.map { [$0] } } ?? []
  }

  /// Input positions on each side of an output that it depends on.
  var context: Int { steps.joined().reduce(0) { $0 + $1.geometry.paddingLow[0] } }

  /// `x` after all steps, each of which adds to it.
  func forward(_ x: Tensor) throws -> Tensor {
    try steps.reduce(x) { x, step in
      try x + step.reduce(x) { try $1($0.leakyReLU(negativeSlope: slope)) }
    }
  }
}

/// The generator of HiFi-GAN (Kong, Kim and Bae, 2020): mel frames `[N, mels, T]` to samples `[N, 1, T × hop]`.
///
/// Properties are named like the attributes of the authors' PyTorch code, so its checkpoints load by key.
public final class HiFiGANGenerator: Module, UnaryLayer {
  /// The configuration it was built from.
  public let configuration: HiFiGANConfiguration
  let convPre: WeightNormConv1d
  let ups: ModuleList<WeightNormConvTranspose1d>
  let resblocks: ModuleList<HiFiGANResBlock>
  let convPost: WeightNormConv1d

  /// A generator with random weights.
  ///
  /// - Throws: ``ToeplitzError`` if the configuration has illegal sizes.
  public init(_ configuration: HiFiGANConfiguration, generator: Generator = Generator()) throws {
    self.configuration = configuration
    let initial = configuration.upsampleInitialChannel
    convPre = try WeightNormConv1d(
      inChannels: configuration.numMels, outChannels: initial, kernelSize: 7, padding: 3, generator: generator)
    let stages = zip(configuration.upsampleRates, configuration.upsampleKernelSizes).enumerated()
    ups = ModuleList(
      try stages.map { index, stage in
        // What the kernel exceeds the rate by is cut off, from both ends. Of an odd number the authors' code leaves one
        // sample in each stage; where the kernel is twice the rate, ParallelWaveGAN and the forks that train such models
        // pad one more and put one back behind.
        let excess = stage.1 - stage.0
        return try WeightNormConvTranspose1d(
          inChannels: initial >> index, outChannels: initial >> (index + 1), kernelSize: PerAxis(stage.1),
          stride: PerAxis(stage.0), padding: .uniform((excess + 1) / 2), outputPadding: PerAxis(excess % 2),
          generator: generator)
      })
    let kinds = Array(zip(configuration.resblockKernelSizes, configuration.resblockDilationSizes))
    resblocks = ModuleList(
      try stages.flatMap { index, _ in
        try kinds.map { kernel, dilations in
          try HiFiGANResBlock(
            kind: configuration.resblock, channels: initial >> (index + 1), kernel: kernel, dilations: dilations,
            generator)
        }
      })
    convPost = try WeightNormConv1d(
      inChannels: initial >> configuration.upsampleRates.count, outChannels: 1, kernelSize: 7, padding: 3,
      generator: generator)
  }

  /// Samples in −1...1 for log-mel frames `[N, mels, T]`, or `[mels, T]`.
  public func forward(_ x: Tensor) throws -> Tensor {
    var x = try convPre(x)
    let kinds = configuration.resblockKernelSizes.count
    for stage in ups.indices {
      let grown = try ups[stage](x.leakyReLU(negativeSlope: slope))
      let blocks = try (0..<kinds).map { try resblocks[stage * kinds + $0](grown) }
      guard let first = blocks.first else { return grown }
      x = try blocks.dropFirst().reduce(first) { try $0 + $1 } * (1 / Double(kinds))
    }
    return try convPost(x.leakyReLU(negativeSlope: lastSlope)).tanh()
  }

  /// `T × hop`.
  public override func outputSize(for inputSize: [Int]) throws -> [Int] {
    try ups.reduce(inputSize) { try $1.outputSize(for: $0) }
  }

  /// The number of frames that gives `length` samples; none unless it is a multiple of the hop.
  public override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    ups.elements.reversed().reduce(singleLength(length)) { range, layer in
      range.isEmpty ? range : layer.inputLengths(for: range.lowerBound, axis: axis)
    }
  }

  /// Mel frames on each side of a frame that its samples depend on.
  public var contextFrames: Int {
    let kinds = configuration.resblockKernelSizes.count
    var context = convPost.geometry.paddingLow[0]
    for stage in ups.indices.reversed() {
      context += (0..<kinds).reduce(0) { max($0, resblocks[stage * kinds + $1].context) }
      // Output t reads the inputs (t + padding − kernel + 1) / stride ... (t + padding) / stride.
      let g = ups[stage].geometry
      let reach = context + max(g.extent(0) - 1 - g.paddingLow[0], g.paddingLow[0])
      context = (reach + g.stride[0] - 1) / g.stride[0]
    }
    return context + convPre.geometry.paddingLow[0]
  }
}

extension HiFiGANGenerator {
  /// The plan for vocoding mel frames `[1, numMels, frames]` piece by piece.
  ///
  /// - Throws: ``ToeplitzError`` if the generator was changed into one that cannot stream.
  public func streamPlan() throws -> StreamPlan { try streamPlan(shape: [1, configuration.numMels, nil]) }
}
