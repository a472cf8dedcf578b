import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

/// Published models, ported: each loads strictly, gives PyTorch's numbers, and is not much longer than the original.
@Suite struct PortedModelsTests {
  private struct Original: Decodable {
    /// Name, shape, and the number of the name whose tensor it is (its own unless two share one).
    struct Key: Decodable {
      let name: String
      let shape: [Int]
      let owner: Int

      init(from decoder: any Decoder) throws {
        var list = try decoder.unkeyedContainer()
        (name, shape, owner) = (try list.decode(String.self), try list.decode([Int].self), try list.decode(Int.self))
      }
    }
    let keys: [Key]
    let lines: Int
  }

  private let originals: [String: Original]
  private let outputs: [String: Tensor]

  init() throws {
    originals = try JSONDecoder().decode(
      [String: Original].self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("ported/ported.json"))))
    outputs = try Checkpoint(contentsOf: Fixtures.path("ported/ported.safetensors")).tensors
  }

  /// The formula of generate.py.
  private func value(_ name: String, _ shape: [Int], _ index: Int) throws -> Tensor {
    let count = shape.reduce(1, *)
    if name.hasSuffix("num_batches_tracked") { return try Tensor(scalar: 0) }
    let wave = try sin(Tensor.range(to: Double(count), dtype: .float64) * 0.37 + index).reshaped(shape)
    let isScale =
      ["running_var", "weight_g", "layer_scale"].contains(where: name.hasSuffix)
      || shape.count == 1 && name.hasSuffix("weight")
    let scaled =
      try isScale
      ? 1 + 0.3 * wave : shape.count <= 1 ? 0.1 * wave : wave * (2 * Double(shape[0]) / Double(count)).squareRoot()
    return try scaled.cast(to: .float32)
  }

  private func signal(_ shape: Int...) throws -> Tensor {
    let places = try Tensor.range(to: Double(shape.reduce(1, *)), dtype: .float64)
    return try sin(0.1 * pow(places, 1.5)).reshaped(shape).cast(to: .float32)
  }

  private func load(_ name: String, _ model: Module) throws {
    let keys = try #require(originals[name]).keys
    let state = try keys.map { ($0.name, try value(keys[$0.owner].name, $0.shape, $0.owner)) }
    #expect(try model.eval().load(Dictionary(uniqueKeysWithValues: state)).isClean)
  }

  private func expect(_ result: Tensor, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let expected = try #require(outputs[name])
    #expect(result.shape == expected.shape, sourceLocation: sourceLocation)
    #expect(try result.allClose(expected, rtol: 1e-5, atol: 1e-5), sourceLocation: sourceLocation)
  }

  @Test func temporalConvolutions() throws {
    let model = try TemporalConvNet(3, channels: [4, 6], kernelSize: 3)
    try load("tcn", model)
    let x = try signal(2, 3, 17)
    try expect(model(x), "tcn")
    try expect(Executable(tracing: model)(x), "tcn")
  }

  @Test func segmentation() throws {
    let model = try BrainUNet(features: 2)
    try load("unet", model)
    try expect(model(signal(1, 3, 32, 16)), "unet")
  }

  @Test func convNeXt() throws {
    let model = try ConvNeXtBlock(8, layerScale: 1e-6)
    try load("convnext", model)
    try expect(model(signal(2, 8, 7, 9)), "convnext")
  }

  @Test func diffusionOfWaves() throws {
    let model = try DiffWave(mels: 4, channels: 4, layers: 3, cycle: 2, steps: 50)
    try load("diffwave", model)
    try expect(model(signal(2, 512), step: Tensor([3, 41] as [Int]), spectrogram: signal(2, 4, 2)), "diffwave")
  }

  @Test func generatorWithLabels() throws {
    let model = try ACGANGenerator(classes: 5, latent: 6, imageSize: 8, channels: 1)
    try load("acgan", model)
    try expect(model(signal(3, 6), labels: Tensor([4, 0, 2] as [Int])), "acgan")
  }

  @Test func portsAreAsShortAsTheOriginals() throws {
    let source = try String(
      contentsOfFile: #filePath.replacing("PortedModelsTests", with: "PortedModels"), encoding: .utf8)
    for (name, original) in originals {
      let body = try #require(source.split(separator: "// begin \(name)\n").last?.split(separator: "// end").first)
      let lines = body.split(separator: "\n").count { !$0.allSatisfy(\.isWhitespace) && !$0.contains("// ") }
      #expect(Double(lines) <= 1.3 * Double(original.lines), "\(name): \(lines) lines, \(original.lines) in PyTorch")
    }
  }
}
