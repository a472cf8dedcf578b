import ToeplitzTensor

/// NumPy's arrays, numbers and element types as pickles describe them.
struct PickleNumPy {
  let place: FilePlace

  /// The names of the calls that make arrays.
  private static let reconstruct = "numpy._core.multiarray._reconstruct"
  private static let fromBuffer = "numpy._core.numeric._frombuffer"
  private static let scalar = "numpy._core.multiarray.scalar"

  /// Whether the object is an array.
  static func isArray(_ object: PickleObject) -> Bool {
    object.name.full == reconstruct || object.name.full == fromBuffer
  }

  /// Whether the object is a number.
  static func isScalar(_ object: PickleObject) -> Bool { object.name.full == scalar }

  /// The array that an object describes.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` if its elements are none of a tensor, of kind `format` if it is
  ///   damaged.
  func tensor(_ object: PickleObject) throws -> Tensor {
    // `_reconstruct` is followed by (version, shape, type, whether the first index runs fastest, bytes).
    if object.name.full == Self.reconstruct {
      guard case .tuple(let state)? = object.state, state.items.count >= 4 else {
        throw place.malformed("the shape, type and bytes of an array", got: "none")
      }
      let fields = Array(state.items.suffix(4))
      var isFortranOrder = false
      switch fields[2] {
      case .bool(let flag): isFortranOrder = flag
      case .int(let number): isFortranOrder = number != 0
      default: throw place.malformed("the order of an array", got: "another value")
      }
      return try array(fields[3], type: fields[1], shape: fields[0], isFortranOrder: isFortranOrder)
    }
    guard object.arguments.count >= 4, case .string(let order) = object.arguments[3] else {
      throw place.malformed("the bytes, type, shape and order of an array", got: "other values")
    }
    return try array(
      object.arguments[0], type: object.arguments[1], shape: object.arguments[2],
      isFortranOrder: order == "F")
  }

  /// A number as text, if it is one.
  func text(_ object: PickleObject) throws -> String? {
    guard object.arguments.count >= 2, let type = try? type(object.arguments[0]),
      let number = try? array(object.arguments[1], type, sizes: [], isFortranOrder: false), !type.isComplex
    else { return nil }
    func text<T: TensorScalar>(_ scalar: T.Type) throws -> String {
      let value = try number.item(T.self)
      return T.self == Bool.self ? (value.doubleValue == 0 ? "False" : "True") : "\(value)"
    }
    return try text(number.dtype.scalarType)
  }

  private func array(
    _ data: PickleValue, type: PickleValue, shape: PickleValue, isFortranOrder: Bool
  ) throws -> Tensor {
    guard case .tuple(let box) = shape else { throw place.malformed("an array's shape", got: "another value") }
    let sizes = try box.items.map { item in
      guard case .int(let size) = item else { throw place.malformed("sizes of an array", got: "another value") }
      return size
    }
    return try array(data, self.type(type), sizes: sizes, isFortranOrder: isFortranOrder)
  }

  private func array(
    _ data: PickleValue, _ type: NumPyType, sizes: [Int], isFortranOrder: Bool
  ) throws -> Tensor {
    func read(_ bytes: UnsafeRawBufferPointer) throws -> Tensor {
      try type.array(bytes, sizes, isFortranOrder: isFortranOrder, owner: nil, place)
    }
    switch data {
    case .bytes(let bytes): return try bytes.withBytes(read)
    case .string(let text): return try Array(text.utf8).withUnsafeBytes(read)
    default: throw place.malformed("the bytes of an array", got: "another value")
    }
  }

  /// `numpy.dtype('f4', …)`, and its state `(3, '<', …)`.
  private func type(_ value: PickleValue) throws -> NumPyType {
    guard case .object(let object) = value, object.name.full == "numpy.dtype",
      case .string(let name)? = object.arguments.first
    else { throw place.malformed("an array's element type", got: "another value") }
    var order = "|"
    if case .tuple(let state)? = object.state, state.items.count >= 2, case .string(let text) = state.items[1] {
      order = text
    }
    let descr = (order == "=" ? "<" : order) + name
    guard let type = NumPyType(descr, allowsComplex: true) else {
      throw NumPyType.refusal(descr, place)
    }
    return type
  }
}
