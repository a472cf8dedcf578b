import Testing
import Toeplitz

/// A model that says nothing about its sizes.
private final class Halving: Module, UnaryLayer {
  func forward(_ x: Tensor) throws -> Tensor { try x.slice(axis: 2, 0..<(x.shape[2] / 2)) }
}

/// Sizes of modules that keep them, change them in extreme ways, or do not say.
@Suite struct ModuleSizeTests {
  @Test func aModuleThatDoesNotSayItsSizeHasNone() throws {
    for module in try [
      Halving(), Linear(inFeatures: 4, outFeatures: 2), Flatten(), Embedding(numEmbeddings: 2, embeddingDim: 2),
      GLU(), Sequential(ReLU(), Halving()), ModuleList([ReLU()]), Module(),
    ] {
      let text = refusal("\(module)") { _ = try module.outputLength(for: 4) }
      #expect(text.contains("does not say"), "\(text)")
      #expect(module.inputLengths(for: 4).isEmpty, "\(module)")
    }
  }

  @Test func elementwiseLayersKeepTheSize() throws {
    for layer in try [
      ReLU(), PReLU(), Softplus(), Softmax(dim: 1), Snake(channels: 2), Identity(), Dropout(),
      BatchNorm1d(numFeatures: 2), InstanceNorm1d(numFeatures: 2), GroupNorm(numGroups: 1, numChannels: 2),
      LayerNorm(normalizedShape: [6]), GLU(dim: 1),
    ] as [any UnaryLayer] {
      #expect(try layer.outputLength(for: 6) == layer(.ones([3, 2, 6])).shape[2], "\(layer)")
      #expect(layer.inputLengths(for: 6) == 6..<7, "\(layer)")
      #expect(layer.inputLengths(for: 0).isEmpty && layer.inputLengths(for: Int.max).isEmpty, "\(layer)")
    }
  }

  @Test func noOutputLengthTrapsInTheSearchForInputs() throws {
    let lengths = [Int.min, Int.min + 1, -8, -2, -1, 0, Int.max / 2, Int.max - 1, Int.max]
    for layer in try [
      PixelShuffle(upscaleFactor: 1), PixelShuffle(upscaleFactor: 2), PixelUnshuffle(downscaleFactor: 1),
      PixelUnshuffle(downscaleFactor: 2), AdaptiveAvgPool1d(outputSize: [nil]), AdaptiveMaxPool1d(outputSize: 3),
      Upsample(scaleFactor: 2), Upsample(scaleFactor: 0.5), Upsample(scaleFactor: 1e30), Upsample(size: 3),
      MaxPool1d(kernelSize: 2), AvgPool1d(kernelSize: 3, stride: 1), ZeroPad1d(padding: 1), ReLU(),
    ] as [any UnaryLayer] {
      for length in lengths {
        let range = layer.inputLengths(for: length)
        #expect(range.isEmpty || (length > 0 && range.lowerBound > 0), "\(layer) \(length): \(range)")
      }
    }
  }
}
