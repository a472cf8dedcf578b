import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzOps

/// Short-time Fourier transforms and their inverses.
@Suite struct SpectrumTests {
  @Test func spectraGiveTheSignalBack() throws {
    var random = RandomSource(seed: 12)
    for (length, size, hop, window) in [(1000, 64, 16, 64), (777, 50, 20, 40), (300, 32, 8, 32)] {
      let x = try Tensor.randomUniform([2, length], from: -1, to: 1, dtype: .float64, using: &random)
      let taps = try Tensor.hann(window, dtype: .float64)
      let spectra = try x.stft(fftSize: size, hopSize: hop, window: taps)
      #expect(spectra.shape == [2, size / 2 + 1, length / hop + 1, 2])
      let back = try spectra.istft(fftSize: size, hopSize: hop, window: taps, length: length)
      #expect(back.shape == x.shape)
      #expect(try (back - x).abs().max().item(Double.self) < 1e-12)
      let one = try spectra.select(axis: 0, 1).istft(fftSize: size, hopSize: hop, window: taps, length: length)
      #expect(try one.scalars(Double.self) == back.select(axis: 0, 1).scalars(Double.self))
    }
  }

  @Test func whatCannotBeInvertedIsRefused() throws {
    let spectra = try Tensor.zeros([1, 17, 5, 2])
    #expect(throws: ToeplitzError.self) { try spectra.istft(fftSize: 30) }
    #expect(throws: ToeplitzError.self) { try spectra.istft(fftSize: 32, window: Tensor.ones([33])) }
    #expect(throws: ToeplitzError.self) { try spectra.istft(fftSize: 32, hopSize: 40) }
    #expect(throws: ToeplitzError.self) { try Tensor.zeros([4, 4]).istft(fftSize: 6) }
  }
}
