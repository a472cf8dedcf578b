import ToeplitzTensor

extension Tensor {
  /// Replaces the elements at the given positions, as NumPy's `x[…] = value`.
  ///
  /// ```swift
  /// var x = try Tensor.zeros([3, 4])
  /// try x.assign(row, at: 0)
  /// try x.assign(column, at: 0..., -1)
  /// ```
  ///
  /// Memory that is shared with another tensor is copied first. Where a list names a position twice the last value stays.
  ///
  /// - Parameters:
  ///   - value: The new elements, of this tensor's element type; their shape broadcasts to that of `self[indices]`.
  ///   - indices: As in the subscript; all elements if there are none.
  /// - Throws: ``ToeplitzError`` if positions or shapes do not fit, the element types differ, or the tensor is traced.
  public mutating func assign(_ value: Tensor, at indices: any TensorIndexing...) throws {
    try assign(value, indices.map(\.tensorIndex))
  }

  /// Replaces the elements at the given positions by a number, as NumPy's `x[…] = 0`.
  ///
  /// - Throws: As ``assign(_:at:)-(Tensor,_)``, and if whole numbers cannot hold the number.
  public mutating func assign<Scalar: TensorScalar>(_ value: Scalar, at indices: any TensorIndexing...) throws {
    try assign(scalar(like: value, "assign"), indices.map(\.tensorIndex))
  }

  private mutating func assign(_ value: Tensor, _ entries: [TensorIndex]) throws {
    guard !isTraced, !value.isTraced else {
      throw ToeplitzError(
        .argument, "assign",
        expected: "computed tensors (code that is traced makes new ones, by Tensor.where or concatenation)",
        got: traced?.origin ?? value.traced?.origin ?? "a traced one")
    }
    guard value.dtype == dtype else {
      throw ToeplitzError(.dtype, "assign", expected: "\(dtype) elements", got: "\(value.dtype)")
    }
    let isView = entries.allSatisfy { entry in
      switch entry {
      case .elements, .list: false
      case .at, .slice, .newAxis, .ellipsis: true
      }
    }
    guard isView else { return try assignScattered(value, entries) }
    let wanted = try indexed(entries).shape
    let new = try value.expanded(to: wanted)
    if !isContiguous || !ownsStorage() { self = try copied() }
    let view = try indexed(entries)
    guard view.storage === storage else { return try assignScattered(value, entries) }
    view.fillOnce(from: new)
  }

  /// Assigns where the number of each element tells, so to positions of any kind.
  private mutating func assignScattered(_ value: Tensor, _ entries: [TensorIndex]) throws {
    let places = try Tensor(0..<count).reshaped(shape).indexed(entries)
    let new = try value.expanded(to: places.shape).contiguous()
    let numbers = try places.scalars(Int.self)
    func write<Element: TensorScalar>(_ type: Element.Type) throws {
      try new.withElements(type) { new in
        try withMutableElements(type) { elements in
          for (place, element) in zip(numbers, new) { elements[place] = element }
        }
      }
    }
    try write(dtype.scalarType)
  }
}
