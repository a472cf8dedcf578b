import ToeplitzTensor

/// How bytes stand for numbers: `(code − zero) · scale`, of signed codes as of unsigned ones.
struct CodeScale: Sendable {
  let scale: Float
  /// The zero point of the codes made unsigned.
  let zero: Int32
  /// What makes codes unsigned and signed again.
  let flip: UInt8

  /// Codes of some type with a scale and a zero point, which are tensors of one element.
  init(_ type: DType, scale: Tensor, zero: Tensor) throws {
    let isSigned = type == .int8
    self.scale = try scale.reshaped([]).item(Float.self)
    self.zero = try zero.reshaped([]).cast(to: .int32).item(Int32.self) + (isSigned ? 128 : 0)
    flip = isSigned ? 0x80 : 0
  }

  /// The least and the largest code of numbers that an epilogue bounds.
  func bounds(_ epilogue: Epilogue) -> (low: Int32, high: Int32) {
    func bound(_ number: Double) -> Int32 {
      // No bound is none by any scale.
      let quotient = number.isInfinite ? Float(scale < 0 ? -number : number) : Float(number) / scale
      return Int32(min(255, max(0, quotient.rounded(.toNearestOrEven) + Float(zero))))
    }
    let bounds = epilogue.bounds ?? (-.infinity, .infinity)
    let (first, second) = (bound(bounds.low), bound(bounds.high))
    return (min(first, second), max(first, second))
  }

  /// The code of a whole number of steps, kept within bounds.
  func code(_ steps: Float, _ bounds: (low: Int32, high: Int32)) -> UInt8 {
    let code = steps.rounded(.toNearestOrEven) + Float(zero)
    // NaN becomes the lowest.
    guard code > Float(bounds.low) else { return UInt8(bounds.low) ^ flip }
    return UInt8(min(Float(bounds.high), code)) ^ flip
  }
}
