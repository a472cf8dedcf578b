import ToeplitzGraph
import ToeplitzTensor

/// Operands of a bound computation in the order of memory that its kernel wants, with the copies that bring them there.
final class BoundOperands {
  private let memory: ProgramMemory
  private let name: String
  private var copies: [ElementCopy] = []
  private var blocks: [Storage] = []

  init(_ memory: ProgramMemory, name: String) { (self.memory, self.name) = (memory, name) }

  /// The same values, contiguous.
  func dense(_ tensor: Tensor) throws -> Tensor {
    try tensor.isContiguous ? tensor : laidOut(tensor, tensor.shape.contiguousStrides)
  }

  /// The same values with other strides.
  func laidOut(_ tensor: Tensor, _ strides: [Int]) throws -> Tensor {
    let block = try memory.take(tensor.shape.span(strides) * tensor.dtype.byteSize, operation: name)
    blocks.append(block)
    let moved = Tensor(storage: block, shape: tensor.shape, strides: strides, offset: 0, dtype: tensor.dtype)
    copies.append(ElementCopy(from: tensor, to: moved))
    return moved
  }

  /// The computation, after the copies; other steps may use their memory then.
  func finished(_ compute: @escaping BoundComputation) -> BoundComputation {
    for block in blocks { memory.give(block) }
    guard !copies.isEmpty else { return compute }
    return { [copies] in
      for copy in copies { copy.run() }
      try compute()
    }
  }
}
