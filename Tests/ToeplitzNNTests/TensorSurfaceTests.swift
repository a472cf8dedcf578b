import Foundation
import Testing
import Toeplitz

/// Making, indexing and writing tensors, and what is refused.
@Suite struct TensorSurfaceTests {
  private func message(_ body: () throws -> some Any) -> String {
    do { _ = try body() } catch { return "\(error)" }
    return "nothing was thrown"
  }

  @Test func tensorsAreMadeOfWhatPeopleHave() throws {
    let literal: Tensor = [[1, 2.5], [3, 4]]
    #expect(literal.spec == TensorSpec([2, 2], .float32))
    let truths: Tensor = [[true], [false]]
    #expect(truths.spec == TensorSpec([2, 1], .bool))
    let (n, half) = (3, Float(0.5))
    #expect(try Tensor([[n, 1], [1, n]]).spec == TensorSpec([2, 2], .int64))
    #expect(try Tensor([[[half], [1]]]).spec == TensorSpec([1, 2, 1], .float32))
    #expect(try Tensor([1, 2, 3]).dtype == .float32)
    #expect(try Tensor(0..<6, shape: [2, 3]).spec == TensorSpec([2, 3], .int64))
    #expect(try Tensor([1.5, 2, 3][1...]).scalars(of: Double.self) == [2, 3])
    #expect(try Tensor(Data([7, 9])).spec == TensorSpec([2], .uint8))
    #expect(try Tensor([Float]()).shape == [0])
    let empty: Tensor = []
    #expect(empty.shape == [0])

    let floats: [Float] = [1, -2, 3.5, 4]
    try floats.withUnsafeBytes { bytes in
      #expect(try Tensor(bytes: bytes, shape: [2, 2], dtype: .float32).scalars(of: Float.self) == floats)
      let data = Data([0]) + Data(bytes)
      let tensor = try Tensor(bytes: data.dropFirst(), shape: [4], dtype: .float32)
      #expect(try tensor.scalars(of: Float.self) == floats)
      #expect(try tensor.data() == Data(bytes))
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    #expect(
      message { try Tensor([[1, 2], [3]]) }.contains("lists of equal lengths, here of shape [2, 2], got 1 elements"))
    #expect(message { try Tensor([[1, 2], 3]) }.contains("a number at depth 1"))
    #expect(message { try Tensor([[1, true]]) }.contains("got both"))
    let ragged: [[Float]] = [[1], [2, 3]]
    #expect(message { try Tensor(ragged) }.contains("lists of equal lengths"))
    #expect(message { try Tensor(bytes: Data([1, 2, 3]), shape: [1], dtype: .float32) }.contains("4 bytes"))
    #expect(message { try Tensor(bytes: Data([2]), shape: [1], dtype: .bool) }.contains("0 or 1"))
    #expect(message { try Tensor(bytes: Data(), shape: [.max, .max], dtype: .float64) } != "nothing was thrown")
    let whole = try Tensor([1, 2, 3] as [Int])
    #expect(message { try whole * 0.5 }.contains("cast the tensor to float32 first"))
    #expect(message { try whole.cast(to: .uint8) + 300 }.contains("got 300"))
    #expect(message { try whole + Tensor([1, 2, 3]) }.contains("int64 and float32"))
    #expect(try (whole + Int.max / 2).scalars(of: Int.self)[0] == Int.max / 2 + 1)
    #expect(try (whole * 2.0).scalars(of: Int.self) == [2, 4, 6])
  }

  @Test func indicesThatDoNotFitAreRefused() throws {
    let x = try Tensor.zeros([2, 3])
    #expect(message { try x[2] }.contains("an index in -2..<2 for shape [2, 3], got 2"))
    #expect(message { try x[0, -4] }.contains("-4"))
    #expect(message { try x[0, 0, 0] }.contains("at most 2 entries"))
    #expect(message { try x[.ellipsis, .ellipsis] }.contains("one ellipsis"))
    #expect(message { try x[.slice(by: 0)] }.contains("a step other than 0"))
    #expect(message { try x[[0, 5]] } != "nothing was thrown")
    #expect(message { try x[Tensor([true, false, true])] }.contains("a mask of shape [2], got [3]"))
    #expect(message { try x[[0], [1]] }.contains("in two steps"))
    #expect(message { try x[Tensor([0.5])] }.contains("whole numbers or a mask"))
    #expect(message { try Tensor(scalar: 1)[0] }.contains("at most 0 entries"))
    #expect(message { try Tensor(scalar: 1).rows() }.contains("at least one dimension"))
    for bound in [Int.min, Int.min + 1, -1, 0, 1, Int.max - 1, Int.max] {
      for step in [Int.min + 1, -1, 1, Int.max] {
        #expect(try x[.slice(from: bound, to: -bound.magnitude.leadingZeroBitCount, by: step)].rank == 2)
        #expect(try x[.ellipsis, .slice(from: bound, by: step)].rank == 2)
      }
      #expect(try x[bound...].rank == 2)
      #expect(try x[..<bound].rank == 2)
      #expect(try x[...bound].rank == 2)
    }
  }

  @Test func elementsAreWrittenInPlaces() throws {
    var x = try Tensor.zeros([2, 3])
    let before = x
    try x.assign(1, at: 0)
    try x.assign([5, 6], at: 0..., -1)
    #expect(try x.scalars(of: Float.self) == [1, 1, 5, 0, 0, 6])
    #expect(try before.scalars(of: Float.self) == [0, 0, 0, 0, 0, 0])
    try x.assign(9, at: x > 4)
    try x.assign([7, 8], at: 1, [1, 0])
    #expect(try x.scalars(of: Float.self) == [1, 1, 9, 8, 7, 9])
    try x.assign(x[0..., .slice(by: -1)])
    #expect(try x.scalars(of: Float.self) == [9, 1, 1, 9, 7, 8])
    var turned = try x.transposed(0, 1)
    try turned.assign(-1, at: 1, .ellipsis)
    #expect(try turned.scalars(of: Float.self) == [9, 9, -1, -1, 1, 8])
    #expect(try x.scalars(of: Float.self) == [9, 1, 1, 9, 7, 8])
    x = try x + 1
    try x.assign(0)
    #expect(try !x.any())
    #expect(message { try x.assign([1, 2], at: 0) } != "nothing was thrown")
    #expect(message { try x.assign(Tensor([1] as [Int]), at: 0) }.contains("float32 elements, got int64"))
    var whole = try Tensor(0..<3)
    #expect(message { try whole.assign(0.5, at: 0) }.contains("0.5"))
    // A weight that was prepared for a convolution and is written then counts as another.
    let conv = try Conv1d(1, 1, kernelSize: 1, bias: false)
    let ones = try Tensor.ones([1, 1, 2])
    _ = try conv(ones)
    var weight = try conv.weight.value
    try weight.assign(3, at: 0)
    try conv.weight.assign(weight)
    #expect(try conv(ones).scalars(of: Float.self) == [3, 3])
  }

  @Test func masksAreRefusedInCodeThatIsTraced() throws {
    let layer = Lambda { try $0[$0 > 0] }
    #expect(try layer(Tensor([1, -1, 2])).count == 2)
    let error = message { try layer.compiled()(Tensor([1, -1, 2])) }
    #expect(error.contains("index by a mask") && error.contains("Tensor.where"), "\(error)")
    let assigning = Lambda { x in
      var y = x
      try y.assign(0, at: 0)
      return y
    }
    #expect(message { try assigning.compiled()(Tensor([1, 2])) }.contains("Tensor.where"))
    let kept = Lambda { x in
      #expect("\(x)".hasPrefix("Tensor(float32[2]"))
      return try x[.slice(by: -1)]
    }
    #expect(try kept.compiled()(Tensor([1, 2])).scalars(of: Float.self) == [2, 1])
  }

  @Test func closenessIsThatOfNumPy() throws {
    let a: Tensor = [1, 2, .infinity]
    #expect(try a.allClose([1.000001, 2, .infinity]) && !a.allClose([1.1, 2, .infinity]))
    #expect(try !a.allClose([1, 2, -.infinity]) && !a.allClose([1, 2, 3]))
    let nan = try Tensor([Float.nan])
    #expect(try !nan.allClose(nan) && nan.allClose(nan, equalNaN: true))
    #expect(try a[..<2].allClose(Tensor([1, 2] as [Int])) && Tensor.ones([2, 2]).allClose([1, 1]))
    #expect(try a.isFinite().scalars(of: Bool.self) == [true, true, false])
    #expect(message { try a.allClose([1, 2]) }.contains("broadcast"))
    #expect(try (a == a).all() && (a < 0).any() == false)
  }

  @Test func axesAreSplit() throws {
    let x = try Tensor(0..<10).reshaped(2, 5)
    #expect(try x.chunked(2, axis: 1).map(\.shape) == [[2, 3], [2, 2]])
    #expect(try x.chunked(4, axis: -1).map(\.shape) == [[2, 2], [2, 2], [2, 1]])
    #expect(try x.split([1, 0, 4], axis: 1).map(\.shape) == [[2, 1], [2, 0], [2, 4]])
    #expect(message { try x.split([2, 2], axis: 1) }.contains("whose sum is 5"))
    #expect(message { try x.split([-1, 6], axis: 1) }.contains("[-1, 6]"))
    #expect(message { try x.chunked(0) }.contains("1 part or more"))
  }
}
