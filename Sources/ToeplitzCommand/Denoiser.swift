import Foundation
import Toeplitz
import ToeplitzModels
import ToeplitzTraining

/// A network that multiplies the short-time spectrum of a signal by a mask, which dilated convolutions along time make of the
/// logarithm of its magnitudes.
final class Denoiser: Module, UnaryLayer {
  let first: Conv1d
  let blocks: ModuleList<Sequential>
  let last: Conv1d
  static let sampleRate = 16_000
  static let fftSize = 512
  static let hopSize = 128

  init(channels: Int = 96, seed: UInt64) throws {
    let generator = Generator(seed: seed)
    let bins = Self.fftSize / 2 + 1
    first = try Conv1d(inChannels: bins, outChannels: channels, kernelSize: 3, padding: 1, generator: generator)
    blocks = ModuleList(
      try [1, 2, 4, 8].map { dilation in
        Sequential([
          try PReLU(),
          try Conv1d(
            inChannels: channels, outChannels: channels, kernelSize: 3, padding: dilation,
            dilation: dilation, generator: generator),
          try PReLU(), try Conv1d(inChannels: channels, outChannels: channels, kernelSize: 1, generator: generator),
        ])
      })
    last = try Conv1d(inChannels: channels, outChannels: bins, kernelSize: 1, generator: generator)
  }

  /// Signals `[N, L]` without noise.
  func forward(_ x: Tensor) throws -> Tensor {
    let window = try Tensor.hann(Self.fftSize, dtype: x.dtype)
    let spectra = try x.stft(fftSize: Self.fftSize, hopSize: Self.hopSize, window: window)
    let magnitudes = try (spectra * spectra).sum([3]).clip(from: 1e-8).log() * 0.25
    var y = try first(magnitudes)
    for block in blocks { y = try y + block(y) }
    let mask = try last(y.relu()).sigmoid().unsqueezed(3)
    return try (spectra * mask).istft(
      fftSize: Self.fftSize, hopSize: Self.hopSize, window: window, length: x.shape[1])
  }
}

/// Segments of clean speech and the same with noise: `[N, L]` each.
struct NoisySpeech: Dataset {
  let speech: SoundFolder

  var count: Int { speech.count }

  func batch(_ indices: [Int], random: inout RandomSource) throws -> [Tensor] {
    let clean = try speech.batch(indices, random: &random)[0]
    return [clean, try Self.noisy(clean, random: &random)]
  }

  /// Signals `[N, L]` with white, pink or humming noise, between 5 dB louder and 15 dB quieter than they are.
  static func noisy(_ clean: Tensor, random: inout RandomSource) throws -> Tensor {
    let (count, length) = (clean.shape[0], clean.shape[1])
    let signals = try clean.scalars(Float.self)
    var result = signals
    for index in 0..<count {
      let noise = Self.noise(length, &random)
      let decibel = -5 + 20 * random.nextUnit()
      func power(_ values: some Sequence<Float>) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
      let range = (index * length)..<((index + 1) * length)
      let ratio = power(signals[range]) / max(power(noise), 1e-9)
      let gain = Float((max(ratio, 1e-6) * pow(10, -decibel / 10)).squareRoot())
      for (place, value) in zip(range, noise) { result[place] += gain * value }
    }
    return try Tensor(result, shape: clean.shape, device: .cpu)
  }

  private static func noise(_ length: Int, _ random: inout RandomSource) -> [Float] {
    switch Int(random.nextUnit() * 3) {
    case 0: return (0..<length).map { _ in Float(random.nextUnit() * 2 - 1) }
    case 1:
      // Three first-order low-passes of white noise fall by about 3 dB an octave (Kellet's filter).
      var (a, b, c) = (0.0, 0.0, 0.0)
      return (0..<length).map { _ in
        let white = random.nextUnit() * 2 - 1
        a = 0.99765 * a + white * 0.0990460
        b = 0.96300 * b + white * 0.2965164
        c = 0.57000 * c + white * 1.0526913
        return Float(a + b + c + white * 0.1848)
      }
    default:
      let base = 2 * Double.pi * (45 + 20 * random.nextUnit()) / Double(Denoiser.sampleRate)
      let phases = (1...12).map { _ in 2 * Double.pi * random.nextUnit() }
      return (0..<length).map { index in
        let hum = phases.enumerated().reduce(0.0) {
          $0 + sin(Double(index) * base * Double($1.offset + 1) + $1.element)
        }
        return Float(hum / 6 + (random.nextUnit() * 2 - 1) * 0.2)
      }
    }
  }
}
