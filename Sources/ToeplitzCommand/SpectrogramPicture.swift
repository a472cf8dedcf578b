import Toeplitz
import ToeplitzImage

extension Picture {
  /// Spectrograms below one another, in colours that mean the same in all: `[frames, bins]` each, of the same number of bins.
  ///
  /// Time goes to the right and frequency up.
  init(spectrograms: [Tensor]) throws {
    var rows: [[Double]] = []
    let columns = spectrograms.map { $0.shape[0] }.min() ?? 0
    for (index, spectrogram) in spectrograms.enumerated() {
      // A grey line between them.
      if index > 0 { rows += Array(repeating: Array(repeating: .nan, count: columns), count: 2) }
      for bin in (0..<spectrogram.shape[1]).reversed() {
        rows.append(
          try spectrogram.select(axis: 1, bin).slice(axis: 0, 0..<columns).cast(to: .float64).scalars(Double.self))
      }
    }
    try self.init(heatMap: rows, cell: (2, 1))
  }
}
