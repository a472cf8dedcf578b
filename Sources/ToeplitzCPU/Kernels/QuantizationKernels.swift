import ToeplitzOps
import ToeplitzTensor

extension Quantize: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    let low: Double = outputs[0].dtype == .uint8 ? 0 : -128
    let codes = try (inputs[0] / inputs[1]).rounded() + inputs[2].cast(to: inputs[0].dtype)
    return [try codes.clamped(from: low, to: low + 255).cast(to: outputs[0].dtype)]
  }
}

extension Dequantize: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    // int32 codes have more digits than float32.
    let codes = try inputs[0].cast(to: .float64) - inputs[2].cast(to: .float64)
    return [try (codes * inputs[1].cast(to: .float64)).cast(to: outputs[0].dtype)]
  }
}
