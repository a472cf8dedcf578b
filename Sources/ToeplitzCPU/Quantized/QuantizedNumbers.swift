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
    let g = operation.convolution.geometry
    let weightScales = try inputs[4].dense()
    // Sums are of unsigned bytes, results unsigned until the end.
    let input = try CodeScale(inputs[0].dtype, scale: inputs[1], zero: inputs[2])
    let output = try CodeScale(inputs[7].dtype, scale: inputs[6], zero: inputs[7])
    inputZero = UInt8(clamping: input.zero)
    (zero, flip) = (output.zero, output.flip)
    (low, high) = output.bounds(operation.convolution.epilogue)
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
              let product = input.scale * factors[channel * step]
              scale[at] = product / output.scale
              var sum = codes?[channel] ?? 0
              if let reals {
                sum = Int32(
                  clamping: Int64(converting: (Double(reals[channel]) / Double(product)).rounded(.toNearestOrEven)))
              }
              bias[at] = sum &- input.zero &* sums[channel]
            }
          }
        }
      }
    }
    withExtendedLifetime((weightScales, given)) {}
  }
}
