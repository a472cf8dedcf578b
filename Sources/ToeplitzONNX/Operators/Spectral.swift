import ToeplitzOps
import ToeplitzTensor

/// A window function `Σ coefficients[i] · cos(2πi n / N)`.
private func window(_ coefficients: [Double]) -> OperatorMaker {
  { node in
    let isPeriodic = try node.flag("periodic", true)
    let dtype = try node.dtype("output_datatype") ?? .float32
    return { x in
      let size = try x.size(0)
      guard (0...(1 << 28)).contains(size) else { throw x.refuse("a size from 0 to 2²⁸", got: "\(size)") }
      let period = Double(isPeriodic ? size : max(size - 1, 1))
      let values = (0..<size).map { n in
        coefficients.enumerated().reduce(0) { sum, term in
          sum + term.element * (2 * Double.pi * Double(term.offset) * Double(n) / period).cosine()
        }
      }
      return [try Tensor(values, shape: nil, device: .cpu).cast(to: dtype)]
    }
  }
}

extension OperatorTable {
  static let spectral: [String: OperatorMaker] = [
    "DFT": { node in
      let fixed = try node.int("axis")
      let (isInverse, isOneSided) = (try node.flag("inverse"), try node.flag("onesided"))
      let isOld = node.opset < 20
      return { x in
        let input = try x(0)
        let axis = try isOld ? fixed ?? 1 : x.optionalInts(2)?.first ?? -2
        let length = try x.optionalInts(1)?.first
        return [try input.dft(axis: axis, length: length, isInverse: isInverse, isOneSided: isOneSided)]
      }
    },
    "STFT": { node in
      let isOneSided = try node.flag("onesided", true)
      return { x in
        var signal = try x(0)
        if signal.rank == 2 { signal = try signal.unsqueezed(2) }
        guard let step = try x.ints(1).first else { throw x.refuse("a step", got: "none") }
        let length = try x.optionalInts(3)?.first
        return [
          try signal.pieceSpectra(
            step: step, window: x.optional(2), length: length, isOneSided: isOneSided)
        ]
      }
    },
    "MelWeightMatrix": { node in
      let dtype = try node.dtype("output_datatype") ?? .float32
      return { x in
        let numbers = try (0..<5).map { try x(Int($0)).number(x.name) }
        return [try melWeights(numbers, x).cast(to: dtype)]
      }
    },
    "HannWindow": window([0.5, -0.5]),
    "HammingWindow": window([25.0 / 46, -21.0 / 46]),
    "BlackmanWindow": window([0.42, -0.5, 0.08]),
  ]

  /// Triangles on the mel scale, `[bins, bands]`: number of bands, length of the transform, sample rate, lowest and highest frequency.
  private static func melWeights(_ numbers: [Double], _ x: Operands) throws -> Tensor {
    guard numbers.allSatisfy(\.isFinite), numbers[0] >= 1, numbers[0] <= 4096, numbers[1] >= 1, numbers[1] < 0x1p20,
      numbers[2] > 0, numbers[3] >= 0, numbers[4] > numbers[3], numbers[4] <= numbers[2]
    else { throw x.refuse("bands, a length, a rate and two frequencies below it", got: "\(numbers)") }
    let (bands, length) = (Int(numbers[0]), Int(numbers[1]))
    let bins = length / 2 + 1
    guard bins * bands <= 1 << 24 else { throw x.refuse("at most 2²⁴ weights", got: "\(bins) times \(bands)") }
    func mel(_ hertz: Double) -> Double { 2595 / Double(10).logarithm() * (1 + hertz / 700).logarithm() }
    let (low, high) = (mel(numbers[3]), mel(numbers[4]))
    // Edges are whole bins.
    let edges = (0...(bands + 1)).map { index -> Int in
      let here = low + Double(index) * (high - low) / Double(bands + 2)
      let hertz = 700 * ((here / 2595 * Double(10).logarithm()).exponential() - 1)
      return Int((Double(length + 1) * hertz / numbers[2]).rounded(.down))
    }
    var weights = [Double](repeating: 0, count: bins * bands)
    func put(_ bin: Int, _ band: Int, _ weight: Double) { if bin < bins { weights[bin * bands + band] = weight } }
    for band in 0..<bands {
      let (left, middle, right) = (edges[band], edges[band + 1], edges[band + 2])
      if left == middle { put(middle, band, 1) }
      for bin in left...middle where left < middle { put(bin, band, Double(bin - left) / Double(middle - left)) }
      for bin in middle..<right { put(bin, band, Double(right - bin) / Double(right - middle)) }
    }
    return try Tensor(weights, shape: [bins, bands], device: .cpu)
  }
}

// MARK: Export

extension FourierTransform: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    // Opset 18 has no one-sided inverse.
    guard !(isInverse && isOneSided) else { throw unexportable("the inverse of half a spectrum") }
    return [
      ExportNode(
        "DFT", [.input(0), .constant(try Tensor(scalar: Int64(length)))],
        ["axis": .int(axis), "inverse": .int(isInverse ? 1 : 0), "onesided": .int(isOneSided ? 1 : 0)])
    ]
  }
}
