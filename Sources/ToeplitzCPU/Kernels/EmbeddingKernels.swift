import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension EmbeddingLookup: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let indices = try inputs[0].cast(to: .int64).scalars(Int64.self)
    let table = try inputs[1].dense()
    let rows = table.shape[0]
    if let wrong = indices.first(where: { $0 < 0 || $0 >= Int64(rows) }) {
      throw ToeplitzError(.argument, name, expected: "indices in 0..<\(rows)", got: "\(wrong)")
    }
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: table.dtype, operation: name)
    let bytes = table.shape[1] * table.dtype.byteSize
    for (index, row) in indices.enumerated() {
      (result.elements + index * bytes).copyMemory(from: table.elements + Int(row) * bytes, byteCount: bytes)
    }
    withExtendedLifetime((table, result)) {}
    return [result]
  }
}
