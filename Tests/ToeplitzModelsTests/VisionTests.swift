import Testing
import ToeplitzNN
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzModels
@testable import ToeplitzCPU
@testable import ToeplitzOps

/// Networks for images against torchvision's, and a U-Net against PyTorch's; see `Fixtures/models/generate.py`.
@Suite struct VisionTests {
  private static let golden: GoldenFile? = try? GoldenFile("models/models")

  /// Numbers in `low..<high` that depend on the tensor's name and the element's index alone, the same as in the script.
  private func hashed(_ name: String, _ shape: TensorShape, _ low: Double, _ high: Double) throws -> Tensor {
    let seed = checksum(name)
    let (base, width) = (Float(low), Float(high - low))
    var tensor = try Tensor.zeros(shape)
    tensor.withMutableFloats { elements in
      for i in elements.indices {
        var h = UInt32(truncatingIfNeeded: i) &* 0x9E37_79B1 &+ seed
        h ^= h >> 15
        h = h &* 0x85EB_CA77
        h ^= h >> 13
        h = h &* 0xC2B2_AE3D
        h ^= h >> 16
        elements[i] = base + Float(h >> 8) * 0x1p-24 * width
      }
    }
    return tensor
  }

  /// CRC-32 of a name.
  private func checksum(_ text: String) -> UInt32 {
    ~text.utf8.reduce(~UInt32(0)) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
  }

  private func state(_ model: Module) throws -> [String: Tensor] {
    var found: [String: Tensor] = [:]
    for (name, tensor) in model.stateDictionary() {
      let shape = tensor.shape
      if name.hasSuffix("num_batches_tracked") {
        found[name] = tensor
      } else if name.hasSuffix("running_var") || (name.hasSuffix("weight") && shape.rank == 1) {
        found[name] = try hashed(name, shape, 0.5, 1.5)
      } else if name.hasSuffix("weight") {
        let bound = (6 / Double(shape.dropFirst().reduce(1, *))).squareRoot()
        found[name] = try hashed(name, shape, -bound, bound)
      } else {
        found[name] = try hashed(name, shape, -0.25, 0.25)
      }
    }
    return found
  }

  private func model(_ golden: GoldenValue) throws -> any UnaryLayer {
    let kind = try #require(golden["id"].string)
    let classes = golden["classes"].int
    if kind.hasPrefix("mobilenet") {
      return try MobileNetV2(
        classCount: classes ?? 1000, widthMultiplier: golden["multiplier"].double ?? 1, generator: .zeros)
    }
    if kind.hasPrefix("unet") {
      return try UNet(
        classCount: classes ?? 2, bilinear: golden["bilinear"].bool ?? false, baseChannels: golden["base"].int ?? 64,
        generator: .zeros)
    }
    var configuration: ResNet.Configuration
    switch kind {
    case "resnet50": configuration = .resNet50
    case "resnext50": configuration = .resNeXt50
    case "resnet18": configuration = .resNet18
    default:
      configuration = ResNet.Configuration(
        block: try #require(golden["block"].string.flatMap(ResNet.Configuration.Block.init(rawValue:))),
        layers: try #require(golden["layers"].ints), groups: golden["groups"].int ?? 1,
        widthPerGroup: golden["width"].int ?? 64)
    }
    configuration.classCount = classes ?? 1000
    return try ResNet(configuration, generator: .zeros)
  }

  @Test(arguments: golden?.cases.compactMap { $0["id"].string } ?? [])
  func `names, shapes and outputs are PyTorch's`(identifier: String) throws {
    let file = try #require(Self.golden)
    let golden = try #require(file.cases.first { $0["id"].string == identifier })
    let model = try model(golden)
    let entries = try #require(golden["state"].object)
    let shapes = model.stateDictionary().mapValues { $0.shape.dimensions }
    #expect(shapes == entries.mapValues { $0.ints ?? [] })
    guard let shape = golden["input"].ints else { return }
    #expect(try model.load(state(model)).isClean)
    model.eval()
    let x = try hashed(identifier + ".input", TensorShape(shape), -1, 1)
    let expected = try file.tensor(identifier + ".output")
    func compiled<Model: UnaryLayer>(_ model: Model) throws -> Tensor { try model.compiled()(x) }
    for isa in InstructionSet.available {
      try InstructionSet.$override.withValue(isa) {
        for result in [try model(x), try compiled(model)] {
          let distance = try result.distance(to: expected)
          print("\(identifier) on \(isa): \(distance)")
          #expect(distance.absolute < 2e-5 * distance.scale && distance.sameSpecials)
        }
      }
    }
  }

  @Test func `all cases were read`() throws { #expect(try #require(Self.golden).cases.count == 10) }

  @Test func `folding and training agree with the layers called one by one`() throws {
    // In training mode nothing is folded: the same numbers, from statistics of the batch itself.
    let model = try UNet(classCount: 2, baseChannels: 4, generator: Generator(seed: 1))
    let x = try Generator(seed: 2).normal([2, 3, 32, 32])
    let first = try model(x)
    #expect(first.shape == [2, 2, 32, 32])
    let state = model.stateDictionary()
    #expect(try state["inc.double_conv.1.num_batches_tracked"]?.item(Int64.self) == 1)
    model.eval()
    let folded = try model.compiled()(x)
    #expect(try folded.distance(to: model(x)).absolute < 1e-4)
    #expect(try folded.distance(to: first).absolute > 1e-3)
    // A batch gives each image the bits it has alone.
    #expect(try model.compiled()(x.slice(axis: 0, 1..<2)).sameBits(as: folded.slice(axis: 0, 1..<2)))
  }

  @Test func `initial values keep the size of activations`() throws {
    let x = try Generator(seed: 2).normal([1, 3, 64, 64])
    let model = try ResNet(.init(block: .basic, layers: [1, 1, 1, 1], classCount: 5), generator: Generator(seed: 1))
    let scores = try model.eval()(x).scalars(Float.self)
    #expect(scores.count == 5 && scores.allSatisfy { abs($0) < 100 } && scores.contains { abs($0) > 1e-3 })
    let small = try MobileNetV2(classCount: 5, widthMultiplier: 0.25, generator: Generator(seed: 1)).eval()(x)
    #expect(try small.scalars(Float.self).allSatisfy { $0.isFinite && $0 != 0 })
    #expect(try Set(small.scalars(Float.self)).count == 5)
  }

  @Test func `illegal options and inputs are refused`() throws {
    func refused(_ mention: String, _ body: () throws -> Void) {
      let error = #expect(throws: ToeplitzError.self) { try body() }
      #expect(error?.description.contains(mention) == true, "\(error?.description ?? "no error")")
    }
    refused("layers") { _ = try ResNet(.init(block: .basic, layers: [1, 1, 1])) }
    refused("layers") { _ = try ResNet(.init(block: .basic, layers: [1, 1, 0, 1])) }
    refused("classCount") { _ = try ResNet(.init(block: .basic, layers: [1, 1, 1, 1], classCount: 0)) }
    refused("groups") { _ = try ResNet(.init(block: .bottleneck, layers: [1, 1, 1, 1], groups: .max)) }
    refused("basic") { _ = try ResNet(.init(block: .basic, layers: [1, 1, 1, 1], groups: 2)) }
    refused("groups × widthPerGroup") {
      _ = try ResNet(.init(block: .bottleneck, layers: [1, 1, 1, 1], groups: 4096, widthPerGroup: 4096))
    }
    refused("widthMultiplier") { _ = try MobileNetV2(widthMultiplier: .nan) }
    refused("classCount") { _ = try MobileNetV2(classCount: -1) }
    refused("baseChannels") { _ = try UNet(bilinear: true, baseChannels: 3) }
    refused("inChannels") { _ = try UNet(inChannels: 0) }
    let model = try UNet(baseChannels: 2, generator: .zeros).eval()
    for shape in [[3, 32, 32], [1, 3, 32], [1, 2, 32, 32], [1, 3, 15, 32], [1, 3, 0, 32], []] as [TensorShape] {
      refused(" ") { _ = try model(Tensor.zeros(shape)) }
    }
    #expect(try model(Tensor.zeros([0, 3, 32, 32])).shape == [0, 2, 32, 32])
    let classifier = try MobileNetV2(classCount: 3, widthMultiplier: 0.1, generator: .zeros).eval()
    refused(" ") { _ = try classifier(Tensor.zeros([1, 1, 32, 32])) }
    #expect(try classifier(Tensor.zeros([2, 3, 1, 1])).shape == [2, 3])
  }
}

extension Tensor {
  /// Calls `body` with all elements of a float32 tensor; unsafe access, because tests run without optimisation.
  fileprivate mutating func withMutableFloats(_ body: (UnsafeMutableBufferPointer<Float>) -> Void) {
    _ = try? withMutableElements(Float.self, body)
  }
}
