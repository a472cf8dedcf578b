import ToeplitzOps
import ToeplitzTensor

extension WeightNormalization: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] { try composed(inputs) }
}
