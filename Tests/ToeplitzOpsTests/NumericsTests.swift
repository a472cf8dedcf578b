import Testing
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzOps
@testable import ToeplitzTensor

@Suite struct NumericsTests {
  @Test func `a value holds inside its block and in tasks begun there`() async {
    let outside = Numerics.current
    for mode in Numerics.allCases {
      #expect(Numerics.$current.withValue(mode) { Numerics.current } == mode)
      let inTask = await Numerics.$current.withValue(mode) {
        async let found = Numerics.current
        return await found
      }
      #expect(inTask == mode)
    }
    #expect(Numerics.current == outside)
  }

  @Test func `names are those of the environment variable`() {
    #expect(Numerics(rawValue: "fast") == .fast)
    #expect(Numerics(rawValue: "invariant") == .invariant)
    #expect(Numerics(rawValue: "quick") == nil)
  }

  /// Which algorithm is estimated to be faster may not depend on how many threads or samples there are.
  @Test(arguments: Numerics.allCases)
  func `bits depend neither on threads nor on the batch`(numerics: Numerics) throws {
    var random = RandomSource(seed: 211)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    func tensor(_ shape: TensorShape) throws -> Tensor {
      try Tensor.randomUniform(shape, from: -1, to: 1, using: &random)
    }
    for index in 0..<48 {
      let operation: any TensorOperation
      var operands: [Tensor]
      let size: [Int]
      let channels: Int
      if index % 6 == 5 {
        channels = [16, 32, 64, 96][pick(0...3)]
        let kernel = [3, 7, 11][pick(0...2)]
        let geometry = try (0..<2).map { _ in
          try ConvolutionGeometry(
            rank: 1, inChannels: channels, outChannels: channels, kernelSize: PerAxis(kernel),
            padding: .uniform(kernel / 2))
        }
        operation = ResidualUnit(
          geometry[0], geometry[1], hasBias: (false, false), inputSlope: 0.1, middleSlope: 0.1)
        operands = try geometry.map { try tensor($0.weightShape) }
        size = [pick(20...2000)]
      } else {
        let rank = pick(1...2)
        let groups = [1, 1, 2][pick(0...2)]
        let geometry = try ConvolutionGeometry(
          rank: rank, isTransposed: index % 4 == 3, inChannels: groups * pick(2...32),
          outChannels: groups * pick(2...40),
          kernelSize: PerAxis(rank == 2 ? 3 : [3, 4, 5, 7, 11][pick(0...4)]),
          stride: PerAxis(index % 4 == 3 ? 2 : 1), padding: 1, groups: groups)
        operation = ConvolutionOperation(geometry)
        operands = [try tensor(geometry.weightShape)]
        channels = geometry.inChannels
        size = (0..<rank).map { _ in pick(rank == 1 ? 20...900 : 4...30) }
      }
      let x = try tensor(TensorShape([3, channels] + size))
      func result(_ x: Tensor, threads: Int) throws -> Tensor {
        let pool = ThreadPool.shared
        let before = pool.threadCount
        defer { pool.threadCount = before }
        pool.threadCount = threads
        return try Numerics.$current.withValue(numerics) { try applyAll(operation, [x] + operands)[0] }
      }
      let alone = try result(x, threads: 1)
      for threads in [2, 3, 8] {
        #expect(try result(x, threads: threads).sameBits(as: alone), "\(threads) threads: \(operation) \(x.shape)")
      }
      for n in 0..<3 {
        let one = try result(x.slice(axis: 0, n..<(n + 1)), threads: 2)
        #expect(try one.sameBits(as: alone.slice(axis: 0, n..<(n + 1))), "sample \(n): \(operation) \(x.shape)")
      }
    }
  }
}
