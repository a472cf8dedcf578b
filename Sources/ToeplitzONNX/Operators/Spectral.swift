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
        return [try input.fourierTransform(axis: axis, length: length, isInverse: isInverse, isOneSided: isOneSided)]
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
          try signal.shortTimeFourierTransform(
            step: step, window: x.optional(2), length: length, isOneSided: isOneSided)
        ]
      }
    },
    "HannWindow": window([0.5, -0.5]),
    "HammingWindow": window([25.0 / 46, -21.0 / 46]),
    "BlackmanWindow": window([0.42, -0.5, 0.08]),
  ]
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
