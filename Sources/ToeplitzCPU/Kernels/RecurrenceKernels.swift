import ToeplitzOps
import ToeplitzTensor

extension Recurrence: CPUKernel {
  package var packedOperands: [Int] { [1] }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    // Lengths beyond the sequence mean nothing.
    if let lengths = try operands(inputs).lengths?.cast(to: .int64).scalars(Int64.self) {
      let steps = Int64(inputs[0].shape[0])
      if let wrong = lengths.first(where: { !(0...steps).contains($0) }) {
        throw ToeplitzError(.argument, name, expected: "lengths in 0...\(steps)", got: "\(wrong)")
      }
    }
    return try unrolled(inputs)
  }
}
