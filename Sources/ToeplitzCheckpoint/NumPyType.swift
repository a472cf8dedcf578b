import ToeplitzTensor

/// An element type of a `.npy` file: its kind, width and byte order.
struct NumPyType {
  /// The type in memory; of complex numbers that of their two parts.
  private let dtype: DType
  /// Bytes of one element in the file.
  let itemSize: Int
  private let isBigEndian: Bool
  let isComplex: Bool

  /// The type with this `descr`, such as `<f4`, if Toeplitz can read it.
  ///
  /// - Parameter allowsComplex: whether complex numbers are taken, as real and imaginary parts on a last axis.
  init?(_ descr: String, allowsComplex: Bool = false) {
    guard let order = descr.first, "<>|".contains(order) else { return nil }
    switch descr.dropFirst() {
    case "f2": dtype = .float16
    case "f4": dtype = .float32
    case "f8": dtype = .float64
    case "i1": dtype = .int8
    case "i2": dtype = .int16
    case "i4": dtype = .int32
    case "i8": dtype = .int64
    case "u1": dtype = .uint8
    case "u2": dtype = .uint16
    case "u4": dtype = .uint32
    case "u8": dtype = .uint64
    case "b1": dtype = .bool
    case "c8" where allowsComplex: dtype = .float32
    case "c16" where allowsComplex: dtype = .float64
    default: return nil
    }
    isComplex = descr.dropFirst().first == "c"
    itemSize = isComplex ? 2 * dtype.byteSize : dtype.byteSize
    guard order != "|" || itemSize == 1 else { return nil }
    isBigEndian = order == ">"
  }

  /// Why arrays of this `descr` are not read, and what to do.
  static func refusal(_ descr: String, _ place: FilePlace) -> ToeplitzError {
    let kind = descr.first.map { "<>|=".contains($0) } == true ? descr.dropFirst().first : descr.first
    let meaning: String? =
      switch kind {
      case "U", "S", "a": "text, which no tensor holds"
      case "O": "Python objects, which are never loaded; save numbers, as by array.astype(numpy.float32)"
      case "c": "complex numbers; save array.view(numpy.float32) or numpy.float64, real and imaginary parts in turn"
      case "M", "m": "dates or durations; save array.astype(numpy.int64)"
      case "V", "[": "structures; save each field as an array of its own"
      case "f": "floating-point numbers of another width; save array.astype(numpy.float64)"
      default: nil
      }
    return ToeplitzError(
      .unsupported, place.file,
      expected: "element type b1, i1, i2, i4, i8, u1, u2, u4, u8, f2, f4 or f8 with byte order '<', '>' or '|'",
      got: descr.quoted + (meaning.map { " (\($0))" } ?? ""), path: place.entry)
  }

  /// The `descr` of an element type; nil for one that NumPy does not have.
  static func description(of dtype: DType) -> String? {
    switch dtype {
    case .float16: "<f2"
    case .float32: "<f4"
    case .float64: "<f8"
    case .int8: "|i1"
    case .uint8: "|u1"
    case .int16: "<i2"
    case .uint16: "<u2"
    case .int32: "<i4"
    case .uint32: "<u4"
    case .int64: "<i8"
    case .uint64: "<u8"
    case .bool: "|b1"
    default: nil
    }
  }

  /// The array of the elements in `data`, of which there have to be as many as `shape` says.
  ///
  /// Big-endian and Fortran-ordered elements are put in the order of memory. Without an `owner` that keeps `data` alive
  /// they are copied.
  func array(
    _ data: UnsafeRawBufferPointer, _ shape: [Int], isFortranOrder: Bool, owner: (any AnyObject & Sendable)?,
    _ place: FilePlace
  ) throws -> Tensor {
    // Elements are reversed in order, and so are the sizes, where the first index runs fastest.
    let sizes = isFortranOrder ? Array(shape.reversed()) : shape
    let byteCount = try ElementBytes.byteCount(sizes, itemSize: itemSize, place)
    guard data.count == byteCount else {
      throw place.malformed("\(byteCount) bytes of data for shape \(TensorShape(shape))", got: "\(data.count)")
    }
    let parts = isComplex ? [2] : []
    let stored = try tensor(data, sizes + parts, owner: owner, place)
    guard isFortranOrder, sizes.count > 1 else { return stored }
    let strides = Array(stored.strides.prefix(sizes.count).reversed()) + (isComplex ? [1] : [])
    return try stored.view(shape: TensorShape(shape + parts), strides: strides, offset: 0).contiguous()
  }

  /// A tensor of the elements in `data`, whose length the caller has checked.
  private func tensor(
    _ data: UnsafeRawBufferPointer, _ sizes: [Int], owner: (any AnyObject & Sendable)?, _ place: FilePlace
  ) throws -> Tensor {
    guard isBigEndian, dtype.byteSize > 1 else {
      return try ElementBytes.tensor(data, dtype, sizes, owner: owner, place)
    }
    // Floating-point numbers change their byte order as the integers of the same bits.
    func swap<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws -> Tensor {
      try ElementBytes.swapped(data, type, dtype, sizes, place)
    }
    switch dtype.byteSize {
    case 2: return try swap(UInt16.self)
    case 4: return try swap(UInt32.self)
    default: return try swap(UInt64.self)
    }
  }
}
