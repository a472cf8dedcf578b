/// A block of numbers with a shape.
///
/// A tensor is a value: copies are independent, though they share memory until one of them is written.
/// Views (slices, permutations, expansions) share memory too and are described by strides, which may be zero
/// (an expanded axis) or negative (a reversed one). New tensors are contiguous, row-major, on a 64-byte
/// boundary.
///
/// ```swift
/// let x = try Tensor([1, 2, 3, 4, 5, 6], shape: [2, 3])
/// let y = try x.transposed(0, 1) * 2
/// print(try y.scalars(of: Float.self))  // [2, 8, 4, 10, 6, 12]
/// ```
///
/// Computation throws ``ToeplitzError`` instead of stopping the process.
///
/// While code is traced its tensors are *traced*: shape and element type are known, elements are not, and operations on
/// them are recorded instead of computed. Reading an element of one throws.
public struct Tensor: Sendable {
  /// What stands behind a tensor.
  package enum Payload: Sendable {
    /// Bytes.
    case stored(Storage)
    /// A value that is not computed yet.
    case traced(TracedValue)
    /// Nothing, for an instant: to be asked whether it is shared, a reference has to be taken out.
    case moved
  }

  /// The sizes, outermost first.
  public let shape: TensorShape
  /// Elements between neighbours, for each dimension.
  public let strides: [Int]
  /// The element type.
  public let dtype: DType
  /// The bytes, or a value that is not computed yet.
  package private(set) var payload: Payload
  /// Elements from the start of the storage to this tensor's first.
  package private(set) var offset: Int

  /// A view over `storage`.
  ///
  /// The caller has checked that every element lies inside it.
  package init(storage: Storage, shape: TensorShape, strides: [Int], offset: Int, dtype: DType) {
    payload = .stored(storage)
    self.shape = shape
    self.strides = strides
    self.offset = offset
    self.dtype = dtype
  }

  /// A value that is not computed yet.
  package init(traced value: TracedValue, _ spec: TensorSpec) {
    payload = .traced(value)
    shape = spec.shape
    strides = spec.shape.contiguousStrides
    offset = 0
    dtype = spec.dtype
  }

  /// The bytes.
  ///
  /// Kernels get stored operands only, and whoever reads elements asks for them first (``withElements(_:_:)``).
  package var storage: Storage {
    guard case .stored(let storage) = payload else { preconditionFailure("a traced tensor has no bytes") }
    return storage
  }

  /// The value that is not computed yet, if it is one.
  package var traced: TracedValue? {
    if case .traced(let value) = payload { value } else { nil }
  }

  /// Whether operations on this tensor are recorded instead of computed, so that its elements cannot be read.
  public var isTraced: Bool {
    if case .traced = payload { true } else { false }
  }

  /// A contiguous tensor with unspecified values.
  package init(uninitialized shape: TensorShape, dtype: DType, operation: String) throws {
    let count = try shape.elementCount(operation)
    let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.byteSize)
    guard !overflow else {
      throw ToeplitzError(.memory, operation, expected: "a tensor that fits into memory", got: "shape \(shape)")
    }
    self.init(
      storage: try Storage(byteCount: bytes, operation: operation), shape: shape,
      strides: shape.contiguousStrides, offset: 0, dtype: dtype)
  }

  /// The number of dimensions.
  public var rank: Int { shape.rank }
  /// The number of elements.
  public var count: Int { shape.dimensions.reduce(1, *) }
  /// Shape and element type.
  public var spec: TensorSpec { TensorSpec(shape, dtype) }
  /// Where the tensor lives.
  public var device: Device {
    if case .stored(let storage) = payload { storage.device } else { .cpu }
  }

  /// Whether the elements lie one after another in row-major order.
  public var isContiguous: Bool {
    var expected = 1
    for axis in stride(from: rank - 1, through: 0, by: -1) where shape[axis] != 1 {
      if shape[axis] == 0 { return true }
      if strides[axis] != expected { return false }
      expected *= shape[axis]
    }
    return true
  }

  /// A view of the same memory with other sizes and strides.
  ///
  /// The caller has checked the bounds.
  package func view(shape: TensorShape, strides: [Int], offset: Int) -> Tensor {
    Tensor(storage: storage, shape: shape, strides: strides, offset: offset, dtype: dtype)
  }

  /// The same view under another identity (``Storage/init(renewing:)``).
  package func renewed() -> Tensor {
    Tensor(storage: Storage(renewing: storage), shape: shape, strides: strides, offset: offset, dtype: dtype)
  }

  /// The same values, contiguous; this tensor itself if it is contiguous already.
  public func contiguous() throws -> Tensor {
    isContiguous ? self : try copied()
  }

  /// A contiguous copy in memory of its own; a traced tensor is that already.
  public func copied() throws -> Tensor {
    if isTraced { return self }
    let result = try Tensor(uninitialized: shape, dtype: dtype, operation: "copy")
    result.fillOnce(from: self)
    return result
  }

  /// The address of the first element.
  ///
  /// The memory lives as long as the tensor.
  package var elements: UnsafeMutableRawPointer { storage.base + offset * dtype.byteSize }

  /// The first element, as a pointer to `T`, which must be the element type (or one of its size).
  package func pointer<T>(_ type: T.Type = T.self) -> UnsafeMutablePointer<T> {
    elements.assumingMemoryBound(to: T.self)
  }

  /// Whether both are the same view of the same memory.
  ///
  /// As long as both exist neither can be written in place, so who keeps a tensor can tell by this that a value made of
  /// it is still right.
  package func isSameView(as other: Tensor) -> Bool {
    switch (payload, other.payload) {
    case (.traced(let a), .traced(let b)): return a.trace === b.trace && a.id == b.id
    case (.stored(let a), .stored(let b)) where a === b: break
    default: return false
    }
    return offset == other.offset && shape == other.shape && strides == other.strides
      && dtype == other.dtype
  }

  /// Whether the elements belong to somebody else, such as a mapped file.
  package var isBorrowed: Bool { !isTraced && storage.isBorrowed }

  /// Whether the elements lie where their type wants them.
  ///
  /// Weights that a file stores anywhere may not, as long as a ``Graph`` holds them for an operation that reads them once.
  package var isAligned: Bool { isTraced || Int(bitPattern: elements) % dtype.byteSize == 0 }

  /// The same values where their type wants them; this tensor itself if they lie so already.
  package func aligned() throws -> Tensor { isAligned ? self : try copied() }

  /// Whether nobody else refers to this tensor's memory, so that it may be written in place.
  ///
  /// What had been made of the memory (``Storage/prepared(_:_:)``) is forgotten if so.
  package mutating func ownsStorage() -> Bool {
    guard case .stored(var storage) = payload, storage.ownsBlock else { return false }
    payload = .moved
    defer { payload = .stored(storage) }
    guard isKnownUniquelyReferenced(&storage) else { return false }
    storage.dropPrepared()
    return true
  }
}

/// Which elements of a storage a tensor is, without holding the storage.
package struct TensorView: Sendable, Hashable {
  private let shape: TensorShape
  private let strides: [Int]
  private let offset: Int
  private let dtype: DType

  /// The elements of a tensor.
  package init(_ tensor: Tensor) {
    (shape, strides, offset, dtype) = (tensor.shape, tensor.strides, tensor.offset, tensor.dtype)
  }

  /// The tensor of these elements.
  package func tensor(in storage: Storage) -> Tensor {
    Tensor(storage: storage, shape: shape, strides: strides, offset: offset, dtype: dtype)
  }
}

// MARK: - Reading

extension Tensor {
  /// This tensor with its bytes, which a trace may be able to compute.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names where the value comes from, if it is not known.
  package func computed() throws -> Tensor {
    guard let traced else { return self }
    return try traced.trace.read(traced.id)
  }

  /// All elements in row-major order.
  ///
  /// ```swift
  /// let numbers = try x.scalars(of: Float.self)
  /// let same: [Float] = try x.scalars()
  /// ```
  ///
  /// - Throws: ``ToeplitzError`` of kind `dtype` if the elements are not of type `T`, and in code that is traced.
  public func scalars<T: TensorScalar>(of type: T.Type = T.self) throws -> [T] {
    try withElements(type) { Array($0) }
  }

  package func scalars<T: TensorScalar>(_ type: T.Type) throws -> [T] { try scalars(of: type) }

  /// The one element of a tensor that has just one.
  public func item<T: TensorScalar>(_ type: T.Type = T.self) throws -> T {
    guard count == 1 else {
      throw ToeplitzError(.shape, "item", expected: "a tensor of one element", got: "shape \(shape)")
    }
    return try scalars(type)[0]
  }

  /// Calls `body` with all elements in row-major order; they are copied first only if not contiguous.
  public func withElements<T: TensorScalar, R>(
    _ type: T.Type = T.self, _ body: (UnsafeBufferPointer<T>) throws -> R
  ) throws -> R {
    guard T.dtype == dtype else {
      throw ToeplitzError(.dtype, "read elements", expected: "\(T.dtype) elements", got: "a \(dtype) tensor")
    }
    let flat = try computed().contiguous()
    return try withExtendedLifetime(flat) {
      try body(UnsafeBufferPointer(start: flat.pointer(T.self), count: flat.count))
    }
  }

  /// Whether an element is NaN or infinite: has an exponent of all ones.
  ///
  /// Looking at bits is fast without optimisation too.
  package func hasNonFinite() throws -> Bool {
    guard dtype.isFloatingPoint else { return false }
    let flat = try computed().contiguous()
    return withExtendedLifetime(flat) {
      UnsafeRawBufferPointer(start: flat.elements, count: flat.count * dtype.byteSize).hasNonFinite(dtype)
    }
  }

  /// Calls `body` with all elements, which it may change; shared memory is copied first.
  public mutating func withMutableElements<T: TensorScalar, R>(
    _ type: T.Type = T.self, _ body: (UnsafeMutableBufferPointer<T>) throws -> R
  ) throws -> R {
    guard T.dtype == dtype else {
      throw ToeplitzError(.dtype, "write elements", expected: "\(T.dtype) elements", got: "a \(dtype) tensor")
    }
    if let traced {
      throw ToeplitzError(
        .argument, "write elements", expected: "a computed tensor, not one of a trace", got: traced.origin)
    }
    if !isContiguous || !ownsStorage() { self = try copied() }
    return try body(UnsafeMutableBufferPointer(start: pointer(T.self), count: count))
  }
}

extension UnsafeRawBufferPointer {
  /// Whether some of the numbers here, which may lie anywhere, are infinite or NaN.
  package func hasNonFinite(_ type: DType) -> Bool {
    switch type {
    case .float32: hasElement(0x7F80_0000 as UInt32)
    case .float64: hasElement(0x7FF0_0000_0000_0000 as UInt64)
    case .float16: hasElement(0x7C00 as UInt16)
    case .bfloat16: hasElement(0x7F80 as UInt16)
    default: false
    }
  }

  /// Whether an element has all these bits.
  private func hasElement<Bits: FixedWidthInteger & BitwiseCopyable>(_ bits: Bits) -> Bool {
    let size = MemoryLayout<Bits>.size
    let elements = count / size
    // Blocks without a branch inside are computed in vectors.
    for first in stride(from: 0, to: elements, by: 1024) {
      var found = false
      for at in first..<Swift.min(elements, first + 1024) {
        found = (loadUnaligned(fromByteOffset: at &* size, as: Bits.self) & bits == bits) || found
      }
      if found { return true }
    }
    return false
  }
}
