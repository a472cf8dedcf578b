import Testing

@testable import ToeplitzTensor

/// Making tensors, reading them, copying them.
@Suite struct TensorTests {
  private func kind(_ body: () throws -> Void) -> ToeplitzError.Kind? {
    #expect(throws: ToeplitzError.self) { try body() }?.kind
  }

  @Test func elementsComeBackInRowMajorOrder() throws {
    let x = try Tensor([1, 2, 3, 4, 5, 6] as [Int32], shape: [2, 3])
    #expect(x.shape == [2, 3] && x.strides == [3, 1] && x.rank == 2 && x.count == 6)
    #expect(x.dtype == .int32 && x.device == .cpu && x.isContiguous)
    #expect(try x.scalars(Int32.self) == [1, 2, 3, 4, 5, 6])
    #expect(x.spec.description == "int32[2, 3]")
    #expect(try Tensor([1.5, 2]).dtype == .float32)
    #expect(try Tensor([1.5, 2]).shape == [2])
    #expect(x.description == "[[1 2 3]\n [4 5 6]]")
    #expect(try Tensor.zeros([3]).description == "[0. 0. 0.]")
  }

  @Test func everyTypeHoldsItsValues() throws {
    func check<T: TensorScalar>(_ type: T.Type, _ values: [T]) throws {
      let x = try Tensor(values)
      #expect(x.dtype == T.dtype && x.dtype.scalarType == type)
      #expect(MemoryLayout<T>.size == x.dtype.byteSize)
      #expect(try x.scalars(type) == values)
      let other: any TensorScalar.Type = T.self == Float.self ? Double.self : Float.self
      func read<U: TensorScalar>(_ type: U.Type) throws { _ = try x.scalars(type) }
      #expect(throws: ToeplitzError.self) { try read(other) }
    }
    try check(Float.self, [0, -1.5, .infinity])
    try check(Double.self, [0, 1e300])
    try check(Float16.self, [65504, -0.5])
    try check(BFloat16.self, [BFloat16(1), BFloat16(-2)])
    try check(Int8.self, [.min, .max])
    try check(UInt8.self, [.min, .max])
    try check(Int32.self, [.min, .max])
    try check(Int64.self, [.min, .max])
    try check(Bool.self, [true, false])
    try check(Int16.self, [.min, .max])
    try check(UInt16.self, [.min, .max])
    try check(UInt32.self, [.min, .max])
    try check(UInt64.self, [.min, .max])
    try check(Float8E4M3FN.self, [Float8E4M3FN(converting: 448), Float8E4M3FN(converting: -0.5)])
    try check(Int4.self, [Int4(converting: -8), Int4(converting: 7)])
    #expect(DType.allCases.count { !$0.isNarrow } == 13)
  }

  @Test func aShapeMustHoldTheElements() throws {
    #expect(kind { _ = try Tensor([1, 2, 3] as [Float], shape: [2, 2]) } == .shape)
    #expect(kind { _ = try Tensor([1] as [Float], shape: [0]) } == .shape)
    #expect(kind { _ = try Tensor([] as [Float], shape: [-1, 0]) } == .shape)
    #expect(try Tensor([] as [Float]).shape == [0])
    #expect(try Tensor([] as [Float], shape: [3, 0]).count == 0)
    let scalar = try Tensor(scalar: 4 as Int64)
    #expect(scalar.rank == 0 && scalar.count == 1)
    #expect(try scalar.item(Int64.self) == 4)
    #expect(kind { _ = try Tensor([1, 2] as [Float]).item(Float.self) } == .shape)
    #expect(kind { _ = try scalar.item(Float.self) } == .dtype)
  }

  @Test func filledTensorsConvertTheirValue() throws {
    #expect(try Tensor.full([2], 300.7, dtype: .uint8).scalars(UInt8.self) == [255, 255])
    #expect(try Tensor.full([1], -300.7, dtype: .int8).scalars(Int8.self) == [-128])
    #expect(try Tensor.full([1], -1.9, dtype: .int32).scalars(Int32.self) == [-1])
    #expect(try Tensor.full([1], .nan, dtype: .int64).scalars(Int64.self) == [0])
    #expect(try Tensor.full([1], .infinity, dtype: .int64).scalars(Int64.self) == [.max])
    #expect(try Tensor.full([1], 0.1, dtype: .bool).scalars(Bool.self) == [true])
    #expect(try Tensor.ones([2], dtype: .float16).scalars(Float16.self) == [1, 1])
    #expect(try Tensor.zeros([2, 0, 3]).count == 0)
  }

  @Test func rangesAreLikeArange() throws {
    #expect(try Tensor.range(to: 1, by: 0.3).scalars(Float.self) == [0, 0.3, 0.6, 0.9])
    #expect(try Tensor.range(from: 5, to: 0, by: -2, dtype: .int64).scalars(Int64.self) == [5, 3, 1])
    #expect(try Tensor.range(from: 3, to: 3).count == 0)
    for (start, end, step) in [
      (0.0, 1.0, 0.0), (0, 1, -1), (1, 0, 1), (0, .infinity, 1), (0, 1, .nan), (.nan, 1, 1), (0, 1e300, 1),
    ] {
      #expect(kind { _ = try Tensor.range(from: start, to: end, by: step) } == .argument)
    }
    #expect(kind { _ = try Tensor.range(to: 0x1p52) } == .memory)
  }

  @Test func copiesAreIndependent() throws {
    var a = try Tensor([1, 2, 3] as [Float])
    let b = a
    var c = b
    let address = a.elements
    try a.withMutableElements(Float.self) { $0[0] = 10 }
    try c.withMutableElements(Float.self) { $0[2] = 30 }
    #expect(try a.scalars(Float.self) == [10, 2, 3])
    #expect(try b.scalars(Float.self) == [1, 2, 3])
    #expect(try c.scalars(Float.self) == [1, 2, 30])
    #expect(a.elements != address && b.elements == address, "a was shared, so writing copied it")
    // Not shared any more: written in place.
    let own = a.elements
    try a.withMutableElements(Float.self) { $0[1] = 20 }
    #expect(a.elements == own)
    #expect(kind { try a.withMutableElements(Double.self) { _ in } } == .dtype)
  }

  @Test func writingAViewLeavesTheWholeAlone() throws {
    let whole = try Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
    var column = whole.view(shape: [2], strides: [3], offset: 1)
    #expect(!column.isContiguous)
    #expect(try column.scalars(Float.self) == [2, 5])
    try column.withMutableElements(Float.self) { $0[0] = -1 }
    #expect(column.isContiguous && column.strides == [1])
    #expect(try column.scalars(Float.self) == [-1, 5])
    #expect(try whole.scalars(Float.self) == [1, 2, 3, 4, 5, 6])
  }

  @Test func borrowedMemoryIsNeverWritten() throws {
    final class Owner: Sendable {}
    let bytes = UnsafeMutablePointer<Float>.allocate(capacity: 2)
    defer { bytes.deallocate() }
    bytes.initialize(repeating: 7, count: 2)
    let storage = Storage(borrowing: bytes, byteCount: 8, owner: Owner())
    var x = Tensor(storage: storage, shape: [2], strides: [1], offset: 0, dtype: .float32)
    try x.withMutableElements(Float.self) { $0[0] = 1 }
    #expect(bytes[0] == 7)
    #expect(try x.scalars(Float.self) == [1, 7])
  }

  /// Shapes, strides and offsets: transposed, reversed, repeated, sliced, with gaps, without elements.
  private static let views: [(TensorShape, [Int], Int)] = [
    ([70, 72], [1, 70], 0), ([70, 72], [72, 1], 0), ([50], [-7], 4000), ([3, 40, 17], [0, 1, 40], 5),
    ([4, 5, 6], [-1, -10, 100], 900), ([33, 1, 35], [140, 9, 4], 2), ([2, 0, 3], [1, 1, 1], 9), ([], [], 77),
    ([100, 3], [3, 1], 10), ([8, 9, 10, 7], [630, 70, 7, 1], 0), ([8, 7, 10, 9], [630, 1, 7, 70], 0),
  ]

  @Test func viewsOfEveryKindReadAsTheirCopies() throws {
    func check<T: TensorScalar>(_ type: T.Type) throws {
      let base = try Tensor((0..<5040).map { T(converting: Double($0 % 120)) })
      let values = try base.scalars(type)
      for (shape, strides, offset) in Self.views {
        var expected: [T] = []
        func walk(_ axis: Int, _ at: Int) {
          guard axis < shape.rank else { return expected.append(values[at]) }
          for index in 0..<shape[axis] { walk(axis + 1, at + index * strides[axis]) }
        }
        walk(0, offset)
        let view = base.view(shape: shape, strides: strides, offset: offset)
        let copy = try view.copied()
        #expect(copy.isContiguous && copy.shape == shape && copy.storage !== base.storage)
        #expect(try copy.scalars(type) == expected, "\(type) \(shape) \(strides)")
        #expect(try view.scalars(type) == expected, "\(type) \(shape) \(strides)")
      }
    }
    try check(Int8.self)
    try check(Float16.self)
    try check(Float.self)
    try check(Int64.self)
  }

  @Test func contiguityIgnoresAxesOfSizeOne() throws {
    let x = try Tensor.zeros([4, 6])
    #expect(x.view(shape: [1, 4, 6], strides: [999, 6, 1], offset: 0).isContiguous)
    #expect(x.view(shape: [4, 1, 6], strides: [6, -3, 1], offset: 0).isContiguous)
    #expect(!x.view(shape: [6, 4], strides: [1, 6], offset: 0).isContiguous)
    #expect(!x.view(shape: [4, 3], strides: [6, 1], offset: 0).isContiguous)
    #expect(x.view(shape: [5, 0], strides: [3, 3], offset: 0).isContiguous)
  }

  @Test func devicesThatAreNotThereAreRefused() throws {
    for index in [0, 1, -1, Int.max] {
      let error = #expect(throws: ToeplitzError.self) { try Tensor.zeros([1], device: .gpu(index)) }
      #expect(error?.kind == .device && error?.description.contains("gpu(\(index))") == true)
      #expect(kind { _ = try Tensor([1] as [Float], shape: [1], device: .gpu(index)) } == .device)
    }
    #expect(Device.cpu.description == "cpu")
  }

  @Test func elementsThatAreNotFiniteAreFoundInEveryType() throws {
    func found<T: TensorScalar>(_ values: [T]) throws -> Bool {
      try Tensor(values, shape: nil, device: .cpu).hasNonFinite()
    }
    func check<T: TensorScalar & BinaryFloatingPoint>(_ type: T.Type) throws {
      #expect(try !found([0, -0.0, T.greatestFiniteMagnitude, -T.greatestFiniteMagnitude, T.leastNonzeroMagnitude]))
      for value in [T.nan, .signalingNaN, .infinity, -.infinity] { #expect(try found([1, value, 2]), "\(value)") }
    }
    try check(Float.self)
    try check(Double.self)
    try check(Float16.self)
    for value in [Float.nan, .infinity, -.infinity] { #expect(try found([1, value].map(BFloat16.init))) }
    #expect(try !found([1, -3e38].map(BFloat16.init)))
    #expect(try !found([Int64.max, -1]) && !found([true]) && !found([Float]()))
    // A view is judged by its own elements.
    #expect(try !Tensor([.nan, 1, 2] as [Float]).view(shape: [2], strides: [1], offset: 1).hasNonFinite())
  }
}
