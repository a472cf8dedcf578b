import ToeplitzOps
import ToeplitzTensor

/// A stream for callbacks of audio: n blocks in give exactly n · block · ratio output positions, of which the first ``delay`` are zeros.
///
/// A value, as ``TensorStream`` is.
///
/// ```swift
/// var stream = try decoder.streamPlan(shape: [1, 1, nil]).makeConstantDelayStream(block: 256)
/// let sound = try stream.process(x)
/// ```
public struct ConstantDelayStream: Sendable {
  /// Input positions of a block.
  public let block: Int
  /// Output positions of a block.
  public let outputBlock: Int
  /// By how many output positions the output is behind that of the whole, at all times.
  public let delay: Int
  private var stream: TensorStream
  /// What has come out of the stream and not yet gone out of here.
  private var pending: Tensor

  init(_ plan: StreamPlan, block: Int) throws {
    try StreamPlan.require(block, "block")
    let ratio = plan.outputRatio
    guard block % ratio.denominator == 0 else {
      throw ToeplitzError(
        .argument, "ConstantDelayStream", expected: "a block of a multiple of \(ratio.denominator) positions",
        got: "\(block)")
    }
    self.block = block
    outputBlock = block / ratio.denominator * ratio.numerator
    delay = try Self.delay(plan, block, outputBlock)
    stream = try plan.makeStream()
    pending = try Self.zeros(plan, delay)
  }

  private static func zeros(_ plan: StreamPlan, _ count: Int) throws -> Tensor {
    let network = plan.engine.network
    let spec = network.spec(network.outputs[0], length: count)
    return try Tensor.zeros(spec.shape, dtype: spec.dtype)
  }

  /// The most positions that are ever missing after a number of blocks.
  private static func delay(_ plan: StreamPlan, _ block: Int, _ outputBlock: Int) throws -> Int {
    let counting = plan.engine.counting
    let place = counting.place(plan.engine.network.outputs[0])
    let cycle = plan.blockSize / gcd(plan.blockSize, block)
    var counters = counting.beginning
    var most = 0
    // Past the filling of all delays, then through a whole cycle.
    let rounds = (plan.steadyLength + block - 1) / block + cycle
    for round in 1...rounds {
      _ = try counting.advance(&counters, by: block, ends: false)
      most = max(most, round * outputBlock - counters.known[place])
    }
    return most
  }

  /// The plan it follows.
  public var plan: StreamPlan { stream.plan }

  /// Input positions so far.
  public var position: Int { stream.position }

  /// Takes a block and gives as many output positions as belong to one.
  ///
  /// - Throws: ``ToeplitzError`` if the tensor does not fit or the stream has ended; the stream is as it was then.
  public mutating func process(_ block: Tensor) throws -> Tensor {
    let axis = plan.timeAxis
    guard block.rank == plan.input.shape.rank, block.shape[axis] == self.block else {
      throw ToeplitzError(
        .shape, "ConstantDelayStream", expected: "\(self.block) positions on axis \(axis)", got: "\(block.spec)")
    }
    return try take(stream.push(block))
  }

  /// Takes a block from a buffer and writes as many output positions as belong to one into another, in row-major order.
  ///
  /// - Throws: As ``process(_:)``, or if the buffers are not just as long as that takes.
  public mutating func process<Scalar: TensorScalar>(
    _ block: UnsafeBufferPointer<Scalar>, into target: UnsafeMutableBufferPointer<Scalar>
  ) throws {
    let room = pending.shape.replacing(outputAxis, by: outputBlock).reduce(1, *)
    guard target.count == room, Scalar.dtype == pending.dtype else {
      throw ToeplitzError(
        .shape, "ConstantDelayStream", expected: "room for \(room) elements of \(pending.dtype)",
        got: "\(target.count) of \(Scalar.dtype)")
    }
    let tensor = try Tensor(
      bytes: UnsafeRawBufferPointer(block), shape: plan.input.shape.replacing(plan.timeAxis, by: self.block),
      dtype: Scalar.dtype)
    try process(tensor).withElements(Scalar.self) { elements in
      if let source = elements.baseAddress { target.baseAddress?.update(from: source, count: elements.count) }
    }
  }

  /// Ends the stream: gives all that has not gone out, ``delay`` positions and what the end of the input adds.
  ///
  /// - Throws: As ``TensorStream/finish()``.
  public mutating func finish() throws -> Tensor {
    let end = try stream.finish()
    defer { pending = end }
    return try Tensor.concatenate([pending, end], axis: outputAxis)
  }

  /// Goes back to the beginning.
  public mutating func reset() throws {
    try stream.reset()
    pending = try Self.zeros(plan, delay)
  }

  private var outputAxis: Int { plan.outputAxes[0] }

  private mutating func take(_ made: Tensor) throws -> Tensor {
    let all = try Tensor.concatenate([pending, made], axis: outputAxis)
    let out = try all.slice(axis: outputAxis, 0..<outputBlock).copied()
    pending = try all.slice(axis: outputAxis, outputBlock..<all.shape[outputAxis]).copied()
    return out
  }
}

extension StreamPlan {
  /// A stream that gives as much for every block, for callbacks of audio.
  ///
  /// - Parameter block: input positions of a block, a multiple of the output ratio's denominator.
  /// - Throws: ``ToeplitzError`` of kind `argument` if it is none.
  public func makeConstantDelayStream(block: Int) throws -> ConstantDelayStream {
    try ConstantDelayStream(self, block: block)
  }
}
