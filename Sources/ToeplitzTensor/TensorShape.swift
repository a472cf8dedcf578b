/// The sizes of a tensor, outermost first, such as `[N, C, L]`.
public struct TensorShape: Sendable, Hashable, ExpressibleByArrayLiteral, RandomAccessCollection,
  CustomStringConvertible
{
  /// The sizes.
  public var dimensions: [Int]

  /// A shape of the given sizes; they are checked when a tensor is made of it.
  @inlinable public init(_ dimensions: [Int]) { self.dimensions = dimensions }
  /// A shape of the given sizes.
  @inlinable public init(arrayLiteral elements: Int...) { dimensions = elements }

  /// The number of dimensions.
  @inlinable public var rank: Int { dimensions.count }
  /// Zero.
  @inlinable public var startIndex: Int { 0 }
  /// The number of dimensions.
  @inlinable public var endIndex: Int { dimensions.count }
  /// The size of dimension `index`.
  @inlinable public subscript(index: Int) -> Int {
    get { dimensions[index] }
    set { dimensions[index] = newValue }
  }

  /// The sizes in brackets, as PyTorch prints them.
  public var description: String { "[" + dimensions.map(String.init).joined(separator: ", ") + "]" }

  /// The number of elements of a tensor of this shape.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if a size is negative or the product exceeds `Int.max`.
  package func elementCount(_ operation: String) throws -> Int {
    var count = 1
    var overflow = false
    var empty = false
    for size in dimensions {
      guard size >= 0 else {
        throw ToeplitzError(.shape, operation, expected: "sizes of at least 0", got: "shape \(self)")
      }
      if size == 0 { empty = true }
      let (product, over) = count.multipliedReportingOverflow(by: Swift.max(size, 1))
      overflow = overflow || over
      count = product
    }
    guard !overflow else {
      throw ToeplitzError(
        .shape, operation, expected: "at most \(Int.max) elements", got: "shape \(self)")
    }
    return empty ? 0 : count
  }

  /// Row-major strides of a contiguous tensor of this shape, in elements.
  public var contiguousStrides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * Swift.max(dimensions[axis + 1], 1)
    }
    return strides
  }

  /// The shape two tensors take when NumPy's broadcasting rule joins them.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if a pair of sizes differs and neither is 1.
  package static func broadcast(_ a: TensorShape, _ b: TensorShape, operation: String) throws -> TensorShape {
    let rank = Swift.max(a.rank, b.rank)
    var result = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let left = axis < rank - a.rank ? 1 : a[axis - (rank - a.rank)]
      let right = axis < rank - b.rank ? 1 : b[axis - (rank - b.rank)]
      guard left == right || left == 1 || right == 1 else {
        throw ToeplitzError(
          .shape, operation, expected: "shapes that broadcast (equal sizes or 1, from the right)",
          got: "\(a) and \(b)")
      }
      result[axis] = left == 1 ? right : left
    }
    return TensorShape(result)
  }

  /// `axis` counted from the front: −1 is the last dimension.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there is no such dimension.
  package func normalizedAxis(_ axis: Int, operation: String) throws -> Int {
    let index = axis < 0 ? axis + rank : axis
    guard index >= 0, index < rank else {
      throw ToeplitzError(
        .argument, operation, expected: "an axis in \(-rank)..<\(rank) for shape \(self)", got: "axis \(axis)")
    }
    return index
  }
}

/// The shape and element type of a tensor, without its values.
public struct TensorSpec: Sendable, Hashable, CustomStringConvertible {
  /// The sizes.
  public var shape: TensorShape
  /// The element type.
  public var dtype: DType

  /// A specification of the given shape and element type.
  public init(_ shape: TensorShape, _ dtype: DType) {
    self.shape = shape
    self.dtype = dtype
  }

  /// Element type and shape, such as `float32[1, 80, 100]`.
  public var description: String { "\(dtype)\(shape)" }
}
