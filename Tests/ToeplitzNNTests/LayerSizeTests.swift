import Testing
import Toeplitz
import ToeplitzTestSupport

/// `outputSize(for:)` and `inputLengths(for:axis:)` against what the layers do.
@Suite struct LayerSizeTests {
  private static func pick(_ range: ClosedRange<Int>, _ random: inout RandomSource) -> Int {
    Int.random(in: range, using: &random)
  }

  /// A random layer that changes sizes, with its number of spatial axes; nil where the options are not legal.
  private static func layer(_ kind: Int, _ random: inout RandomSource) -> (any UnaryLayer, rank: Int)? {
    let kernel = PerAxis([pick(1...4, &random), pick(1...4, &random)])
    let stride = PerAxis([pick(1...4, &random), pick(1...4, &random)])
    let padding = PerAxis([pick(0...2, &random), pick(0...2, &random)])
    let pads = PerAxis((0..<4).map { _ in pick(-1...3, &random) })
    let ceil = Bool.random(using: &random)
    let factor = ScaleFactor([Double(pick(3...40, &random)) / 10, Double(pick(3...40, &random)) / 10])
    let made: (any UnaryLayer)? =
      switch kind {
      case 0:
        try? MaxPool2d(
          kernelSize: kernel, stride: stride, padding: padding, dilation: PerAxis([pick(1...3, &random), 2]),
          ceilMode: ceil)
      case 1: try? AvgPool2d(kernelSize: kernel, stride: stride, padding: padding, ceilMode: ceil)
      case 2: try? AdaptiveAvgPool2d(outputSize: [pick(1...5, &random), nil])
      case 3: try? AdaptiveMaxPool2d(outputSize: [nil, pick(1...5, &random)])
      case 4: try? Upsample(scaleFactor: factor, mode: ceil ? .bilinear : .nearest)
      case 5: try? Upsample(size: kernel, mode: .bicubic)
      case 6: try? ConstantPad2d(padding: pads, value: 1)
      case 7: try? ReflectionPad2d(padding: pads)
      case 8: try? ReplicationPad2d(padding: pads)
      case 9: try? CircularPad2d(padding: pads)
      case 10: try? PixelShuffle(upscaleFactor: pick(1...3, &random))
      case 11: try? PixelUnshuffle(downscaleFactor: pick(1...3, &random))
      case 12: try? Conv2d(inChannels: 36, outChannels: 2, kernelSize: kernel, stride: stride)
      default: ReLU()
      }
    return made.map { ($0, 2) }
  }

  @Test(arguments: 0..<14)
  func sizesAreThoseOfTheCalls(kind: Int) throws {
    var random = RandomSource(seed: UInt64(kind) + 100)
    var calls = 0
    for _ in 0..<120 {
      guard let (layer, _) = Self.layer(kind, &random) else { continue }
      let size = [Self.pick(1...12, &random), Self.pick(1...12, &random)]
      let x = try Tensor.zeros(TensorShape([1, 36] + size))
      let predicted = try? layer.outputSize(for: size)
      let actual = try? layer(x).shape.suffix(2)
      #expect(predicted == actual.map { Array($0) }, "\(layer) for \(size)")
      guard let predicted else { continue }
      calls += 1
      for axis in 0..<2 {
        #expect(
          layer.inputLengths(for: predicted[axis], axis: axis).contains(size[axis]), "\(layer) for \(size)")
      }
    }
    #expect(calls > 30)
  }

  /// Among all lengths up to 60, just those named give the output.
  @Test(arguments: 0..<14)
  func inputLengthsAreTheInverse(kind: Int) throws {
    var random = RandomSource(seed: UInt64(kind) + 200)
    for _ in 0..<40 {
      guard let (layer, _) = Self.layer(kind, &random) else { continue }
      for axis in 0..<2 {
        var found: [Int: [Int]] = [:]
        for length in 1...60 {
          // A length that suits the other axis of every layer here.
          for other in [12, 6] {
            let size = axis == 0 ? [length, other] : [other, length]
            guard let output = try? layer.outputSize(for: size)[axis] else { continue }
            found[output, default: []].append(length)
            break
          }
        }
        for output in 1...12 {
          let range = layer.inputLengths(for: output, axis: axis)
          let expected = found[output] ?? []
          #expect(
            range.clamped(to: 1..<61).elementsEqual(expected),
            "\(layer) output \(output) axis \(axis): \(range)")
        }
      }
    }
  }

  @Test func sequentialInvertsItsLayers() throws {
    let model = try Sequential(
      ConvTranspose1d(inChannels: 2, outChannels: 2, kernelSize: 4, stride: 3), MaxPool1d(kernelSize: 2),
      AdaptiveAvgPool1d(outputSize: 5))
    let range = model.inputLengths(for: 5)
    for length in 1..<40 { #expect(range.contains(length) == ((try? model.outputLength(for: length)) == 5)) }
    #expect(model.inputLengths(for: 4).isEmpty)
  }
}
