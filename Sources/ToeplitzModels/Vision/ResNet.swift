import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A residual network for images (He et al., 2016, with the stride in the 3×3 convolution as torchvision has it):
/// `[N, 3, H, W]` to class scores `[N, classes]`.
///
/// Properties are named like torchvision's, so its checkpoints load by key. In evaluation mode every batch normalisation is
/// folded into its convolution.
///
/// ```swift
/// let model = try ResNet(.resNet50, generator: .zeros)
/// try model.load(Checkpoint(contentsOf: "resnet50.safetensors").tensors)
/// let scores = try model.eval()(images)  // [N, 3, 224, 224] -> [N, 1000]
/// ```
public final class ResNet: Module, UnaryLayer {
  /// Which network of the family.
  public struct Configuration: Sendable, Hashable {
    /// What a residual block is made of.
    public enum Block: String, Sendable, Hashable, CaseIterable {
      /// Two 3×3 convolutions.
      case basic
      /// A 1×1, a 3×3 and a 1×1 convolution, the last with four times the channels.
      case bottleneck

      /// Channels of the output for each channel inside.
      var expansion: Int { self == .basic ? 1 : 4 }
    }

    /// The kind of the blocks.
    public var block: Block
    /// Blocks in each of the four stages.
    public var layers: [Int]
    /// Class scores of the output.
    public var classCount: Int
    /// Groups of the bottleneck's 3×3 convolution (ResNeXt; Xie et al., 2017).
    public var groups: Int
    /// Channels of a group in the first stage.
    public var widthPerGroup: Int

    /// A configuration; torchvision's arguments.
    public init(block: Block, layers: [Int], classCount: Int = 1000, groups: Int = 1, widthPerGroup: Int = 64) {
      self.block = block
      self.layers = layers
      self.classCount = classCount
      self.groups = groups
      self.widthPerGroup = widthPerGroup
    }

    /// 18 layers.
    public static let resNet18 = Configuration(block: .basic, layers: [2, 2, 2, 2])
    /// 34 layers.
    public static let resNet34 = Configuration(block: .basic, layers: [3, 4, 6, 3])
    /// 50 layers.
    public static let resNet50 = Configuration(block: .bottleneck, layers: [3, 4, 6, 3])
    /// 101 layers.
    public static let resNet101 = Configuration(block: .bottleneck, layers: [3, 4, 23, 3])
    /// 152 layers.
    public static let resNet152 = Configuration(block: .bottleneck, layers: [3, 8, 36, 3])
    /// 50 layers with 32 groups of 4 channels.
    public static let resNeXt50 = Configuration(block: .bottleneck, layers: [3, 4, 6, 3], groups: 32, widthPerGroup: 4)

    /// Refuses what no network can be built from.
    fileprivate func check() throws {
      guard layers.count == 4, layers.allSatisfy({ (1...1000).contains($0) }) else {
        throw ToeplitzError(.argument, "ResNet", expected: "four layers in 1...1000", got: "\(layers)")
      }
      try require("ResNet", "classCount", classCount, in: 1...1 << 24)
      try require("ResNet", "groups", groups, in: 1...1 << 12)
      try require("ResNet", "widthPerGroup", widthPerGroup, in: 1...1 << 12)
      try require("ResNet", "groups × widthPerGroup", groups * widthPerGroup, in: 1...1 << 12)
      guard block == .bottleneck || (groups == 1 && widthPerGroup == 64) else {
        throw ToeplitzError(
          .argument, "ResNet", expected: "basic blocks with 1 group of width 64",
          got: "\(groups) of width \(widthPerGroup)")
      }
    }
  }

  /// What it was built from.
  public let configuration: Configuration
  let conv1: Conv2d
  let bn1: BatchNorm2d
  let maxpool: MaxPool2d
  let layer1: ModuleList<ResNetBlock>
  let layer2: ModuleList<ResNetBlock>
  let layer3: ModuleList<ResNetBlock>
  let layer4: ModuleList<ResNetBlock>
  let fc: Linear

  /// A network with random weights.
  ///
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(_ configuration: Configuration, generator: Generator = Generator()) throws {
    try configuration.check()
    self.configuration = configuration
    conv1 = try normalizedConvolution(3, 64, kernel: 7, stride: 2, generator: generator)
    bn1 = try BatchNorm2d(numFeatures: 64)
    maxpool = try MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
    var channels = 64
    func stage(_ index: Int) throws -> ModuleList<ResNetBlock> {
      ModuleList(
        try (0..<configuration.layers[index]).map { position in
          let block = try ResNetBlock(
            configuration, inChannels: channels, planes: 64 << index, stride: position == 0 && index > 0 ? 2 : 1,
            generator)
          channels = 64 << index * configuration.block.expansion
          return block
        })
    }
    layer1 = try stage(0)
    layer2 = try stage(1)
    layer3 = try stage(2)
    layer4 = try stage(3)
    fc = try Linear(inFeatures: channels, outFeatures: configuration.classCount, generator: generator)
  }

  /// Class scores `[N, classes]` of images `[N, 3, H, W]`.
  public func forward(_ x: Tensor) throws -> Tensor {
    var x = try maxpool(bn1(conv1(x)).relu())
    for stage in [layer1, layer2, layer3, layer4] { x = try stage.reduce(x) { try $1($0) } }
    return try fc(pooledFeatures(x))
  }
}

/// A residual block: two or three normalised convolutions, and what comes in added before the last rectifier.
final class ResNetBlock: Module, UnaryLayer {
  private let conv1: Conv2d
  private let bn1: BatchNorm2d
  private let conv2: Conv2d
  private let bn2: BatchNorm2d
  private let conv3: Conv2d?
  private let bn3: BatchNorm2d?
  private let downsample: Sequential?

  init(
    _ configuration: ResNet.Configuration, inChannels: Int, planes: Int, stride: Int, _ generator: Generator
  ) throws {
    let outChannels = planes * configuration.block.expansion
    func convolution(_ from: Int, _ to: Int, _ kernel: Int, stride: Int = 1, groups: Int = 1) throws -> Conv2d {
      try normalizedConvolution(from, to, kernel: kernel, stride: stride, groups: groups, generator: generator)
    }
    if configuration.block == .bottleneck {
      let width = planes * configuration.widthPerGroup / 64 * configuration.groups
      conv1 = try convolution(inChannels, width, 1)
      bn1 = try BatchNorm2d(numFeatures: width)
      conv2 = try convolution(width, width, 3, stride: stride, groups: configuration.groups)
      bn2 = try BatchNorm2d(numFeatures: width)
      conv3 = try convolution(width, outChannels, 1)
      bn3 = try BatchNorm2d(numFeatures: outChannels)
    } else {
      conv1 = try convolution(inChannels, planes, 3, stride: stride)
      bn1 = try BatchNorm2d(numFeatures: planes)
      conv2 = try convolution(planes, planes, 3)
      bn2 = try BatchNorm2d(numFeatures: planes)
      conv3 = nil
      bn3 = nil
    }
    let keepsShape = stride == 1 && inChannels == outChannels
    downsample =
      keepsShape
      ? nil
      : try Sequential(
        convolution(inChannels, outChannels, 1, stride: stride), BatchNorm2d(numFeatures: outChannels))
  }

  /// torchvision's `BasicBlock` or `Bottleneck`.
  override var displayName: String { conv3 == nil ? "BasicBlock" : "Bottleneck" }

  func forward(_ x: Tensor) throws -> Tensor {
    let identity = try downsample.map { try $0(x) } ?? x
    let inner = try bn2(conv2(bn1(conv1(x)).relu()))
    guard let conv3, let bn3 else { return try (inner + identity).relu() }
    return try (bn3(conv3(inner.relu())) + identity).relu()
  }
}
