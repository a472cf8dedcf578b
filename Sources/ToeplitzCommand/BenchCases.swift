import Toeplitz
import ToeplitzGraph
import ToeplitzModels

/// Something to time: a convolution or a whole network with its usual input.
protocol BenchCase: Encodable, Sendable {
  var name: String { get }
  var inputShape: TensorShape { get }
  /// The layer or network with random weights.
  func model(_ generator: Generator) throws -> any UnaryLayer
}

/// All cases in the order in which they run.
let benchCases: [any BenchCase] = ConvolutionCase.all + NetworkCase.all

/// A convolution that a published network uses, with its usual input size.
struct ConvolutionCase: BenchCase {
  var name: String
  var rank: Int
  var isTransposed = false
  var batch = 1
  var inChannels: Int
  var outChannels: Int
  var size: [Int]
  var kernel: Int
  var stride = 1
  var padding = 0
  var dilation = 1
  var groups = 1

  func model(_ generator: Generator) throws -> any UnaryLayer {
    func convolution<R: SpatialRank>(_ rank: R.Type) throws -> any UnaryLayer {
      isTransposed
        ? try ConvTranspose<R>(
          inChannels: inChannels, outChannels: outChannels, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
          padding: .uniform(padding), dilation: PerAxis(dilation), groups: groups, generator: generator)
        : try Conv<R>(
          inChannels: inChannels, outChannels: outChannels, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
          padding: .uniform(padding), dilation: PerAxis(dilation), groups: groups, generator: generator)
    }
    switch rank {
    case 1: return try convolution(Rank1.self)
    case 2: return try convolution(Rank2.self)
    default: return try convolution(Rank3.self)
    }
  }

  var inputShape: TensorShape { TensorShape([batch, inChannels] + size) }

  /// The cases: HiFi-GAN V1, Kokoro's iSTFTNet, DAC, Vocos, wav2vec 2.0, ResNet-50, MobileNet, U-Net, DCGAN and a
  /// three-dimensional network.
  static let all: [ConvolutionCase] = [
    conv1d("hifigan.pre", 80, 512, 100, 7, p: 3),
    convT1d("hifigan.up1", 512, 256, 100, 16, s: 8, p: 4),
    convT1d("hifigan.up2", 256, 128, 800, 16, s: 8, p: 4),
    convT1d("hifigan.up3", 128, 64, 6400, 4, s: 2, p: 1),
    convT1d("hifigan.up4", 64, 32, 12800, 4, s: 2, p: 1),
    conv1d("hifigan.mrf256.k3", 256, 256, 800, 3, p: 1),
    conv1d("hifigan.mrf128.k7d3", 128, 128, 6400, 7, p: 9, d: 3),
    conv1d("hifigan.mrf64.k11d5", 64, 64, 12800, 11, p: 25, d: 5),
    conv1d("hifigan.mrf32.k11", 32, 32, 25600, 11, p: 5),
    conv1d("hifigan.post", 32, 1, 25600, 7, p: 3),
    convT1d("kokoro.up1", 512, 256, 200, 20, s: 10, p: 5),
    convT1d("dac.up1", 1536, 768, 100, 16, s: 8, p: 4),
    convT1d("dac.up1.stream4", 1536, 768, 4, 16, s: 8, p: 4),
    convT1d("istft.ct1d", 1026, 1, 224, 1024, s: 256),
    convT1d("depthwise.ct1d", 256, 256, 1000, 12, g: 256, n: 8),
    conv1d("vocos.dw7", 512, 512, 400, 7, p: 3, g: 512),
    conv1d("wav2vec.conv0", 1, 512, 16000, 10, s: 5),
    conv1d("wav2vec.conv1", 512, 512, 3199, 3, s: 2),
    conv2d("resnet.stem", 3, 64, 224, 7, s: 2, p: 3),
    conv2d("resnet.56.3x3", 64, 64, 56, 3, p: 1),
    conv2d("resnet.28.3x3", 128, 128, 28, 3, p: 1),
    conv2d("resnet.14.3x3", 256, 256, 14, 3, p: 1),
    conv2d("resnet.7.3x3", 512, 512, 7, 3, p: 1),
    conv2d("resnet.14.1x1", 1024, 256, 14, 1),
    conv2d("mobilenet.dw112", 32, 32, 112, 3, p: 1, g: 32),
    conv2d("mobilenet.dw14", 512, 512, 14, 3, p: 1, g: 512),
    conv2d("unet.256", 64, 64, 256, 3, p: 1),
    convT2d("unet.up", 512, 256, 32, 2, s: 2),
    convT2d("dcgan.up", 256, 128, 16, 4, s: 2, p: 1, n: 8),
    ConvolutionCase(
      name: "conv3d.32", rank: 3, inChannels: 32, outChannels: 32, size: [16, 64, 64], kernel: 3, padding: 1),
  ]

  private static func conv1d(
    _ name: String, _ i: Int, _ o: Int, _ length: Int, _ k: Int, s: Int = 1, p: Int = 0, d: Int = 1, g: Int = 1
  ) -> ConvolutionCase {
    ConvolutionCase(
      name: name, rank: 1, inChannels: i, outChannels: o, size: [length], kernel: k, stride: s, padding: p, dilation: d,
      groups: g)
  }
  private static func convT1d(
    _ name: String, _ i: Int, _ o: Int, _ length: Int, _ k: Int, s: Int = 1, p: Int = 0, g: Int = 1, n: Int = 1
  ) -> ConvolutionCase {
    ConvolutionCase(
      name: name, rank: 1, isTransposed: true, batch: n, inChannels: i, outChannels: o, size: [length], kernel: k,
      stride: s, padding: p, groups: g)
  }
  private static func conv2d(
    _ name: String, _ i: Int, _ o: Int, _ side: Int, _ k: Int, s: Int = 1, p: Int = 0, g: Int = 1
  ) -> ConvolutionCase {
    ConvolutionCase(
      name: name, rank: 2, inChannels: i, outChannels: o, size: [side, side], kernel: k, stride: s, padding: p,
      groups: g)
  }
  private static func convT2d(
    _ name: String, _ i: Int, _ o: Int, _ side: Int, _ k: Int, s: Int, p: Int = 0, n: Int = 1
  ) -> ConvolutionCase {
    ConvolutionCase(
      name: name, rank: 2, isTransposed: true, batch: n, inChannels: i, outChannels: o, size: [side, side], kernel: k,
      stride: s, padding: p)
  }
}

/// A published network as a whole.
struct NetworkCase: BenchCase {
  var name: String
  /// What the network is called, without the size of its input.
  var network: String
  var inputShape: TensorShape
  /// The network compiled, with random weights.
  let executable: @Sendable (_ optimizes: Bool) throws -> Executable
  private var build: @Sendable (Generator) throws -> any UnaryLayer

  private init<Model: UnaryLayer>(
    _ name: String, of network: String? = nil, _ inputShape: TensorShape,
    _ build: @escaping @Sendable (Generator) throws -> Model
  ) {
    self.name = name
    self.network = network ?? name
    self.inputShape = inputShape
    self.build = build
    // Sequences are of any length.
    let sizes: [AxisSize] = inputShape.rank == 3 ? ["L"] : inputShape.dropFirst(2).map { .fixed($0) }
    let port = PortDescription(name: "x", dtype: .float32, dimensions: ["N", .fixed(inputShape[1])] + sizes)
    executable = { optimizes in
      try Executable(tracing: build(Generator(seed: 1)), inputs: [port], optimizes: optimizes) { [try $0($1[0])] }
    }
  }

  /// One case of each network.
  static let networks = all.reduce(into: [NetworkCase]()) { found, network in
    if !found.contains(where: { $0.network == network.network }) { found.append(network) }
  }

  func model(_ generator: Generator) throws -> any UnaryLayer { try build(generator) }

  enum CodingKeys: String, CodingKey { case name, network, inputShape }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(name, forKey: .name)
    try container.encode(network, forKey: .network)
    try container.encode(inputShape.dimensions, forKey: .inputShape)
  }

  /// The cases: HiFi-GAN generators on 1.2 and 9.3 seconds of speech, two classifiers of images, a segmenter.
  static let all: [NetworkCase] = [
    vocoder("hifigan.v1", .v1, frames: 100),
    vocoder("hifigan.v1", .v1, frames: 800),
    vocoder("hifigan.v3", .v3, frames: 100),
    vocoder("hifigan.v3", .v3, frames: 800),
    NetworkCase("resnet50", [1, 3, 224, 224]) { try ResNet(.resNet50, generator: $0) },
    NetworkCase("mobilenetv2", [1, 3, 224, 224]) { try MobileNetV2(generator: $0) },
    NetworkCase("unet", [1, 3, 256, 256]) { try UNet(generator: $0) },
  ]

  private static func vocoder(_ network: String, _ configuration: HiFiGANConfiguration, frames: Int) -> NetworkCase {
    NetworkCase("\(network).\(frames)", of: network, [1, configuration.numMels, frames]) {
      try HiFiGANGenerator(configuration, generator: $0)
    }
  }
}
