/// A number, a truth value or a rectangular nesting of them in brackets: `[[1, 2], [3, 4]]`.
public struct TensorLiteral: Sendable, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral
{
  fileprivate enum Content: Sendable {
    case number(Double)
    case truth(Bool)
    case list([TensorLiteral])
  }
  fileprivate let content: Content

  /// A number.
  public init(integerLiteral value: Int) { content = .number(Double(value)) }
  /// A number.
  public init(floatLiteral value: Double) { content = .number(value) }
  /// A truth value.
  public init(booleanLiteral value: Bool) { content = .truth(value) }
  /// Infinity, so that `[1, -.infinity]` can be written.
  public static var infinity: TensorLiteral { TensorLiteral(floatLiteral: .infinity) }
  /// Not a number.
  public static var nan: TensorLiteral { TensorLiteral(floatLiteral: .nan) }
  /// Numbers with the opposite sign.
  public static prefix func - (literal: TensorLiteral) -> TensorLiteral {
    switch literal.content {
    case .number(let value): TensorLiteral(floatLiteral: -value)
    case .truth: literal
    case .list(let elements): TensorLiteral(list: elements.map { -$0 })
    }
  }
  /// A list.
  public init(arrayLiteral elements: TensorLiteral...) { content = .list(elements) }

  /// The sizes of the nesting along its first elements.
  private var sizes: [Int] {
    guard case .list(let elements) = content else { return [] }
    return [elements.count] + (elements.first?.sizes ?? [])
  }

  /// The tensor: float32, or bool if all is true or false.
  fileprivate func tensor() throws -> Tensor {
    let sizes = sizes
    var (numbers, truths) = ([Float](), [Bool]())
    func collect(_ literal: TensorLiteral, _ depth: Int) throws {
      switch literal.content {
      case .number(let value) where depth == sizes.count: numbers.append(Float(value))
      case .truth(let value) where depth == sizes.count: truths.append(value)
      case .list(let elements) where depth < sizes.count && elements.count == sizes[depth]:
        for element in elements { try collect(element, depth + 1) }
      case .list(let elements):
        throw TensorLiteral.ragged(
          sizes, depth < sizes.count ? "\(elements.count) elements at depth \(depth)" : "a list at depth \(depth)")
      case .number, .truth: throw TensorLiteral.ragged(sizes, "a number at depth \(depth)")
      }
    }
    try collect(self, 0)
    guard numbers.isEmpty || truths.isEmpty else {
      throw ToeplitzError(.dtype, "Tensor", expected: "numbers or truth values", got: "both")
    }
    return try truths.isEmpty
      ? Tensor(numbers, shape: TensorShape(sizes)) : Tensor(truths, shape: TensorShape(sizes), device: .cpu)
  }

  fileprivate static func ragged(_ sizes: [Int], _ got: String) -> ToeplitzError {
    ToeplitzError(.shape, "Tensor", expected: "lists of equal lengths, here of shape \(TensorShape(sizes))", got: got)
  }
}

extension Tensor: ExpressibleByArrayLiteral {
  /// A float32 tensor (bool for truth values) of any rectangular nesting: `let x: Tensor = [[1, 2], [3, 4]]`.
  ///
  /// A nesting that is not rectangular is a mistake in the program and stops it, as an index out of bounds does;
  /// ``init(_:)-(TensorLiteral)`` throws instead.
  public init(arrayLiteral elements: TensorLiteral...) {
    let literal = TensorLiteral(list: elements)
    do {
      self = try literal.tensor()
    } catch {
      preconditionFailure("\(error)")
    }
  }

  /// A float32 tensor (bool for truth values) of nested lists: `try Tensor([[1, 2], [3, 4]])`.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if lists side by side have different lengths.
  public init(_ literal: TensorLiteral) throws { self = try literal.tensor() }
}

extension TensorLiteral {
  fileprivate init(list: [TensorLiteral]) { content = .list(list) }
}

/// A number, or an array of numbers, or an array of such arrays.
public protocol NestedScalars {
  /// The type of the numbers.
  associatedtype Scalar: TensorScalar
  /// The sizes along the first elements; adds the numbers to a list.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if arrays side by side have different sizes.
  func collect(into scalars: inout [Scalar]) throws -> [Int]
}

extension Array: NestedScalars where Element: NestedScalars {
  /// The type of the innermost numbers.
  public typealias Scalar = Element.Scalar
  /// The sizes.
  public func collect(into scalars: inout [Element.Scalar]) throws -> [Int] {
    var sizes: [Int]?
    for element in self {
      let next = try element.collect(into: &scalars)
      if let sizes, sizes != next { throw TensorLiteral.ragged([count] + sizes, "one of shape \(TensorShape(next))") }
      sizes = next
    }
    return [count] + (sizes ?? [])
  }
}

extension NestedScalars where Self: TensorScalar {
  /// No sizes: a number.
  public func collect(into scalars: inout [Self]) throws -> [Int] {
    scalars.append(self)
    return []
  }
}

extension Float: NestedScalars {
  /// Itself.
  public typealias Scalar = Float
}
extension Double: NestedScalars {
  /// Itself.
  public typealias Scalar = Double
}
extension Int: NestedScalars {
  /// Itself.
  public typealias Scalar = Int
}
extension UInt8: NestedScalars {
  /// Itself.
  public typealias Scalar = UInt8
}
extension Int32: NestedScalars {
  /// Itself.
  public typealias Scalar = Int32
}
extension Int64: NestedScalars {
  /// Itself.
  public typealias Scalar = Int64
}
extension Bool: NestedScalars {
  /// Itself.
  public typealias Scalar = Bool
}

extension Tensor {
  /// A tensor of nested arrays, such as `[[Float]]`, whose element type is that of the numbers.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if arrays side by side have different sizes.
  @_disfavoredOverload
  public init<Nested: NestedScalars>(_ nested: [[Nested]]) throws {
    var scalars: [Nested.Scalar] = []
    let sizes = try nested.collect(into: &scalars)
    try self.init(scalars, shape: TensorShape(sizes), device: .cpu)
  }

  /// A tensor of the numbers of a collection (a range, a slice of an array, `Data`) in their order; without a shape, a
  /// vector.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the shape does not have as many elements.
  @_disfavoredOverload
  public init<Numbers: Collection>(_ numbers: Numbers, shape: TensorShape? = nil) throws
  where Numbers.Element: TensorScalar {
    try self.init(Array(numbers), shape: shape, device: .cpu)
  }

  /// A tensor of elements that lie in memory or in `Data` as this machine keeps them, which are copied.
  ///
  /// - Parameters:
  ///   - bytes: The elements in row-major order; they may begin at any byte.
  ///   - shape: The sizes.
  ///   - dtype: The element type.
  /// - Throws: ``ToeplitzError`` of kind `shape` if there are not just as many bytes as the shape takes; of kind `format` if
  ///   a byte of a bool is neither 0 nor 1.
  public init(bytes: UnsafeRawBufferPointer, shape: TensorShape, dtype: DType) throws {
    let (size, overflow) = try shape.elementCount("Tensor").multipliedReportingOverflow(by: dtype.byteSize)
    guard !overflow, bytes.count == size else {
      throw ToeplitzError(
        .shape, "Tensor", expected: "\(overflow ? "fewer elements" : "\(size) bytes") for \(dtype)\(shape)",
        got: "\(bytes.count) bytes")
    }
    if dtype == .bool, let wrong = bytes.first(where: { $0 > 1 }) {
      throw ToeplitzError(.format, "Tensor", expected: "bool elements of 0 or 1", got: "a byte \(wrong)")
    }
    try self.init(uninitialized: shape, dtype: dtype, operation: "Tensor")
    if let start = bytes.baseAddress { elements.copyMemory(from: start, byteCount: size) }
  }

  /// A tensor of elements that lie in a collection of bytes such as `Data`, as this machine keeps them.
  ///
  /// - Throws: As ``init(bytes:shape:dtype:)-(UnsafeRawBufferPointer,_,_)``.
  public init<Bytes: Collection>(bytes: Bytes, shape: TensorShape, dtype: DType) throws where Bytes.Element == UInt8 {
    let made = try bytes.withContiguousStorageIfAvailable { bytes in
      try Tensor(bytes: UnsafeRawBufferPointer(bytes), shape: shape, dtype: dtype)
    }
    self = try made ?? Array(bytes).withUnsafeBytes { try Tensor(bytes: $0, shape: shape, dtype: dtype) }
  }

  /// A tensor whose elements all are `value`.
  @_disfavoredOverload
  public static func full(
    _ sizes: [Int], _ value: Double, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    try full(TensorShape(sizes), value, dtype: dtype, device: device)
  }
  /// A tensor of zeros.
  @_disfavoredOverload
  public static func zeros(_ sizes: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try full(TensorShape(sizes), 0, dtype: dtype, device: device)
  }
  /// A tensor of ones.
  @_disfavoredOverload
  public static func ones(_ sizes: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try full(TensorShape(sizes), 1, dtype: dtype, device: device)
  }
}
