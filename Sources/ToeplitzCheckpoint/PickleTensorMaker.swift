import ToeplitzTensor

/// Makes the tensors that a pickle describes out of the storages of its file.
final class PickleTensorMaker {
  /// The bytes of a storage and what keeps them alive; without an owner they have to be copied.
  struct Contents {
    var bytes: UnsafeRawBufferPointer
    var owner: (any AnyObject & Sendable)?
  }

  /// All elements of a storage as a type.
  private struct FlatKey: Hashable {
    var storage: String
    var dtype: DType
    var part: Range<Int>
  }

  private let place: FilePlace
  private let find: (PickleStorage) throws -> Contents
  /// Elements that have to be copied are copied once, however many tensors are views of them.
  private var flat: [FlatKey: Tensor] = [:]
  private var made: [ObjectIdentifier: Tensor] = [:]

  /// - Parameter find: the contents of a storage, also those of one of which only a part is meant.
  init(_ place: FilePlace, find: @escaping (PickleStorage) throws -> Contents) {
    self.place = place
    self.find = find
  }

  /// The tensor, and in a few words what was done to it if it is not as it was stored.
  ///
  /// Complex numbers get a last axis of two, sparse tensors become dense, codes the numbers they stand for.
  ///
  /// - Throws: ``ToeplitzError`` of kind `unsupported` if Toeplitz cannot hold it, of kind `format` if it is damaged.
  func tensor(_ described: PickleTensor, _ place: FilePlace) throws -> (tensor: Tensor, remark: String?) {
    let remark = try remark(described, place)
    if let known = made[ObjectIdentifier(described)] { return (known, remark) }
    let tensor: Tensor
    switch described.form {
    case .view(let view): tensor = try self.tensor(view, place)
    case .quantized(let view, let quantization):
      tensor = try PickleDequantization.numbers(part(view, place), place, quantization) { try part($0, place) }
    case .sparse(let sparse):
      tensor = try PickleDense.tensor(sparse.layout, sparse.parts.map { try part($0, place) }, sparse.sizes, place)
    case .unreadable(let what): throw unsupported(what, place)
    }
    made[ObjectIdentifier(described)] = tensor
    return (tensor, remark)
  }

  private func unsupported(_ got: String, _ place: FilePlace) -> ToeplitzError {
    ToeplitzError(
      .unsupported, place.file, expected: "a tensor of numbers that the file holds", got: got, path: place.entry)
  }

  private func remark(_ described: PickleTensor, _ place: FilePlace) throws -> String? {
    switch described.form {
    case .view(let view):
      return try element(view, place).form == .complex ? "complex: real and imaginary parts on the last axis" : nil
    case .quantized: return "dequantised"
    case .sparse: return "sparse in the file"
    case .unreadable: return nil
    }
  }

  private func element(_ view: PickleTensor.View, _ place: FilePlace) throws -> PickleElement {
    let named = view.type.map { PickleElement(dtype: $0) } ?? view.storage.element
    guard let element = named else {
      throw unsupported("one of \(view.type?.full ?? view.storage.type)".oneLine, place)
    }
    return element
  }

  /// A part of which another tensor is computed; it must not have more elements than the file has.
  private func part(_ view: PickleTensor.View, _ place: FilePlace) throws -> Tensor {
    let tensor = try tensor(view, place)
    guard try tensor.count <= contents(view.storage, place).bytes.count else {
      throw place.malformed("a part of no more elements than its storage", got: "shape \(tensor.shape)")
    }
    return tensor
  }

  /// A view of a storage, whose sizes and strides come from the pickle.
  private func tensor(_ view: PickleTensor.View, _ place: FilePlace) throws -> Tensor {
    let element = try element(view, place)
    let place = place.entry.isEmpty ? place.inside(view.storage.key) : place
    let (sizes, strides, offset) = (view.sizes, view.strides, view.offset)
    guard sizes.count == strides.count, offset >= 0, strides.allSatisfy({ $0 >= 0 }) else {
      throw place.malformed("as many strides as sizes, and none below 0", got: "\(sizes), \(strides), offset \(offset)")
    }
    // Also refuses sizes whose product does not fit, so that nothing below can overflow but the strides.
    _ = try ElementBytes.byteCount(sizes, itemSize: element.byteSize, place)
    let contents = try contents(view.storage, place)
    let count = contents.bytes.count / element.byteSize
    var last = offset
    for (size, stride) in zip(sizes, strides) where size > 1 {
      let (step, over) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflow) = last.addingReportingOverflow(step)
      guard !over, !overflow else { throw place.malformed("a view within its storage", got: "strides \(strides)") }
      last = sum
    }
    guard sizes.contains(0) || last < count else {
      throw place.malformed("a view within the \(count) elements of its storage", got: "element \(last)")
    }
    let isComplex = element.form == .complex
    let shape = TensorShape(isComplex ? sizes + [2] : sizes)
    if sizes.contains(0) { return try Tensor.zeros(shape, dtype: element.dtype) }
    let parts = isComplex ? 2 : 1
    let whole = UnsafeRawBufferPointer(rebasing: contents.bytes[..<(count * element.byteSize)])
    let flat = try flat(whole, element.dtype, count * parts, contents.owner, view.storage, place)
    // Strides along axes of one element mean nothing and may be anything.
    let steps = zip(sizes, strides).map { $0 > 1 ? $1 * parts : 0 } + (isComplex ? [1] : [])
    let tensor = flat.view(
      shape: shape, strides: isContiguous(sizes, strides) ? shape.contiguousStrides : steps,
      offset: flat.offset + offset * parts)
    return try view.isConjugate || view.isNegative ? PickleSigns.changed(tensor, view, element, place) : tensor
  }

  private func isContiguous(_ sizes: [Int], _ strides: [Int]) -> Bool {
    let expected = TensorShape(sizes).contiguousStrides
    return sizes.indices.allSatisfy { sizes[$0] == 1 || strides[$0] == expected[$0] }
  }

  /// The bytes of a storage, or of the part of one.
  private func contents(_ storage: PickleStorage, _ place: FilePlace) throws -> Contents {
    var contents = try find(storage)
    guard let part = storage.part else { return contents }
    let size = storage.element?.byteSize ?? 1
    let count = contents.bytes.count / size
    guard part.offset >= 0, part.count >= 0, part.offset <= count, part.count <= count - part.offset else {
      throw place.malformed(
        "a part within the \(count) elements of its storage", got: "\(part.count) elements at \(part.offset)")
    }
    let start = part.offset * size
    contents.bytes = UnsafeRawBufferPointer(
      rebasing: contents.bytes[start..<start + part.count * size])
    return contents
  }

  private func flat(
    _ bytes: UnsafeRawBufferPointer, _ dtype: DType, _ count: Int, _ owner: (any AnyObject & Sendable)?,
    _ storage: PickleStorage, _ place: FilePlace
  ) throws -> Tensor {
    let start = storage.part?.offset ?? 0
    let key = FlatKey(storage: storage.folder + storage.key, dtype: dtype, part: start..<start + count)
    if let known = flat[key] { return known }
    let tensor = try ElementBytes.tensor(bytes, dtype, [count], owner: owner, place)
    flat[key] = tensor
    return tensor
  }
}

/// Tensors whose elements have the other sign in memory (`torch.Tensor.is_conj` and `is_neg`).
private enum PickleSigns {
  static func changed(
    _ tensor: Tensor, _ view: PickleTensor.View, _ element: PickleElement, _ place: FilePlace
  ) throws -> Tensor {
    func change<T: BinaryFloatingPoint & TensorScalar>(_ type: T.Type) throws -> Tensor {
      var values = try tensor.scalars(T.self)
      let isComplex = element.form == .complex
      for index in values.indices {
        let isImaginary = isComplex && index % 2 == 1
        if view.isNegative != (isImaginary && view.isConjugate) { values[index].negate() }
      }
      return try Tensor(values, shape: tensor.shape)
    }
    switch element.dtype {
    case .float16: return try change(Float16.self)
    case .float32: return try change(Float.self)
    case .float64: return try change(Double.self)
    default:
      throw ToeplitzError(
        .unsupported, place.file, expected: "floating-point numbers where signs are changed", got: "\(element.dtype)",
        path: place.entry)
    }
  }
}

/// Quantised tensors as the numbers that they stand for.
private enum PickleDequantization {
  /// `(code − zero point) · scale`, in float32 as PyTorch's `dequantize` computes it.
  static func numbers(
    _ codes: Tensor, _ place: FilePlace, _ quantization: PickleQuantization,
    _ tensor: (PickleTensor.View) throws -> Tensor
  ) throws -> Tensor {
    let values = try integers(codes)
    var scales: [Float] = []
    var zeroPoints: [Int64] = []
    // The codes that are neighbours in memory and belong to one channel.
    var run = max(values.count, 1)
    switch quantization {
    case .perTensor(let scale, let zeroPoint): (scales, zeroPoints) = ([Float(scale)], [Int64(zeroPoint)])
    case .perChannel(let scaleView, let zeroView, let axis):
      scales = try tensor(scaleView).cast64().map { Float($0) }
      zeroPoints = try integers(tensor(zeroView))
      guard codes.shape.indices.contains(axis), codes.shape[axis] == scales.count, zeroPoints.count == scales.count
      else {
        throw place.malformed("a scale and a zero point for each channel of axis \(axis)", got: "\(scales.count)")
      }
      run = codes.shape.dimensions[(axis + 1)...].reduce(1, *)
    }
    let result = values.enumerated().map { index, code in
      let channel = scales.count == 1 ? 0 : index / run % scales.count
      return Float(code &- zeroPoints[channel]) * scales[channel]
    }
    return try Tensor(result, shape: codes.shape)
  }

  private static func integers(_ tensor: Tensor) throws -> [Int64] {
    func read<T: TensorScalar>(_ type: T.Type) throws -> [Int64] {
      try tensor.scalars(type).map { Int64(converting: $0.doubleValue) }
    }
    return try tensor.dtype == .int64 ? tensor.scalars(Int64.self) : read(tensor.dtype.scalarType)
  }
}

extension Tensor {
  /// All elements in double precision.
  fileprivate func cast64() throws -> [Double] {
    func read<T: TensorScalar>(_ type: T.Type) throws -> [Double] { try scalars(type).map(\.doubleValue) }
    return try read(dtype.scalarType)
  }
}
