import ToeplitzOps
import ToeplitzTensor

/// Axes extended (or, by negative numbers, cropped) at both ends.
///
/// Operands are x and whatever the pads are read from; the third, if there is one, is the value of new positions.
public struct PadNode: GraphOperation {
  /// What new positions hold.
  public var mode: PaddingMode
  /// The value of new positions where no operand gives it.
  public var value: Double
  private let pads: @Sendable ([Tensor?]) throws -> [(axis: Int, low: Int, high: Int)]
  /// `Pad`.
  public var name: String { "Pad" }

  /// A node whose pads are computed by `pads`.
  public init(
    mode: PaddingMode, value: Double = 0,
    pads: @escaping @Sendable ([Tensor?]) throws -> [(axis: Int, low: Int, high: Int)]
  ) {
    self.mode = mode
    self.value = value
    self.pads = pads
  }

  /// The pads for these operands, of which the first may be anything of the right rank.
  ///
  /// - Throws: ``ToeplitzError`` also for numbers whose sums could overflow.
  func resolvedPads(_ inputs: [Tensor?]) throws -> [(axis: Int, low: Int, high: Int)] {
    let pads = try pads(inputs)
    let legal = -Int(Int32.max)...Int(Int32.max)
    for pad in pads where !legal.contains(pad.low) || !legal.contains(pad.high) {
      throw ToeplitzError(.argument, name, expected: "pads of at most \(Int32.max)", got: "\(pad.low) and \(pad.high)")
    }
    return pads
  }

  /// Computes the function.
  public func evaluate(_ inputs: [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    var x = try (inputs.first ?? nil).required(name, 0)
    let pads = try resolvedPads(inputs)
    let fill = inputs.count > 2 ? inputs[2] : nil
    guard let fill, mode == .zeros else {
      if mode == .zeros { return [try x.padded(pads, mode: mode, value: value)] }
      // Mirrors and circles longer than the axis are made of several steps.
      for pad in pads { x = try Self.extended(x, pad, mode) }
      return [x]
    }
    // The value as it is, in any element type.
    for pad in pads {
      if pad.low < 0 || pad.high < 0 { x = try x.padded([(pad.axis, min(pad.low, 0), min(pad.high, 0))]) }
      func block(_ size: Int) throws -> Tensor {
        var shape = x.shape
        shape[pad.axis] = size
        return try fill.reshaped([]).expanded(to: shape)
      }
      let parts = (pad.low > 0 ? [try block(pad.low)] : []) + [x] + (pad.high > 0 ? [try block(pad.high)] : [])
      if parts.count > 1 { x = try Tensor.concatenated(parts, axis: pad.axis) }
    }
    return [x]
  }

  private static func extended(
    _ x: Tensor, _ pad: (axis: Int, low: Int, high: Int), _ mode: PaddingMode
  ) throws -> Tensor {
    let size = x.shape[pad.axis]
    let most = mode == .reflect ? size - 1 : mode == .circular ? size : Int.max
    guard most > 0 || (pad.low <= 0 && pad.high <= 0) else {
      throw ToeplitzError(.shape, "Pad", expected: "more positions to mirror or repeat", got: "shape \(x.shape)")
    }
    if pad.low <= most, pad.high <= most { return try x.padded([pad], mode: mode) }
    // A mirror goes there and back; its ends stand once.
    let period = mode == .reflect ? 2 * (size - 1) : size
    var shape = x.shape
    shape[pad.axis] = max(0, size + pad.low + pad.high)
    let count = try shape.elementCount("Pad")
    guard max(count, 2 * shape[pad.axis]) <= Platform.memoryLimit / 8 else {
      throw ToeplitzError(.memory, "Pad", expected: "at most \(Platform.memoryLimit) bytes", got: "shape \(shape)")
    }
    let places = (0..<shape[pad.axis]).map { index -> Int64 in
      let at = ((index - pad.low) % period + period) % period
      return Int64(at < size ? at : period - at)
    }
    return try x.gathered(Tensor(places, shape: nil, device: .cpu), axis: pad.axis)
  }
}
