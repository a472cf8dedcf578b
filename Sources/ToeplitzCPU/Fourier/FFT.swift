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
    twiddles = unitRoots(0...count / 2, of: count)
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
    for k in 0..<m {
      zr[k] = x[2 * k]
      zi[k] = x[2 * k + 1]
    }
    complex.transform(zr, zi, scratch: zi + m)
    twiddles.withUnsafeBufferPointer { w in
      re[0] = zr[0] + zi[0]
      im[0] = 0
      re[m] = zr[0] - zi[0]
      im[m] = 0
      for k in 1..<max(m, 1) {
        let evenReal = (zr[k] + zr[m - k]) / 2
        let evenImaginary = (zi[k] - zi[m - k]) / 2
        let oddReal = (zi[k] + zi[m - k]) / 2
        let oddImaginary = (zr[m - k] - zr[k]) / 2
        let c = w[2 * k]
        let s = w[2 * k + 1]
        re[k] = evenReal + c * oddReal - s * oddImaginary
        im[k] = evenImaginary + c * oddImaginary + s * oddReal
      }
    }
  }
}

/// `exp(−2πi·f(k)/n)` for each k, real and imaginary parts in turn.
private func unitRoots(_ range: ClosedRange<Int>, of n: Int, _ f: (Int) -> Int = { $0 }) -> [Double] {
  [Double](unsafeUninitializedCapacity: 2 * range.count) { roots, count in
    for k in range {
      let angle = -2 * Double.pi * Double(f(k)) / Double(n)
      roots[count] = angle.cosine()
      roots[count + 1] = angle.sine()
      count += 2
    }
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
    twiddles = unitRoots(0...(count - 1), of: count)
  }

  /// Transforms in place; `scratch` has room for `2 * count` numbers.
  func transform(
    _ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    var (xr, xi) = (real, imaginary)
    var (yr, yi) = (scratch, scratch + count)
    twiddles.withUnsafeBufferPointer { w in
      var length = count
      var step = 1
      while length >= 4 {
        Self.radix4(xr, xi, yr, yi, length: length, step: step, twiddles: w)
        swap(&xr, &yr)
        swap(&xi, &yi)
        length /= 4
        step *= 4
      }
      if length == 2 {
        for q in 0..<step {
          (yr[q], yr[q + step]) = (xr[q] + xr[q + step], xr[q] - xr[q + step])
          (yi[q], yi[q + step]) = (xi[q] + xi[q + step], xi[q] - xi[q + step])
        }
        swap(&xr, &yr)
        swap(&xi, &yi)
      }
    }
    if xr != real {
      real.update(from: xr, count: count)
      imaginary.update(from: xi, count: count)
    }
  }

  /// Splits `step` interleaved transforms of `length` into `4 * step` of a quarter of the length.
  @inline(__always)
  private static func radix4(
    _ xr: UnsafeMutablePointer<Double>, _ xi: UnsafeMutablePointer<Double>,
    _ yr: UnsafeMutablePointer<Double>, _ yi: UnsafeMutablePointer<Double>,
    length: Int, step: Int, twiddles w: UnsafeBufferPointer<Double>
  ) {
    let quarter = length / 4
    let part = quarter * step
    for p in 0..<quarter {
      let (c1, s1) = (w[2 * p * step], w[2 * p * step + 1])
      let (c2, s2) = (w[4 * p * step], w[4 * p * step + 1])
      let (c3, s3) = (w[6 * p * step], w[6 * p * step + 1])
      for q in 0..<step {
        let from = p * step + q
        let to = 4 * p * step + q
        let (ar, ai) = (xr[from], xi[from])
        let (br, bi) = (xr[from + part], xi[from + part])
        let (cr, ci) = (xr[from + 2 * part], xi[from + 2 * part])
        let (dr, di) = (xr[from + 3 * part], xi[from + 3 * part])
        let (sumR, sumI) = (ar + cr, ai + ci)
        let (oddR, oddI) = (br + dr, bi + di)
        let (differenceR, differenceI) = (ar - cr, ai - ci)
        // i·(b − d)
        let (turnedR, turnedI) = (di - bi, br - dr)
        yr[to] = sumR + oddR
        yi[to] = sumI + oddI
        let (firstR, firstI) = (differenceR - turnedR, differenceI - turnedI)
        yr[to + step] = firstR * c1 - firstI * s1
        yi[to + step] = firstR * s1 + firstI * c1
        let (secondR, secondI) = (sumR - oddR, sumI - oddI)
        yr[to + 2 * step] = secondR * c2 - secondI * s2
        yi[to + 2 * step] = secondR * s2 + secondI * c2
        let (thirdR, thirdI) = (differenceR + turnedR, differenceI + turnedI)
        yr[to + 3 * step] = thirdR * c3 - thirdI * s3
        yi[to + 3 * step] = thirdR * s3 + thirdI * c3
      }
    }
  }
}

/// A transform of any length as a convolution with a chirp, by transforms of a power of two.
private struct BluesteinFFT: Sendable {
  let count: Int
  let convolution: PowerOfTwoFFT
  /// `exp(−πi·k²/count)`, real and imaginary parts in turn.
  private let chirp: [Double]
  /// The transform of the conjugate chirp, scaled by the length of the convolution.
  private let kernelReal: [Double]
  private let kernelImaginary: [Double]

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
    let chirp = unitRoots(0...(count - 1), of: 2 * count) { $0 * $0 % (2 * count) }
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
    kernelReal = real
    kernelImaginary = imaginary
  }

  /// Transforms in place; `scratch` has room for `4 * convolution.count` numbers.
  func transform(
    _ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>,
    scratch: UnsafeMutablePointer<Double>
  ) {
    let size = convolution.count
    let (ar, ai, rest) = (scratch, scratch + size, scratch + 2 * size)
    ar.update(repeating: 0, count: 2 * size)
    for k in 0..<count {
      let (c, s) = (chirp[2 * k], chirp[2 * k + 1])
      ar[k] = real[k] * c - imaginary[k] * s
      ai[k] = real[k] * s + imaginary[k] * c
    }
    convolution.transform(ar, ai, scratch: rest)
    for k in 0..<size {
      let (c, s) = (kernelReal[k], kernelImaginary[k])
      (ar[k], ai[k]) = (ar[k] * c - ai[k] * s, ar[k] * s + ai[k] * c)
    }
    // With real and imaginary parts exchanged, the forward transform is the inverse one.
    convolution.transform(ai, ar, scratch: rest)
    for k in 0..<count {
      let (c, s) = (chirp[2 * k], chirp[2 * k + 1])
      real[k] = ar[k] * c - ai[k] * s
      imaginary[k] = ar[k] * s + ai[k] * c
    }
  }
}
