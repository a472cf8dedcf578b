import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension NarrowCast: CPUKernel {
  package var flushesSubnormals: Bool { false }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    let result = try Tensor(uninitialized: x.shape, dtype: dtype, operation: name)
    let target = result.pointer(UInt8.self)
    func run<T: TensorScalar>(_ type: T.Type) {
      let source = x.pointer(type)
      for index in 0..<x.count {
        let value = source[index].doubleValue
        switch dtype {
        case .float8E4M3FN: target[index] = NarrowFormat.e4m3fn.encode(value, saturates: saturates)
        case .float8E4M3FNUZ: target[index] = NarrowFormat.e4m3fnuz.encode(value, saturates: saturates)
        case .float8E5M2: target[index] = NarrowFormat.e5m2.encode(value, saturates: saturates)
        case .float8E5M2FNUZ: target[index] = NarrowFormat.e5m2fnuz.encode(value, saturates: saturates)
        default: target[index] = Self.power(value, saturates, powerRounding)
        }
      }
    }
    run(x.dtype.scalarType)
    withExtendedLifetime((x, result)) {}
    return [result]
  }

  /// The code of a power of two near `value`.
  private static func power(_ value: Double, _ saturates: Bool, _ rounding: PowerRounding) -> UInt8 {
    let size = value.magnitude
    guard !value.isNaN, value.sign == .plus || value == 0, !size.isInfinite else { return 0xFF }
    guard size >= 0x1p-127 else { return 0 }
    let isAbove: Bool
    switch rounding {
    case .up: isAbove = size.significand > 1
    case .down: isAbove = false
    case .nearest: isAbove = size.significand >= 1.5
    }
    let exponent = Int(size.exponent) + (isAbove ? 1 : 0)
    if exponent > 127 { return saturates ? 0xFE : 0xFF }
    return UInt8(exponent + 127)
  }
}
