import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A plan for the discrete Fourier transform of real signals of one length.
///
/// Computes `X[k] = Σ x[n]·exp(−2πi·k·n/count)` for `k` in `0...count/2`, without scaling; the other half of
/// the spectrum mirrors this one. Any length works; powers of two are fastest. Arithmetic and tables are
/// double precision. A plan can be used by many tasks at once.
///
/// Sources: Stockham's autosort transform (Cochran et al., "What is the fast Fourier transform?", 1967) in
/// radix 4; Bluestein, "A linear filtering approach to the computation of discrete Fourier transform"
/// (1970), for other lengths.
public struct FFT: Sendable {
  /// The length of the signal in samples.
  public let count: Int
  /// The transform of half the length, or of the whole one if that is odd.
  private let complex: ComplexFFT
  /// `exp(−2πi·k/count)` for `k` in `0...count/2`, real and imaginary parts in turn.
  private let twiddles: [Double]
  /// Tables, and what one transform works with.
  private let memory: MemoryReservation

  /// The longest signal a plan can be made for.
  public static let maximumCount = 1 << 24

  /// Prepares the tables for signals of `count` samples.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` unless `count` is in `1...maximumCount`, of kind `memory` if there is
  ///   not enough for the tables.
  public init(count: Int) throws {
    guard count >= 1, count <= Self.maximumCount else {
      throw ToeplitzError(
        .argument, "FFT", expected: "a length of 1 to \(Self.maximumCount)", got: "\(count)")
    }
    self.count = count
    let half = count % 2 == 0 ? count / 2 : count
    let doubles = half & (half - 1) == 0 ? 6 * half : 8 * BluesteinFFT.convolutionCount(half) + 4 * half
    memory = try MemoryReservation(byteCount: (doubles + 4 * count) * 8, operation: "FFT")
    complex = half & (half - 1) == 0 ? .powerOfTwo(PowerOfTwoFFT(half)) : .bluestein(BluesteinFFT(half))
    twiddles = unitRoots(count / 2 + 1, of: count)
  }

  /// The number of bins of the spectrum: `count / 2 + 1`.
  public var binCount: Int { count / 2 + 1 }

  /// The spectrum of a signal: ``binCount`` real and as many imaginary parts.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if the signal is not of ``count`` samples.
  public func forward(_ signal: [Double]) throws -> (real: [Double], imaginary: [Double]) {
    guard signal.count == count else {
      throw ToeplitzError(.argument, "FFT", expected: "\(count) samples", got: "\(signal.count)")
    }
    var real = [Double](repeating: 0, count: binCount)
    var imaginary = real
    withUnsafeTemporaryAllocation(of: Double.self, capacity: scratchCount) { scratch in
      signal.withUnsafeBufferPointer { signal in
        real.withUnsafeMutableBufferPointer { real in
          imaginary.withUnsafeMutableBufferPointer { imaginary in
            transform(signal, real: real, imaginary: imaginary, scratch: scratch)
          }
        }
      }
    }
    return (real, imaginary)
  }

  /// The spectrum of a signal in single precision, rounded once at the end.
  ///
  /// - Throws: As for double precision.
  public func forward(_ signal: [Float]) throws -> (real: [Float], imaginary: [Float]) {
    let (real, imaginary) = try forward(signal.map(Double.init))
    return (real.map { Float($0) }, imaginary.map { Float($0) })
  }

  /// The number of doubles that ``transform(_:real:imaginary:scratch:)`` needs to work with.
  package var scratchCount: Int { 2 * complex.count + complex.scratchCount }

  /// Transforms `count` samples into `binCount` bins; buffers must be of those sizes and not overlap.
  package func transform(
    _ signal: UnsafeBufferPointer<Double>, real: UnsafeMutableBufferPointer<Double>,
    imaginary: UnsafeMutableBufferPointer<Double>, scratch: UnsafeMutableBufferPointer<Double>
  ) {
    precondition(
      signal.count == count && real.count == binCount && imaginary.count == binCount
        && scratch.count >= scratchCount)
    guard let x = signal.baseAddress, let re = real.baseAddress, let im = imaginary.baseAddress,
      let zr = scratch.baseAddress
    else { return }
    let m = complex.count
    let zi = zr + m
    if count % 2 == 1 {
      zr.update(from: x, count: m)
      zi.update(repeating: 0, count: m)
      complex.transform(zr, zi, scratch: zi + m)
      re.update(from: zr, count: binCount)
      im.update(from: zi, count: binCount)
      return
    }
    // Even samples as real and odd ones as imaginary parts share one transform of half the length.
    tz_pairs_apart(x, m, zr, zi)
    complex.transform(zr, zi, scratch: zi + m)
    tz_real_spectrum(zr, zi, m, twiddles, re, im)
  }
}

/// `exp(−2πi·k/n)` for `count` k from 0 (of k² where `squares`), real and imaginary parts in turn.
private func unitRoots(_ count: Int, of n: Int, squares: Bool = false) -> [Double] {
  [Double](unsafeUninitializedCapacity: 2 * count) { roots, initialized in
    if let base = roots.baseAddress { tz_unit_roots(count, n, squares, base) }
    initialized = 2 * count
  }
}

/// A transform in place of complex numbers, given as real and imaginary parts.
private enum ComplexFFT: Sendable {
  case powerOfTwo(PowerOfTwoFFT)
  case bluestein(BluesteinFFT)

  var count: Int {
    switch self {
    case .powerOfTwo(let plan): plan.count
    case .bluestein(let plan): plan.count
    }
  }

  var scratchCount: Int {
    switch self {
    case .powerOfTwo(let plan): 2 * plan.count
    case .bluestein(let plan): 4 * plan.convolution.count
    }
  }

  func transform(
    _ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    switch self {
    case .powerOfTwo(let plan): plan.transform(real, imaginary, scratch: scratch)
    case .bluestein(let plan): plan.transform(real, imaginary, scratch: scratch)
    }
  }
}

private struct PowerOfTwoFFT: Sendable {
  let count: Int
  /// `exp(−2πi·k/count)` for `k` in `0..<count`, real and imaginary parts in turn.
  private let twiddles: [Double]

  init(_ count: Int) {
    self.count = count
    twiddles = unitRoots(count, of: count)
  }

  /// Transforms in place; `scratch` has room for `2 * count` numbers.
  func transform(
    _ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    tz_fft(real, imaginary, count, twiddles, scratch)
  }
}

/// A transform of any length as a convolution with a chirp, by transforms of a power of two.
private struct BluesteinFFT: Sendable {
  let count: Int
  let convolution: PowerOfTwoFFT
  /// `exp(−πi·k²/count)`, real and imaginary parts in turn.
  private let chirp: [Double]
  /// The transform of the conjugate chirp, scaled by the length of the convolution, real and imaginary parts in turn.
  private let kernel: [Double]

  /// The length of the convolution for a transform of this length.
  static func convolutionCount(_ count: Int) -> Int {
    var size = 1
    while size < 2 * count - 1 { size *= 2 }
    return size
  }

  init(_ count: Int) {
    self.count = count
    let size = Self.convolutionCount(count)
    convolution = PowerOfTwoFFT(size)
    // k² reduced first: the angle of a large number would lose its low digits.
    let chirp = unitRoots(count, of: 2 * count, squares: true)
    var real = [Double](repeating: 0, count: size)
    var imaginary = real
    for k in 0..<count {
      for place in [k, (size - k) % size] {
        real[place] = chirp[2 * k] / Double(size)
        imaginary[place] = -chirp[2 * k + 1] / Double(size)
      }
    }
    var scratch = [Double](repeating: 0, count: 2 * size)
    convolution.transform(&real, &imaginary, scratch: &scratch)
    self.chirp = chirp
    var pairs = [Double](repeating: 0, count: 2 * size)
    for k in 0..<size { (pairs[2 * k], pairs[2 * k + 1]) = (real[k], imaginary[k]) }
    kernel = pairs
  }

  /// Transforms in place; `scratch` has room for `4 * convolution.count` numbers.
  func transform(
    _ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    let size = convolution.count
    let (ar, ai, rest) = (scratch, scratch + size, scratch + 2 * size)
    ar.update(repeating: 0, count: 2 * size)
    tz_complex_multiply(real, imaginary, chirp, count, ar, ai)
    convolution.transform(ar, ai, scratch: rest)
    tz_complex_multiply(ar, ai, kernel, size, ar, ai)
    // With real and imaginary parts exchanged, the forward transform is the inverse one.
    convolution.transform(ai, ar, scratch: rest)
    tz_complex_multiply(ar, ai, chirp, count, real, imaginary)
  }
}
