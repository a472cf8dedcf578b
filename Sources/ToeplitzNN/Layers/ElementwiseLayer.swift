import ToeplitzOps
import ToeplitzTensor

/// A layer whose output has the size of its input, such as an activation or a normalisation.
///
/// Derive from it and conform to ``UnaryLayer``.
open class ElementwiseLayer: Module {
  /// The same size.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] { inputSize }
  /// The same length.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> { singleLength(length) }
}
