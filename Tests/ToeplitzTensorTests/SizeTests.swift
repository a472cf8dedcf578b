import Testing

@testable import ToeplitzTensor

/// Shapes, sizes and memory.
@Suite struct SizeTests {
  @Test func elementCountsAreChecked() throws {
    func count(_ shape: TensorShape) throws -> Int { try shape.elementCount("test") }
    #expect(try count([]) == 1 && count([2, 3, 4]) == 24 && count([5, 0]) == 0 && count([0, 0]) == 0)
    #expect(try count([Int.max]) == Int.max && count([1 << 31, 1 << 31]) == 1 << 62)
    for shape: TensorShape in [
      [1 << 32, 1 << 31], [Int.max, 2], [2, Int.max], [1 << 62, 1 << 62], [-1], [2, -3], [Int.min], [0, -1],
      [Int.min, Int.min],
      // Strides would overflow, although there is no element.
      [0, Int.max, 2], [Int.max, 2, 0],
    ] {
      let error = #expect(throws: ToeplitzError.self, "\(shape)") { try count(shape) }
      #expect(error?.kind == .shape && error?.operation == "test")
    }
  }

  @Test func stridesOfEmptyShapesStayInRange() {
    #expect(TensorShape([2, 3, 4]).contiguousStrides == [12, 4, 1])
    #expect(TensorShape([2, 0, 4]).contiguousStrides == [4, 4, 1])
    #expect(TensorShape([]).contiguousStrides.isEmpty)
  }

  @Test(arguments: [
    [1 << 31, 1 << 31], [Int.max], [Int.max / 4], [1 << 50], [1 << 61], [1 << 50, 1 << 10],
  ])
  func hugeTensorsAreRefused(sizes: [Int]) {
    for dtype in DType.allCases {
      let error = #expect(throws: ToeplitzError.self) { try Tensor.zeros(TensorShape(sizes), dtype: dtype) }
      #expect(error?.kind == .memory || error?.kind == .shape)
    }
  }

  @Test func aRepeatedElementCannotBeCopiedBeyondMemory() throws {
    let one = try Tensor.zeros([1])
    let view = one.view(shape: [1 << 50], strides: [0], offset: 0)
    for body in [{ _ = try view.copied() }, { _ = try view.scalars(Float.self) }] as [() throws -> Void] {
      let error = #expect(throws: ToeplitzError.self) { try body() }
      #expect(error?.kind == .memory)
    }
  }

  @Test func storageIsAlignedAndBounded() throws {
    for bytes in [0, 1, 63, 64, 1000, 1 << 20] {
      let storage = try Storage(byteCount: bytes, operation: "test")
      #expect(Int(bitPattern: storage.base) % 64 == 0 && storage.byteCount == bytes)
    }
    let error = #expect(throws: ToeplitzError.self) {
      try Storage(byteCount: Platform.physicalMemory + 1, operation: "test")
    }
    #expect(error?.kind == .memory && error?.got.contains("\(Platform.physicalMemory + 1)") == true)
  }

  @Test func shapesBroadcastFromTheRight() throws {
    func join(_ a: TensorShape, _ b: TensorShape) throws -> TensorShape {
      try TensorShape.broadcast(a, b, operation: "test")
    }
    #expect(try join([3, 1], [4]) == [3, 4] && join([], [2, 5]) == [2, 5] && join([0], [1]) == [0])
    #expect(try join([2, 1, 4], [3, 1]) == [2, 3, 4])
    for (a, b): (TensorShape, TensorShape) in [([2], [3]), ([0], [2]), ([2, 3], [2])] {
      #expect(throws: ToeplitzError.self) { try join(a, b) }
    }
  }

  @Test func axesCountFromTheEndToo() throws {
    let shape: TensorShape = [4, 5, 6]
    #expect(try shape.normalizedAxis(-1, operation: "test") == 2)
    #expect(try shape.normalizedAxis(0, operation: "test") == 0)
    for axis in [3, -4, Int.min, Int.max] {
      let error = #expect(throws: ToeplitzError.self) { try shape.normalizedAxis(axis, operation: "test") }
      #expect(error?.kind == .argument)
    }
    #expect(throws: ToeplitzError.self) { try TensorShape([]).normalizedAxis(0, operation: "test") }
  }

  @Test func errorsSayWhatWhereAndWhy() {
    let error = ToeplitzError(.shape, "Conv1d", expected: "3 channels", got: "4")
    #expect(error.description == "Conv1d: expected 3 channels, got 4")
    #expect(error.inside("0").inside("layers").description == "Conv1d (layers.0): expected 3 channels, got 4")
  }
}
