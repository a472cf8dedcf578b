import ToeplitzOps
import ToeplitzTensor

extension WeightStorage {
  /// This, or `full` where these weights cannot be stored so.
  func usable(for weight: Tensor) throws -> WeightStorage {
    guard self != .full, weight.dtype == .float32 else { return .full }
    return try self == .int8 && weight.hasNonFinite() ? .full : self
  }

  /// The weights that come back from storage, and for int8 the scale of each output channel.
  func rounded(_ weight: Tensor, _ geometry: ConvolutionGeometry) throws -> (weight: Tensor, scales: [Float]) {
    switch self {
    case .full: return (weight, [])
    case .bfloat16: return (try weight.cast(to: .bfloat16).cast(to: .float32), [])
    case .int8: return try quantised(weight, geometry)
    }
  }

  private func quantised(_ weight: Tensor, _ geometry: ConvolutionGeometry) throws -> (Tensor, [Float]) {
    let result = try weight.copied()
    let values = result.pointer(Float.self)
    // PyTorch's order: [out, in / groups, taps…], or transposed [in, out / groups, taps…].
    let taps = geometry.kernelSize.reduce(1, *)
    let outputs = geometry.outChannels / geometry.groups
    let inputs = geometry.inChannels / geometry.groups
    let (outer, inner) = geometry.isTransposed ? (taps, outputs * taps) : (inputs * taps, taps)
    var scales = [Float](repeating: 0, count: geometry.outChannels)
    for channel in 0..<geometry.outChannels {
      let (group, own) = channel.quotientAndRemainder(dividingBy: outputs)
      let first = values + group * outputs * inputs * taps + own * outer
      var most: Float = 0
      for input in 0..<inputs { for tap in 0..<taps { most = max(most, abs(first[input * inner + tap])) } }
      // The kernels take subnormal scales for zero.
      let scale = most / 127 < Float.leastNormalMagnitude ? 0 : most / 127
      scales[channel] = scale
      for input in 0..<inputs {
        for tap in 0..<taps {
          let value = first + input * inner + tap
          value.pointee = scale == 0 ? 0 : (value.pointee / scale).rounded() * scale
        }
      }
    }
    return (result, scales)
  }
}

extension PackedLayout {
  /// The weights of a wide layout, which are rounded already, in the form of `storage` (narrow_weights.inc.h).
  convenience init(narrowing full: PackedLayout, _ storage: WeightStorage, scales: [Float], name: String) throws {
    let count = full.sections.reduce(0) { sum, group in
      zip(group, full.stencil.rowGroups).reduce(sum) {
        $0 + $1.0.blocks * $1.0.blockRows * full.stencil.channels * $1.1.tapCount
      }
    }
    let size = storage.byteSize(of: full.elementSize)
    // The kernels prefetch a little past the end.
    let weights = try Storage(byteCount: count * size + 4096, for: .weights, operation: name)
    guard storage == .int8 else {
      full.writeBFloat16(count, to: weights.base.assumingMemoryBound(to: UInt32.self))
      self.init(full, weights: weights, weightSize: size, storage: storage, scales: nil)
      return
    }
    let rows = try Storage(byteCount: full.starts.byteCount, for: .weights, operation: name)
    let factors = rows.base.assumingMemoryBound(to: Float.self)
    full.writeInt8(scales, to: weights.base.assumingMemoryBound(to: Int8.self), factors: factors)
    self.init(full, weights: weights, weightSize: size, storage: storage, scales: rows)
  }

  /// Rows i and i + 16 of each 32 in one word.
  private func writeBFloat16(_ count: Int, to target: UnsafeMutablePointer<UInt32>) {
    let source = weights.base.assumingMemoryBound(to: UInt32.self)
    for step in 0..<(count / 32) {
      let (from, to) = (source + step * 32, target + step * 16)
      for row in 0..<16 { to[row] = from[row] >> 16 | from[row + 16] & 0xFFFF_0000 }
    }
  }

  private func writeInt8(
    _ scales: [Float], to target: UnsafeMutablePointer<Int8>, factors: UnsafeMutablePointer<Float>
  ) {
    let source = weights.base.assumingMemoryBound(to: Float.self)
    for (groupIndex, group) in sections.enumerated() {
      for (section, rowGroup) in zip(group, stencil.rowGroups) {
        let steps = stencil.channels * rowGroup.tapCount
        for row in 0..<(section.blocks * section.blockRows) {
          let scale =
            row < section.rows ? scales[groupIndex * stencil.outputs + row / rowGroup.phaseCount] : 0
          factors[section.startOffset + row] = scale
          let (block, own) = row.quotientAndRemainder(dividingBy: section.blockRows)
          let first = section.weightOffset + block * section.blockRows * steps + own
          for step in 0..<steps {
            let value = source[first + step * section.blockRows]
            target[first + step * section.blockRows] = scale == 0 ? 0 : Int8((value / scale).rounded())
          }
        }
      }
    }
  }

  /// The factor of row 0 of a section, for int8.
  func scalePointer(_ section: Section) -> UnsafePointer<Float>? {
    scales.map { UnsafePointer($0.base.assumingMemoryBound(to: Float.self) + section.startOffset) }
  }
}
