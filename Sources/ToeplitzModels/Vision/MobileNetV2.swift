import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A network of depthwise convolutions for small machines (Sandler et al., 2018): images `[N, 3, H, W]` to class scores
/// `[N, classes]`.
///
/// Properties are named like torchvision's, so its checkpoints load by key. In evaluation mode every batch normalisation is
/// folded into its convolution.
public final class MobileNetV2: Module, UnaryLayer {
  let features: Sequential
  let classifier: Sequential

  /// For each run of blocks: channels inside for each channel that comes in, output channels, blocks, stride of the first.
  private static let settings = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
  ]

  /// A network with random weights.
  ///
  /// - Parameters:
  ///   - classCount: class scores of the output.
  ///   - widthMultiplier: factor of all channel counts, which are then rounded to multiples of 8.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(classCount: Int = 1000, widthMultiplier: Double = 1, generator: Generator = Generator()) throws {
    try require("MobileNetV2", "classCount", classCount, in: 1...1 << 24)
    guard widthMultiplier >= 0.01, widthMultiplier <= 64 else {
      throw ToeplitzError(
        .argument, "MobileNetV2", expected: "a widthMultiplier in 0.01...64", got: "\(widthMultiplier)")
    }
    var channels = Self.rounded(32 * widthMultiplier)
    var layers: [any UnaryLayer] = [try Self.block(3, channels, kernel: 3, stride: 2, generator: generator)]
    for (expansion, width, count, stride) in Self.settings {
      let outChannels = Self.rounded(Double(width) * widthMultiplier)
      for index in 0..<count {
        layers.append(
          try InvertedResidual(
            channels, outChannels, stride: index == 0 ? stride : 1, expansion: expansion, generator))
        channels = outChannels
      }
    }
    let last = Self.rounded(1280 * max(1, widthMultiplier))
    layers.append(try Self.block(channels, last, kernel: 1, generator: generator))
    features = Sequential(layers)
    let linear = try Linear(inFeatures: last, outFeatures: classCount, generator: .zeros)
    try linear.weight.set(generator.normal([classCount, last], standardDeviation: 0.01))
    classifier = try Sequential(Dropout(p: 0.2), linear)
  }

  /// The nearest multiple of 8, the next if that were less than nine tenths.
  private static func rounded(_ channels: Double) -> Int {
    let nearest = max(8, Int(channels + 4) / 8 * 8)
    return Double(nearest) < 0.9 * channels ? nearest + 8 : nearest
  }

  /// A convolution, its normalisation and a rectifier that ends at 6.
  fileprivate static func block(
    _ inChannels: Int, _ outChannels: Int, kernel: Int, stride: Int = 1, groups: Int = 1, generator: Generator
  ) throws -> Sequential {
    try Sequential(
      normalizedConvolution(
        inChannels, outChannels, kernel: kernel, stride: stride, groups: groups, generator: generator),
      BatchNorm2d(numFeatures: outChannels), ReLU6())
  }

  /// Class scores `[N, classes]` of images `[N, 3, H, W]`.
  public func forward(_ x: Tensor) throws -> Tensor { try classifier(pooledFeatures(features(x))) }

  /// A block that widens, filters each channel by itself and narrows again, without a rectifier at the narrow end.
  private final class InvertedResidual: Module, UnaryLayer {
    private let conv: Sequential
    private let keepsShape: Bool

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, expansion: Int, _ generator: Generator) throws {
      let hidden = inChannels * expansion
      keepsShape = stride == 1 && inChannels == outChannels
      let wide =
        expansion == 1 ? [] : [try MobileNetV2.block(inChannels, hidden, kernel: 1, generator: generator)]
      let deep = try MobileNetV2.block(hidden, hidden, kernel: 3, stride: stride, groups: hidden, generator: generator)
      let narrow = try normalizedConvolution(hidden, outChannels, kernel: 1, generator: generator)
      conv = Sequential(wide + [deep, narrow, try BatchNorm2d(numFeatures: outChannels)])
    }

    func forward(_ x: Tensor) throws -> Tensor {
      try keepsShape ? conv(x) + x : conv(x)
    }
  }
}
