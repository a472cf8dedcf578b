import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A U-Net (Ronneberger, Fischer and Brox, 2015, with padded convolutions and batch normalisation): images
/// `[N, C, H, W]` to one score a class and pixel `[N, classes, H, W]`.
///
/// Properties are named like those of github.com/milesial/Pytorch-UNet, so its checkpoints load by key. In evaluation mode
/// every batch normalisation is folded into its convolution.
public final class UNet: Module, UnaryLayer {
  let inc: DoubleConv
  let down1: Down
  let down2: Down
  let down3: Down
  let down4: Down
  let up1: Up
  let up2: Up
  let up3: Up
  let up4: Up
  let outc: OutConv

  /// A network with random weights.
  ///
  /// - Parameters:
  ///   - inChannels: channels of the images.
  ///   - classCount: scores of each pixel.
  ///   - bilinear: whether images grow by interpolation, not by transposed convolutions.
  ///   - baseChannels: channels at full size; each of four halvings of the size doubles them.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    inChannels: Int = 3, classCount: Int = 2, bilinear: Bool = false, baseChannels: Int = 64,
    generator: Generator = Generator()
  ) throws {
    try require("UNet", "inChannels", inChannels, in: 1...1 << 16)
    try require("UNet", "classCount", classCount, in: 1...1 << 16)
    try require("UNet", "baseChannels", baseChannels, in: 1...1 << 12)
    guard !bilinear || baseChannels % 2 == 0 else {
      throw ToeplitzError(.argument, "UNet", expected: "an even number of baseChannels", got: "\(baseChannels)")
    }
    let share = bilinear ? 2 : 1
    func width(_ level: Int) -> Int { baseChannels << level }
    func down(_ level: Int, _ outChannels: Int) throws -> Down {
      try Down(width(level), outChannels, generator)
    }
    func up(_ level: Int, _ outChannels: Int) throws -> Up {
      try Up(width(level), outChannels, bilinear: bilinear, generator)
    }
    inc = try DoubleConv(inChannels, width(0), generator)
    down1 = try down(0, width(1))
    down2 = try down(1, width(2))
    down3 = try down(2, width(3))
    down4 = try down(3, width(4) / share)
    up1 = try up(4, width(3) / share)
    up2 = try up(3, width(2) / share)
    up3 = try up(2, width(1) / share)
    up4 = try up(1, width(0))
    outc = try OutConv(width(0), classCount, generator)
  }

  /// Scores `[N, classes, H, W]` of images `[N, C, H, W]` of at least 16 by 16 pixels.
  public func forward(_ x: Tensor) throws -> Tensor {
    let first = try inc(x)
    let second = try down1(first)
    let third = try down2(second)
    let fourth = try down3(third)
    let deepest = try down4(fourth)
    return try outc(up4(up3(up2(up1(deepest, fourth), third), second), first))
  }

  /// The same size.
  public override func outputSize(for inputSize: [Int]) throws -> [Int] { inputSize }
  /// The same length.
  public override func inputLengths(for length: Int, axis: Int) -> Range<Int> { singleLength(length) }

  /// Two convolutions, each normalised and rectified.
  final class DoubleConv: Module, UnaryLayer {
    private let doubleConv: Sequential

    init(_ inChannels: Int, _ outChannels: Int, middle: Int? = nil, _ generator: Generator) throws {
      let middle = middle ?? outChannels
      doubleConv = try Sequential(
        normalizedConvolution(inChannels, middle, kernel: 3, generator: generator), BatchNorm2d(numFeatures: middle),
        ReLU(),
        normalizedConvolution(middle, outChannels, kernel: 3, generator: generator),
        BatchNorm2d(numFeatures: outChannels), ReLU())
    }

    func forward(_ x: Tensor) throws -> Tensor { try doubleConv(x) }
  }

  /// Half the size.
  final class Down: Module, UnaryLayer {
    private let maxpoolConv: Sequential

    init(_ inChannels: Int, _ outChannels: Int, _ generator: Generator) throws {
      maxpoolConv = try Sequential(MaxPool2d(kernelSize: 2), DoubleConv(inChannels, outChannels, generator))
    }

    func forward(_ x: Tensor) throws -> Tensor { try maxpoolConv(x) }
  }

  /// Twice the size, beside what had that size on the way down.
  final class Up: Module {
    private let up: any UnaryLayer
    private let conv: DoubleConv

    init(_ inChannels: Int, _ outChannels: Int, bilinear: Bool, _ generator: Generator) throws {
      if bilinear {
        up = try Upsample(scaleFactor: 2, mode: .bilinear, alignCorners: true)
        conv = try DoubleConv(inChannels, outChannels, middle: inChannels / 2, generator)
      } else {
        up = try ConvTranspose2d(
          inChannels: inChannels, outChannels: inChannels / 2, kernelSize: 2, stride: 2, generator: generator)
        conv = try DoubleConv(inChannels, outChannels, generator)
      }
    }

    func callAsFunction(_ x: Tensor, _ skip: Tensor) throws -> Tensor {
      let grown = try up(x)
      // Halving an odd size has lost a row, which comes back as zeros.
      let pads = [2, 3].compactMap { axis -> (axis: Int, low: Int, high: Int)? in
        let missing = skip.shape[axis] - grown.shape[axis]
        return missing == 0 ? nil : (axis, missing / 2, missing - missing / 2)
      }
      return try conv(Tensor.concatenate([skip, grown.padded(pads)], axis: 1))
    }
  }

  /// The scores of each pixel.
  final class OutConv: Module, UnaryLayer {
    private let conv: Conv2d

    init(_ inChannels: Int, _ outChannels: Int, _ generator: Generator) throws {
      conv = try Conv2d(inChannels: inChannels, outChannels: outChannels, kernelSize: 1, generator: generator)
    }

    func forward(_ x: Tensor) throws -> Tensor { try conv(x) }
  }
}
