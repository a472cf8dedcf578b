import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzTensor

/// A tensor as it was written (`TensorProto`); its bytes stay in the file until ``tensor(_:_:)``.
struct ONNXTensor {
  var name = ""
  var sizes: [Int64] = []
  var elementType = 0
  var isExternal = false
  var external: [String: String] = [:]
  var raw: UnsafeRawBufferPointer?
  private var floats: [Float] = []
  private var int32s: [Int64] = []
  private var int64s: [Int64] = []
  private var doubles: [Double] = []
  private var uint64s: [Int64] = []
  private var strings: [UnsafeRawBufferPointer] = []

  init(_ message: ProtobufReader, _ place: FilePlace) throws {
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: try field.append(to: &sizes)
      case 2: elementType = try field.int()
      case 3: throw place.malformed("tensors in one piece", got: "a segment of one")
      case 4: try field.append(to: &floats)
      case 5: try field.append(to: &int32s)
      case 6: strings.append(try field.bytes())
      case 7: try field.append(to: &int64s)
      case 8: name = try field.string()
      case 9: raw = try field.bytes()
      case 10: try field.append(to: &doubles)
      case 11: try field.append(to: &uint64s)
      case 13:
        var (key, value, entry) = ("", "", try field.message())
        try entry.forEach { field in
          switch field.number {
          case 1: key = try field.string()
          case 2: value = try field.string()
          default: break
          }
        }
        external[key] = value
      case 14: isExternal = try field.int() == 1
      default: break
      }
    }
  }

  /// The number of strings as element type.
  static let stringType = 8

  /// The tensor, of numbers or strings.
  ///
  /// - Throws: As ``tensor(_:anywhere:)``.
  func value(_ data: ONNXData, anywhere: Bool = false) throws -> ModelValue {
    guard elementType == Self.stringType else { return .tensor(try tensor(data, anywhere: anywhere)) }
    let place = data.place.inside(name)
    let sizes = sizes.map { Int($0) }
    let count = try ElementBytes.byteCount(sizes, itemSize: 1, place)
    guard count == strings.count, !isExternal else {
      throw place.malformed("\(count) strings", got: "\(strings.count)")
    }
    let elements = try strings.map { bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw place.malformed("strings in UTF-8", got: "other bytes")
      }
      return text
    }
    return .strings(try StringTensor(elements, shape: TensorShape(sizes)))
  }

  /// The tensor; it refers to the file's bytes where they are aligned.
  ///
  /// - Throws: ``ToeplitzError`` of kind `format` if sizes and data do not fit together, of kind `unsupported` for an
  ///   element type that Toeplitz does not have.
  ///
  /// - Parameter anywhere: whether it may refer to large float32 data also where they are not aligned.
  func tensor(_ data: ONNXData, anywhere: Bool = false) throws -> Tensor {
    let place = data.place.inside(name)
    let dtype = try DType(onnx: elementType, place)
    let sizes = try self.sizes.map { size in
      guard let exact = Int(exactly: size) else { throw place.malformed("sizes of at most \(Int.max)", got: "\(size)") }
      return exact
    }
    // Narrow elements lie several in a byte.
    let perByte = dtype.elementsPerByte
    let unpacked = try ElementBytes.byteCount(sizes, itemSize: dtype.byteSize, place)
    let byteCount = perByte == 1 ? unpacked : unpacked / perByte + (unpacked % perByte == 0 ? 0 : 1)
    if isExternal {
      let bytes = try data.external(external, byteCount: byteCount, place)
      return try make(bytes.0, bytes.1, dtype, sizes, anywhere, place, byteCount)
    }
    if let raw, !(raw.isEmpty && hasTypedData) {
      return try make(raw, data.file, dtype, sizes, anywhere, place, byteCount)
    }
    return try typed(dtype, sizes, place)
  }

  /// From here on a copy costs more than looking for what may do without.
  private static let largeByteCount = 1 << 14

  private var hasTypedData: Bool {
    !(floats.isEmpty && int32s.isEmpty && int64s.isEmpty && doubles.isEmpty && uint64s.isEmpty)
  }

  private func make(
    _ bytes: UnsafeRawBufferPointer, _ owner: (any AnyObject & Sendable)?, _ dtype: DType, _ sizes: [Int],
    _ anywhere: Bool, _ place: FilePlace, _ byteCount: Int
  ) throws -> Tensor {
    guard bytes.count == byteCount else {
      throw place.malformed("\(byteCount) bytes for \(dtype)\(TensorShape(sizes))", got: "\(bytes.count)")
    }
    guard dtype.elementsPerByte > 1 else {
      let isLarge = byteCount >= Self.largeByteCount && dtype == .float32
      return try ElementBytes.tensor(bytes, dtype, sizes, owner: owner, anywhere: anywhere && isLarge, place)
    }
    return try unpack(dtype, sizes) { bytes[$0] }
  }

  /// Narrow elements, the first in the lowest bits.
  private func unpack(_ dtype: DType, _ sizes: [Int], _ byte: (Int) -> UInt8) throws -> Tensor {
    let result = try Tensor(uninitialized: TensorShape(sizes), dtype: dtype, operation: "ONNX tensor")
    let perByte = dtype.elementsPerByte
    let width = 8 / perByte
    let target = result.pointer(UInt8.self)
    for index in 0..<result.count {
      let bits = byte(index / perByte) >> UInt8(index % perByte * width)
      let low = bits & UInt8((1 << width) - 1)
      // Signed numbers repeat their highest bit.
      let isSigned = dtype == .int4 || dtype == .int2
      target[index] = isSigned && low >> UInt8(width - 1) == 1 ? low | ~UInt8((1 << width) - 1) : low
    }
    withExtendedLifetime(result) {}
    return result
  }

  /// The tensor of the typed fields.
  private func typed(_ dtype: DType, _ sizes: [Int], _ place: FilePlace) throws -> Tensor {
    let count = sizes.contains(0) ? 0 : sizes.reduce(1, *)
    func check(_ given: Int, _ wanted: Int = count) throws {
      guard given == wanted else {
        throw place.malformed("\(wanted) elements for \(dtype)\(TensorShape(sizes))", got: "\(given)")
      }
    }
    func integers<T: TensorScalar & FixedWidthInteger>(_ type: T.Type, _ list: [Int64]) throws -> Tensor {
      try check(list.count)
      return try Tensor(list.map { T(truncatingIfNeeded: $0) }, shape: TensorShape(sizes), device: .cpu)
    }
    switch dtype {
    case .float32:
      try check(floats.count)
      return try Tensor(floats, shape: TensorShape(sizes), device: .cpu)
    case .float64:
      try check(doubles.count)
      return try Tensor(doubles, shape: TensorShape(sizes), device: .cpu)
    case .int64: return try integers(Int64.self, int64s)
    case .uint64: return try integers(UInt64.self, uint64s)
    case .uint32: return try integers(UInt32.self, uint64s)
    case .int32: return try integers(Int32.self, int32s)
    case .int16: return try integers(Int16.self, int32s)
    case .uint16: return try integers(UInt16.self, int32s)
    case .int8: return try integers(Int8.self, int32s)
    case .uint8: return try integers(UInt8.self, int32s)
    case .bool:
      try check(int32s.count)
      return try Tensor(int32s.map { $0 != 0 }, shape: TensorShape(sizes))
    case .float16:
      try check(int32s.count)
      return try Tensor(
        int32s.map { Float16(bitPattern: UInt16(truncatingIfNeeded: $0)) }, shape: TensorShape(sizes), device: .cpu)
    case .bfloat16:
      try check(int32s.count)
      return try Tensor(
        int32s.map { BFloat16(bitPattern: UInt16(truncatingIfNeeded: $0)) }, shape: TensorShape(sizes), device: .cpu)
    default:
      let perByte = dtype.elementsPerByte
      try check(int32s.count, count / perByte + (count % perByte == 0 ? 0 : 1))
      return try unpack(dtype, sizes) { UInt8(truncatingIfNeeded: int32s[$0]) }
    }
  }
}

/// A tensor of which only some elements are written (`SparseTensorProto`).
struct ONNXSparseTensor {
  var values: ONNXTensor?
  var indices: ONNXTensor?
  var sizes: [Int64] = []

  var name: String { values?.name ?? "" }

  init(_ message: ProtobufReader, _ place: FilePlace) throws {
    var message = message
    try message.forEach { field in
      switch field.number {
      case 1: values = try ONNXTensor(field.message(), place)
      case 2: indices = try ONNXTensor(field.message(), place)
      case 3: try field.append(to: &sizes)
      default: break
      }
    }
  }

  /// The whole tensor, zero where nothing is written.
  func tensor(_ data: ONNXData) throws -> Tensor {
    let place = data.place.inside(name)
    guard let values, let indices else { throw place.malformed("values and indices", got: "not both") }
    let (numbers, places) = (try values.tensor(data), try indices.tensor(data).cast(to: .int64))
    let shape = TensorShape(sizes.map { Int($0) })
    _ = try ElementBytes.byteCount(shape.dimensions, itemSize: numbers.dtype.byteSize, place)
    let count = try shape.elementCount(place.file)
    let flat: [Int]
    if places.rank == 1 {
      flat = try places.scalars(Int64.self).map { Int($0) }
    } else {
      guard places.rank == 2, places.shape[1] == shape.rank else {
        throw place.malformed("indices [count] or [count, \(shape.rank)]", got: "\(places.shape)")
      }
      let all = try places.scalars(Int64.self).map { Int($0) }
      let strides = shape.contiguousStrides
      flat = try (0..<places.shape[0]).map { row in
        var at = 0
        for axis in 0..<shape.rank {
          let index = all[row * shape.rank + axis]
          guard (0..<shape[axis]).contains(index) else {
            throw place.malformed("indices within \(shape)", got: "\(index)")
          }
          at += index * strides[axis]
        }
        return at
      }
    }
    guard flat.count == numbers.count, flat.allSatisfy({ (0..<count).contains($0) }) else {
      throw place.malformed("an index within \(shape) for each of \(numbers.count) values", got: "others")
    }
    let result = try Tensor.zeros(shape, dtype: numbers.dtype)
    let size = numbers.dtype.byteSize
    let source = try numbers.contiguous()
    for (index, at) in flat.enumerated() {
      (result.elements + at * size).copyMemory(from: source.elements + index * size, byteCount: size)
    }
    withExtendedLifetime((result, source)) {}
    return result
  }
}

extension DType {
  /// How many elements a byte of a file holds.
  var elementsPerByte: Int {
    switch self {
    case .int4, .uint4, .float4E2M1: 2
    case .int2, .uint2: 4
    default: 1
    }
  }

  /// ONNX's numbers of element types, in order.
  private static let onnxTypes: [Int: DType] = [
    1: .float32, 2: .uint8, 3: .int8, 4: .uint16, 5: .int16, 6: .int32, 7: .int64, 9: .bool, 10: .float16, 11: .float64,
    12: .uint32, 13: .uint64, 16: .bfloat16, 17: .float8E4M3FN, 18: .float8E4M3FNUZ, 19: .float8E5M2,
    20: .float8E5M2FNUZ, 21: .uint4, 22: .int4, 23: .float4E2M1, 24: .float8E8M0, 25: .uint2, 26: .int2,
  ]

  /// The element type with this number in ONNX files.
  init(onnx number: Int, _ place: FilePlace) throws {
    if let known = DType.onnxTypes[number] {
      self = known
      return
    }
    let names = [8: "strings", 14: "complex64", 15: "complex128"]
    guard let name = names[number] else { throw place.malformed("a known element type", got: "number \(number)") }
    throw ToeplitzError(
      .unsupported, place.file, expected: "tensors of numbers or booleans", got: "\(name)", path: place.entry)
  }

  /// The number of this element type in ONNX files.
  var onnxNumber: Int { DType.onnxTypes.first { $0.value == self }?.key ?? 0 }
}
