import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

/// Sums and poolings that take several rows, or vectors of elements, at a time and read views where they lie.
@Suite struct RowTests {
  /// The same numbers with room between the rows of the last `count` axes.
  private func apart(_ x: Tensor, _ count: Int) throws -> Tensor {
    let rows = try x.reshaped(TensorShape([x.shape.dropLast(count).reduce(1, *), x.shape.suffix(count).reduce(1, *)]))
    let wide = try rows.padded([(axis: 1, low: 2, high: 3)])
    let strides = x.shape.contiguousStrides.enumerated().map { axis, stride in
      axis < x.rank - count ? stride / rows.shape[1] * wide.shape[1] : stride
    }
    return wide.view(shape: x.shape, strides: strides, offset: 2)
  }

  @Test func sumsOfRowsAreThoseOfOneRowAfterTheOther() throws {
    var random = RandomSource(seed: 3)
    for (rows, width) in [(1, 1), (3, 50), (4, 7), (6, 49), (1025, 49), (9, 20_000)] {
      let x = try Tensor.randomUniform([rows, width], from: -1, to: 3, using: &random)
      let numbers = try x.scalars(Float.self)
      let sums = (0..<rows).map { row in
        numbers[(row * width)..<((row + 1) * width)].reduce(0.0) { $0 + Double($1) }
      }
      for view in [x, try apart(x, 1), try x.transposed(0, 1).copied().transposed(0, 1)] {
        #expect(try view.sum([1]).scalars(Float.self) == sums.map { Float($0) }, "\(rows) rows of \(width)")
        #expect(try view.mean([1]).scalars(Float.self) == sums.map { Float($0 / Double(width)) })
      }
    }
  }

  @Test func poolingsReadPlanesThatLieApart() throws {
    var random = RandomSource(seed: 4)
    let x = try Tensor.randomUniform([2, 5, 7, 7], from: -1, to: 1, using: &random)
    let view = try apart(x, 2)
    #expect(!view.isContiguous)
    for size in [1, 3] {
      #expect(try view.adaptiveAveragePooled([size, size]).sameBits(as: x.adaptiveAveragePooled([size, size])))
      #expect(try view.adaptiveMaxPooled([size, size]).sameBits(as: x.adaptiveMaxPooled([size, size])))
    }
    #expect(try view.mean([2, 3]).sameBits(as: x.mean([2, 3])))
    #expect(try view.permuted([1, 0, 3, 2]).sum([2]).sameBits(as: x.permuted([1, 0, 3, 2]).copied().sum([2])))
  }

  @Test(arguments: InstructionSet.available)
  func largestElementsAreThoseOfDoublePrecision(isa: InstructionSet) throws {
    try InstructionSet.$override.withValue(isa) {
      var random = RandomSource(seed: 5)
      for stride in 1...3 {
        for kernel in 1...4 {
          for length in [5, 17, 31, 32, 33, 34, 65, 112] {
            var x = try Tensor.randomUniform([3, 6, length], from: -1, to: 1, using: &random)
            try x.withMutableElements(Float.self) { values in
              for (index, value) in [Float.nan, .infinity, -.infinity, -0.0].enumerated() {
                values[(index * 97 + length) % values.count] = value
              }
            }
            let geometry = try PoolGeometry(
              name: "MaxPool2d", rank: 2, kernelSize: PerAxis(kernel), stride: PerAxis(stride),
              padding: PerAxis(kernel / 2), ceilMode: length % 2 == 0)
            let exact = try x.cast(to: .float64).maxPooled(geometry).scalars(Double.self)
            let pooled = try x.maxPooled(geometry).scalars(Float.self)
            let same = zip(pooled, exact).allSatisfy { Double($0) == $1 || $0.isNaN && $1.isNaN }
            #expect(same && pooled.count == exact.count, "\(isa) kernel \(kernel) stride \(stride) length \(length)")
          }
        }
      }
    }
  }
}
