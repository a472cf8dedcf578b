import CToeplitzKernels
import ToeplitzTensor

/// Triangular filters, evenly spaced on the mel scale, that sum up the bins of a spectrum.
///
/// The scale is that of Slaney's Auditory Toolbox (1998): linear below 1000 Hz, logarithmic above. Each
/// triangle has area 1 over its frequencies in hertz. These are the defaults of `librosa.filters.mel`
/// (`htk=False, norm="slaney"`). Only the bins inside each triangle are stored.
struct MelFilterBank: Sendable {
  /// The bins from 0 that any filter looks at.
  let usedBinCount: Int
  private let firstBins: [Int]
  /// Filter `i` owns `weights[starts[i]..<starts[i + 1]]`.
  private let starts: [Int]
  private let weights: [Double]

  var filterCount: Int { firstBins.count }

  /// Filters over `fftSize / 2 + 1` bins; frequencies in hertz, checked by the caller.
  init(filterCount: Int, fftSize: Int, sampleRate: Int, from lowest: Double, to highest: Double) {
    let low = Self.mel(ofHertz: lowest)
    let high = Self.mel(ofHertz: highest)
    let corners = (0..<filterCount + 2).map {
      Self.hertz(ofMel: low + (high - low) * Double($0) / Double(filterCount + 1))
    }
    let binCount = fftSize / 2 + 1
    let binWidth = Double(sampleRate) / Double(fftSize)
    var firstBins: [Int] = []
    var starts = [0]
    var weights: [Double] = []
    var used = 0
    for filter in 0..<filterCount {
      let (left, centre, right) = (corners[filter], corners[filter + 1], corners[filter + 2])
      let first = min(Int((left / binWidth).rounded(.down)), binCount)
      let end = max(first, min(Int((right / binWidth).rounded(.up)) + 1, binCount))
      let values = (first..<end).map { bin in
        let frequency = Double(bin) * binWidth
        let rising = (frequency - left) / (centre - left)
        let falling = (right - frequency) / (right - centre)
        return max(0, min(rising, falling)) * 2 / (right - left)
      }
      let leading = values.prefix { $0 == 0 }.count
      let kept = values.dropFirst(leading).prefix { $0 > 0 }
      firstBins.append(first + leading)
      weights += kept
      starts.append(weights.count)
      if !kept.isEmpty { used = max(used, first + leading + kept.count) }
    }
    self.firstBins = firstBins
    self.starts = starts
    self.weights = weights
    usedBinCount = used
  }

  /// Puts the weighted sum of each filter over `spectrum`, of which ``usedBinCount`` bins are read, into `sums`.
  func sum(over spectrum: UnsafePointer<Double>, into sums: UnsafeMutablePointer<Double>) {
    tz_filter_sums(spectrum, firstBins, starts, weights, filterCount, sums)
  }

  private static let hertzPerMel = 200.0 / 3
  private static let logarithmicFrom = 1000.0
  private static let logarithmicStep = 6.4.logarithm() / 27

  static func mel(ofHertz frequency: Double) -> Double {
    guard frequency >= logarithmicFrom else { return frequency / hertzPerMel }
    return logarithmicFrom / hertzPerMel + (frequency / logarithmicFrom).logarithm() / logarithmicStep
  }

  static func hertz(ofMel mel: Double) -> Double {
    let corner = logarithmicFrom / hertzPerMel
    guard mel >= corner else { return mel * hertzPerMel }
    return logarithmicFrom * (logarithmicStep * (mel - corner)).exponential()
  }
}
