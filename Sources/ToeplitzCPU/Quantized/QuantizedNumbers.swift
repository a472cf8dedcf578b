import ToeplitzOps
import ToeplitzTensor

/// What turns sums into results, for each channel as far as whole panels go.
struct QuantizedNumbers: Sendable {
  private(set) var bias: [Int32]
  private(set) var scale: [Float]
  /// Of the input as unsigned bytes.
  let inputZero: UInt8
  let zero: Int32
  let low: Int32
  let high: Int32
  let flip: UInt8

  init(_ operation: QuantizedConvolution, _ packed: PackedInt8, _ inputs: [Tensor]) throws {
    func number(_ tensor: Tensor) throws -> Float { try tensor.reshaped([]).item(Float.self) }
    func code(_ tensor: Tensor) throws -> Int32 { try tensor.reshaped([]).cast(to: .int32).item(Int32.self) }
    let g = operation.convolution.geometry
    let (inputScale, outputScale) = (try number(inputs[1]), try number(inputs[6]))
    let weightScales = try inputs[4].dense()
    let isSigned = inputs[0].dtype == .int8
    let shifted = try code(inputs[2]) + (isSigned ? 128 : 0)
    inputZero = UInt8(clamping: shifted)
    // Sums are of unsigned bytes, results unsigned until the end.
    let outputSigned = inputs[7].dtype == .int8
    zero = try code(inputs[7]) + (outputSigned ? 128 : 0)
    flip = outputSigned ? 0x80 : 0
    func bound(_ number: Double, _ zero: Int32) -> Int32 {
      let quantized = (Float(number) / outputScale).rounded(.toNearestOrEven) + Float(zero)
      return Int32(min(255, max(0, quantized)))
    }
    let bounds = QuantizedConvolution.bounds(operation.convolution.epilogue) ?? (-.infinity, .infinity)
    low = bound(bounds.low, zero)
    high = max(low, bound(bounds.high, zero))
    let outputs = g.outChannels / g.groups
    let groups = packed.form == .depthwise ? 1 : g.groups
    let perGroup = packed.form == .depthwise ? g.outChannels : outputs
    bias = Array(repeating: 0, count: groups * packed.padded)
    scale = Array(repeating: 0, count: groups * packed.padded)
    let given = try inputs.count > 8 ? inputs[8].dense() : nil
    let codes = given?.dtype == .int32 ? given?.pointer(Int32.self) : nil
    let reals = given?.dtype == .float32 ? given?.pointer(Float.self) : nil
    let (factors, step) = (weightScales.pointer(Float.self), weightScales.count == 1 ? 0 : 1)
    bias.withUnsafeMutableBufferPointer { bias in
      scale.withUnsafeMutableBufferPointer { scale in
        packed.sums.withUnsafeBufferPointer { sums in
          for group in 0..<(g.outChannels / max(1, perGroup)) {
            for inner in 0..<perGroup {
              let (at, channel) = (group * packed.padded + inner, group * perGroup + inner)
              let product = inputScale * factors[channel * step]
              scale[at] = product / outputScale
              var sum = codes?[channel] ?? 0
              if let reals {
                sum = Int32(
                  clamping: Int64(converting: (Double(reals[channel]) / Double(product)).rounded(.toNearestOrEven)))
              }
              bias[at] = sum &- shifted &* sums[channel]
            }
          }
        }
      }
    }
    withExtendedLifetime((weightScales, given)) {}
  }
}
