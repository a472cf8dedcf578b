import Toeplitz

// Five published PyTorch models as one writes them here. The originals and their licences are named in
// Tests/Fixtures/ported/generate.py; PortedModelsTests counts the lines between the marks.

// begin tcn
final class Chomp1d: Module, UnaryLayer {
  let size: Int
  init(_ size: Int) { self.size = size }
  func forward(_ x: Tensor) throws -> Tensor { try x[.ellipsis, ..<(-size)] }
}

final class TemporalBlock: Module, UnaryLayer {
  let conv1, conv2: Conv1d
  let net: Sequential
  let downsample: Conv1d?
  init(_ inputs: Int, _ outputs: Int, kernelSize k: Int, dilation d: Int, dropout: Double = 0.2) throws {
    let padding = (k - 1) * d
    conv1 = try Conv1d(inputs, outputs, kernelSize: k, padding: padding, dilation: d).weightNorm()
    conv2 = try Conv1d(outputs, outputs, kernelSize: k, padding: padding, dilation: d).weightNorm()
    net = try Sequential(
      conv1, Chomp1d(padding), ReLU(), Dropout(dropout), conv2, Chomp1d(padding), ReLU(), Dropout(dropout))
    downsample = try inputs != outputs ? Conv1d(inputs, outputs, kernelSize: 1) : nil
  }
  func forward(_ x: Tensor) throws -> Tensor { try relu(net(x) + (downsample?(x) ?? x)) }
}

final class TemporalConvNet: Module, UnaryLayer {
  let network: Sequential
  init(_ inputs: Int, channels: [Int], kernelSize: Int = 2, dropout: Double = 0.2) throws {
    network = Sequential()
    for (level, (from, to)) in zip([inputs] + channels, channels).enumerated() {
      network.append(try TemporalBlock(from, to, kernelSize: kernelSize, dilation: 1 << level, dropout: dropout))
    }
  }
  func forward(_ x: Tensor) throws -> Tensor { try network(x) }
}
// end tcn

// begin unet
final class UNetBlock: Module, UnaryLayer {
  let conv1, conv2: Conv2d
  let norm1, norm2: BatchNorm2d
  let prefix: String
  init(_ inputs: Int, _ features: Int, prefix: String) throws {
    self.prefix = prefix
    conv1 = try Conv2d(inputs, features, kernelSize: 3, padding: 1, bias: false)
    norm1 = try BatchNorm2d(features)
    conv2 = try Conv2d(features, features, kernelSize: 3, padding: 1, bias: false)
    norm2 = try BatchNorm2d(features)
  }
  override func key(forProperty name: String) -> String { prefix + name }
  func forward(_ x: Tensor) throws -> Tensor { try relu(norm2(conv2(relu(norm1(conv1(x)))))) }
}

final class BrainUNet: Module, UnaryLayer {
  let encoder1, encoder2, encoder3, encoder4, bottleneck, decoder4, decoder3, decoder2, decoder1: UNetBlock
  let upconv4, upconv3, upconv2, upconv1: ConvTranspose2d
  let pool: MaxPool2d
  let conv: Conv2d
  init(inChannels: Int = 3, outChannels: Int = 1, features f: Int = 32) throws {
    encoder1 = try UNetBlock(inChannels, f, prefix: "enc1")
    encoder2 = try UNetBlock(f, 2 * f, prefix: "enc2")
    encoder3 = try UNetBlock(2 * f, 4 * f, prefix: "enc3")
    encoder4 = try UNetBlock(4 * f, 8 * f, prefix: "enc4")
    bottleneck = try UNetBlock(8 * f, 16 * f, prefix: "bottleneck")
    upconv4 = try ConvTranspose2d(16 * f, 8 * f, kernelSize: 2, stride: 2)
    decoder4 = try UNetBlock(16 * f, 8 * f, prefix: "dec4")
    upconv3 = try ConvTranspose2d(8 * f, 4 * f, kernelSize: 2, stride: 2)
    decoder3 = try UNetBlock(8 * f, 4 * f, prefix: "dec3")
    upconv2 = try ConvTranspose2d(4 * f, 2 * f, kernelSize: 2, stride: 2)
    decoder2 = try UNetBlock(4 * f, 2 * f, prefix: "dec2")
    upconv1 = try ConvTranspose2d(2 * f, f, kernelSize: 2, stride: 2)
    decoder1 = try UNetBlock(2 * f, f, prefix: "dec1")
    conv = try Conv2d(f, outChannels, kernelSize: 1)
    pool = try MaxPool2d(2)
  }
  func forward(_ x: Tensor) throws -> Tensor {
    let enc1 = try encoder1(x)
    let enc2 = try encoder2(pool(enc1))
    let enc3 = try encoder3(pool(enc2))
    let enc4 = try encoder4(pool(enc3))
    let dec4 = try decoder4(concatenate([upconv4(bottleneck(pool(enc4))), enc4], axis: 1))
    let dec3 = try decoder3(concatenate([upconv3(dec4), enc3], axis: 1))
    let dec2 = try decoder2(concatenate([upconv2(dec3), enc2], axis: 1))
    let dec1 = try decoder1(concatenate([upconv1(dec2), enc1], axis: 1))
    return try sigmoid(conv(dec1))
  }
}
// end unet

// begin convnext
final class ConvNeXtBlock: Module, UnaryLayer {
  let block: Sequential
  let layerScale: Parameter
  init(_ dim: Int, layerScale scale: Double) throws {
    block = try Sequential(
      Conv2d(dim, dim, kernelSize: 7, padding: 3, groups: dim),
      Lambda { try $0.permuted(0, 2, 3, 1) },
      LayerNorm(dim, eps: 1e-6),
      Linear(dim, 4 * dim),
      GELU(),
      Linear(4 * dim, dim),
      Lambda { try $0.permuted(0, 3, 1, 2) })
    layerScale = Parameter(try Tensor.full([dim, 1, 1], scale))
  }
  func forward(_ x: Tensor) throws -> Tensor { try layerScale.value * block(x) + x }
}
// end convnext

// begin diffwave
final class DiffusionEmbedding: Module, UnaryLayer {
  let table: Tensor
  let projection1, projection2: Linear
  init(steps: Int) throws {
    let steps = try Tensor.range(to: Double(steps))[0..., .newAxis]
    let angles = try steps * pow(Tensor.full([64], 10), Tensor.range(to: 64) * 4 / 63)
    table = try concatenate([sin(angles), cos(angles)], axis: 1)
    projection1 = try Linear(128, 512)
    projection2 = try Linear(512, 512)
  }
  func forward(_ step: Tensor) throws -> Tensor { try silu(projection2(silu(projection1(table[step])))) }
}

final class SpectrogramUpsampler: Module, UnaryLayer {
  let conv1, conv2: ConvTranspose2d
  init() throws {
    conv1 = try ConvTranspose2d(1, 1, kernelSize: [3, 32], stride: [1, 16], padding: [1, 8])
    conv2 = try ConvTranspose2d(1, 1, kernelSize: [3, 32], stride: [1, 16], padding: [1, 8])
  }
  func forward(_ x: Tensor) throws -> Tensor {
    let y = try leakyReLU(conv1(x.unsqueezed(1)), negativeSlope: 0.4)
    return try leakyReLU(conv2(y), negativeSlope: 0.4).squeezed(1)
  }
}

final class DiffWaveBlock: Module {
  let dilatedConv, conditionerProjection, outputProjection: Conv1d
  let diffusionProjection: Linear
  init(mels: Int, channels c: Int, dilation d: Int) throws {
    dilatedConv = try Conv1d(c, 2 * c, kernelSize: 3, padding: d, dilation: d)
    diffusionProjection = try Linear(512, c)
    conditionerProjection = try Conv1d(mels, 2 * c, kernelSize: 1)
    outputProjection = try Conv1d(c, 2 * c, kernelSize: 1)
  }
  func callAsFunction(_ x: Tensor, step: Tensor, conditioner: Tensor) throws -> (x: Tensor, skip: Tensor) {
    let y = try dilatedConv(x + diffusionProjection(step).unsqueezed(-1)) + conditionerProjection(conditioner)
    let gates = try y.chunked(2, axis: 1)
    let parts = try outputProjection(sigmoid(gates[0]) * tanh(gates[1])).chunked(2, axis: 1)
    return (try (x + parts[0]) / 2.0.squareRoot(), parts[1])
  }
}

final class DiffWave: Module {
  let inputProjection, skipProjection, outputProjection: Conv1d
  let diffusionEmbedding: DiffusionEmbedding
  let spectrogramUpsampler: SpectrogramUpsampler
  let residualLayers: ModuleList<DiffWaveBlock>
  init(mels: Int, channels c: Int, layers: Int, cycle: Int, steps: Int) throws {
    inputProjection = try Conv1d(1, c, kernelSize: 1)
    diffusionEmbedding = try DiffusionEmbedding(steps: steps)
    spectrogramUpsampler = try SpectrogramUpsampler()
    residualLayers = ModuleList(
      try (0..<layers).map { try DiffWaveBlock(mels: mels, channels: c, dilation: 1 << ($0 % cycle)) })
    skipProjection = try Conv1d(c, c, kernelSize: 1)
    outputProjection = try Conv1d(c, 1, kernelSize: 1)
  }
  func callAsFunction(_ audio: Tensor, step: Tensor, spectrogram: Tensor) throws -> Tensor {
    var x = try relu(inputProjection(audio.unsqueezed(1)))
    let (step, conditioner) = (try diffusionEmbedding(step), try spectrogramUpsampler(spectrogram))
    var skips: [Tensor] = []
    for layer in residualLayers {
      let (next, skip) = try layer(x, step: step, conditioner: conditioner)
      skips.append(skip)
      x = next
    }
    let sum = try stack(skips).sum(axis: 0) / Double(residualLayers.count).squareRoot()
    return try outputProjection(relu(skipProjection(sum)))
  }
}
// end diffwave

// begin acgan
final class ACGANGenerator: Module {
  let labelEmb: Embedding
  let l1, convBlocks: Sequential
  let initSize: Int
  init(classes: Int, latent: Int, imageSize: Int, channels: Int) throws {
    labelEmb = try Embedding(classes, latent)
    initSize = imageSize / 4
    l1 = try Sequential(Linear(latent, 128 * initSize * initSize))
    convBlocks = try Sequential(
      BatchNorm2d(128),
      Upsample(scaleFactor: 2),
      Conv2d(128, 128, kernelSize: 3, padding: 1),
      BatchNorm2d(128, eps: 0.8),
      LeakyReLU(0.2),
      Upsample(scaleFactor: 2),
      Conv2d(128, 64, kernelSize: 3, padding: 1),
      BatchNorm2d(64, eps: 0.8),
      LeakyReLU(0.2),
      Conv2d(64, channels, kernelSize: 3, padding: 1),
      Tanh())
  }
  func callAsFunction(_ noise: Tensor, labels: Tensor) throws -> Tensor {
    try convBlocks(l1(labelEmb(labels) * noise).reshaped(-1, 128, initSize, initSize))
  }
}
// end acgan
