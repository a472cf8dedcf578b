import Foundation
import Testing
import ToeplitzModels
import ToeplitzTensor

@Suite struct AudioMel {
  private let vocoder = MelSpectrogram.Configuration(maximumFrequency: 8000)

  /// The float32 elements of a NumPy file, version 1, row-major.
  private func numpy(_ url: URL) throws -> [Float] {
    let data = try [UInt8](Data(contentsOf: url))
    let start = 10 + Int(data[8]) + 256 * Int(data[9])
    try #require(String(decoding: data[10..<start], as: UTF8.self).contains("'<f4', 'fortran_order': False"))
    return stride(from: start, to: data.count, by: 4).map { place in
      Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(data[place + $1]) << (8 * UInt32($1)) })
    }
  }

  private func bits(_ tensor: Tensor) throws -> [UInt32] { try tensor.scalars(Float.self).map(\.bitPattern) }

  @Test func agreesWithTheAuthorsCode() throws {
    let mel = try MelSpectrogram(vocoder)
    let result = try mel(AudioFile(path: speechPath).readMono())
    #expect(result.shape == [1, 80, 492])
    let golden = try numpy(packageRoot.appendingPathComponent("Tests/Fixtures/vocoder/mel.npy"))
    let values = try result.scalars(Float.self)
    try #require(golden.count == values.count)
    let worst = zip(values, golden).map { abs($0 - $1) }.max() ?? .infinity
    // Measured 1.5e-5; the rest is the last digit of PyTorch's own cosine.
    #expect(worst < 2e-5, "\(worst)")
  }

  @Test func windowsGiveTheBitsOfTheWhole() throws {
    let file = try AudioFile(path: speechPath)
    let mel = try MelSpectrogram(vocoder)
    for length in [20_000, 20_001, 1409] {
      let signal = try file.readMono(frames: 30_000..<30_000 + length)
      let whole = try mel(signal)
      let count = whole.shape[2]
      #expect(try count == mel.frameCount(sampleCount: length))
      let rows = try whole.scalars(Float.self)
      for range in [0..<1, 0..<count, count - 1..<count, 1..<count / 2, count / 2..<count, 2..<2] {
        var widest = 0
        let part = try mel.frames(range, sampleCount: length) {
          widest = max(widest, $0.count)
          return Array(signal[$0])
        }
        #expect(part.shape == [1, 80, range.count])
        #expect(widest <= min(length, range.count * 256 + 1024))
        let expected = (0..<80).flatMap { row in range.map { rows[row * count + $0].bitPattern } }
        #expect(try bits(part) == expected)
      }
    }
  }

  /// The formula, written out; a filter bank of all bins, no Fourier transform but the definition.
  private func reference(_ x: [Float], _ c: MelSpectrogram.Configuration) -> [[Double]] {
    func hertz(_ mel: Double) -> Double { mel < 15 ? mel * 200 / 3 : 1000 * exp(log(6.4) / 27 * (mel - 15)) }
    func mel(_ f: Double) -> Double { f < 1000 ? f * 3 / 200 : 15 + log(f / 1000) * 27 / log(6.4) }
    let pad = (c.fftSize - c.hopSize) / 2
    let left = (1..<pad + 1).reversed().map { x[$0] }
    let right = (0..<pad).map { x[x.count - 2 - $0] }
    let y = (left + x + right).map { Double($0) }
    let top = c.maximumFrequency ?? Double(c.sampleRate) / 2
    let (low, high) = (mel(c.minimumFrequency), mel(top))
    let f = (0..<c.melCount + 2).map { hertz(low + (high - low) * Double($0) / Double(c.melCount + 1)) }
    return stride(from: 0, through: y.count - c.fftSize, by: c.hopSize).map { start in
      let magnitude = (0...c.fftSize / 2).map { k -> Double in
        var (re, im) = (0.0, 0.0)
        for n in 0..<c.windowSize {
          let place = n + (c.fftSize - c.windowSize) / 2
          let window = 0.5 - 0.5 * cos(2 * .pi * Double(n) / Double(c.windowSize))
          let angle = 2 * Double.pi * Double(k * place % c.fftSize) / Double(c.fftSize)
          re += window * y[start + place] * cos(angle)
          im -= window * y[start + place] * sin(angle)
        }
        return (re * re + im * im + 1e-9).squareRoot()
      }
      return (0..<c.melCount).map { m in
        let sum = magnitude.enumerated().reduce(0.0) { sum, bin in
          let frequency = Double(bin.offset) * Double(c.sampleRate) / Double(c.fftSize)
          let rising = (frequency - f[m]) / (f[m + 1] - f[m])
          let falling = (f[m + 2] - frequency) / (f[m + 2] - f[m + 1])
          return sum + max(0, min(rising, falling)) * 2 / (f[m + 2] - f[m]) * bin.element
        }
        return log(max(sum, 1e-5))
      }
    }
  }

  @Test(arguments: [
    MelSpectrogram.Configuration(fftSize: 64, melCount: 8, sampleRate: 8000, hopSize: 16, windowSize: 64),
    .init(fftSize: 64, melCount: 5, sampleRate: 8000, hopSize: 16, windowSize: 41),
    .init(fftSize: 60, melCount: 20, sampleRate: 16_000, hopSize: 60, windowSize: 60, minimumFrequency: 50),
    .init(fftSize: 51, melCount: 3, sampleRate: 8000, hopSize: 10, windowSize: 50, maximumFrequency: 3000),
    .init(
      fftSize: 128, melCount: 40, sampleRate: 44_100, hopSize: 33, windowSize: 100, maximumFrequency: 9000),
  ])
  func agreesWithTheFormula(_ configuration: MelSpectrogram.Configuration) throws {
    let mel = try MelSpectrogram(configuration)
    for length in [configuration.fftSize, 150, 301] {
      let x = noise(length, seed: UInt64(length))
      let expected = reference(x, configuration)
      let result = try mel(x)
      #expect(result.shape == [1, configuration.melCount, expected.count])
      let values = try result.scalars(Float.self)
      for (frame, column) in expected.enumerated() {
        for (row, value) in column.enumerated() {
          #expect(abs(Double(values[row * expected.count + frame]) - value) < 1e-4)
        }
      }
    }
  }

  @Test func silenceIsTheFloor() throws {
    let mel = try MelSpectrogram(vocoder)
    let result = try mel([Float](repeating: 0, count: 4096)).scalars(Float.self)
    // Magnitudes are sqrt(1e-9) there; wide bands do not reach the floor of 1e-5 with their area of 1.
    #expect(result.allSatisfy { $0 >= Float(log(1e-5)) && $0 < -10 })
  }

  @Test func refusesShortSignalsAndWrongRequests() throws {
    let mel = try MelSpectrogram(vocoder)
    for count in [0, 1, 384] {
      let error = toeplitzError { _ = try mel([Float](repeating: 0, count: count)) }
      #expect(error?.kind == .shape && error?.expected == "at least 385 samples")
    }
    #expect(try mel([Float](repeating: 0, count: 385)).shape == [1, 80, 1])
    #expect(toeplitzError { _ = try mel.frameCount(sampleCount: .max) }?.kind == .shape)
    #expect(toeplitzError { _ = try mel.frameCount(sampleCount: -1) }?.kind == .shape)
    let signal = [Float](repeating: 0, count: 1000)
    for range in [-1..<1, 0..<4, 9..<9] {
      let error = toeplitzError { _ = try mel.frames(range, sampleCount: 1000) { Array(signal[$0]) } }
      #expect(error?.kind == .argument)
    }
    #expect(toeplitzError { _ = try mel.frames(0..<1, sampleCount: 1000) { _ in [] } }?.kind == .argument)
    var broken = signal
    broken[500] = .nan
    #expect(toeplitzError { _ = try mel(broken) }?.got == "nan at sample 500")
    let absurd = toeplitzError {
      _ = try mel.frames(0..<(1 << 50), sampleCount: 1 << 60) { [Float](repeating: 0, count: $0.count) }
    }
    #expect(absurd?.kind == .memory)
  }

  @Test(arguments: [
    MelSpectrogram.Configuration(fftSize: 0), .init(fftSize: -4), .init(fftSize: .max), .init(fftSize: 512),
    .init(melCount: 0), .init(melCount: .max), .init(sampleRate: 0), .init(sampleRate: .max),
    .init(hopSize: 0), .init(hopSize: 1025), .init(windowSize: 0), .init(windowSize: 1025),
    .init(minimumFrequency: -1), .init(minimumFrequency: .nan), .init(maximumFrequency: 0),
    .init(maximumFrequency: 11_026), .init(maximumFrequency: .nan),
    .init(minimumFrequency: 8000, maximumFrequency: 8000),
  ])
  func refusesBadParameters(_ configuration: MelSpectrogram.Configuration) {
    #expect(toeplitzError { _ = try MelSpectrogram(configuration) }?.kind == .argument)
  }
}
