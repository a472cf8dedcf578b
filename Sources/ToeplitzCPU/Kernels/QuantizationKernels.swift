import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Quantize: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[0] == .float32 else { return nil }
    let low: Float = types[2] == .uint8 ? 0 : -128
    return BlockFunction(
      step: BlockFunction.Step(kind: TZ_STEP_QUANTIZE, function: 0, a: low, b: low + 255), type: types[2])
  }
}

extension Dequantize: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    guard types[0] == .uint8 || types[0] == .int8, types[1] == .float32 else { return nil }
    return BlockFunction(step: BlockFunction.Step(kind: TZ_STEP_DEQUANTIZE, function: 0), type: .float32)
  }
}

extension Quantize: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try inBlocks(inputs, outputs[0]) { return [result] }
    let low: Double = outputs[0].dtype == .uint8 ? 0 : -128
    let codes = try (inputs[0] / inputs[1]).round() + inputs[2].cast(to: inputs[0].dtype)
    return [try codes.clip(from: low, to: low + 255).cast(to: outputs[0].dtype)]
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
