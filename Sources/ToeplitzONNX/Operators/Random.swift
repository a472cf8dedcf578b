import ToeplitzOps
import ToeplitzTensor

/// The random numbers of one node.
///
/// Each evaluation goes on in the node's stream where the one before has ended, so that a loop draws new numbers in each
/// round. With the attribute `seed` an executable begins with the same numbers each time it is made; without, the system gives
/// the seed. The numbers are those of ``Philox``, not of another runtime.
private final class NodeRandom: Sendable {
  private let key: UInt64
  private let next = Lock<UInt64>(0)

  init(_ node: OperatorNode) throws {
    var system = SystemRandomNumberGenerator()
    key = try node.float("seed").map { UInt64(Float($0).bitPattern) } ?? system.next()
  }

  /// A generator for `count` draws that no other evaluation makes.
  func source() -> Philox {
    let stream = next.withLock { next in
      defer { next &+= 1 }
      return next
    }
    return Philox(key: key, stream: stream)
  }
}

extension OperatorTable {
  static let random: [String: OperatorMaker] = [
    "RandomNormal": shaped(normal), "RandomNormalLike": like(normal),
    "RandomUniform": shaped(uniform), "RandomUniformLike": like(uniform),
    "Bernoulli": { node in
      let (random, dtype) = (try NodeRandom(node), try node.dtype("dtype"))
      return node.drawn { x in
        let input = try x(0)
        var source = random.source()
        let chances = try input.cast(to: .float64).scalars(Double.self)
        let hits = chances.map { source.nextUnit() < $0 }
        return [try Tensor(hits, shape: input.shape).cast(to: dtype ?? input.dtype)]
      }
    },
    "Multinomial": { node in
      let (random, count) = (try NodeRandom(node), try node.int("sample_size", 1))
      let dtype = try node.dtype("dtype") ?? .int32
      guard (1...(1 << 24)).contains(count) else { throw node.refuse("a sample_size from 1 to 2²⁴", got: "\(count)") }
      return node.drawn { x in
        let input = try x(0)
        guard input.rank == 2, input.shape[1] > 0 else {
          throw x.refuse(.shape, "logarithms [N, classes]", got: "\(input.shape)")
        }
        let (rows, classes) = (input.shape[0], input.shape[1])
        guard try TensorShape([rows, count]).elementCount(x.name) <= 1 << 24 else {
          throw x.refuse(.shape, "at most 2²⁴ draws", got: "\(rows) times \(count)")
        }
        var source = random.source()
        let logarithms = try input.cast(to: .float64).scalars(Double.self)
        var drawn: [Int64] = []
        for row in 0..<rows {
          let part = logarithms[(row * classes)..<((row + 1) * classes)]
          let top = part.filter { $0.isFinite }.max() ?? 0
          var sum = 0.0
          let sums = part.map { value -> Double in
            sum += value.isNaN ? 0 : (value - top).exponential()
            return sum
          }
          for _ in 0..<count {
            let at = source.nextUnit() * sum
            drawn.append(Int64(sums.firstIndex { $0 > at } ?? classes - 1))
          }
        }
        return [try Tensor(drawn, shape: [rows, count], device: .cpu).cast(to: dtype)]
      }
    },
  ]

  /// A distribution's numbers.
  private typealias Distribution = @Sendable (OperatorNode) throws -> @Sendable (inout Philox) -> Double

  private static let normal: Distribution = { node in
    let (mean, scale) = (try node.float("mean", 0), try node.float("scale", 1))
    return { mean + scale * $0.nextNormal() }
  }

  private static let uniform: Distribution = { node in
    let (low, high) = (try node.float("low", 0), try node.float("high", 1))
    return { low + (high - low) * $0.nextUnit() }
  }

  private static func numbers(
    _ shape: TensorShape, _ dtype: DType, _ random: NodeRandom, _ draw: (inout Philox) -> Double
  ) throws -> Tensor {
    guard dtype.isFloatingPoint else {
      throw ToeplitzError(.dtype, "random numbers", expected: "a floating-point type", got: "\(dtype)")
    }
    let result = try Tensor(uninitialized: shape, dtype: .float64, operation: "random numbers")
    var source = random.source()
    let elements = result.pointer(Double.self)
    for index in 0..<result.count { elements[index] = draw(&source) }
    return try result.cast(to: dtype)
  }

  private static func shaped(_ distribution: @escaping Distribution) -> OperatorMaker {
    { node in
      let (random, draw) = (try NodeRandom(node), try distribution(node))
      let (shape, dtype) = (TensorShape(try node.ints("shape") ?? []), try node.dtype("dtype") ?? .float32)
      _ = try shape.elementCount(node.operation)
      return node.drawn { _ in [try numbers(shape, dtype, random, draw)] }
    }
  }

  private static func like(_ distribution: @escaping Distribution) -> OperatorMaker {
    { node in
      let (random, draw) = (try NodeRandom(node), try distribution(node))
      let dtype = try node.dtype("dtype")
      return node.drawn { x in [try numbers(x(0).shape, dtype ?? x(0).dtype, random, draw)] }
    }
  }
}

extension OperatorNode {
  /// A function that is computed anew in each run: it is never recorded.
  fileprivate func drawn(_ body: @escaping OperatorFunction) -> OperatorFunction {
    { x in
      if let trace = Trace.running { throw trace.refusal(x.name) }
      return try body(x)
    }
  }
}
