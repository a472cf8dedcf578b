import ToeplitzTensor

// Sizes and axes as an array or as arguments.

extension Tensor {
  /// The same elements in row-major order under another shape; one size may be −1 and is worked out.
  public func reshaped(_ sizes: Int...) throws -> Tensor { try reshaped(TensorShape(sizes)) }
  /// The same elements in row-major order under another shape; one size may be −1 and is worked out.
  @_disfavoredOverload
  public func reshaped(_ sizes: [Int]) throws -> Tensor { try reshaped(TensorShape(sizes)) }
  /// Axes of size 1 repeated to give these sizes, as a view; −1 keeps a size.
  @_disfavoredOverload
  public func expanded(to sizes: [Int]) throws -> Tensor { try expanded(to: TensorShape(sizes)) }
  /// The axes in the given order.
  public func permuted(_ order: Int...) throws -> Tensor { try permuted(order) }
}
