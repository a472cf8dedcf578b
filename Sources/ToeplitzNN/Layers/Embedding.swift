import ToeplitzOps
import ToeplitzTensor

/// A table of vectors looked up by whole numbers.
///
/// Input of any shape with elements in `0..<numEmbeddings`, output that shape with an axis `embeddingDim` at its end.
open class Embedding: Module, UnaryLayer {
  /// The table `[numEmbeddings, embeddingDim]`.
  public let weight: Parameter
  /// The index whose vector is zero at first and not trained; counted from the front.
  public let paddingIdx: Int?

  /// Creates a table of numbers of the standard normal distribution.
  ///
  /// - Parameters:
  ///   - numEmbeddings: vectors.
  ///   - embeddingDim: numbers in a vector.
  ///   - paddingIdx: the index whose vector is zero at first; negative counts from the end.
  ///   - dtype: element type of the table, and so of the output.
  ///   - device: where the table lives.
  ///   - generator: source of the initial values.
  /// - Throws: ``ToeplitzError`` that names the first illegal option.
  public init(
    numEmbeddings: Int, embeddingDim: Int, paddingIdx: Int? = nil, dtype: DType = .float32,
    device: Device = .cpu,
    generator: Generator? = nil
  ) throws {
    try device.requirePresent("Embedding")
    for (label, count) in [("numEmbeddings", numEmbeddings), ("embeddingDim", embeddingDim)] where count < 1 {
      throw ToeplitzError(.argument, "Embedding", expected: "\(label) of at least 1", got: "\(count)")
    }
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "Embedding", expected: "a floating-point type", got: "\(dtype)")
    }
    if let paddingIdx, !(-numEmbeddings..<numEmbeddings).contains(paddingIdx) {
      throw ToeplitzError(
        .argument, "Embedding", expected: "a paddingIdx in \(-numEmbeddings)..<\(numEmbeddings)",
        got: "\(paddingIdx)")
    }
    let padding = paddingIdx.map { $0 < 0 ? $0 + numEmbeddings : $0 }
    self.paddingIdx = padding
    let table = try (generator ?? Generator()).normal([numEmbeddings, embeddingDim], dtype: dtype)
    weight = Parameter(
      try padding.map { row in
        try Tensor.concatenate([
          table.slice(axis: 0, 0..<row), Tensor.zeros([1, embeddingDim], dtype: dtype),
          table.slice(axis: 0, (row + 1)..<numEmbeddings),
        ])
      } ?? table)
  }

  /// The vectors that `x` names.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for an index that is not in the table.
  open func forward(_ x: Tensor) throws -> Tensor { try embedding(x, weight.value) }

  /// PyTorch's options.
  open override var extraRepr: String {
    "\(weight.value.shape[0]), \(weight.value.shape[1])" + (paddingIdx.map { ", padding_idx=\($0)" } ?? "")
  }
}
