import Toeplitz

// Small networks of the families that people stream, as their authors write them.

/// A convolution that reads only what has been.
final class CausalConv: Module, UnaryLayer {
  let conv: WeightNormConv1d
  private let past: Int
  private let mode: PaddingMode

  init(
    _ inputs: Int, _ outputs: Int, _ kernel: Int, stride: Int = 1, dilation: Int = 1, groups: Int = 1,
    mode: PaddingMode = .zeros
  ) throws {
    conv = try WeightNormConv1d(
      inChannels: inputs, outChannels: outputs, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
      dilation: PerAxis(dilation), groups: groups)
    (past, self.mode) = ((kernel - 1) * dilation + 1 - stride, mode)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor { try conv(x.padded([(axis: 2, low: past, high: 0)], mode: mode)) }
}

/// A transposed convolution whose end is cut off.
final class CausalUpsampling: Module, UnaryLayer {
  let conv: WeightNormConvTranspose1d
  private let excess: Int

  init(_ inputs: Int, _ outputs: Int, _ kernel: Int, stride: Int) throws {
    conv = try WeightNormConvTranspose1d(
      inChannels: inputs, outChannels: outputs, kernelSize: PerAxis(kernel), stride: PerAxis(stride))
    excess = kernel - stride
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    let y = try conv(x)
    return try y.slice(axis: 2, 0..<(y.shape[2] - excess))
  }
}

/// A recurrent layer along the time of `[N, C, T]`, around which the input passes.
final class RecurrentOverTime: Module, UnaryLayer {
  let lstm: LSTM

  init(_ channels: Int, bidirectional: Bool = false) throws {
    lstm = try LSTM(
      inputSize: channels, hiddenSize: bidirectional ? channels / 2 : channels, numLayers: 2,
      bidirectional: bidirectional)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor { try x + lstm(x.permuted([2, 0, 1])).permuted([1, 2, 0]) }
}

/// DAC's decoder: Snake, weight norm, residual units of three dilations, transposed convolutions, all centred.
final class DACDecoder: Module, UnaryLayer {
  final class Unit: Module, UnaryLayer {
    let snake1, snake2: Snake
    let conv1, conv2: WeightNormConv1d
    init(_ channels: Int, dilation: Int) throws {
      snake1 = try Snake(channels: channels)
      conv1 = try WeightNormConv1d(
        inChannels: channels, outChannels: channels, kernelSize: 7, padding: .uniform(3 * dilation),
        dilation: PerAxis(dilation))
      snake2 = try Snake(channels: channels)
      conv2 = try WeightNormConv1d(inChannels: channels, outChannels: channels, kernelSize: 1)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try x + conv2(snake2(conv1(snake1(x)))) }
  }
  final class Block: Module, UnaryLayer {
    let snake: Snake
    let up: WeightNormConvTranspose1d
    let units: ModuleList<Unit>
    init(_ inputs: Int, _ outputs: Int, stride: Int) throws {
      snake = try Snake(channels: inputs)
      up = try WeightNormConvTranspose1d(
        inChannels: inputs, outChannels: outputs, kernelSize: PerAxis(2 * stride), stride: PerAxis(stride),
        padding: .uniform((stride + 1) / 2), outputPadding: PerAxis(stride % 2))
      units = ModuleList(try [1, 3, 9].map { try Unit(outputs, dilation: $0) })
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try units.reduce(up(snake(x))) { try $1($0) } }
  }
  let first, last: WeightNormConv1d
  let blocks: ModuleList<Block>
  let snake: Snake

  init(latent: Int, channels: Int, rates: [Int]) throws {
    first = try WeightNormConv1d(inChannels: latent, outChannels: channels, kernelSize: 7, padding: 3)
    blocks = ModuleList(
      try rates.enumerated().map { try Block(channels >> $0, channels >> ($0 + 1), stride: $1) })
    let end = channels >> rates.count
    snake = try Snake(channels: end)
    last = try WeightNormConv1d(inChannels: end, outChannels: 1, kernelSize: 7, padding: 3)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    try last(snake(blocks.reduce(first(x)) { try $1($0) })).tanh()
  }
}

/// EnCodec's causal encoder or decoder: ELU, residual units, reflected padding, an LSTM.
final class EnCodecHalf: Module, UnaryLayer {
  final class Unit: Module, UnaryLayer {
    let narrow, wide: CausalConv
    init(_ channels: Int) throws {
      narrow = try CausalConv(channels, channels / 2, 3, mode: .reflect)
      wide = try CausalConv(channels / 2, channels, 1)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor { try x + wide(narrow(x.elu()).elu()) }
  }
  let first, last: CausalConv
  let units: ModuleList<Unit>
  let steps: ModuleList<CausalConv>?
  let ups: ModuleList<CausalUpsampling>?
  let recurrent: RecurrentOverTime

  init(channels: Int, latent: Int, rates: [Int], encodes: Bool) throws {
    let widths = (0...rates.count).map { channels << $0 }
    let top = widths[rates.count]
    recurrent = try RecurrentOverTime(top)
    if encodes {
      first = try CausalConv(1, channels, 7, mode: .reflect)
      units = ModuleList(try widths.dropLast().map { try Unit($0) })
      steps = ModuleList(
        try rates.enumerated().map { try CausalConv(widths[$0], widths[$0 + 1], 2 * $1, stride: $1, mode: .reflect) })
      ups = nil
      last = try CausalConv(top, latent, 7, mode: .reflect)
    } else {
      first = try CausalConv(latent, top, 7, mode: .reflect)
      let falling = Array(widths.reversed())
      units = ModuleList(try falling.dropFirst().map { try Unit($0) })
      ups = ModuleList(
        try rates.reversed().enumerated().map { try CausalUpsampling(falling[$0], falling[$0 + 1], 2 * $1, stride: $1) }
      )
      steps = nil
      last = try CausalConv(channels, 1, 7, mode: .reflect)
    }
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    var y = try first(x)
    if let steps {
      for (unit, step) in zip(units.elements, steps.elements) { y = try step(unit(y).elu()) }
      return try last(recurrent(y).elu())
    }
    y = try recurrent(y)
    for (unit, up) in zip(units.elements, ups?.elements ?? []) { y = try unit(up(y.elu())) }
    return try last(y.elu())
  }
}

/// Conv-TasNet for two speakers, with norms over all that has been, or over all time.
final class ConvTasNet: Module, UnaryLayer {
  /// A norm over channels and all that has been.
  final class CumulativeNorm: Module, UnaryLayer {
    func forward(_ x: Tensor) throws -> Tensor {
      func past(_ y: Tensor) throws -> Tensor { try y.sum([1], keepsAxes: true).cumsum(axis: 2).cast(to: y.dtype) }
      let count = try past(x * 0 + 1)
      let mean = try past(x) / count
      let variance = try past(x * x) / count - mean * mean
      return try (x - mean) / (variance + 1e-5).sqrt()
    }
  }
  final class Unit: Module, UnaryLayer {
    let wide, narrow: CausalConv
    let depthwise: CausalConv
    let slope1, slope2: PReLU
    let cumulative: CumulativeNorm?
    let norm1, norm2: GroupNorm?
    init(_ channels: Int, dilation: Int, isCausal: Bool) throws {
      let hidden = 2 * channels
      wide = try CausalConv(channels, hidden, 1)
      depthwise = try CausalConv(hidden, hidden, 3, dilation: dilation, groups: hidden)
      narrow = try CausalConv(hidden, channels, 1)
      (slope1, slope2) = (try PReLU(), try PReLU())
      cumulative = isCausal ? CumulativeNorm() : nil
      norm1 = isCausal ? nil : try GroupNorm(numGroups: 1, numChannels: hidden)
      norm2 = isCausal ? nil : try GroupNorm(numGroups: 1, numChannels: hidden)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor {
      func normed(_ y: Tensor, _ norm: GroupNorm?) throws -> Tensor { try cumulative?(y) ?? norm?(y) ?? y }
      let y = try normed(slope1(wide(x)), norm1)
      return try x + narrow(normed(slope2(depthwise(y)), norm2))
    }
  }
  let encoder: Conv1d
  let decoder: ConvTranspose1d
  let mask: CausalConv
  let units: ModuleList<Unit>

  init(channels: Int, isCausal: Bool) throws {
    encoder = try Conv1d(inChannels: 1, outChannels: channels, kernelSize: 16, stride: 8, bias: false)
    units = ModuleList(
      try (0..<2).flatMap { _ in try (0..<4).map { try Unit(channels, dilation: 1 << $0, isCausal: isCausal) } })
    mask = try CausalConv(channels, 2 * channels, 1)
    decoder = try ConvTranspose1d(inChannels: channels, outChannels: 1, kernelSize: 16, stride: 8, bias: false)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    let spectrum = try encoder(x).relu()
    let masks = try mask(units.reduce(spectrum) { try $1($0) }).sigmoid()
    let channels = spectrum.shape[1]
    return try Tensor.concatenate(
      (0..<2).map { speaker in
        try decoder(spectrum * masks.slice(axis: 1, (speaker * channels)..<((speaker + 1) * channels)))
      }, axis: 1)
  }
}

/// Demucs of sound, causal: strided convolutions, GLU, an LSTM, skip connections to transposed convolutions.
final class Demucs: Module, UnaryLayer {
  let downs, mixes, unmixes: ModuleList<CausalConv>
  let ups: ModuleList<CausalUpsampling>
  let recurrent: RecurrentOverTime

  init(channels: Int, depth: Int, bidirectional: Bool) throws {
    let widths = [1] + (0..<depth).map { channels << $0 }
    downs = ModuleList(try (0..<depth).map { try CausalConv(widths[$0], widths[$0 + 1], 8, stride: 4) })
    mixes = ModuleList(try (0..<depth).map { try CausalConv(widths[$0 + 1], 2 * widths[$0 + 1], 1) })
    unmixes = ModuleList(try (0..<depth).map { try CausalConv(widths[$0 + 1], 2 * widths[$0 + 1], 1) })
    ups = ModuleList(try (0..<depth).map { try CausalUpsampling(widths[$0 + 1], widths[$0], 8, stride: 4) })
    recurrent = try RecurrentOverTime(widths[depth], bidirectional: bidirectional)
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    var (y, skips): (Tensor, [Tensor]) = (x, [])
    for (down, mix) in zip(downs.elements, mixes.elements) {
      y = try mix(down(y).relu()).glu(axis: 1)
      skips.append(y)
    }
    y = try recurrent(y)
    for level in downs.indices.reversed() {
      y = try ups[level](unmixes[level](y + skips[level]).glu(axis: 1))
      if level > 0 { y = try y.relu() }
    }
    return y
  }
}

/// Vocos: ConvNeXt blocks, then magnitudes and phases whose inverse Fourier transforms overlap.
final class Vocos: Module, UnaryLayer {
  final class Unit: Module, UnaryLayer {
    let depthwise: Conv1d
    let norm: LayerNorm
    let wide, narrow: Linear
    init(_ channels: Int) throws {
      depthwise = try Conv1d(
        inChannels: channels, outChannels: channels, kernelSize: 7, padding: 3, groups: channels)
      norm = try LayerNorm(normalizedShape: [channels], eps: 1e-6)
      wide = try Linear(inFeatures: channels, outFeatures: 3 * channels)
      narrow = try Linear(inFeatures: 3 * channels, outFeatures: channels)
      super.init()
    }
    func forward(_ x: Tensor) throws -> Tensor {
      try x + narrow(wide(norm(depthwise(x).transposed(1, 2))).gelu()).transposed(1, 2)
    }
  }
  let embed: Conv1d
  let units: ModuleList<Unit>
  let head: Conv1d
  private let size, hop: Int

  init(mels: Int, channels: Int, size: Int, hop: Int) throws {
    (self.size, self.hop) = (size, hop)
    embed = try Conv1d(inChannels: mels, outChannels: channels, kernelSize: 7, padding: 3)
    units = ModuleList(try (0..<2).map { _ in try Unit(channels) })
    head = try Conv1d(inChannels: channels, outChannels: size + 2, kernelSize: 1)
    super.init()
  }

  /// Each bin's cosine and sine under a Hann window, `[2 · bins, 1, size]`.
  private func basis() throws -> Tensor {
    let bins = size / 2 + 1
    func wave(_ bin: Int, _ isSine: Bool) -> [Float] {
      (0..<size).map { n in
        let angle = 2 * Double.pi * Double(bin * n) / Double(size)
        let scale = (bin == 0 || bin == size / 2 ? 1 : 2) / Double(size)
        return Float(scale * (isSine ? -angle.sine() : angle.cosine()) * Double(window[n]))
      }
    }
    let rows = (0..<bins).flatMap { wave($0, false) } + (0..<bins).flatMap { wave($0, true) }
    return try Tensor(rows, shape: [2 * bins, 1, size], device: .cpu)
  }
  private var window: [Float] {
    (0..<size).map { Float(0.5 - 0.5 * (2 * Double.pi * Double($0) / Double(size)).cosine()) }
  }

  func forward(_ x: Tensor) throws -> Tensor {
    let y = try head(units.reduce(embed(x)) { try $1($0) })
    let bins = size / 2 + 1
    let magnitude = try y.slice(axis: 1, 0..<bins).exp().clip(to: 100)
    let phase = try y.slice(axis: 1, bins..<(2 * bins))
    let spectrum = try Tensor.concatenate([magnitude * phase.cos(), magnitude * phase.sin()], axis: 1)
    let ends = (size - hop) / 2
    let sound = try convTranspose1d(spectrum, basis(), stride: hop, padding: ends)
    let squares = try Tensor(window.map { $0 * $0 }, shape: [1, 1, size], device: .cpu)
    let ones = try magnitude.slice(axis: 1, 0..<1) * 0 + 1
    return try sound / convTranspose1d(ones, squares, stride: hop, padding: ends).clip(from: 1e-6)
  }
}

/// A decoder that repeats positions where others have transposed convolutions.
final class RepeatingDecoder: Module, UnaryLayer {
  let first, middle, last: CausalConv
  let norm: LayerNorm
  private let up: Upsample

  init(latent: Int, channels: Int, factor: Int) throws {
    first = try CausalConv(latent, channels, 3)
    middle = try CausalConv(channels, channels, 5)
    last = try CausalConv(channels, 1, 5)
    norm = try LayerNorm(normalizedShape: [channels])
    up = try Upsample(scaleFactor: Double(factor))
    super.init()
  }

  func forward(_ x: Tensor) throws -> Tensor {
    let y = try norm(up(first(x).silu()).transposed(1, 2)).transposed(1, 2)
    return try last((y + middle(y)).softmax(axis: 1))
  }
}
